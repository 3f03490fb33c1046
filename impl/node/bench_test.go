package node_test

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
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/punchlab/punchlab/impl/camera"
	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/media"
	"github.com/punchlab/punchlab/impl/node"
	"github.com/punchlab/punchlab/impl/node/load"
	"github.com/punchlab/punchlab/impl/punch"
	"github.com/punchlab/punchlab/impl/rendezvous"
	"github.com/punchlab/punchlab/impl/viewer"
	"github.com/punchlab/punchlab/impl/wire"
)

// relayEnv makes a run of the test binary a rendezvous: one that is measured is a process of its own.
const relayEnv = "PUNCHLAB_NODE_TEST_RELAY"

func TestMain(m *testing.M) {
	if os.Getenv(relayEnv) != "" {
		key, at, end := rendezvousFor()
		fmt.Println(key, at)
		_, _ = io.Copy(io.Discard, os.Stdin)
		end()
		return
	}
	os.Exit(m.Run())
}

// rendezvousFor runs a rendezvous without limits that a benchmark could meet.
func rendezvousFor() (identity.PublicKey, netip.AddrPort, func()) {
	const much = 1 << 40
	key := must(identity.NewKey(rand.Reader))
	server := must(rendezvous.New(rendezvous.Config{
		Static: key, Rand: rand.Reader, RelayRate: much, RelayBurst: much, DeviceRate: much, TotalRate: much,
		Keepalive: time.Hour, RelayIdle: time.Hour,
	}))
	conn := must(net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}))
	n := must(node.New(server, []*net.UDPConn{conn}, node.Options{ReadBuffer: 8 << 20}))
	return key.Public(), n.LocalAddrs()[0], func() { n.Close() }
}

// relayProcess starts one as a process.
func relayProcess(b *testing.B) (key identity.PublicKey, at netip.AddrPort, pid int) {
	b.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), relayEnv+"=1")
	cmd.Stderr = os.Stderr
	in, out := must(cmd.StdinPipe()), must(cmd.StdoutPipe())
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		in.Close()
		cmd.Wait()
	})
	var k, a string
	if _, err := fmt.Sscan(must(bufio.NewReader(out).ReadString('\n')), &k, &a); err != nil {
		b.Fatal(err)
	}
	return must(identity.ParsePublicKey(k)), netip.MustParseAddrPort(a), cmd.Process.Pid
}

// tap notes the relay channels that a core sends by.
type tap struct {
	core.Core
	mu       sync.Mutex
	channels []uint16
}

func (t *tap) Ready() core.Output {
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

// heir opens a socket's other descriptor: what the socket is bound to outlives the node that has it now.
func heir(c *net.UDPConn) *net.UDPConn {
	f := must(c.File())
	defer f.Close()
	return must(net.FilePacketConn(f)).(*net.UDPConn)
}

// relayed has a camera and some viewers connect by the relay and vanish without a word, and returns their sockets, and the
// camera's channel to each viewer.
func relayed(b testing.TB, key identity.PublicKey, at netip.AddrPort, viewers int) (from *net.UDPConn, to []*net.UDPConn, channels []uint16) {
	b.Helper()
	events := func() (chan any, node.Options) {
		c := make(chan any, 10_000)
		return c, node.Options{Observe: func(e any) { c <- e }}
	}
	clip := media.EmbeddedClip()
	conn := must(net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}))
	cam := must(camera.New(camera.Config{
		Static: must(identity.NewKey(rand.Reader)), Rand: rand.Reader, Rendezvous: []netip.AddrPort{at}, RendezvousKey: key,
		Secret: identity.Secret{7}, Source: func() media.Source { return clip.Loop() },
	}))
	taps := &tap{Core: cam}
	from = heir(conn)
	camEvents, opt := events()
	camNode := must(node.New(taps, []*net.UDPConn{conn}, opt))
	defer camNode.Close()
	camNode.Do(func(now time.Time) { must(0, cam.Start(now)) })
	await(b, camEvents, yes[camera.Registered])
	for confirmed := false; !confirmed; { // by an answer to what confirms the session
		camNode.Do(func(time.Time) { confirmed = cam.Stats().RTT > 0 })
	}
	for range viewers {
		conn := must(net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}))
		v := must(viewer.New(viewer.Config{
			Static: must(identity.NewKey(rand.Reader)), Rand: rand.Reader, Rendezvous: []netip.AddrPort{at}, RendezvousKey: key,
		}))
		to = append(to, heir(conn))
		viewEvents, opt := events()
		n := must(node.New(v, []*net.UDPConn{conn}, opt))
		defer n.Close()
		n.Do(func(now time.Time) { must(0, v.Start(now)) })
		await(b, viewEvents, yes[viewer.LoggedIn])
		n.Do(func(now time.Time) { must(0, v.Connect(now, cam.Label(at.String()), "relay")) })
		await(b, viewEvents, func(e viewer.FrameReceived) bool { return e.Path.Route == punch.Relay })
		taps.mu.Lock()
		channels = append(channels, taps.channels[len(taps.channels)-1])
		taps.mu.Unlock()
		n.Close()
	}
	return from, to, channels
}

