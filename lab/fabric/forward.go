package fabric

import (
	"net/netip"
	"time"

	"github.com/punchlab/punchlab/lab/link"
	"github.com/punchlab/punchlab/lab/nat"
	"github.com/punchlab/punchlab/lab/packet"
)

// lanMTU is the MTU of every LAN.
const lanMTU = link.DefaultMTU

// fromLAN takes what a station sent, or a router that hangs on this LAN. What is for another station goes there
// directly, as through a switch: no router counts its TTL down.
func (r *Router) fromLAN(now, due time.Duration, from *Station, p *Packet) {
	if r.closed {
		r.net.f.pool.put(p)
		return
	}
	b := p.Bytes()
	to := r.lan.to(b)
	switch {
	case to == from:
		r.drop(due, Hairpin, link.NoRoute, p)
	case to != nil:
		to.receive(now, due, p)
	case toMany(b):
		r.flood(now, due, from, p)
	case r.isOnLink(b):
		r.drop(due, Hairpin, link.NoRoute, p)
	default:
		r.outbound(now, due, from, p)
	}
}

// toMany tells whether the packet is for a multicast or the broadcast address.
func toMany(b []byte) bool {
	if b[0]>>4 == 4 {
		return b[16]>>4 == 14 || [4]byte(b[16:20]) == [4]byte{255, 255, 255, 255}
	}
	return b[24] == 0xff
}

// isOnLink tells whether the packet is for an address of the LAN that nobody has.
func (r *Router) isOnLink(b []byte) bool {
	if b[0]>>4 == 6 && b[24] == 0xfe && b[25]&0xc0 == 0x80 {
		return true // link-local, RFC 4291 §2.5.6
	}
	if len(r.onLink) == 0 {
		return false
	}
	var dst netip.Addr
	if b[0]>>4 == 4 {
		dst = packet.IPv4(b).Dst()
	} else {
		dst = packet.IPv6(b).Dst()
	}
	for _, p := range r.onLink {
		if p.Contains(dst) {
			return true
		}
	}
	return false
}

// flood gives what a station sent to many to the router's own host, and what that host sent to every station.
func (r *Router) flood(now, due time.Duration, from *Station, p *Packet) {
	f := r.net.f
	taken := false
	f.siblings++
	defer func() { f.siblings-- }()
	for _, s := range r.stations {
		if s == from || s.nested != nil || !s.self && !from.self {
			continue
		}
		k := f.pool.like(p)
		if k == nil {
			r.stats.Drops[link.Overload]++
			break
		}
		k.copyFrom(p)
		s.receive(now, due, k)
		taken = true
	}
	if !taken {
		r.drop(due, Hairpin, link.NoRoute, p)
		return
	}
	f.pool.put(p)
}

// outbound takes what is to leave the LAN. What the WAN's link would answer is answered here, from the gateway, as
// the sender must see its own packet quoted and not the translated one.
func (r *Router) outbound(now, due time.Duration, from *Station, p *Packet) {
	if p.GSO.Type != GSONone && (p.GSO.Type == GSOUDP || p.wireSize() > r.wanMTU()) {
		r.net.f.siblings++
		for c := r.split(p); c.head != nil; {
			r.outbound(now, due, from, c.take())
		}
		r.net.f.siblings--
		return
	}
	b := p.Bytes()
	switch {
	case !from.self && !countDown(b, 1):
		r.answer(now, due, nat.Inside, Outbound, link.Expired, packet.TimeExceeded, 0, p)
	case p.wireSize() > r.wanMTU() && !mayFragment(b):
		r.answer(now, due, nat.Inside, Outbound, link.TooBig, packet.FragmentationNeeded, r.wanMTU(), p)
	default:
		r.translate(now, due, nat.Inside, p)
	}
}

// fromWAN takes what the WAN brings. An error about it is due only if the table would have let it in.
func (r *Router) fromWAN(now, due time.Duration, p *Packet) {
	if r.closed {
		r.net.f.pool.put(p)
		return
	}
	if p.GSO.Type == GSOUDP || p.GSO.Type != GSONone && p.wireSize() > lanMTU {
		r.net.f.siblings++
		for c := r.split(p); c.head != nil; {
			r.fromWAN(now, due, c.take())
		}
		r.net.f.siblings--
		return
	}
	r.stats.In.add(p)
	switch {
	case p.wireSize() > lanMTU && !mayFragment(p.Bytes()):
		r.doom(now, due, link.TooBig, packet.FragmentationNeeded, lanMTU, p)
	case !countDown(p.Bytes(), 1):
		r.doom(now, due, link.Expired, packet.TimeExceeded, 0, p)
	default:
		r.translate(now, due, nat.Outside, p)
	}
}

// doom is for a packet from outside that cannot reach the LAN: if the table lets it in, its sender gets an error.
func (r *Router) doom(now, due time.Duration, c link.Cause, e packet.Error, mtu int, p *Packet) {
	f := r.net.f
	f.finishChecksum(p)
	k := f.pool.like(p)
	if k == nil {
		r.drop(due, Inbound, link.Overload, p)
		return
	}
	k.copyFrom(p)
	v := r.table.Translate(due, nat.Outside, k.Bytes())
	caused := r.emissions(p.id)
	f.pool.put(k)
	if v.Reason == nat.Passed {
		r.answer(now, due, nat.Outside, Inbound, c, e, mtu, p)
	} else {
		r.refuse(due, Inbound, v.Reason, p)
	}
	r.emit(now, due, caused)
}

