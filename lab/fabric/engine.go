package fabric

import (
	"encoding/binary"
	"net/netip"
	"time"

	"github.com/punchlab/punchlab/lab/link"
	"github.com/punchlab/punchlab/lab/packet"
)

// Send takes a packet that the uplink's site sent at now. The fabric owns it then. Events that are due by now happen
// first, so that nothing which arrived earlier is overtaken.
func (u *Uplink) Send(now time.Duration, p *Packet) {
	f := u.net.f
	f.Deliver(now, 0)
	u.stats.Up.add(p.n)
	cause := check(p)
	if u.out == nil || u.net.closed {
		f.pool.put(p)
		return
	}
	p.epoch = u.net.epoch
	if cause != link.Passed {
		u.drop(now, FromSite, cause, p)
		return
	}
	f.enter(now, now, u, atCore, p)
	f.Deliver(now, 0)
}

// Deliver lets happen what is due at now, at most limit events, or all if limit is 0. It tells whether more are due,
// so that a driver can look at its clock in between.
func (f *Fabric) Deliver(now time.Duration, limit int) (more bool) {
	for n := 0; len(f.heap) > 0 && f.heap[0].due <= now; n++ {
		if limit > 0 && n == limit {
			return true
		}
		e := f.heap.pop()
		f.finish(now, e.due, e.pkt)
	}
	return false
}

// enter starts a stage of the way at the time start: the uplink of the sender's link or the downlink of the receiver's.
func (f *Fabric) enter(now, start time.Duration, u *Uplink, st stage, p *Packet) {
	q, at := u.up, FromSite
	if st == atSite {
		q, at = u.down, ToSite
	}
	v := q.Next(start, flowOf(p), p.n)
	if v.Cause != link.Passed {
		if v.Cause == link.TooBig {
			f.answer(now, start, u.net, packet.FragmentationNeeded, q.MTU(), p)
		}
		u.drop(start, at, v.Cause, p)
		return
	}
	if u.tap != nil {
		u.tap(start, at, link.Passed, p.Bytes())
	}
	if v.Corrupted {
		flipBit(p, v.CorruptBit)
	}
	p.uplink, p.stage = u, st
	if v.Duplicated {
		f.duplicate(now, v.DuplicateDue, p)
	}
	f.at(now, v.Due, p)
}

func (f *Fabric) duplicate(now, due time.Duration, p *Packet) {
	d := f.pool.get()
	if d == nil {
		p.uplink.stats.Drops[link.Overload]++
		return
	}
	d.Set(p.Bytes())
	d.uplink, d.stage, d.epoch, d.Held = p.uplink, p.stage, p.epoch, p.Held
	f.at(now, due, d)
}

// at ends the packet's stage at due: at once if that is not after now and nothing is due before it.
func (f *Fabric) at(now, due time.Duration, p *Packet) {
	if due <= now && (len(f.heap) == 0 || due < f.heap[0].due) {
		f.finish(now, due, p)
		return
	}
	f.seq++
	f.heap.push(event{due: due, seq: f.seq, pkt: p})
}

// finish ends a stage at its due time, which is not after now. The next stage starts at the due time.
func (f *Fabric) finish(now, due time.Duration, p *Packet) {
	u := p.uplink
	if p.epoch != u.net.epoch || u.out == nil {
		f.pool.put(p)
		return
	}
	if p.stage == atCore {
		f.forward(now, due, u, p)
		return
	}
	late := now - due + p.Held
	u.net.late.add(late)
	f.recent.roll(now)
	f.recent.cur.add(late)
	if u.out.Deliver(p) {
		u.stats.Down.add(p.n)
	} else {
		u.stats.Drops[link.Device]++
	}
	f.pool.put(p)
}

