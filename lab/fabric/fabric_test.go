package fabric

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/punchlab/punchlab/lab/link"
	"github.com/punchlab/punchlab/lab/packet"
	"pgregory.net/rapid"
)

// sink counts what it is given.
type sink struct {
	n      int
	refuse bool
}

func (s *sink) Deliver(*Packet) bool { s.n++; return !s.refuse }

var srcAddr, dstAddr = netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("198.51.100.1")

// pair attaches two uplinks of one profile and returns the first, and the sink of the second.
func pair(t testing.TB, n *Net, p link.Profile) (*Uplink, *sink) {
	t.Helper()
	to := &sink{}
	from, err := n.Attach(UplinkConfig{Name: "a", Routed: []netip.Prefix{netip.PrefixFrom(srcAddr, 32)}, Profile: p, Output: &sink{}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.Attach(UplinkConfig{Name: "b", Routed: []netip.Prefix{netip.PrefixFrom(dstAddr, 32)}, Profile: p, Output: to}); err != nil {
		t.Fatal(err)
	}
	return from, to
}

func udp(size int) []byte {
	return packet.AppendUDP(nil, netip.AddrPortFrom(srcAddr, 1), netip.AddrPortFrom(dstAddr, 2), make([]byte, size-28))
}

var busy = link.Profile{
	Up:   link.Impairment{Delay: 10 * time.Millisecond, Jitter: time.Millisecond, Loss: 0.01, Duplicate: 0.01, Corrupt: 0.01, Rate: 1e9, QueueBytes: 1 << 20},
	Down: link.Impairment{Delay: 20 * time.Millisecond, Jitter: time.Millisecond, KeepOrder: true, Rate: 1e9, QueueBytes: 1 << 20},
}

func TestPacketAllocatesNothing(t *testing.T) {
	f := New(Config{})
	u, to := pair(t, f.NewNet(1), busy)
	b, now := udp(1200), time.Duration(0)
	step := func() {
		now += 20 * time.Microsecond
		p := f.Get()
		p.Set(b)
		u.Send(now, p)
		f.Deliver(now, 0)
	}
	for range 10_000 { // until pool, heap and flow tables have grown to what is in flight
		step()
	}
	if n := testing.AllocsPerRun(10_000, step); n != 0 {
		t.Errorf("%v allocations for a packet", n)
	}
	if to.n < 15_000 {
		t.Errorf("%d of 20000 packets arrived", to.n)
	}
}

// TestPoolIsClosed: every packet comes back, whatever became of it.
func TestPoolIsClosed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const limit = 30
		f := New(Config{MaxPackets: limit})
		n := f.NewNet(1)
		p := busy
		p.Up.Loss, p.Up.Duplicate, p.Down.MTU = 0.3, 0.5, 1000
		out := &sink{refuse: rapid.Bool().Draw(t, "refuse")}
		u, err := n.Attach(UplinkConfig{Name: "a", Routed: []netip.Prefix{netip.PrefixFrom(srcAddr, 32), netip.PrefixFrom(dstAddr, 32)}, Profile: p, Output: out})
		if err != nil {
			t.Fatal(err)
		}
		var now time.Duration
		sizes := []int{28, 100, 1000, 1100, 1600}
		for _, op := range rapid.SliceOfN(rapid.IntRange(0, 40), 1, 200).Draw(t, "ops") {
			now += time.Duration(op) * 100 * time.Microsecond
			if op == 40 {
				n.Reset(1)
				continue
			}
			k := f.Get()
			if k == nil {
				continue
			}
			b := udp(sizes[op%len(sizes)])
			b[8] = uint8(op % 5 * 16)
			k.Set(b[:len(b)-op%2])
			u.Send(now, k)
		}
		f.Deliver(now+time.Hour, 0)
		if back := len(f.pool.free) + f.pool.left; back != limit {
			t.Errorf("%d packets of %d came back", back, limit)
		}
	})
}

// TestConservation: each packet that a site sent is delivered, dropped for a cause, or still in flight.
func TestConservation(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := New(Config{})
		n := f.NewNet(rapid.Uint64().Draw(t, "seed"))
		p := busy
		p.Up.Duplicate = 0
		out := &sink{}
		var ups []*Uplink
		for i, a := range []netip.Addr{srcAddr, dstAddr} {
			u, err := n.Attach(UplinkConfig{Name: fmt.Sprint(i), Routed: []netip.Prefix{netip.PrefixFrom(a, 32)}, Profile: p, Output: out})
			if err != nil {
				t.Fatal(err)
			}
			ups = append(ups, u)
		}
		sent := rapid.IntRange(0, 2000).Draw(t, "sent")
		b := udp(1000)
		for range sent {
			k := f.Get()
			k.Set(b)
			ups[0].Send(0, k)
		}
		at := rapid.Int64Range(0, int64(60*time.Millisecond)).Draw(t, "until")
		f.Deliver(time.Duration(at), 0)
		s := n.Stats(nil)
		drops := s.Uplinks[0].Drops.Total() + s.Uplinks[1].Drops.Total()
		if got := s.Uplinks[1].Down.Packets + drops + uint64(len(f.heap)); got != uint64(sent) {
			t.Errorf("%d delivered, %d dropped, %d in flight, %d sent", s.Uplinks[1].Down.Packets, drops, len(f.heap), sent)
		}
	})
}

