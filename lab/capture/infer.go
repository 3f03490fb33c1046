package capture

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"github.com/punchlab/punchlab/lab/capture/pcapng"
	"github.com/punchlab/punchlab/lab/nat"
)

// A router of the kernel forwards in microseconds; what takes longer than slack on a busy machine is not paired. Two
// clocks' readings, the kernel's at the monitor and the fabric's, differ by less than skew.
const (
	slack = 100 * time.Millisecond
	skew  = 2 * time.Millisecond
)

// memory is how long an ended mapping is called expired and not missing. nat.Table does so for as long from when it
// noticed the end, which is at the next packet.
const memory = 10 * time.Minute

// infer follows packets through the routers of the kernel, the innermost first, so that a journey grows outwards.
func (f *follower) infer() {
	order := slices.Clone(f.roles.Routers)
	slices.SortStableFunc(order, func(a, b Router) int { return f.roles.depth(b.Name) - f.roles.depth(a.Name) })
	for _, list := range f.at {
		slices.SortStableFunc(list, func(a, b sighting) int { return cmp.Compare(a.t, b.t) })
	}
	for i := range order {
		if r := &order[i]; f.isKernel(r) {
			f.watched[r.node()] = true
			k := kernelRouter{f: f, r: r, cables: f.roles.cables(r), maps: map[mapKey]*mapping{}, passed: map[ends]bool{}, addrs: map[netip.Addr]bool{}}
			k.run()
		}
	}
}

// isKernel reports whether a router is seen by monitors only.
func (f *follower) isKernel(r *Router) bool {
	monitored := false
	for _, i := range f.t.Interfaces {
		if i == (Interface{router, r.Name}) {
			return false
		}
		if _, cable := f.roles.place(i); i.Kind == monitor && slices.Contains(f.roles.cables(r), cable) {
			monitored = true
		}
	}
	return monitored
}

// kernelRouter infers what one router did.
type kernelRouter struct {
	f      *follower
	r      *Router
	cables []string            // on its LAN
	maps   map[mapKey]*mapping // by the external endpoint

	addrs  map[netip.Addr]bool // external ones that were seen
	passed map[ends]bool
	coming []passage // in the order of time
}

type mapKey struct {
	protocol uint8
	external netip.AddrPort
}

// mapping is one that the router was seen to have.
type mapping struct {
	internal netip.AddrPort
	last     time.Duration // when it was refreshed
}

// passage is a packet that comes to the router from one of its sides.
type passage struct {
	*sighting
	cable string // on the LAN by which it comes; empty: from the WAN
	index int    // in kernelRouter.coming
}

// run pairs in the order of time, as each pair teaches a mapping that later packets may use.
func (k *kernelRouter) run() {
	wan := k.f.at[k.r.wan()]
	for i := range wan {
		if !wan[i].out {
			k.coming = append(k.coming, passage{sighting: &wan[i]})
		}
	}
	for _, c := range k.cables {
		lan := k.f.at[c]
		for i := range lan {
			if lan[i].out {
				k.coming = append(k.coming, passage{sighting: &lan[i], cable: c})
			}
		}
	}
	slices.SortStableFunc(k.coming, func(a, b passage) int { return cmp.Compare(a.t, b.t) })
	for i := range k.coming {
		k.coming[i].index = i
	}
	for _, p := range k.coming {
		if p.cable == "" {
			k.inbound(p)
		} else {
			k.outbound(p)
		}
	}
	k.own()
}

func (k *kernelRouter) packet(s *sighting) *Packet { return &k.f.t.Packets[s.packet] }

