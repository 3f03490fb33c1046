package nat_test

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/punchlab/punchlab/lab/nat"
	"pgregory.net/rapid"
)

// world is an internet of tables: hosts behind nested routers, and packets that take no time.
type world struct {
	t        failer
	now      time.Duration
	internet *lan
	routers  int
	hosts    int
	seed     uint64
}

// lan is the internet, or what is behind a router.
type lan struct {
	table   *nat.Table // nil for the internet
	outer   *lan
	prefix  netip.Prefix
	routed  []netip.Prefix // behind routers in here that do not translate
	own     []netip.Addr   // external addresses of the table
	public  bool           // the table does not translate
	inner   []*lan
	inboxes map[netip.AddrPort][]netip.AddrPort // sources of what has arrived
	addrs   []netip.Addr
}

func newWorld(t failer) *world {
	return &world{t: t, internet: &lan{prefix: netip.MustParsePrefix("198.51.0.0/16"), inboxes: map[netip.AddrPort][]netip.AddrPort{}}}
}

// plan gives each router of a path its LAN.
func (w *world) plan(path []nat.Behavior) (prefixes []netip.Prefix) {
	for range path {
		w.routers++
		prefixes = append(prefixes, netip.MustParsePrefix(fmt.Sprintf("10.%d.0.0/16", w.routers)))
	}
	return prefixes
}

// exposed are the LANs of a path that are seen from its outer end, since no router in between translates.
func exposed(path []nat.Behavior, prefixes, below []netip.Prefix) (seen []netip.Prefix) {
	for i := len(path) - 1; i >= 0; i-- {
		if path[i].Kind != nat.NoNAT {
			return seen
		}
		seen = append(seen, prefixes[i])
	}
	return append(seen, below...)
}

// behind hangs a path of routers on a network. Below is what will be exposed in its innermost LAN.
func (w *world) behind(outer *lan, path []nat.Behavior, prefixes, below []netip.Prefix) *lan {
	n := outer
	for i := len(path) - 1; i >= 0; i-- {
		b := path[i]
		inner := &lan{outer: n, prefix: prefixes[i], public: b.Kind == nat.NoNAT, inboxes: map[netip.AddrPort][]netip.AddrPort{}}
		inner.routed = exposed(path[:i], prefixes, below)
		c := nat.Config{Behavior: b, Seed: w.seed<<16 | uint64(w.routers), LAN: append([]netip.Prefix{prefixes[i]}, inner.routed...)}
		if !inner.public {
			inner.own = []netip.Addr{n.address(w)}
			c.External = inner.own
		}
		table, err := nat.NewTable(c)
		if err != nil {
			w.t.Fatalf("%v: %v", b, err)
		}
		inner.table = table
		n.inner = append(n.inner, inner)
		n = inner
	}
	return n
}

// address is a fresh one in a network.
func (n *lan) address(w *world) netip.Addr {
	w.hosts++
	b := n.prefix.Addr().As4()
	binary.BigEndian.PutUint16(b[2:], uint16(w.hosts))
	return netip.AddrFrom4(b)
}

func (n *lan) host(w *world) netip.Addr {
	a := n.address(w)
	n.addrs = append(n.addrs, a)
	return a
}

// leads tells whether the router of n leads to an address from outside.
func (n *lan) leads(a netip.Addr) bool {
	return slices.Contains(n.own, a) || n.public && (n.prefix.Contains(a) || slices.ContainsFunc(n.routed, func(p netip.Prefix) bool { return p.Contains(a) }))
}

// flight is a packet on its way down from a network.
type flight struct {
	at *lan
	b  []byte
}

// rise takes a UDP packet up to where its destination is known, which opens mappings and filters on the way. A hairpin
// turns around at once.
func (w *world) rise(n *lan, from, to netip.AddrPort) (f flight, ok bool) {
	b := udp(from, to, []byte("probe"))
	for {
		dst := netip.AddrFrom4([4]byte(b[16:20]))
		if slices.Contains(n.addrs, dst) || slices.ContainsFunc(n.inner, func(x *lan) bool { return x.leads(dst) }) {
			return flight{n, b}, true
		}
		if n.table == nil {
			return flight{}, false
		}
		v := n.table.Translate(w.now, nat.Inside, b)
		if v.Reason != nat.Passed {
			return flight{}, false
		}
		b = v.Packet
		if v.To == nat.Inside {
			return flight{n, b}, true
		}
		n = n.outer
	}
}

// fall delivers a packet, or not.
func (w *world) fall(f flight) {
	n, b := f.at, f.b
	for {
		dst := netip.AddrFrom4([4]byte(b[16:20]))
		if slices.Contains(n.addrs, dst) {
			at := netip.AddrPortFrom(dst, binary.BigEndian.Uint16(b[22:]))
			n.inboxes[at] = append(n.inboxes[at], netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[12:16])), binary.BigEndian.Uint16(b[20:])))
			checkSums(w.t, b)
			return
		}
		i := slices.IndexFunc(n.inner, func(x *lan) bool { return x.leads(dst) })
		if i < 0 {
			return
		}
		n = n.inner[i]
		v := n.table.Translate(w.now, nat.Outside, b)
		if v.Reason != nat.Passed {
			return
		}
		b = v.Packet
	}
}