// TestStepSizeDoesNotMatter: delivery order and decisions are the same however seldom the driver comes.
func TestStepSizeDoesNotMatter(t *testing.T) {
	play := func(step time.Duration) (order []byte) {
		f := New(Config{})
		n := f.NewNet(9)
		var got recorder
		u, err := n.Attach(UplinkConfig{Name: "a", Routed: []netip.Prefix{netip.PrefixFrom(dstAddr, 32)}, Profile: busy, Output: &got})
		if err != nil {
			t.Fatal(err)
		}
		for i := range byte(200) {
			k := f.Get()
			b := udp(100)
			b[len(b)-1] = i
			k.Set(b)
			u.Send(time.Duration(i)*100*time.Microsecond, k)
		}
		for now := 20 * time.Millisecond; len(f.heap) > 0; now += step {
			f.Deliver(now, 0)
		}
		return got
	}
	fine := play(10 * time.Microsecond)
	for _, step := range []time.Duration{time.Millisecond, 7 * time.Millisecond, time.Second} {
		if got := play(step); !slices.Equal(got, fine) {
			t.Errorf("in steps of %v:\n%v\nfine steps:\n%v", step, got, fine)
		}
	}
}

// recorder keeps the last byte of each packet.
type recorder []byte

func (r *recorder) Deliver(p *Packet) bool {
	*r = append(*r, p.Bytes()[len(p.Bytes())-1])
	return true
}

func TestDeliverLimit(t *testing.T) {
	f := New(Config{})
	u, to := pair(t, f.NewNet(1), link.Profile{Up: link.Impairment{Delay: time.Millisecond}})
	for range 10 {
		k := f.Get()
		k.Set(udp(100))
		u.Send(0, k)
	}
	if more := f.Deliver(time.Second, 14); !more || to.n != 4 { // ten ends of uplinks come first
		t.Errorf("limit 4: %d delivered, more %v", to.n, more)
	}
	if more := f.Deliver(time.Second, 0); more || to.n != 10 {
		t.Errorf("no limit: %d delivered, more %v", to.n, more)
	}
}

func TestTap(t *testing.T) {
	f := New(Config{})
	var seen []string
	n := f.NewNet(1)
	u, err := n.Attach(UplinkConfig{Name: "a", Routed: []netip.Prefix{netip.PrefixFrom(dstAddr, 32)}, Output: &sink{},
		Profile: link.Profile{Up: link.Impairment{Delay: time.Second}, Down: link.Impairment{MTU: 500}}})
	if err != nil {
		t.Fatal(err)
	}
	n.SetTap(func(e TapEvent) {
		seen = append(seen, fmt.Sprint(e.T, " ", e.Where, " ", e.Name, " ", e.Point, " ", e.Cause, " ", len(e.Packet), " id ", e.ID))
	})
	for _, size := range []int{100, 600, 1600} {
		k := f.Get()
		k.Set(udp(size))
		u.Send(time.Second, k)
	}
	f.Deliver(time.Minute, 0)
	want := []string{"1s uplink a sent passed 100 id 1", "1s uplink a sent passed 600 id 2", "1s uplink a sent too big 1600 id 3",
		"2s uplink a arrived passed 100 id 1", "2s uplink a arrived too big 600 id 2", "2s uplink a delivered passed 100 id 1"}
	if !slices.Equal(seen, want) {
		t.Errorf("tap saw %q, want %q", seen, want)
	}
}

func TestRefusedByDevice(t *testing.T) {
	f := New(Config{})
	n := f.NewNet(1)
	u, to := pair(t, n, link.Profile{})
	to.refuse = true
	k := f.Get()
	k.Set(udp(100))
	u.Send(0, k)
	if s := n.Stats(nil); s.Uplinks[1].Drops[link.Device] != 1 || s.Uplinks[1].Down.Packets != 0 {
		t.Errorf("%+v, want a drop by the device", s.Uplinks[1])
	}
}