// forward is the core: it counts the TTL down and finds the receiver's uplink.
func (f *Fabric) forward(now, due time.Duration, from *Uplink, p *Packet) {
	b := p.Bytes()
	var to *Uplink
	var expired bool
	if packet.Version(b) == 4 {
		h := packet.IPv4(b)
		if expired = h.TTL() <= 1; !expired {
			h.DecrementTTL()
			to = from.net.routes.lookup4([4]byte(b[16:20]))
		}
	} else {
		h := packet.IPv6(b)
		if expired = h.HopLimit() <= 1; !expired {
			h.DecrementHopLimit()
			to = from.net.routes.lookup6([16]byte(b[24:40]))
		}
	}
	switch {
	case expired:
		f.answer(now, due, from.net, packet.TimeExceeded, 0, p)
		from.drop(due, FromSite, link.Expired, p)
	case to == nil:
		from.drop(due, FromSite, link.NoRoute, p)
	default:
		f.enter(now, due, to, atSite, p)
	}
}

// The core's own addresses, from which it sends errors: the dummy address of RFC 7600 §4.8, and one of RFC 6666's
// discard prefix, from which nothing comes back.
var (
	core4 = netip.AddrFrom4([4]byte{192, 0, 0, 8})
	core6 = netip.AddrFrom16([16]byte{0: 1, 15: 1})
)

// answer sends an ICMP error about p to its sender, if it has a route. It starts at the sender's downlink.
func (f *Fabric) answer(now, start time.Duration, n *Net, e packet.Error, mtu int, p *Packet) {
	r := f.pool.get()
	if r == nil {
		return
	}
	var to *Uplink
	b := p.Bytes()
	if packet.Version(b) == 4 {
		r.n = len(packet.AppendError(r.buf[Headroom:Headroom], e, core4, mtu, b))
		to = n.routes.lookup4([4]byte(b[12:16]))
	} else {
		r.n = len(packet.AppendError(r.buf[Headroom:Headroom], e, core6, mtu, b))
		to = n.routes.lookup6([16]byte(b[8:24]))
	}
	if r.n == 0 || to == nil {
		f.pool.put(r)
		return
	}
	r.epoch, r.Held = p.epoch, p.Held
	f.enter(now, start, to, atSite, r)
}

func (u *Uplink) drop(t time.Duration, at Point, c link.Cause, p *Packet) {
	u.stats.Drops[c]++
	if u.tap != nil {
		u.tap(t, at, c, p.Bytes())
	}
	u.net.f.pool.put(p)
}

// check refuses what the later stages could not read, and cuts off what follows the packet's own length.
func check(p *Packet) link.Cause {
	b := p.Bytes()
	switch packet.Version(b) {
	case 4:
		h, err := packet.ParseIPv4(b)
		if err != nil {
			return link.Malformed
		}
		p.n = len(h)
	case 6:
		h, err := packet.ParseIPv6(b)
		if err != nil {
			return link.Malformed
		}
		p.n = len(h)
	default:
		return link.Malformed
	}
	return link.Passed
}

// flowOf is the identity of the packet's flow for the random decisions: addresses and protocol.
func flowOf(p *Packet) uint64 {
	b := p.Bytes()
	if b[0]>>4 == 4 {
		return link.Mix(binary.BigEndian.Uint64(b[12:])) ^ uint64(b[9])
	}
	h := link.Mix(binary.BigEndian.Uint64(b[8:]))
	for i := 16; i < 40; i += 8 {
		h = link.Mix(h ^ binary.BigEndian.Uint64(b[i:]))
	}
	return h ^ uint64(b[6])
}

// flipBit flips one bit behind the IP header: whatever else happens to it, the packet still reaches its receiver.
func flipBit(p *Packet, bit uint64) {
	b := p.Bytes()
	header := packet.IPv6HeaderLen
	if b[0]>>4 == 4 {
		header = packet.IPv4(b).HeaderLen()
	}
	if payload := b[header:]; len(payload) > 0 {
		bit %= uint64(len(payload)) * 8
		payload[bit/8] ^= 1 << (bit % 8)
	}
}