// send does both.
func (w *world) send(n *lan, from, to netip.AddrPort) {
	if f, ok := w.rise(n, from, to); ok {
		w.fall(f)
	}
}

// takes empties an inbox.
func (n *lan) takes(at netip.AddrPort) []netip.AddrPort {
	got := n.inboxes[at]
	delete(n.inboxes, at)
	return got
}

// classify plays RFC 5780's tests from a fresh host behind a path.
func classify(t failer, path []nat.Behavior) nat.Class {
	w := newWorld(t)
	l := w.behind(w.internet, path, w.plan(path), nil)
	host := l.host(w)
	srv := [2]netip.Addr{w.internet.host(w), w.internet.host(w)}
	server := func(addr, port int) netip.AddrPort { return netip.AddrPortFrom(srv[addr], uint16(3478+port)) }
	port := uint16(50000)
	socket := func() netip.AddrPort { port++; return netip.AddrPortFrom(host, port) }
	ask := func(from, to netip.AddrPort) (netip.AddrPort, bool) {
		w.send(l, from, to)
		got := w.internet.takes(to)
		if len(got) == 0 {
			return netip.AddrPort{}, false
		}
		return got[0], true
	}
	passes := func(from netip.AddrPort) bool {
		s := socket()
		seen, _ := ask(s, server(0, 0))
		w.send(w.internet, from, seen)
		return len(l.takes(s)) > 0
	}
	local := socket()
	var seen [3]netip.AddrPort
	for i, s := range []netip.AddrPort{server(0, 0), server(1, 0), server(1, 1)} {
		var ok bool
		if seen[i], ok = ask(local, s); !ok {
			return nat.Class{NoUDP: true}
		}
	}
	c := nat.Class{Mapping: nat.AddressAndPortDependent, Filtering: nat.AddressAndPortDependent, Translated: seen[0] != local, PortPreserved: seen[0].Port() == local.Port()}
	switch {
	case seen[0] == seen[1] && seen[1] == seen[2]:
		c.Mapping = nat.EndpointIndependent
	case seen[1] == seen[2]:
		c.Mapping = nat.AddressDependent
	}
	switch {
	case passes(server(1, 1)):
		c.Filtering = nat.EndpointIndependent
	case passes(server(0, 1)):
		c.Filtering = nat.AddressDependent
	}
	x, y := socket(), socket()
	atX, _ := ask(x, server(0, 0))
	atY, _ := ask(y, server(0, 0))
	for range 3 {
		w.send(l, x, atY)
		w.send(l, y, atX)
	}
	c.Hairpin = len(l.takes(x))+len(l.takes(y)) > 0
	return c
}

func TestTablesClassifyAsPromised(t *testing.T) {
	for _, p := range nat.Presets() {
		path := []nat.Behavior{p.Behavior}
		if got, want := classify(t, path), nat.Promise(path); got != want {
			t.Errorf("%s: %+v, promised %+v", p.Name, got, want)
		}
	}
}

// behaviors draws paths of routers, all axes free.
func drawBehavior(t *rapid.T) nat.Behavior {
	if rapid.IntRange(0, 3).Draw(t, "kind") == 0 {
		return rapid.SampledFrom(nat.Presets()).Filter(func(p nat.Preset) bool { return !p.Behavior.InboundFirstRemap }).Draw(t, "preset").Behavior
	}
	return nat.Behavior{
		Mapping: rapid.SampledFrom(dependencies).Draw(t, "mapping"), Filtering: rapid.SampledFrom(dependencies).Draw(t, "filtering"),
		PortAssignment:   rapid.SampledFrom([]nat.PortAssignment{nat.PortPreservation, nat.PortSequential, nat.PortRandom, nat.PortBlock}).Draw(t, "ports"),
		Hairpinning:      rapid.SampledFrom([]nat.Hairpinning{nat.HairpinNone, nat.HairpinInternalSource, nat.HairpinExternalSource}).Draw(t, "hairpin"),
		FilterPerMapping: rapid.Bool().Draw(t, "per mapping"), ReplyByNewMapping: rapid.Bool().Draw(t, "new reply"),
		NoOutboundRefresh: rapid.Bool().Draw(t, "no refresh"), InboundRefresh: rapid.Bool().Draw(t, "inbound refresh"),
	}
}

func TestNestedTablesClassifyAsPromised(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		path := rapid.SliceOfN(rapid.Custom(drawBehavior), 1, 3).Draw(t, "path")
		if turnsInside(path) {
			t.Skip()
		}
		if got, want := classify(t, path), nat.Promise(path); got != want {
			t.Fatalf("%v: %+v, promised %+v", path, got, want)
		}
	})
}

