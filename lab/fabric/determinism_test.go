package fabric

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	_ "github.com/punchlab/punchlab/lab/internal/steady"
	"github.com/punchlab/punchlab/lab/link"
	"github.com/punchlab/punchlab/lab/nat"
	"github.com/punchlab/punchlab/lab/packet"
	"pgregory.net/rapid"
)

// world is a net of every kind of thing, and who can send in it:
//
//	viewer ─ home ─┐
//	               cgn ──── core ──── peer
//	camera ─ flat ─┘         │
//	guest ─ solo ────────────┘
type world struct {
	net     *Net
	senders []sender
	uplinks []*Uplink
	log     []string
	base    time.Duration // what the log's times are counted from
}

// plan is what happens in a world.
type plan struct {
	profiles [3]link.Profile // of cgn, solo and peer
	presets  [4]string       // of cgn, home, flat and solo
	ipv6     nat.IPv6Mode    // of solo
	steps    []step
}

type step struct {
	after     time.Duration
	from      int // sender; beyond them: a fault
	to, port  int
	sport     int
	size, ttl int
	df        bool
	flag      bool
}

var destinations = []string{"198.51.100.1", "203.0.113.1", "203.0.113.2", "192.168.1.2", "10.0.0.2", "100.64.0.3", "192.168.1.1"}
var destinations6 = []string{"2001:db8::2", "64:ff9b::198.51.100.1", "2001:db8:1::2"}
var sources = []string{"192.168.1.2", "192.168.1.2", "10.0.0.2", "198.51.100.1", "2001:db8:1::2", "2001:db8::2"}

func drawPlan(t *rapid.T) (p plan) {
	names := []string{"full-cone", "port-restricted-cone", "symmetric", "symmetric-sequential", "cgn-port-block", "linux", "open", "apdm-eif"}
	for i := range p.presets {
		p.presets[i] = rapid.SampledFrom(names).Draw(t, "nat")
	}
	p.ipv6 = rapid.SampledFrom([]nat.IPv6Mode{nat.IPv6None, nat.IPv6Open, nat.IPv6Firewall, nat.NAT64}).Draw(t, "ipv6")
	for i := range p.profiles {
		for _, d := range []*link.Impairment{&p.profiles[i].Up, &p.profiles[i].Down} {
			*d = rapid.SampledFrom([]link.Impairment{
				{},
				{Delay: 5 * time.Millisecond, Jitter: 2 * time.Millisecond, Loss: 0.2},
				{Delay: time.Millisecond, Rate: 1_000_000, QueueBytes: 5_000, Duplicate: 0.3},
				{Delay: 3 * time.Millisecond, Jitter: 3 * time.Millisecond, KeepOrder: true, Corrupt: 0.2, MTU: 700},
				{Rate: 500_000, AQM: link.CoDel, Reorder: 0.3, ReorderBy: 4 * time.Millisecond},
			}).Draw(t, "impairment")
		}
	}
	for range rapid.IntRange(1, 80).Draw(t, "steps") {
		s := step{from: rapid.IntRange(0, len(sources)).Draw(t, "from"), to: rapid.IntRange(0, len(destinations)-1).Draw(t, "to"),
			port: rapid.IntRange(1000, 1003).Draw(t, "port"), sport: rapid.IntRange(1000, 1003).Draw(t, "sport"),
			size: rapid.SampledFrom([]int{10, 600, 1400}).Draw(t, "size"), ttl: rapid.SampledFrom([]int{1, 2, 3, 4, 64}).Draw(t, "ttl"),
			df: rapid.Bool().Draw(t, "df"), flag: rapid.Bool().Draw(t, "flag")}
		s.after = time.Duration(rapid.SampledFrom([]int{0, 0, 1, 300, 5_000, 400_000}).Draw(t, "after")) * time.Microsecond
		p.steps = append(p.steps, s)
	}
	return p
}

