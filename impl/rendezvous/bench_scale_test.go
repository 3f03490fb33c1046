package rendezvous

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/session"
	"github.com/punchlab/punchlab/impl/wire"
)

// The benchmarks show what a camera, a keepalive, an introduction and a registration cost with so many cameras online: in the
// processor's time that the server's calls take, so that what is reported for a second is what a core can do, however busy the
// machine is. Sockets come on top (see impl/node).
//
//	go test ./impl/rendezvous -run '^$' -bench Scale

var scales = []int{1_000, 10_000, 100_000, 1_000_000}

// fleet is a server with cameras online. They are confirmed by what confirms a handshake, without the handshake.
type fleet struct {
	s     *Server
	now   time.Time
	n     int
	next  uint64 // of ids, and of keys of those who come later
	spent time.Duration

	cameras []session.Compact // their sides of their sessions
	pinged  int
}

// word is an array that is different for each pair.
func word(i int, kind byte) (k [32]byte) {
	binary.LittleEndian.PutUint64(k[:], uint64(i))
	k[31] = kind
	return k
}

// candidates are what a camera at home with IPv4 and IPv6 reports.
var candidates = []wire.Endpoint{wire.At(addr("192.168.1.20:40000")), wire.At(addr("[2001:db8::20]:40000")), wire.At(addr("198.51.100.7:40000"))}

func newFleet(tb testing.TB, n int) *fleet {
	tb.Helper()
	random := rand.NewChaCha8([32]byte{byte(n), 7})
	key, err := identity.NewKey(random)
	if err != nil {
		tb.Fatal(err)
	}
	s, err := New(Config{Static: key, Rand: random, HandshakesPerSecond: 1 << 30, HandshakesAtMost: 1 << 30, ConnectsPerSecond: 1e9, MaxIntroductions: 1 << 20,
		Expiry: 10 * time.Minute}) // so that none is lost while others are measured
	if err != nil {
		tb.Fatal(err)
	}
	f := &fleet{s: s, now: epoch, n: n, next: 1 << 32}
	for i := range n {
		f.enrol(tb, i, Camera)
		f.now = f.now.Add(f.s.cfg.Keepalive / time.Duration(n))
	}
	return f
}

// at is where a device is.
func at(i int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 40000)
}

// enrol puts a device online.
func (f *fleet) enrol(tb testing.TB, i int, r Role) {
	tb.Helper()
	f.s.box.Begin()
	c, err := f.s.client(f.now, word(i, byte(r)), r)
	if err != nil {
		tb.Fatal(err)
	}
	index := uint32(i)*2654435761 + 1
	for f.s.byIndex[index] != 0 {
		index++
	}
	p := &pending{crypt: session.NewCompact(word(i, 3), word(i, 4), index, uint32(i+1)), remote: at(i), local: local,
		started: f.now.Add(-30 * time.Millisecond), hello: hello{role: r}}
	c.affairs().pending = p
	f.s.byIndex[index] = c.id
	f.s.confirm(f.now, c, p)
	f.s.report(c, &wire.Report{Sequence: 1, Class: wire.Class{Mapping: 1, Filtering: 3, Ports: wire.PortsPreserved}, Candidates: candidates})
	f.s.Ready()
}

// peer is a device's side of its session.
func (f *fleet) peer(i int, r Role) session.Compact {
	c := f.s.known(word(i, byte(r)), r)
	return session.NewCompact(word(i, 4), word(i, 3), uint32(i+1), c.crypt.LocalIndex())
}

// do measures the processor's time that a server takes, the garbage collector's included.
func (f *fleet) do(tb testing.TB, what func()) {
	begun := processor(tb)
	what()
	f.spent += processor(tb) - begun
}

// processor is the time that this process has used of all processors together.
func processor(tb testing.TB) time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &t); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(t.Nano())
}

// give hands a datagram over, and what is due.
func (f *fleet) give(from netip.AddrPort, b []byte) core.Output {
	if at := f.s.Deadline(); core.Due(f.now, at) {
		f.s.HandleTimeout(f.now)
		f.s.Ready()
	}
	f.s.HandlePacket(f.now, from, local, b)
	return f.s.Ready()
}

// measured is give, measured.
func (f *fleet) measured(tb testing.TB, from netip.AddrPort, b []byte) (out core.Output) {
	f.do(tb, func() { out = f.give(from, b) })
	return out
}

// live is what the heap holds.
func live() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// A camera that is online, with its session, its addresses and its places in maps and queues, fits in a KiB.
func TestCameraFitsInAKiB(t *testing.T) {
	const n = 20_000
	before := live()
	f := newFleet(t, n)
	each := (live() - before) / n
	if each > 1024 || f.s.Stats().Online != n {
		t.Errorf("%d bytes a camera", each)
	}
	t.Logf("%d bytes a camera", each)
}

func BenchmarkScaleMemory(b *testing.B) {
	for _, n := range scales {
		b.Run(fmt.Sprint("cameras=", n), func(b *testing.B) {
			fleets = map[int]*fleet{}
			var each float64
			for b.Loop() {
				before := live()
				f := newFleet(b, n)
				each = float64(live()-before) / float64(n)
				runtime.KeepAlive(f)
			}
			b.ReportMetric(each, "B/camera")
			b.ReportMetric((1<<30)/each, "cameras/GiB")
		})
	}
}

