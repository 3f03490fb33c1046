package stack

import (
	"bytes"
	"context"
	"crypto/rand"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/punchlab/punchlab/impl/camera"
	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/media"
	"github.com/punchlab/punchlab/impl/node"
	"github.com/punchlab/punchlab/impl/node/load"
	"github.com/punchlab/punchlab/impl/viewer"
	"github.com/punchlab/punchlab/lab/netns/netnstest"
)

// flowTime is how long a flow is measured in a round, after flowWarm.
const (
	flowTime = 600 * time.Millisecond
	flowWarm = 200 * time.Millisecond
	// flowSize is the bytes of a datagram: as large as the media's SRTP packets.
	flowSize = media.DefaultMTU
	// flowPort is the camera's.
	flowPort = 8556
)

// flowed is what a flow did while it was measured.
type flowed struct {
	bytes, packets, frames, lost int64 // that arrived, as the application sees them
	elapsed, cpu                 time.Duration
	mallocs                      uint64
}

func (f flowed) bps() float64     { return 8 * float64(f.bytes) / f.elapsed.Seconds() }
func (f flowed) perCore() float64 { return 8 * float64(f.bytes) / f.cpu.Seconds() }

// window is what may be on the way: which is best depends on the system and the path, so each gets its own best.
var windows = []int{80, 160, 320, 640}

// flow is a system that carries data from the camera's spot to the viewer's, at most so many packets on the way.
type flow struct {
	name string
	run  func(window int) flowed
}

// BenchmarkMediaThroughput carries data from a camera to a viewer as fast as it goes, in turns by
//
//	punchlab   camera ── SRTP (AES-GCM), authenticated and reassembled to frames, each of them hashed ── viewer
//	wireguard  datagrams ── TUN, wireguard-go (ChaCha20-Poly1305), UDP, wireguard-go, TUN ── datagrams
//	raw        datagrams ── UDP ── datagrams
//	single     the same without GSO and GRO, so that a datagram is one for the kernel too
//
// over a bare pair of interfaces and over the lab's routers and fabric. All is in this process but the fabric: processor time is
// both ends' with the applications. Every one is a closed loop with the window that serves it best, datagrams of
// the same size, all but the last sent and received by GSO and GRO.
func BenchmarkMediaThroughput(b *testing.B) {
	netnstest.Require(b, "netns")
	for _, path := range []struct {
		name string
		lay  func(testing.TB) (cam, view spot)
	}{{"veth", veth}, {"lab", homes}} {
		b.Run(path.name, func(b *testing.B) {
			cam, view := path.lay(b)
			flows := []flow{
				{"punchlab", func(w int) flowed { return streamed(b, cam, view, uhd(w)) }},
				{"wireguard", tunnelled(b, cam, view)},
				{"raw", func(w int) flowed { return datagrams(b, cam, view, w, false) }},
				{"single", func(w int) flowed { return datagrams(b, cam, view, w, true) }},
			}
			var names []string
			for _, f := range flows {
				names = append(names, f.name)
			}
			best := make([]int, len(flows))
			for i, f := range flows {
				rates := make([]float64, len(windows))
				for k, w := range windows {
					rates[k] = f.run(w).bps()
				}
				best[i] = windows[slices.Index(rates, slices.Max(rates))]
			}
			speed := newContest("Mbit/s", names...)
			cost := newContest("Mbit/core-s", names...)
			var lost int64
			rounds(b, len(flows), func(i int) {
				f := flows[i].run(best[i])
				speed.add(i, f.bps()/1e6)
				cost.add(i, f.perCore()/1e6)
				lost += f.lost
			})
			speed.report(b)
			cost.report(b)
			b.ReportMetric(float64(lost), "lost")
			for i, f := range flows {
				b.ReportMetric(float64(best[i]), f.name+"-window")
			}
		})
	}
}