// build makes the plan's world. Its events go to its log without what differs between drivers: how late they were.
func build(t *rapid.T, f *Fabric, p plan, seed uint64) *world {
	w := &world{net: f.NewNet(seed)}
	router := func(i int, c RouterConfig) *Router {
		b, ok := nat.Lookup(p.presets[i])
		if !ok {
			t.Fatal("no preset ", p.presets[i])
		}
		if i == 3 && (p.ipv6 != nat.NAT64 || b.Kind == nat.Translate) {
			b.IPv6 = p.ipv6
		}
		var err error
		external := singles(c.WAN)
		if c.Table, err = nat.NewTable(nat.Config{Behavior: b, External: external, LAN: c.LAN}); err != nil {
			t.Fatal(err)
		}
		r, err := w.net.AttachRouter(c)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	station := func(r *Router, name string, addrs ...netip.Prefix) {
		s, err := r.Attach(StationConfig{Name: name, Addrs: addrs, Output: &sink{}})
		if err != nil {
			t.Fatal(err)
		}
		w.senders = append(w.senders, s)
	}
	one := func(a string) []netip.Prefix { return hosts(netip.MustParseAddr(a)) }
	lan := []netip.Prefix{lanPrefix4}
	cgn := router(0, RouterConfig{Name: "cgn", WAN: one("203.0.113.1"), LAN: []netip.Prefix{netip.MustParsePrefix("100.64.0.0/10")}, Gateway: netip.MustParseAddr("100.64.0.1"), Profile: p.profiles[0]})
	station(router(1, RouterConfig{Name: "home", WAN: one("100.64.0.2"), LAN: lan, Gateway: gateway4, Behind: cgn}), "viewer", one("192.168.1.2")...)
	station(router(2, RouterConfig{Name: "flat", WAN: one("100.64.0.3"), LAN: lan, Gateway: gateway4, Behind: cgn}), "camera", one("192.168.1.2")...)
	solo := router(3, RouterConfig{Name: "solo", WAN: append(one("203.0.113.2"), lanPrefix6), LAN: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/24"), lanPrefix6},
		Gateway: netip.MustParseAddr("10.0.0.1"), Gateway6: gateway6, Profile: p.profiles[1]})
	station(solo, "guest", hosts(netip.MustParseAddr("10.0.0.2"), inner6)...)
	peer, err := w.net.Attach(UplinkConfig{Name: "peer", Routed: hosts(dstAddr, tcpDst6.Addr()), Profile: p.profiles[2], Output: &sink{}})
	if err != nil {
		t.Fatal(err)
	}
	w.senders = append(w.senders, peer, w.senders[2], peer)
	w.uplinks = []*Uplink{cgn.Uplink(), solo.Uplink(), peer}
	w.net.SetTap(func(e TapEvent) {
		w.log = append(w.log, fmt.Sprint(e.T-w.base, e.Where, e.Name, e.Point, e.Cause, e.Reason, e.Old, e.New, e.ID, e.Parent, e.Packet))
	})
	return w
}

// play lets the plan happen, from base on; between two steps the driver comes by every so often, or not at all.
func (w *world) play(f *Fabric, p plan, base, every time.Duration) []string {
	now := base
	w.base, w.log = base, nil
	for i, s := range p.steps {
		for end := now + s.after; now < end; {
			now = min(now+every, end)
			f.Deliver(now, 0)
		}
		if s.from == len(sources) {
			w.uplinks[s.to%len(w.uplinks)].SetDown(s.flag)
			continue
		}
		src, dst := netip.MustParseAddr(sources[s.from]), netip.MustParseAddr(destinations[s.to])
		if src.Is6() {
			dst = netip.MustParseAddr(destinations6[s.to%len(destinations6)])
		}
		b := packet.AppendUDP(nil, netip.AddrPortFrom(src, uint16(s.sport)), netip.AddrPortFrom(dst, uint16(s.port)), make([]byte, s.size))
		if src.Is4() {
			b[4], b[5] = byte(i>>8), byte(i)
		}
		setTTL(b, uint8(s.ttl), s.df)
		sendBytes(f, w.senders[s.from], now, b)
	}
	for end := now + time.Minute; now < end; {
		now = min(now+1000*every, end)
		f.Deliver(now, 0)
	}
	for _, u := range w.uplinks {
		u.SetDown(false)
	}
	return slices.Clone(w.log)
}

// TestSameInputsSameOutputs: what was sent when, and the seed, decide every translation, drop, copy and time, byte for
// byte: however seldom the driver comes, in a fabric of its own or beside another net, after a Reset or in a new net.
func TestSameInputsSameOutputs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, seed := drawPlan(t), rapid.Uint64().Draw(t, "seed")
		f := New(Config{})
		w := build(t, f, p, seed)
		want := w.play(f, p, 0, 100*time.Microsecond)

		g := New(Config{})
		noisy, other := build(t, g, p, seed+1), build(t, g, p, seed)
		noisy.net.SetTap(nil)
		noisy.play(g, p, 0, time.Second)
		other.net.Reset(seed)
		for _, c := range []struct {
			what string
			got  []string
		}{
			{"in big steps", build(t, f, p, seed).play(f, p, 2*time.Minute, 7*time.Millisecond)},
			{"in one step, beside another net", other.play(g, p, 2*time.Minute, time.Hour)},
		} {
			if diff := cmp.Diff(want, c.got); diff != "" {
				t.Fatalf("%s:\n%s", c.what, diff)
			}
		}
		w.net.Reset(seed)
		if diff := cmp.Diff(want, w.play(f, p, 10*time.Minute, time.Millisecond)); diff != "" {
			t.Fatalf("after a reset:\n%s", diff)
		}
		if total := len(f.pool.free) + f.pool.left; total != DefaultMaxPackets {
			t.Fatalf("%d of %d packets came back", total, DefaultMaxPackets)
		}
	})
}

// TestSeedDecides: another seed is another order of random ports.
func TestSeedDecides(t *testing.T) {
	ports := func(seed uint64) (ps []uint16) {
		h := newHome(t, preset(t, "symmetric"), link.Profile{}, false)
		h.net.Reset(seed)
		for port := range uint16(8) {
			sendBytes(h.fab, h.station, 0, packet.AppendUDP(nil, netip.AddrPortFrom(inner4, 1000), netip.AddrPortFrom(dstAddr, 1+port), nil))
		}
		for _, b := range h.outside.packets {
			ps = append(ps, endpointsOf(b).Src.Port())
		}
		return ps
	}
	one, two := ports(1), ports(2)
	if len(one) != 8 || slices.Equal(one, two) {
		t.Errorf("seeds 1 and 2 give ports %v and %v", one, two)
	}
	if again := ports(1); !slices.Equal(one, again) {
		t.Errorf("seed 1 gives ports %v, then %v", one, again)
	}
}