func (k *kernelRouter) outbound(p passage) {
	a := k.packet(p.sighting)
	if s := k.find(k.r.wan(), true, p, k.mapsOut, sameDst); s != nil {
		k.pair(p, s)
		k.learn(a, k.packet(s), p.t)
		return
	}
	for _, c := range k.cables { // through the switch, or back by a hairpin
		if c == p.cable && !k.isExternal(a.Dst.Addr()) { // to itself a host sends by a hairpin only
			continue
		}
		if s := k.find(c, false, p, anyEnds, anyEnds); s != nil {
			k.pair(p, s)
			return
		}
	}
	j := &k.f.journeys[k.f.root(p.journey)]
	if k.forItself(a) {
		j.Steps = append(j.Steps, Step{Packet: -1, Node: k.r.node(), T: p.t, At: atDelivered})
		return
	}
	if !k.atEnd(a, p.t) {
		j.Steps = append(j.Steps, Step{Packet: -1, Node: k.r.node(), T: p.t, At: atOutbound, Drop: k.whyNotOut(a, p.t)})
	}
}

func (k *kernelRouter) inbound(p passage) {
	for _, c := range k.cables {
		if s := k.find(c, false, p, k.mapsIn, sameSrc); s != nil {
			a, b := k.packet(p.sighting), k.packet(s)
			k.pair(p, s)
			if m := k.maps[mapKey{a.Protocol, a.Dst}]; m != nil && k.r.Behavior.InboundRefresh {
				m.last = p.t
			} else if m == nil { // a mapping that was made before the capture, or by hand
				k.learn(b.reversed(), a.reversed(), p.t)
			}
			return
		}
	}
	if k.atEnd(k.packet(p.sighting), p.t) {
		return
	}
	j := &k.f.journeys[k.f.root(p.journey)]
	j.Steps = append(j.Steps, Step{Packet: -1, Node: k.r.node(), T: p.t, At: atInbound, Drop: k.whyNotIn(k.packet(p.sighting), p.t)})
}

// reversed has source and destination exchanged.
func (p *Packet) reversed() *Packet {
	q := *p
	q.Src, q.Dst = p.Dst, p.Src
	return &q
}

// pair joins the journeys of a packet before and after the router and notes what changed.
func (k *kernelRouter) pair(p passage, s *sighting) {
	p.paired, s.paired = true, true
	a, b := k.packet(p.sighting), k.packet(s)
	k.passed[ends{a.Protocol, a.Src, a.Dst}] = true
	router := s // at whose step the translation is told
	if p.cable == "" {
		router = p.sighting
	}
	steps := k.f.journeys[k.f.root(router.journey)].Steps
	if i := slices.IndexFunc(steps, func(s Step) bool { return s.Packet == router.packet }); i >= 0 {
		steps[i].Src, steps[i].Dst = changed(a.Src, b.Src), changed(a.Dst, b.Dst)
	}
	k.f.join(p.journey, s.journey)
}

func changed(a, b netip.AddrPort) pcapng.Change {
	if a == b {
		return pcapng.Change{}
	}
	return pcapng.Change{Old: a, New: b}
}

// learn remembers the mapping by which a packet from inside went out.
func (k *kernelRouter) learn(inside, outside *Packet, t time.Duration) {
	key := mapKey{outside.Protocol, outside.Src}
	if outside.Src.Addr() != inside.Src.Addr() {
		k.addrs[outside.Src.Addr()] = true
	}
	m := k.maps[key]
	switch {
	case m == nil || m.internal != inside.Src || t-m.last >= k.timeout(outside.Protocol):
		k.maps[key] = &mapping{internal: inside.Src, last: t}
	case !k.r.Behavior.NoOutboundRefresh:
		m.last = t
	}
}

// isExternal reports whether an address is the router's towards the WAN, or was seen to be: an event may give it others.
func (k *kernelRouter) isExternal(a netip.Addr) bool {
	return k.addrs[a] || slices.Contains(k.r.Addrs, a)
}

// timeout is the idle life of a mapping. TCP's is that of an established connection: the shorter ones would need its
// states.
func (k *kernelRouter) timeout(protocol uint8) time.Duration {
	b := k.r.Behavior
	d, standard := b.UDPTimeout, 2*time.Minute
	switch protocol {
	case 6:
		d, standard = b.TCPEstablished, 2*time.Hour+4*time.Minute
	case 1, 58:
		d, standard = b.ICMPTimeout, time.Minute
	}
	if d == 0 {
		return standard
	}
	return d
}