// BenchmarkMediaAllocations counts what video costs the heap from the camera's core through two nodes to the viewer's, the
// benchmark's own included: the clip as it is but faster, and pictures of many packets. A frame has its price, since its bytes
// are the application's to keep and it is told of by an event; what counts is what each packet more in a frame adds.
func BenchmarkMediaAllocations(b *testing.B) {
	cam, view := veth(b)
	var small, large, added []float64
	rounds(b, 1, func(int) {
		clip := streamed(b, cam, view, pump{units: media.EmbeddedClip().AccessUnits, window: 16})
		uhd := streamed(b, cam, view, uhd(160))
		per := func(n uint64, of int64) float64 { return float64(n) / float64(of) }
		small, large = append(small, per(clip.mallocs, clip.frames)), append(large, per(uhd.mallocs, uhd.frames))
		packets := per(uint64(uhd.packets), uhd.frames) - per(uint64(clip.packets), clip.frames)
		added = append(added, (large[len(large)-1]-small[len(small)-1])/packets)
	})
	b.ReportMetric(median(small), "allocs/frame-of-9-packets")
	b.ReportMetric(median(large), "allocs/frame-of-41-packets")
	b.ReportMetric(median(added), "allocs/packet")
	b.ReportMetric(slices.Min(added), "allocs/packet-min")
	b.ReportMetric(slices.Max(added), "allocs/packet-max")
}

// measure counts what done grows by while a flow runs at its pace.
func measure(b *testing.B, done func() (bytes, packets, frames int64)) (f flowed) {
	b.Helper()
	time.Sleep(flowWarm)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	begun, cpu := time.Now(), processTime(b, 0)
	b0, p0, n0 := done()
	time.Sleep(flowTime)
	b1, p1, n1 := done()
	f.elapsed, f.cpu = time.Since(begun), processTime(b, 0)-cpu
	runtime.ReadMemStats(&after)
	f.bytes, f.packets, f.frames, f.mallocs = b1-b0, p1-p0, n1-n0, after.Mallocs-before.Mallocs
	return f
}

// pump is a source of access units that come as fast as the viewer gets them: so many are on the way at most. Each is due at
// once, but not before what came before has been sent: later than the time that the camera has been told.
type pump struct {
	units  []media.AccessUnit
	window int // access units

	now    time.Time // as the camera was told last
	begun  time.Time // when PTS 0 was due
	last   time.Duration
	index  int
	tokens chan struct{} // one for each that may be sent
	wait   *time.Timer
}

// clock is the clock of the camera's node, which holds the node's lock as Next's caller does.
func (p *pump) clock() time.Time {
	p.now = time.Now()
	return p.now
}

// uhd is pictures of 40 packets, as a camera of high resolution makes them, window packets at most on the way.
func uhd(window int) pump {
	const packets = 40
	// An access unit delimiter, with which every picture begins for those who come in between, and an IDR slice.
	data := append([]byte{0, 0, 0, 1, 9, 0x10, 0, 0, 0, 1, 0x65}, bytes.Repeat([]byte{0x88}, packets*(flowSize-50))...)
	return pump{units: []media.AccessUnit{{Key: true, Data: data}}, window: max(2, window/packets)}
}

// ready gives a pump that nobody has used its state.
func (p pump) ready() *pump {
	p.tokens = make(chan struct{}, p.window)
	for range p.window {
		p.tokens <- struct{}{}
	}
	p.wait = time.NewTimer(time.Hour)
	return &p
}

// greeting is how many access units are small: what may be sent before the viewer is heard is bounded.
const greeting = 10

// Next waits for a token, but not for ever: what was lost has to be asked for meanwhile.
func (p *pump) Next() (au media.AccessUnit, err error) {
	if p.index == 0 {
		p.begun = p.now
	}
	p.wait.Reset(20 * time.Millisecond)
	select {
	case <-p.tokens:
	case <-p.wait.C:
	}
	if au = (media.AccessUnit{Key: true, Data: idr}); p.index >= greeting {
		au = p.units[(p.index-greeting)%len(p.units)]
	}
	// Later than the last by a tick of RTP's clock at least.
	p.last = max(time.Since(p.begun), p.last+time.Second/90_000+time.Microsecond)
	if p.index == 0 {
		p.last = 0
	}
	au.Index, au.PTS = p.index, p.last
	p.index++
	return au, nil
}

// arrived gives a token back.
func (p *pump) arrived() {
	select {
	case p.tokens <- struct{}{}:
	default:
	}
}