// translate lets the table decide, and sends the packet on. A GSO packet of TCP is translated as if it were one
// segment of 64 KiB: the table changes headers only, and the same ones for every segment.
func (r *Router) translate(now, due time.Duration, from nat.Side, p *Packet) {
	partial := p.GSO
	r.net.f.finishChecksum(p)
	var old Endpoints
	if r.net.tap != nil {
		old = endpointsOf(p.Bytes())
	}
	if p.GSO.Type != GSONone {
		copy(r.headers[:], p.Bytes())
	}
	v := r.table.Translate(due, from, p.Bytes())
	inPlace := len(v.Packet) > 0 && &v.Packet[0] == &p.buf[Headroom]
	switch {
	case p.GSO.Type != GSONone && (v.Reason == nat.Fragmented || v.Reason == nat.Passed && !inPlace):
		r.translateEach(now, due, from, p)
		return
	case v.Reason != nat.Passed:
		caused := r.emissions(p.id)
		r.refuse(due, pointOf(from, 1-from), v.Reason, p)
		r.emit(now, due, caused)
		return
	case inPlace:
		p.n = len(v.Packet)
	default:
		p.Set(v.Packet)
	}
	at := pointOf(from, v.To)
	caused := r.emissions(p.id)
	if p.GSO.Type != GSONone {
		p.GSO = partial
		restorePartial(p.Bytes(), &p.GSO)
	}
	if r.net.tap != nil {
		r.net.tap(TapEvent{T: due, Where: AtRouter, Name: r.name, Point: at, Old: old, New: endpointsOf(p.Bytes()),
			Packet: p.Bytes(), ID: p.id, Parent: p.parent})
	}
	r.send(now, due, v.To, p)
	r.emit(now, due, caused)
}

// translateEach is translate for the segments of a packet whose length the table changes, as NAT64 does: it would cut
// up the whole. What it has to say about that is void.
func (r *Router) translateEach(now, due time.Duration, from nat.Side, p *Packet) {
	f := r.net.f
	for void := r.emissions(p.id); void.head != nil; {
		k := void.take()
		f.pool.put(k)
		if void.head == nil {
			f.siblings--
		}
	}
	copy(p.Bytes(), r.headers[:])
	f.siblings++
	for c := r.split(p); c.head != nil; {
		r.translate(now, due, from, c.take())
	}
	f.siblings--
}

func pointOf(from, to nat.Side) Point {
	switch {
	case to == nat.Outside:
		return Outbound
	case from == nat.Outside:
		return Inbound
	default:
		return Hairpin
	}
}

// send brings a packet that the router is done with to its WAN or to its LAN.
func (r *Router) send(now, due time.Duration, to nat.Side, p *Packet) {
	n := r.net
	switch {
	case to == nat.Inside:
		s := r.lan.to(p.Bytes())
		switch {
		case s == nil:
			r.drop(due, Inbound, link.NoRoute, p)
		case p.n > lanMTU && p.GSO.Type == GSONone && mayFragment(p.Bytes()):
			n.f.siblings++
			for c := n.f.fragment(p, lanMTU, &r.stats.Drops); c.head != nil; {
				s.receive(now, due, c.take())
			}
			n.f.siblings--
		default:
			s.receive(now, due, p)
		}
	case r.uplink != nil:
		r.stats.Out.add(p)
		r.uplink.stats.Up.add(p)
		n.f.enter(now, due, r.uplink, atCore, p)
	case r.wan.isDown:
		r.drop(due, Outbound, link.Down, p)
	case r.wan.nested != nil:
		r.stats.Out.add(p)
		r.wan.router.fromLAN(now, due, r.wan, p)
	default:
		r.stats.Out.add(p)
		n.hand(now, due, AtRouter, r.name, r.wan.out, r.wan.offload, p, &r.stats.Drops)
	}
}

// wanMTU is the size from which on a packet for the WAN is answered.
func (r *Router) wanMTU() int {
	switch {
	case r.uplink == nil:
		return lanMTU
	case r.uplink.mute:
		return 1 << 16
	default:
		return r.uplink.up.MTU()
	}
}

// split is Fabric.split in the router's name.
func (r *Router) split(p *Packet) chain { return r.net.f.split(p, &r.stats.Drops) }

// answer drops p and sends an ICMP error about it back to the side that it came from.
func (r *Router) answer(now, due time.Duration, to nat.Side, at Point, c link.Cause, e packet.Error, mtu int, p *Packet) {
	f := r.net.f
	k := f.complain(e, r.own(to, p.Bytes()), mtu, p)
	r.drop(due, at, c, p)
	switch {
	case k == nil:
	case to == nat.Inside && r.lan.to(k.Bytes()) == nil:
		f.pool.put(k) // the sender is none of the LAN's
	default:
		r.send(now, due, to, k)
	}
}

// drop ends a packet for a reason of the router's.
func (r *Router) drop(t time.Duration, at Point, c link.Cause, p *Packet) {
	r.stats.Drops[c] += p.wire().Packets
	if r.net.tap != nil {
		r.net.see(t, AtRouter, r.name, at, c, p)
	}
	r.net.f.pool.put(p)
}

// refuse ends a packet for a reason of the table's, which has counted it.
func (r *Router) refuse(t time.Duration, at Point, reason nat.Reason, p *Packet) {
	if r.net.tap != nil {
		r.net.tap(TapEvent{T: t, Where: AtRouter, Name: r.name, Point: at, Reason: reason, Old: endpointsOf(p.Bytes()),
			Packet: p.Bytes(), ID: p.id, Parent: p.parent})
	}
	r.net.f.pool.put(p)
}
