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
	n := u.net
	f := n.f
	f.Deliver(now, 0)
	if !u.attached || n.closed {
		f.pool.put(p)
		return
	}
	n.begin(p)
	cause := check(p)
	u.stats.Up.add(p)
	if cause != link.Passed {
		u.drop(now, Sent, cause, p)
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
	q, at, whole := u.up, Sent, u.upPlain
	if st == atSite {
		q, at, whole = u.down, Arrived, u.downPlain
	}
	if u.isDown {
		u.drop(start, at, link.Down, p)
		return
	}
	size := p.n
	if p.GSO.NeedsCsum {
		size = p.wireSize()
		if !whole || size > q.MTU() || u.net.tap != nil {
			f.enterAll(now, start, u, st, f.split(p, &u.stats.Drops))
			return
		}
	}
	v := q.Next(start, flowOf(p), size)
	if v.Cause != link.Passed {
		if v.Cause == link.TooBig {
			if mayFragment(p.Bytes()) {
				f.enterAll(now, start, u, st, f.fragment(p, q.MTU(), &u.stats.Drops))
				return
			}
			f.answer(now, start, u, at, v.Cause, packet.FragmentationNeeded, q.MTU(), p)
			return
		}
		u.drop(start, at, v.Cause, p)
		return
	}
	if u.net.tap != nil {
		u.net.see(start, AtUplink, u.name, at, link.Passed, p)
	}
	if v.Corrupted {
		flipBit(p, v.CorruptBit)
	}
	p.uplink, p.stage = u, st
	if v.Duplicated {
		f.duplicate(v.DuplicateDue, p)
		f.wait(v.Due, p)
		return
	}
	f.at(now, v.Due, p)
}

// enterAll is enter for what a packet was cut into.
func (f *Fabric) enterAll(now, start time.Duration, u *Uplink, st stage, c chain) {
	f.siblings++
	for p := c.take(); p != nil; p = c.take() {
		f.enter(now, start, u, st, p)
	}
	f.siblings--
}

func (f *Fabric) duplicate(due time.Duration, p *Packet) {
	d := f.pool.like(p)
	if d == nil {
		p.uplink.stats.Drops[link.Overload]++
		return
	}
	d.copyFrom(p)
	f.wait(due, d)
}

// at ends the packet's stage at due: at once if it would be the next event that Deliver takes from the heap. So it must
// be the last thing that its caller does, or siblings be counted: otherwise the order of what happens at one time
// would depend on how late the driver is.
func (f *Fabric) at(now, due time.Duration, p *Packet) {
	if due <= now && f.siblings == 0 && (len(f.heap) == 0 || due < f.heap[0].due) {
		f.finish(now, due, p)
		return
	}
	f.wait(due, p)
}

// wait puts an event into the heap.
func (f *Fabric) wait(due time.Duration, p *Packet) {
	f.seq++
	f.heap.push(event{due: due, seq: f.seq, pkt: p})
}

// finish ends a stage at its due time, which is not after now. The next stage starts at the due time.
func (f *Fabric) finish(now, due time.Duration, p *Packet) {
	u := p.uplink
	if u == nil {
		p.router.fire(now, due)
		return
	}
	n := u.net
	switch {
	case p.epoch != n.epoch || !u.attached:
		f.pool.put(p)
	case u.isDown:
		at := Sent
		if p.stage == atSite {
			at = Arrived
		}
		u.drop(due, at, link.Down, p)
	case p.stage == atCore:
		f.forward(now, due, u, p)
	case u.router != nil:
		u.stats.Down.add(p)
		u.router.fromWAN(now, due, p)
	default:
		size := p.wire() // before split
		if n.hand(now, due, AtUplink, u.name, u.out, u.offload, p, &u.stats.Drops) {
			u.stats.Down.Packets += size.Packets
			u.stats.Down.Bytes += size.Bytes
		}
	}
}

// hand gives the packet to a device, as the device can take it, and counts its lateness. It is put back afterwards.
func (n *Net) hand(now, due time.Duration, w Where, name string, out Output, whole bool, p *Packet, drops *link.Drops) (taken bool) {
	f := n.f
	late := now - due
	n.late.add(late + p.Held)
	f.recent.roll(now)
	f.recent.cur.add(late + p.Held)
	if p.GSO.NeedsCsum && !whole {
		c := f.split(p, drops)
		for k := c.take(); k != nil; k = c.take() {
			taken = n.handOne(due, late, w, name, out, k, drops) || taken
		}
		return taken
	}
	return n.handOne(due, late, w, name, out, p, drops)
}

