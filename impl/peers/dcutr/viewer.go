package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/protocol/holepunch"
)

// again is how long the viewer waits before it tries anew what failed.
const again = 100 * time.Millisecond

// viewer asks for the camera and compares what comes.
type viewer struct {
	host   host.Host
	camera peer.AddrInfo
	clip   clip
	count  uint32

	mu       sync.Mutex
	got      []bool
	received int
	intact   int
	next     uint32 // first frame that is missing
	begun    bool
	path     string // by which frames come
	changes  int
	last     time.Time // when the last frame came
	gap      time.Duration
	first    time.Time
	bytes    int // after the first frame
	signs    int // of life, by the direct path
	failed   bool
	done     chan struct{}
	over     bool
	stream   network.Stream // the newest
}

// Trace is told how hole punching goes; the camera leads it.
func (v *viewer) Trace(e *holepunch.Event) {
	if x, ok := e.Evt.(*holepunch.EndHolePunchEvt); ok {
		say("punched", "success", x.Success, "elapsed", x.EllapsedTime, "error", quote(x.Error))
	}
}

// runViewer asks once, when a line comes on stdin, and goes on until all frames are here by a path that stays.
func runViewer(ctx context.Context, c config) error {
	v := &viewer{done: make(chan struct{}), count: max(1, uint32(c.media/frameTime))}
	var err error
	if v.clip, err = c.load(v.count <= 1); err != nil {
		return err
	}
	v.got = make([]bool, v.count)
	if v.camera, err = c.throughRelay(); err != nil {
		return err
	}
	if v.host, err = newDevice(c, viewerRole, v); err != nil {
		return err
	}
	defer v.host.Close()
	if err := v.login(ctx, c); err != nil {
		return err
	}
	say("ready", "peer", v.host.ID())
	if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
		return fmt.Errorf("await the word to ask: %w", err)
	}
	say("requested")
	v.host.Network().Notify(&network.NotifyBundle{ConnectedF: func(_ network.Network, conn network.Conn) {
		if conn.RemotePeer() == v.camera.ID {
			say("connected", "path", pathOf(conn.RemoteMultiaddr()), "by", conn.RemoteMultiaddr())
			if !isRelayed(conn.RemoteMultiaddr()) {
				go v.open(ctx)
			}
		}
	}})
	if err := v.dial(ctx); err != nil {
		return err
	}
	go v.open(ctx)
	v.report(ctx)
	<-ctx.Done()
	return nil
}

// login connects to the relay, which tells the viewer its address, so that it can punch.
func (v *viewer) login(ctx context.Context, c config) error {
	relay, err := c.relayInfo()
	if err != nil {
		return err
	}
	v.host.ConnManager().Protect(relay.ID, "relay")
	if err := retry(ctx, func() error { return v.host.Connect(ctx, relay) }); err != nil {
		return err
	}
	return awaitReady(ctx, v.host, false)
}

func (v *viewer) dial(ctx context.Context) error {
	return retry(ctx, func() error { return v.host.Connect(ctx, v.camera) })
}