// fleets are made once for all benchmarks.
var fleets = map[int]*fleet{}

// scale runs a benchmark with each number of cameras and reports how often the server could do it in a second.
func scale(b *testing.B, unit string, run func(b *testing.B, f *fleet)) {
	for _, n := range scales {
		b.Run(fmt.Sprint("cameras=", n), func(b *testing.B) {
			f := fleets[n]
			if f == nil {
				f = newFleet(b, n)
				fleets[n] = f
			}
			runtime.GC()
			f.spent = 0
			b.ResetTimer()
			run(b, f)
			b.ReportMetric(float64(b.N)/f.spent.Seconds(), unit)
		})
	}
}

// camera is a camera's side of its session.
func (f *fleet) camera(i int) *session.Compact {
	if f.cameras == nil {
		f.cameras = make([]session.Compact, f.n)
	}
	c := &f.cameras[i]
	if c.LocalIndex() == 0 {
		*c = f.peer(i, Camera)
	}
	return c
}

// order is the nth of a round through all cameras in which neighbours are far apart.
func (f *fleet) order(n int) int { return int(uint64(n) * 7_919_777 % uint64(f.n)) }

func mustMarshal(tb testing.TB, m wire.Message) []byte {
	tb.Helper()
	b, err := wire.Marshal(m)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// Cameras ping in turn, each after its keepalive, so that none is in a cache; the timers that fall due are part of it.
func BenchmarkScaleKeepalive(b *testing.B) {
	const batch = 1000
	ping := mustMarshal(b, &wire.Ping{Sequence: 1})
	scale(b, "keepalives/s", func(b *testing.B, f *fleet) {
		for i := range f.n {
			f.camera(i)
		}
		var datagrams [batch][]byte
		b.ResetTimer()
		for done := 0; done < b.N; done += batch {
			n := min(batch, b.N-done)
			for k := range n {
				datagrams[k] = f.camera(f.order(f.pinged+k)).Seal(datagrams[k][:0], ping)
			}
			f.do(b, func() {
				for k := range n {
					f.now = f.now.Add(f.s.cfg.Keepalive / time.Duration(f.n))
					if out := f.give(at(f.order(f.pinged+k)), datagrams[k]); len(out.Packets) != 1 {
						b.Fatalf("%d answers; dropped %v", len(out.Packets), f.s.Stats().Dropped)
					}
				}
			})
			f.pinged += n
		}
	})
}

// A viewer asks for a camera, and the camera takes it.
func BenchmarkScaleIntroduction(b *testing.B) {
	const viewers = 1000
	scale(b, "introductions/s", func(b *testing.B, f *fleet) {
		first := int(f.next)
		f.next += viewers
		var devices [viewers]session.Compact
		for i := range viewers {
			f.enrol(b, first+i, Viewer)
			devices[i] = f.peer(first+i, Viewer)
		}
		b.ResetTimer()
		for k := range b.N {
			f.now = f.now.Add(100 * time.Microsecond)
			f.next++
			i := f.order(k)
			v, c := k%viewers, f.camera(i)
			m := &wire.Connect{ID: f.next, Noise1: make([]byte, 256), Relay: true}
			m.Camera = identity.PublicKey(word(i, byte(Camera))).UID()
			out := f.measured(b, at(first+v), devices[v].Seal(nil, mustMarshal(b, m)))
			if len(out.Packets) != 2 {
				b.Fatalf("%d packets; dropped %v", len(out.Packets), f.s.Stats().Dropped)
			}
			plain, err := c.Open(nil, out.Packets[0].B)
			if err != nil {
				b.Fatal(err)
			}
			in, err := wire.Unmarshal(plain)
			if err != nil {
				b.Fatal(err)
			}
			f.measured(b, at(i), c.Seal(nil, mustMarshal(b, &wire.IntroduceAck{ID: in.(*wire.Introduce).ID})))
		}
	})
}

// A camera that was never seen shakes hands and confirms.
func BenchmarkScaleRegistration(b *testing.B) {
	hello := mustMarshal(b, &wire.Register{Version: wire.ProtocolVersion})
	scale(b, "registrations/s", func(b *testing.B, f *fleet) {
		random := rand.NewChaCha8([32]byte{9, byte(f.n), byte(f.next)})
		for range b.N {
			f.now = f.now.Add(time.Millisecond)
			f.next++
			key, err := identity.NewKey(random)
			if err != nil {
				b.Fatal(err)
			}
			hs, err := session.NewInitiator(session.Config{Static: key, Rand: random, Prologue: []byte(core.PrologueRendezvous)},
				f.s.cfg.Static.Public(), 1, hello)
			if err != nil {
				b.Fatal(err)
			}
			from := at(int(f.next))
			sess, _, err := hs.Finish(f.measured(b, from, hs.Message()).Packets[0].B)
			if err != nil {
				b.Fatal(err)
			}
			if out := f.measured(b, from, sess.Seal(nil, mustMarshal(b, &wire.Ping{Sequence: 1}))); len(out.Events) != 1 {
				b.Fatalf("%d events; dropped %v", len(out.Events), f.s.Stats().Dropped)
			}
		}
	})
}