func (n *Net) handOne(due, late time.Duration, w Where, name string, out Output, p *Packet, drops *link.Drops) bool {
	cause := link.Passed
	if !out.Deliver(p) {
		cause = link.Device
		drops[link.Device]++
	}
	if n.tap != nil {
		n.tap(TapEvent{T: due, Late: late, Where: w, Name: name, Point: Delivered, Cause: cause, Packet: p.Bytes(), ID: p.id, Parent: p.parent})
	}
	n.f.pool.put(p)
	return cause == link.Passed
}

// forward is the core: it counts the TTL down and finds the receiver's uplink.
func (f *Fabric) forward(now, due time.Duration, from *Uplink, p *Packet) {
	n, b := from.net, p.Bytes()
	if !countDown(b, CoreHops) {
		f.answer(now, due, from, InCore, link.Expired, packet.TimeExceeded, 0, p)
		return
	}
	to := n.routes.to(b)
	switch {
	case to == nil:
		from.drop(due, InCore, link.NoRoute, p)
	case len(n.holes) > 0 && n.swallows(from, to):
		from.drop(due, InCore, link.Blackhole, p)
	default:
		f.enter(now, due, to, atSite, p)
	}
}

// CoreHops is how many routers the core counts as: an access network's, the exchange's and another access network's. That is
// few, and enough for a low TTL to end between two homes: behind one router of its own a packet with a TTL of 2 to 4 does,
// behind two one of 3 to 5.
const CoreHops = 3

// countDown takes so many hops off the packet's TTL or hop limit; false means that not as many were left, and that the packet
// ended with 1.
func countDown(b []byte, hops uint8) (left bool) {
	at := 7 // hop limit
	if b[0]>>4 == 4 {
		at = 8
	}
	ttl := b[at]
	to := uint8(1)
	if ttl > hops {
		to, left = ttl-hops, true
	} else if ttl == 0 {
		return false
	}
	if at == 8 {
		old := binary.BigEndian.Uint16(b[8:])
		b[8] = to
		binary.BigEndian.PutUint16(b[10:], packet.Update16(packet.IPv4(b).Checksum(), old, binary.BigEndian.Uint16(b[8:])))
		return left
	}
	b[7] = to
	return left
}

// The core's own addresses, from which it sends errors: the dummy address of RFC 7600 §4.8, and one of RFC 6666's
// discard prefix, from which nothing comes back.
var (
	core4 = netip.AddrFrom4([4]byte{192, 0, 0, 8})
	core6 = netip.AddrFrom16([16]byte{0: 1, 15: 1})
)

// answer drops p at u and sends an ICMP error about it to its sender, if that has a route. The error starts at the
// sender's downlink.
func (f *Fabric) answer(now, start time.Duration, u *Uplink, at Point, c link.Cause, e packet.Error, mtu int, p *Packet) {
	from := core6
	if packet.Version(p.Bytes()) == 4 {
		from = core4
	}
	to := u.net.routes.from(p.Bytes())
	var k *Packet
	if to != nil {
		k = f.complain(e, from, mtu, p)
	}
	u.drop(start, at, c, p)
	if k != nil {
		f.enter(now, start, to, atSite, k)
	}
}

// complain makes an ICMP error about p; nil if there must be none, or no packet is left for it.
func (f *Fabric) complain(e packet.Error, from netip.Addr, mtu int, p *Packet) *Packet {
	f.finishChecksum(p)
	r := f.pool.get()
	if r == nil {
		return nil
	}
	if r.n = len(packet.AppendError(r.buf[Headroom:Headroom], e, from, mtu, p.Bytes())); r.n == 0 {
		f.pool.put(r)
		return nil
	}
	r.net, r.epoch, r.Held = p.net, p.epoch, p.Held
	r.id, r.parent = p.net.number(), p.id
	return r
}

func (u *Uplink) drop(t time.Duration, at Point, c link.Cause, p *Packet) {
	u.stats.Drops[c] += p.wire().Packets
	if u.net.tap != nil {
		u.net.see(t, AtUplink, u.name, at, c, p)
	}
	u.net.f.pool.put(p)
}

// check refuses what the later stages could not read, and cuts off what follows the packet's own length.
func check(p *Packet) link.Cause {
	cause := link.Malformed
	switch b := p.Bytes(); packet.Version(b) {
	case 4:
		if h, err := packet.ParseIPv4(b); err == nil {
			p.n, cause = len(h), link.Passed
		}
	case 6:
		if h, err := packet.ParseIPv6(b); err == nil {
			p.n, cause = len(h), link.Passed
		}
	}
	if p.GSO == (GSO{}) {
		return cause
	}
	if cause == link.Passed {
		cause = checkOffload(p)
	}
	if cause != link.Passed {
		p.GSO = GSO{}
	}
	return cause
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