// newLoad sets a load on a rendezvous.
func newLoad(b testing.TB, key identity.PublicKey, at netip.AddrPort, pid, viewers, size int, plain bool) *load.Load {
	b.Helper()
	from, to, channels := relayed(b, key, at, viewers)
	var frames [][]byte
	for _, c := range channels {
		frames = append(frames, must(wire.AppendChannelData(nil, c, make([]byte, size))))
	}
	l, err := load.New(load.Config{From: from, To: to, Relay: at, Frames: frames, NoOffload: plain, PID: pid})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { l.Close() })
	return l
}

// BenchmarkRelay has our rendezvous, a process of its own, relay from one client to others over loopback. One operation is
// one packet relayed. With "plain" the clients send and receive without GSO and GRO: the packets come one by one.
func BenchmarkRelay(b *testing.B) {
	for _, c := range []struct {
		viewers, size int
		plain         bool
	}{{1, 1200, false}, {1, 1200, true}, {8, 1200, false}, {8, 1200, true}, {1, 160, true}} {
		name := fmt.Sprintf("viewers=%d/bytes=%d/%s", c.viewers, c.size, map[bool]string{false: "offload", true: "plain"}[c.plain])
		b.Run(name, func(b *testing.B) {
			key, at, pid := relayProcess(b)
			l := newLoad(b, key, at, pid, c.viewers, c.size, c.plain)
			b.ResetTimer()
			r, err := l.Run(context.Background(), int64(b.N))
			if err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(r.PerCore(), "packets/core-s")
			b.ReportMetric(float64(r.Packets)/r.Elapsed.Seconds(), "packets/s")
			b.ReportMetric(float64(r.Lost), "lost")
		})
	}
}

// BenchmarkRelayAllocations is the relay in this process, with its load: neither allocates for a packet.
func BenchmarkRelayAllocations(b *testing.B) {
	b.ReportAllocs()
	l := loadHere(b)
	b.ResetTimer()
	if _, err := l.Run(context.Background(), int64(b.N)); err != nil {
		b.Fatal(err)
	}
}

func TestRelayingAllocatesNothing(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector allocates")
	}
	l := loadHere(t)
	const packets = 20_000
	run := func() (mallocs uint64, r load.Result) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		r, err := l.Run(t.Context(), packets)
		if err != nil {
			t.Fatal(err)
		}
		runtime.ReadMemStats(&after)
		return after.Mallocs - before.Mallocs, r
	}
	run()
	mallocs, r := run()
	if mallocs > packets/50 {
		t.Errorf("%d allocations for %d packets", mallocs, packets)
	}
	if r.Packets != packets || r.Lost != 0 || r.CPU <= 0 || r.Elapsed <= 0 {
		t.Errorf("%+v", r)
	}
}

// loadHere sets a load on a rendezvous in this process.
func loadHere(t testing.TB) *load.Load {
	key, at, end := rendezvousFor()
	t.Cleanup(end)
	return newLoad(t, key, at, 0, 1, 1200, false)
}
