package main

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/host/eventbus"
	"github.com/libp2p/go-libp2p/p2p/protocol/holepunch"
)

// punchAttempts is how often the library tries to punch before it gives up.
const punchAttempts = 3

// camera streams to whoever asks.
type camera struct {
	ctx         context.Context
	full, small clip

	mu       sync.Mutex
	sessions map[peer.ID]*session
	failures map[peer.ID]int // hole punches
}

// session is the video of one viewer. It has its own time: frame n is due n frame times after the first request.
type session struct {
	start  time.Time
	sent   uint32 // frames taken from the clip
	stream network.Stream
	write  *sync.Mutex // of stream
	stop   context.CancelFunc
}

// runCamera serves until ctx ends.
func runCamera(ctx context.Context, c config) error {
	full, err := c.load(false)
	if err != nil {
		return err
	}
	cam := &camera{ctx: ctx, full: full, small: small(), sessions: map[peer.ID]*session{}, failures: map[peer.ID]int{}}
	h, err := newDevice(c, cameraRole, cam)
	if err != nil {
		return err
	}
	defer h.Close()
	h.SetStreamHandler(videoProtocol, cam.serve)
	if err := awaitReady(ctx, h, true); err != nil {
		return err
	}
	say("ready", "peer", h.ID())
	<-ctx.Done()
	return nil
}

// newDevice makes a host behind a NAT: one that uses the relay and punches.
func newDevice(c config, role int, tracer holepunch.EventTracer) (host.Host, error) {
	relay, err := c.relayInfo()
	if err != nil {
		return nil, err
	}
	more := []libp2p.Option{libp2p.ForceReachabilityPrivate(), libp2p.EnableHolePunching(holepunch.WithTracer(tracer))}
	if role == cameraRole {
		more = append(more, libp2p.EnableAutoRelayWithStaticRelays([]peer.AddrInfo{relay}))
	}
	return newHost(c, role, 0, more...)
}

// awaitReady waits until the host can take part in hole punching, and, where wanted, has a reservation on the relay.
func awaitReady(ctx context.Context, h host.Host, reserved bool) error {
	sub, err := h.EventBus().Subscribe([]any{
		new(event.EvtLocalAddressesUpdated), new(event.EvtLocalProtocolsUpdated), new(event.EvtAutoRelayAddrsUpdated),
	}, eventbus.BufSize(64))
	if err != nil {
		return fmt.Errorf("watch the host: %w", err)
	}
	defer sub.Close()
	for {
		if canPunch(h) && (!reserved || hasReservation(h)) {
			return nil
		}
		select {
		case <-sub.Out():
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// canPunch reports whether the hole punching service has found a public address and serves.
func canPunch(h host.Host) bool {
	for _, p := range h.Mux().Protocols() {
		if p == holepunch.Protocol {
			return true
		}
	}
	return false
}

func hasReservation(h host.Host) bool {
	for _, a := range h.Addrs() {
		if isRelayed(a) {
			return true
		}
	}
	return false
}

// serve sends the video on a stream. It is the handler of videoProtocol.
func (cam *camera) serve(s network.Stream) {
	q, err := readRequest(s)
	if err != nil {
		_ = s.Reset()
		return
	}
	p := s.Conn().RemotePeer()
	ctx, stop := context.WithCancel(cam.ctx)
	defer stop()
	now := time.Now()
	cam.mu.Lock()
	x := cam.sessions[p]
	if x == nil {
		x = &session{start: now}
		cam.sessions[p] = x
	}
	if x.stop != nil {
		x.stop() // the stream before ends after the frame that it is at
	}
	x.stream, x.stop, x.write = s, stop, &sync.Mutex{}
	write := x.write
	failed := cam.failures[p] >= punchAttempts
	cam.mu.Unlock()
	go func() { // the viewer says nothing more: what ends this is the stream's end
		_, _ = io.Copy(io.Discard, s)
		stop()
	}()
	say("stream", "path", pathOf(s.Conn().RemoteMultiaddr()), "from", q.from, "count", q.count)
	if failed {
		sendFailed(s, write)
	}
	if err := cam.send(ctx, x, s, write, q); err != nil {
		_ = s.Reset()
		return
	}
	live(ctx, s, write)
	_ = s.Close()
}

// live keeps a stream talking when its video is over, until ctx ends or it breaks.
func live(ctx context.Context, s network.Stream, write *sync.Mutex) {
	t := time.NewTicker(lifeEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		write.Lock()
		err := frame{index: signOfLife, captured: time.Unix(0, 0), data: make([]byte, lifeSize)}.write(s)
		write.Unlock()
		if err != nil {
			return
		}
	}
}

// send sends the frames that were asked for, each at its time.
func (cam *camera) send(ctx context.Context, x *session, s network.Stream, write *sync.Mutex, q request) error {
	source := cam.full
	if q.count <= 1 {
		source = cam.small
	}
	for i := q.from; i < max(q.count, 1); i++ {
		due := x.start.Add(time.Duration(i) * frameTime)
		if wait := time.Until(due); wait > 0 {
			t := time.NewTimer(wait)
			select {
			case <-t.C:
			case <-ctx.Done():
				t.Stop()
				return nil
			}
		} else if ctx.Err() != nil {
			return nil
		}
		cam.count(x, i)
		write.Lock()
		err := frame{index: i, captured: due, data: source.at(i)}.write(s)
		write.Unlock()
		if err != nil {
			return err
		}
	}
	return nil
}

func (cam *camera) count(x *session, i uint32) {
	cam.mu.Lock()
	defer cam.mu.Unlock()
	if i >= x.sent {
		x.sent = i + 1
		say("sent", "frames", x.sent)
	}
}

// sendFailed tells the viewer that no direct connection will come.
func sendFailed(s network.Stream, write *sync.Mutex) {
	write.Lock()
	defer write.Unlock()
	_ = frame{index: punchFailed, captured: time.Unix(0, 0)}.write(s)
}

// Trace is told how hole punching goes.
func (cam *camera) Trace(e *holepunch.Event) {
	switch v := e.Evt.(type) {
	case *holepunch.EndHolePunchEvt:
		say("punched", "success", v.Success, "elapsed", v.EllapsedTime, "error", quote(v.Error))
		if v.Success {
			return
		}
		cam.failed(e.Remote, 1)
	case *holepunch.DirectDialEvt:
		say("dialled", "success", v.Success, "elapsed", v.EllapsedTime, "error", quote(v.Error))
	case *holepunch.ProtocolErrorEvt:
		say("punch-error", "error", quote(v.Error))
		cam.failed(e.Remote, punchAttempts)
	}
}

// failed counts failures of a peer.
func (cam *camera) failed(p peer.ID, n int) {
	cam.mu.Lock()
	defer cam.mu.Unlock()
	before := cam.failures[p]
	cam.failures[p] = before + n
	if x := cam.sessions[p]; x != nil && before < punchAttempts && before+n >= punchAttempts {
		go sendFailed(x.stream, x.write)
	}
}

// quote is an error as one word of a line.
func quote(s string) string { return fmt.Sprintf("%q", s) }
