package nat

import (
	"net/netip"
	"time"

	"github.com/punchlab/punchlab/lab/packet"
)

// IPv6 passes by Behavior.IPv6:
//
//	            ┌─ IPv6None ───────► dropped
//	            ├─ IPv6Open ───────► routed
//	look6 ─ route6 ─ blocked?        ┌─ its answers' way opens ─┐
//	            ├─ IPv6Firewall ───► filter (Filtering6, RFC 6092)
//	            ├─ NPTv6 ──────────► filter ─► prefix translated (RFC 6296)
//	            └─ NAT64 ──────────► IPv4 (RFC 7915) ─► translate4's mappings (RFC 6146)
//
// The firewall is the one of IPv4 without a translator: what leaves opens the filter for its answers, as wide as
// Filtering6 says. Echo requests from outside do not pass, ICMPv6 errors do if they quote a flow that is known. Neighbor
// discovery and other link-local traffic is not routed (NoRoute). Behavior.RSTAfter6s is plain silence here.

// address6 is an IPv6 address.
type address6 = [16]byte

// six is what the table keeps for IPv6.
type six struct {
	lan    []netip.Prefix
	flows  flows6
	pieces pieces
	npt    npt
	nat64  nat64
}

// forget6 empties what translate6 keeps.
func (t *Table) forget6() {
	t.six = six{}
	for _, p := range t.cfg.LAN {
		if p.Addr().Is6() {
			t.six.lan = append(t.six.lan, p.Masked())
		}
	}
	switch t.b.IPv6 {
	case NPTv6:
		t.six.npt, _ = t.cfg.prefixes()
	case NAT64:
		t.six.nat64.set(t)
	}
}

// translate6 is Translate for IPv6. NAT64's IPv4 packet is in a buffer that is valid until the next call.
func (t *Table) translate6(now time.Duration, from Side, b []byte) Verdict {
	t.six.flows.expire(int64(now), t.maxMappings)
	p, err := packet.ParseIPv6(b)
	switch {
	case err != nil:
		return drop(Malformed)
	case t.b.IPv6 == IPv6None:
		return drop(Unsupported)
	case t.b.IPv6 == NAT64:
		return t.enter64(from, p)
	}
	if r := t.route6(from, address6(p[8:24]), address6(p[24:40])); r != Passed {
		return drop(r)
	}
	v, r := look6(p)
	if r != Passed {
		return drop(r)
	}
	if v.fragment {
		return t.translateFragment6(from, &v)
	}
	return t.decide6(from, &v)
}

// inLAN6 tells whether an address is inside. Where no prefix is given none is.
func (t *Table) inLAN6(a address6) bool {
	for _, p := range t.six.lan {
		if p.Contains(netip.AddrFrom16(a)) {
			return true
		}
	}
	return false
}

// routed tells whether an address is one that a router passes on: no multicast, loopback or link-local one.
func routed(a address6) bool {
	n := netip.AddrFrom16(a)
	return !n.IsUnspecified() && !n.IsLoopback() && !n.IsMulticast() && !n.IsLinkLocalUnicast() && !n.Is4In6()
}

// route6 judges the two addresses.
func (t *Table) route6(from Side, src, dst address6) Reason {
	translates := t.b.IPv6 == NPTv6
	switch {
	case !routed(src):
		return Spoofed
	case from == Inside && len(t.six.lan) > 0 && !t.inLAN6(src):
		return Spoofed
	case from == Outside && (t.inLAN6(src) || translates && t.six.npt.outer(src)):
		return Spoofed
	case !routed(dst):
		return NoRoute
	case from == Outside && translates && !t.six.npt.outer(dst):
		return NoRoute
	case from == Outside && !translates && len(t.six.lan) > 0 && !t.inLAN6(dst):
		return NoRoute
	}
	return Passed
}

// decide6 judges a whole packet or a first fragment, and rewrites it if it passes.
func (t *Table) decide6(from Side, v *view6) Verdict {
	if from == Inside && t.inLAN6(v.src) && t.inLAN6(v.dst) {
		return Verdict{To: Inside, Packet: v.ip} // it needs no router
	}
	if t.blocked(from, &view{proto: v.proto, flags: v.flags, dst: endpoint{port: v.dport}}) {
		t.refuse6(from, v)
		return drop(Blocked)
	}
	w, ok := t.ways(from, v)
	if !ok {
		return drop(NoRoute)
	}
	verdict := Verdict{To: w.to, Packet: v.ip}
	if t.b.IPv6 != IPv6Open && w.to != from {
		verdict.Reason, verdict.Created = t.firewall6(from, v, w)
	} else if v.kind == failure && v.quote == nil {
		verdict.Reason = ErrorQuote
	}
	if verdict.Reason != Passed {
		return drop(verdict.Reason)
	}
	w.apply(v.ip)
	w.applyQuote(v)
	return verdict
}

