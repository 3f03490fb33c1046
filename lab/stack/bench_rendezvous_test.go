package stack

import (
	"bufio"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/punchlab/punchlab/impl/camera"
	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/media"
	"github.com/punchlab/punchlab/impl/node"
	"github.com/punchlab/punchlab/impl/rendezvous"
	"github.com/punchlab/punchlab/impl/viewer"
	"github.com/punchlab/punchlab/impl/wire"
)

// benchRelayEnv makes a run of the test binary a rendezvous at that address: what is measured is a process of its own.
const benchRelayEnv = "PUNCHLAB_STACK_BENCH_RELAY"

// Before TestMain, which would give this process namespaces of its own.
func init() {
	if at, err := netip.ParseAddrPort(os.Getenv(benchRelayEnv)); err == nil {
		serveRelay(at)
		os.Exit(0)
	}
}

// serveRelay is a rendezvous without limits that a load could meet, until standard input ends.
func serveRelay(at netip.AddrPort) {
	must := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, "serve:", err)
			os.Exit(1)
		}
	}
	const much = 1 << 40
	key, err := identity.NewKey(rand.Reader)
	must(err)
	server, err := rendezvous.New(rendezvous.Config{
		Static: key, Rand: rand.Reader, RelayRate: much, RelayBurst: much, DeviceRate: much, TotalRate: much,
		Keepalive: time.Hour, RelayIdle: time.Hour,
	})
	must(err)
	conn, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(at))
	must(err)
	n, err := node.New(server, []*net.UDPConn{conn}, node.Options{ReadBuffer: 8 << 20})
	must(err)
	fmt.Println(key.Public())
	_, _ = io.Copy(io.Discard, os.Stdin)
	n.Close()
}

// beginRendezvous starts our rendezvous, has a camera and viewers connect by its relay, and takes their sockets over.
func beginRendezvous(b *testing.B, clients, relays spot, want relayLoad) (s relay) {
	b.Helper()
	s.addr = netip.AddrPortFrom(relays.addr, bundledPort)
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), benchRelayEnv+"="+s.addr.String())
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := relays.do(cmd.Start); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		in.Close()
		_ = cmd.Wait()
	})
	s.pid = cmd.Process.Pid
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}
	key, err := identity.ParsePublicKey(strings.TrimSpace(line))
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(b.Context(), joinTimeout)
	defer cancel()
	j := &joiner{B: b, ctx: ctx, at: clients, server: s.addr, key: key}
	s.from = j.camera()
	defer j.camNode.Close()
	for range want.receivers {
		s.to = append(s.to, j.viewer())
		frame, err := wire.AppendChannelData(nil, j.tap.last(), make([]byte, want.size))
		if err != nil {
			b.Fatal(err)
		}
		s.frames = append(s.frames, frame)
	}
	return s
}

// channelTap notes the relay channels that a core sends by, in order of their first use.
type channelTap struct {
	core.Core
	mu       sync.Mutex
	channels []uint16
}

func (t *channelTap) Ready() core.Output {
	out := t.Core.Ready()
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, p := range out.Packets {
		if c, _, err := wire.ParseChannelData(p.B); err == nil && (len(t.channels) == 0 || t.channels[len(t.channels)-1] != c) {
			t.channels = append(t.channels, c)
		}
	}
	return out
}

func (t *channelTap) last() uint16 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.channels[len(t.channels)-1]
}

// joiner has a camera and viewers connect by a relay and vanish without a word: their sockets remain.
type joiner struct {
	*testing.B
	ctx    context.Context
	at     spot
	server netip.AddrPort
	key    identity.PublicKey

	tap     *channelTap // of the camera
	camNode *node.Node
	label   identity.Label
}

// drive runs a core, and returns another descriptor of its socket, which outlives the node.
func (j *joiner) drive(c core.Core) (n *node.Node, heir *net.UDPConn, events chan any) {
	j.Helper()
	conn := j.at.listen(j, j.at.addr, 0)
	f, err := conn.File()
	if err != nil {
		j.Fatal(err)
	}
	defer f.Close()
	p, err := net.FilePacketConn(f)
	if err != nil {
		j.Fatal(err)
	}
	events = make(chan any, 10_000)
	n, err = node.New(c, []*net.UDPConn{conn}, node.Options{Observe: func(e any) {
		select {
		case events <- e:
		default:
		}
	}})
	if err != nil {
		j.Fatal(err)
	}
	return n, p.(*net.UDPConn), events
}

// await waits for an event of a type.
func await[E any](j *joiner, events chan any) {
	j.Helper()
	for {
		select {
		case e := <-events:
			if _, ok := e.(E); ok {
				return
			}
		case <-j.ctx.Done():
			var want E
			j.Fatalf("no connection by the relay: %T does not come", want)
		}
	}
}

// camera registers one, until its session is confirmed by an answer.
func (j *joiner) camera() *net.UDPConn {
	j.Helper()
	clip := media.EmbeddedClip()
	c, err := camera.New(camera.Config{
		Static: newKeyed(j.B), Rand: rand.Reader, Rendezvous: []netip.AddrPort{j.server}, RendezvousKey: j.key,
		Secret: identity.Secret{7}, Source: func() media.Source { return clip.Loop() },
	})
	if err != nil {
		j.Fatal(err)
	}
	j.tap, j.label = &channelTap{Core: c}, c.Label(j.server.String())
	n, heir, events := j.drive(j.tap)
	j.camNode = n
	n.Do(func(now time.Time) { err = c.Start(now) })
	if err != nil {
		j.Fatal(err)
	}
	await[camera.Registered](j, events)
	for confirmed := false; !confirmed && j.ctx.Err() == nil; {
		n.Do(func(time.Time) { confirmed = c.Stats().RTT > 0 })
	}
	return heir
}

// viewer connects one by the relay, until it gets video.
func (j *joiner) viewer() *net.UDPConn {
	j.Helper()
	v, err := viewer.New(viewer.Config{
		Static: newKeyed(j.B), Rand: rand.Reader, Rendezvous: []netip.AddrPort{j.server}, RendezvousKey: j.key,
	})
	if err != nil {
		j.Fatal(err)
	}
	n, heir, events := j.drive(v)
	defer n.Close()
	n.Do(func(now time.Time) { err = v.Start(now) })
	if err != nil {
		j.Fatal(err)
	}
	await[viewer.LoggedIn](j, events)
	n.Do(func(now time.Time) { err = v.Connect(now, j.label, "relay") })
	if err != nil {
		j.Fatal(err)
	}
	await[viewer.FrameReceived](j, events)
	return heir
}

func newKeyed(b *testing.B) identity.Key {
	b.Helper()
	k, err := identity.NewKey(rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	return k
}