// streamed has our camera send to our viewer directly, and measures what arrives.
func streamed(b *testing.B, cam, view spot, source pump) flowed {
	b.Helper()
	p := source.ready()
	key := newKeyed(b)
	label := identity.Label{Key: key.Public(), RendezvousKey: newKeyed(b).Public(), Secret: identity.Secret{7}}
	nowhere := []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:9")}
	label.Rendezvous = []string{nowhere[0].String()}
	c, err := camera.New(camera.Config{
		Static: key, Rendezvous: nowhere, RendezvousKey: label.RendezvousKey, Secret: label.Secret, Rand: rand.Reader, Listen: true,
		Source: func() media.Source { return p },
	})
	if err != nil {
		b.Fatal(err)
	}
	v, err := viewer.New(viewer.Config{
		Static: newKeyed(b), Rendezvous: nowhere, RendezvousKey: label.RendezvousKey, Rand: rand.Reader,
	})
	if err != nil {
		b.Fatal(err)
	}
	at, err := cam.open(flowPort)
	if err != nil {
		b.Fatal(err)
	}
	var gotBytes, gotPackets, gotFrames atomic.Int64
	opt := node.Options{ReadBuffer: 8 << 20, Now: p.clock}
	camNode, err := node.New(c, []*net.UDPConn{cam.listen(b, netip.IPv4Unspecified(), flowPort)}, opt)
	if err != nil {
		b.Fatal(err)
	}
	defer camNode.Close()
	opt.Now, opt.Observe = nil, func(e any) {
		if f, ok := e.(viewer.FrameReceived); ok {
			gotBytes.Add(int64(len(f.Frame.Data)))
			gotPackets.Add(int64(f.Frame.Packets))
			gotFrames.Add(1)
			p.arrived()
		}
	}
	viewNode, err := node.New(v, []*net.UDPConn{view.listen(b, netip.IPv4Unspecified(), 0)}, opt)
	if err != nil {
		b.Fatal(err)
	}
	defer viewNode.Close()
	camNode.Do(func(now time.Time) { err = c.Start(now) })
	if err != nil {
		b.Fatal(err)
	}
	viewNode.Do(func(now time.Time) { err = v.ConnectDirect(now, label, at, "port-forward") })
	if err != nil {
		b.Fatal(err)
	}
	for end := time.Now().Add(joinTimeout); gotFrames.Load() < 2*greeting; runtime.Gosched() {
		if time.Now().After(end) {
			b.Fatal("the camera's video does not come")
		}
	}
	f := measure(b, func() (int64, int64, int64) { return gotBytes.Load(), gotPackets.Load(), gotFrames.Load() })
	viewNode.Do(func(time.Time) { f.lost = int64(v.Stats().Quality.Lost) })
	return f
}

// datagrams has plain UDP carry them.
func datagrams(b *testing.B, cam, view spot, window int, single bool) flowed {
	b.Helper()
	at, err := cam.open(flowPort)
	if err != nil {
		b.Fatal(err)
	}
	from, to := cam.listen(b, netip.IPv4Unspecified(), flowPort), view.listen(b, netip.IPv4Unspecified(), 0)
	return flood(b, from, to, at, window, single)
}

// flood has the receiver show itself at the sender's address, and then sends it datagrams.
func flood(b *testing.B, from, to *net.UDPConn, at netip.AddrPort, window int, single bool) (f flowed) {
	b.Helper()
	hello := []byte("hello")
	_ = from.SetReadDeadline(time.Now().Add(joinTimeout))
	if _, err := to.WriteToUDPAddrPort(hello, at); err != nil {
		b.Fatal(err)
	}
	_, seen, err := from.ReadFromUDPAddrPort(make([]byte, 16))
	if err != nil {
		b.Fatal(err)
	}
	_ = from.SetReadDeadline(time.Time{})
	l, err := load.New(load.Config{
		From: from, To: []*net.UDPConn{to}, Relay: seen, Frames: [][]byte{make([]byte, flowSize)}, Window: window,
		NoOffload: single,
	})
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	run := func(d time.Duration) {
		f = flowed{}
		cpu := processTime(b, 0)
		for begun := time.Now(); f.elapsed < d; f.elapsed = time.Since(begun) {
			r, err := l.Run(context.Background(), 20*int64(window))
			if err != nil {
				b.Fatal(err)
			}
			f.packets += r.Packets
			f.lost += r.Lost
		}
		f.cpu = processTime(b, 0) - cpu
		f.bytes = f.packets * flowSize
	}
	run(flowWarm)
	run(flowTime)
	return f
}