// TestHeapSorts fills heaps of several levels as traffic does, with times that mostly rise: an order that is broken
// deep down shows only then, and seldom.
func TestHeapSorts(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 0))
		var h eventHeap
		var now time.Duration
		for i := range uint64(1000) {
			now += time.Duration(r.IntN(10))
			h.push(event{due: now + time.Duration(r.Uint64N(1+7*seed)), seq: i})
		}
		for last := (event{due: -1}); len(h) > 0; {
			e := h.pop()
			if !last.before(&e) {
				t.Fatalf("seed %d: popped %v after %v, %d left", seed, e, last, len(h))
			}
			last = e
		}
	}
}

func TestRoutesMatchPrefixes(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		var table routes[*Uplink]
		byPrefix := map[netip.Prefix]*Uplink{}
		for i := range 8 {
			p := randomPrefix(r)
			if table.owner(p) != nil {
				continue
			}
			u := &Uplink{name: fmt.Sprint(i)}
			table.add(p, u)
			byPrefix[p.Masked()] = u
		}
		for range 50 {
			a := randomPrefix(r).Addr()
			var want *Uplink
			best := -1
			for p, u := range byPrefix {
				if p.Contains(a) && p.Bits() > best {
					want, best = u, p.Bits()
				}
			}
			got := table.lookup6(a.As16())
			if a.Is4() {
				got = table.lookup4(a.As4())
			}
			if got != want {
				t.Fatalf("%v leads to %v, want %v", a, got, want)
			}
		}
	}
}

// randomPrefix draws from few bits, so that prefixes nest and addresses hit them.
func randomPrefix(r *rand.Rand) netip.Prefix {
	bits := byte(r.IntN(4))
	if r.IntN(2) == 0 {
		return netip.PrefixFrom(netip.AddrFrom4([4]byte{bits << 6, 0, 0, byte(r.IntN(4))}), r.IntN(33))
	}
	return netip.PrefixFrom(netip.AddrFrom16([16]byte{0: bits << 6, 7: byte(r.IntN(2)), 8: bits << 6, 15: byte(r.IntN(4))}), r.IntN(129))
}

// TestHeldIsLateness: a packet that waited unread is late by that, and still due by when it was read; a tap is told when it was delivered.
func TestHeldIsLateness(t *testing.T) {
	f := New(Config{})
	n := f.NewNet(1)
	u, to := pair(t, n, link.Profile{Up: link.Impairment{Delay: 5 * time.Millisecond, Duplicate: 1}})
	k := f.Get()
	k.Set(udp(100))
	k.Held = 3 * time.Millisecond
	n.SetTap(func(e TapEvent) {
		if at := e.T + e.Late; e.Point == Delivered && at != 16*time.Millisecond {
			t.Errorf("it was delivered at %v, says the tap, not at 16ms", at)
		}
	})
	u.Send(10*time.Millisecond, k)
	if f.Deliver(15*time.Millisecond-1, 0); to.n != 0 {
		t.Error("it was delivered early")
	}
	f.Deliver(16*time.Millisecond, 0)
	if l := n.Stats(nil).Lateness; l.N != 2 || l.Max != 4*time.Millisecond || l.P50 != l.Max {
		t.Errorf("lateness %+v of a packet and its copy, want 4ms", l)
	}
	if k := f.Get(); k.Held != 0 {
		t.Errorf("a packet from the pool was held for %v", k.Held)
	}
}

func TestHistogramQuantiles(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfN(rapid.Int64Range(0, int64(20*time.Second)), 1, 300).Draw(t, "ns")
		var a, b histogram
		for i, v := range values {
			[]*histogram{&a, &b}[i%2].add(time.Duration(v))
		}
		slices.Sort(values)
		l := summarize(&a, &b)
		for _, q := range []struct {
			p   float64
			got time.Duration
		}{{0.5, l.P50}, {0.99, l.P99}} {
			want := time.Duration(values[int(q.p*float64(len(values)))])
			if q.got < want || float64(q.got) > float64(want)*(1+1.0/perOctave)+64 {
				t.Errorf("quantile %v is %v, want %v", q.p, q.got, want)
			}
		}
		if l.Max != time.Duration(values[len(values)-1]) || l.N != uint64(len(values)) {
			t.Errorf("max %v of %d", l.Max, l.N)
		}
	})
}

func TestRecentLatenessForgets(t *testing.T) {
	f := New(Config{})
	u, _ := pair(t, f.NewNet(1), link.Profile{Up: link.Impairment{Delay: time.Millisecond}})
	k := f.Get()
	k.Set(udp(100))
	u.Send(0, k)
	f.Deliver(6*time.Millisecond, 0)
	for _, c := range []struct {
		now time.Duration
		n   uint64
	}{{7 * time.Millisecond, 1}, {600 * time.Millisecond, 1}, {1200 * time.Millisecond, 0}} {
		if l := f.Lateness(c.now); l.N != c.n || c.n > 0 && l.Max != 5*time.Millisecond {
			t.Errorf("at %v: %+v, want %d packets", c.now, l, c.n)
		}
	}
}