// forItself reports whether a packet from the LAN is for the router or for many.
func (k *kernelRouter) forItself(p *Packet) bool {
	a := p.Dst.Addr()
	return a.IsMulticast() || a == netip.AddrFrom4([4]byte{255, 255, 255, 255}) ||
		slices.ContainsFunc(k.r.LAN, func(lan netip.Prefix) bool { return lan.Contains(a) })
}

// atEnd reports whether the capture may have ended before a packet's partner was written: it is among the last ones,
// and the router let such packets pass before.
func (k *kernelRouter) atEnd(p *Packet, t time.Duration) bool {
	last := k.f.t.Packets[len(k.f.t.Packets)-1].T
	return last-t < skew && k.passed[ends{p.Protocol, p.Src, p.Dst}]
}

// ends are a packet's, as it came to the router.
type ends struct {
	protocol uint8
	src, dst netip.AddrPort
}

// NotForwarded is the reason of an inferred drop on the way out for which there is no better one.
const NotForwarded = "not forwarded"

func (k *kernelRouter) whyNotOut(p *Packet, t time.Duration) string {
	switch {
	case p.TTL <= 1:
		return "ttl expired"
	case k.blocked(p):
		return nat.Blocked.String()
	case k.isExternal(p.Dst.Addr()):
		return k.whyNotTurned(p, t)
	case k.r.Behavior.Quota > 0 && k.held(p.Src.Addr(), t) >= k.r.Behavior.Quota:
		return nat.Quota.String()
	}
	return NotForwarded
}

// whyNotTurned is for a packet from the LAN to the router's own external address.
func (k *kernelRouter) whyNotTurned(p *Packet, t time.Duration) string {
	if k.r.Behavior.Hairpinning == nat.HairpinNone {
		return nat.HairpinOff.String()
	}
	return k.whyNotIn(p, t)
}

func (k *kernelRouter) whyNotIn(p *Packet, t time.Duration) string {
	if p.TTL <= 1 {
		return "ttl expired"
	}
	if k.blocked(p) {
		return nat.Blocked.String()
	}
	if p.Kind == ICMPError {
		return nat.ErrorQuote.String()
	}
	if !k.isExternal(p.Dst.Addr()) { // routed and not translated: what ends here met a filter
		return nat.Filtered.String()
	}
	m := k.maps[mapKey{p.Protocol, p.Dst}]
	switch {
	case m == nil || t-m.last >= k.timeout(p.Protocol)+memory:
		return nat.NoMapping.String()
	case t-m.last >= k.timeout(p.Protocol):
		return nat.Expired.String()
	}
	return nat.Filtered.String()
}

func (k *kernelRouter) blocked(p *Packet) bool {
	b := k.r.Behavior
	return b.UDPBlocked && p.Protocol == 17 ||
		len(b.TCPPorts) > 0 && p.Protocol == 6 && !slices.Contains(b.TCPPorts, p.Dst.Port()) && !slices.Contains(b.TCPPorts, p.Src.Port())
}

// held is how many living mappings an internal host has.
func (k *kernelRouter) held(a netip.Addr, t time.Duration) (n int) {
	for key, m := range k.maps {
		if m.internal.Addr() == a && t-m.last < k.timeout(key.protocol) {
			n++
		}
	}
	return n
}

// own gives what the router sent itself, an error or a reset, its beginning.
func (k *kernelRouter) own() {
	for _, c := range k.cables {
		for _, s := range k.f.at[c] {
			if j := &k.f.journeys[k.f.root(s.journey)]; !s.out && !s.paired && len(j.Steps) > 0 && j.Steps[0].Packet == s.packet {
				j.Steps = slices.Insert(j.Steps, 0, Step{Packet: -1, Node: k.r.node(), T: s.t, At: atSent})
			}
		}
	}
}