// retry does it until it works or ctx ends.
func retry(ctx context.Context, do func() error) error {
	for {
		err := do()
		if err == nil {
			return nil
		}
		say("retry", "error", quote(err.Error()))
		select {
		case <-time.After(again):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// open asks for what is missing on the best connection that there is, and reads. It asks again if that ends early.
func (v *viewer) open(ctx context.Context) {
	for ctx.Err() == nil {
		s, err := v.host.NewStream(network.WithAllowLimitedConn(ctx, "video"), v.camera.ID, videoProtocol)
		if err == nil {
			v.mu.Lock()
			v.stream = s
			from := min(v.next, v.count-1) // after the end the last one again: proof that the path works
			v.mu.Unlock()
			if err = (request{from, v.count}).write(s); err == nil {
				err = v.read(s)
			}
			if !v.isNewest(s) {
				_ = s.Close()
				return
			}
			_ = s.Reset()
		}
		say("retry", "error", quote(fmt.Sprint(err)))
		select {
		case <-time.After(again):
		case <-v.done:
			return
		case <-ctx.Done():
		}
		if v.host.Network().Connectedness(v.camera.ID) != network.Connected {
			_ = v.dial(ctx)
		}
	}
}

func (v *viewer) isNewest(s network.Stream) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.stream == s
}

// read takes frames until the stream ends.
func (v *viewer) read(s network.Stream) error {
	path := pathOf(s.Conn().RemoteMultiaddr())
	r := bufio.NewReaderSize(s, 64<<10)
	for {
		f, err := readFrame(r, v.begin)
		if err != nil {
			if err == io.EOF {
				return fmt.Errorf("the camera ended the stream (%s)", path)
			}
			return err
		}
		if f.index == signOfLife {
			if _, err := s.Write(f.data); err != nil {
				return err
			}
		}
		v.take(f, path)
	}
}

// begin notes the first packet: its bytes have been authenticated.
func (v *viewer) begin() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.begun {
		v.begun = true
		say("first-packet")
	}
}

func (v *viewer) take(f frame, path string) {
	now := time.Now()
	v.mu.Lock()
	defer v.mu.Unlock()
	defer v.settle()
	if f.index == punchFailed {
		v.failed = true
		return
	}
	v.follow(path)
	if f.index == signOfLife && path == "direct" {
		v.signs++
	}
	if f.index >= v.count || v.got[f.index] {
		return // one more copy, from the time of the change
	}
	v.got[f.index] = true
	for v.next < v.count && v.got[v.next] {
		v.next++
	}
	v.received++
	if bytes.Equal(f.data, v.clip.at(f.index)) {
		v.intact++
	}
	if v.received == 1 {
		v.first = now
		say("first-frame", "path", path, "bytes", len(f.data))
	} else {
		v.gap = max(v.gap, now.Sub(v.last))
		v.bytes += len(f.data)
	}
	v.last = now
	say("frame", "index", f.index, "latency_s", seconds(now.Sub(f.captured)))
}

// follow notes by which path frames come. The relay's last ones come after the direct path's first.
func (v *viewer) follow(path string) {
	if path == v.path || path == "relayed" && v.stream != nil && !isRelayed(v.stream.Conn().RemoteMultiaddr()) {
		return
	}
	if v.path != "" {
		v.changes++
	}
	v.path = path
	say("path", "to", path)
}

// enoughSigns of life by the direct path say that it is the one that is used.
const enoughSigns = 4

// settle ends the trial when all frames are here and either the direct connection is used or there will be none.
func (v *viewer) settle() {
	if !v.over && v.received == int(v.count) && (v.signs >= enoughSigns || v.failed) {
		v.over = true
		close(v.done)
	}
}

// report prints the counters now and then, until there is nothing more to count.
func (v *viewer) report(ctx context.Context) {
	t := time.NewTicker(again)
	defer t.Stop()
	for {
		select {
		case <-v.done:
			v.counters("done")
			return
		case <-ctx.Done():
			v.counters("counters")
			return
		case <-t.C:
			v.counters("counters")
		}
	}
}

func (v *viewer) counters(event string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	gap := v.gap
	if v.received > 0 && v.received < int(v.count) { // the picture stands still
		gap = max(gap, time.Since(v.last))
	}
	pairs := []any{"frames_received", v.received, "frames_intact", v.intact, "path_changes", v.changes}
	if gap > 0 {
		pairs = append(pairs, "gap_s", seconds(gap))
	}
	if d := v.last.Sub(v.first); d > 0 {
		pairs = append(pairs, "goodput_bps", int(8*float64(v.bytes)/d.Seconds()))
	}
	say(event, append(pairs, "path", v.path)...)
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.6f", d.Seconds()) }