// ways6 is how the addresses of a packet change, and the addresses that the filter knows it by: those inside.
type ways6 struct {
	to       Side
	src, dst address6 // as it goes on
	qsrc     address6 // the same of what an error quotes
	qdst     address6
	local    address6 // the inner address
}

// ways finds how a packet goes on.
func (t *Table) ways(from Side, v *view6) (w ways6, ok bool) {
	w = ways6{to: from.other(), src: v.src, dst: v.dst}
	if v.quote != nil {
		w.qsrc, w.qdst = address6(v.quote[8:24]), address6(v.quote[24:40])
	}
	if t.b.IPv6 == NPTv6 {
		ok = t.six.npt.translate(from, &w, v.quote != nil)
	} else {
		ok = true
	}
	w.local = w.dst
	if from == Inside {
		w.local = v.src
	}
	return w, ok
}

// apply writes the addresses. They are equivalent for every checksum.
func (w *ways6) apply(p packet.IPv6) {
	copy(p[8:], w.src[:])
	copy(p[24:], w.dst[:])
}

func (w *ways6) applyQuote(v *view6) {
	if v.quote != nil {
		copy(v.quote[8:], w.qsrc[:])
		copy(v.quote[24:], w.qdst[:])
	}
}

// translateFragment6 decides about one of several fragments, as translateFragment does for IPv4. The key of a datagram
// is a hash under the table's secret.
func (t *Table) translateFragment6(from Side, v *view6) Verdict {
	if t.b.Fragments == FragmentsDropped {
		return drop(Fragmented)
	}
	if v.span.to > 65535 || v.span.from == v.span.to || v.more && v.span.to%8 != 0 {
		return drop(Malformed)
	}
	if t.b.IPv6 == IPv6Open {
		return Verdict{To: t.next6(from, v), Packet: v.ip}
	}
	key := t.datagramKey6(from, v)
	d := t.six.pieces.find(key, t.now)
	if d == nil && v.span.from != 0 && t.b.Fragments == FragmentsInOrder {
		return drop(Fragmented)
	}
	if d == nil {
		d = t.six.pieces.add(key, t.after(fragmentsLast))
	}
	if r := d.enter(v.span, v.more); r != Passed {
		return drop(r)
	}
	if v.span.from == 0 {
		return t.firstFragment6(from, v, d)
	}
	if !d.decided {
		return t.six.pieces.hold(d, packet.IPv4(v.ip))
	}
	defer t.six.pieces.forgetWhole(d)
	if d.reason != Passed {
		return drop(d.reason)
	}
	t.follow6(from, v)
	return Verdict{To: d.way.to, Packet: v.ip}
}

func (t *Table) datagramKey6(from Side, v *view6) datagramKey {
	words := func(a address6) (hi, lo uint64) {
		return uint64(be32(a[:]))<<32 | uint64(be32(a[4:])), uint64(be32(a[8:]))<<32 | uint64(be32(a[12:]))
	}
	sh, sl := words(v.src)
	dh, dl := words(v.dst)
	a, b := t.hash(sh, sl), t.hash(dh, dl)
	id := t.hash(uint64(v.id), uint64(a)<<32|uint64(b))
	return datagramKey{from: from, src: a ^ id, dst: b, id: uint16(id), proto: v.proto}
}

// firstFragment6 decides for the whole datagram, and lets go of what waited.
func (t *Table) firstFragment6(from Side, v *view6, d *datagram) Verdict {
	verdict := t.decide6(from, v)
	d.decided, d.reason, d.way.to = true, verdict.Reason, verdict.To
	for _, h := range d.held {
		t.six.pieces.bytes -= len(h.b)
		if d.reason != Passed {
			continue
		}
		if e := t.out.add(verdict.To, Passed); e != nil {
			f := view6{ip: packet.IPv6(h.b), src: address6(h.b[8:24]), dst: address6(h.b[24:40])}
			t.follow6(from, &f)
			e.Packet = append(e.Packet, h.b...)
		}
	}
	d.held = nil
	t.six.pieces.forgetWhole(d)
	return verdict
}

// follow6 gives a later fragment the addresses of the first one.
func (t *Table) follow6(from Side, v *view6) {
	if w, ok := t.ways(from, v); ok {
		w.apply(v.ip)
	}
}

// next6 is the side that an open router gives a packet to.
func (t *Table) next6(from Side, v *view6) Side {
	if from == Inside && t.inLAN6(v.src) && t.inLAN6(v.dst) {
		return Inside
	}
	return from.other()
}