// turnsInside tells whether a router hairpins with internal sources around one inside it that does not translate: that
// one takes them for spoofed, which the model of Promise and Oracle does not.
func turnsInside(path []nat.Behavior) bool {
	for i := range path {
		if i > 0 && path[i].Hairpinning == nat.HairpinInternalSource && path[i-1].Kind == nat.NoNAT {
			return true
		}
	}
	return false
}

// meets plays the oracle's exchange with packets, in one order of who begins. In a round all packets leave before any
// arrives.
func meets(t failer, a, b []nat.Behavior, shared int, begins [2]bool) bool {
	w := newWorld(t)
	carrier := a[len(a)-shared:]
	a, b = a[:len(a)-shared], b[:len(b)-shared]
	inA, inB := w.plan(a), w.plan(b)
	common := w.behind(w.internet, carrier, w.plan(carrier), append(exposed(a, inA, nil), exposed(b, inB, nil)...))
	at := [2]*lan{w.behind(common, a, inA, nil), w.behind(common, b, inB, nil)}
	server := netip.AddrPortFrom(w.internet.host(w), 3478)
	var local [2]netip.AddrPort
	var known [2][]netip.AddrPort
	var heard [2]bool
	for i := range at {
		local[i] = netip.AddrPortFrom(at[i].host(w), uint16(50101+i))
		w.send(at[i], local[i], server)
		got := w.internet.takes(server)
		if len(got) == 0 {
			return false
		}
		known[1-i] = got[:1]
	}
	if shared > 0 {
		known[0], known[1] = append(known[0], local[1]), append(known[1], local[0])
	}
	for range 8 {
		var flights []flight
		for i := range at {
			if begins[i] || heard[i] {
				for _, to := range known[i] {
					if f, ok := w.rise(at[i], local[i], to); ok {
						flights = append(flights, f)
					}
				}
			}
		}
		for _, f := range flights {
			w.fall(f)
		}
		for i := range at {
			for _, from := range at[i].takes(local[i]) {
				heard[i] = true
				if !slices.Contains(known[i], from) {
					known[i] = append(known[i], from)
				}
			}
		}
	}
	return heard[0] && heard[1]
}

// reachable tells whether some order of beginning brings two hosts together.
func reachable(t failer, a, b []nat.Behavior, shared int) bool {
	for _, begins := range [][2]bool{{true, true}, {true, false}, {false, true}} {
		if meets(t, a, b, shared, begins) {
			return true
		}
	}
	return false
}

func TestTablesAgreeWithOracle(t *testing.T) {
	for _, a := range nat.Presets() {
		for _, b := range nat.Presets() {
			if a.Behavior.InboundFirstRemap || b.Behavior.InboundFirstRemap {
				continue // who is late loses, which the oracle does not count
			}
			x, y := []nat.Behavior{a.Behavior}, []nat.Behavior{b.Behavior}
			if got, want := reachable(t, x, y, 0), nat.Oracle(x, y) == nat.Direct; got != want {
				t.Errorf("%s × %s: direct is possible on tables: %v, says the oracle: %v", a.Name, b.Name, got, want)
			}
		}
	}
}

func TestNestedTablesAgreeWithOracle(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		path := rapid.SliceOfN(rapid.Custom(drawBehavior), 0, 2)
		a, b := path.Draw(t, "a"), path.Draw(t, "b")
		common := path.Draw(t, "shared")
		a, b = append(a, common...), append(b, common...)
		if turnsInside(a) || turnsInside(b) {
			t.Skip()
		}
		got, want := reachable(t, a, b, len(common)), nat.OracleShared(a, b, len(common)) == nat.Direct
		// A hairpinned packet arrives before the other host's has left, which the oracle's rounds do not know: there it
		// may be too cautious.
		if want && !got || got && !want && len(common) == 0 {
			t.Fatalf("%v × %v (%d shared): direct is possible on tables: %v, says the oracle: %v", a, b, len(common), got, want)
		}
	})
}

// The remap punishes who is late: his mapping moves.
func TestInboundFirstRemapMovesTheMapping(t *testing.T) {
	for name, want := range map[string]bool{"port-restricted-cone": true, "inbound-first-remap": false, "linux": true, "linux-no-firewall": false} {
		b, _ := nat.Lookup(name)
		w := newWorld(t)
		l := w.behind(w.internet, []nat.Behavior{b}, w.plan([]nat.Behavior{b}), nil)
		server, peer := netip.AddrPortFrom(w.internet.host(w), 3478), netip.AddrPortFrom(w.internet.host(w), 5000)
		local := netip.AddrPortFrom(l.host(w), 5000)
		w.send(l, local, server)
		seen := w.internet.takes(server)[0]
		w.send(w.internet, peer, seen) // too early
		w.send(l, local, peer)
		if got := w.internet.takes(peer)[0]; (got == seen) != want {
			t.Errorf("%s: after an early packet to %v the host sends from %v", name, seen, got)
		}
	}
}

// failer is what testing.T and rapid.T have in common.
type failer interface {
	Helper()
	Fatalf(format string, args ...any)
}
