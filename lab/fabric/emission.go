package fabric

import (
	"encoding/binary"
	"time"

	"github.com/punchlab/punchlab/lab/link"
	"github.com/punchlab/punchlab/lab/nat"
	"github.com/punchlab/punchlab/lab/packet"
)

// emissions takes from the table what its latest call caused besides, and sets the timer for what is to come. Each
// call is followed by one of emit.
func (r *Router) emissions(parent uint64) (c chain) {
	n := r.net
	for {
		e, ok := r.table.Next()
		if !ok {
			break
		}
		k := n.f.pool.get()
		if k == nil || len(e.Packet) > len(k.buf)-Headroom {
			r.stats.Drops[link.Overload]++
			if k != nil {
				n.f.pool.put(k)
			}
			continue
		}
		n.begin(k)
		k.Set(e.Packet)
		k.parent, k.to = parent, e.To
		c.add(k)
	}
	r.arm()
	if c.head != nil {
		n.f.siblings++
	}
	return c
}

// emit sends what emissions took. It follows the packet that caused it.
func (r *Router) emit(now, due time.Duration, c chain) {
	if c.head == nil {
		return
	}
	for k := c.take(); k != nil; k = c.take() {
		if r.net.tap != nil {
			at := Inbound
			if k.to == nat.Outside {
				at = Outbound
			}
			e := endpointsOf(k.Bytes())
			r.net.tap(TapEvent{T: due, Where: AtRouter, Name: r.name, Point: at, Old: e, New: e, Packet: k.Bytes(), ID: k.id, Parent: k.parent})
		}
		r.send(now, due, k.to, k)
	}
	r.net.f.siblings--
}

// arm puts the table's deadline into the heap, unless an earlier one is there: that looks again when it comes.
func (r *Router) arm() {
	if d, ok := r.table.Deadline(); ok && (r.armed == notArmed || d < r.armed) {
		r.armed = d
		r.net.f.wait(d, &r.timer)
	}
}

// fire is the event that arm made. One that an earlier deadline or a Reset has overtaken does nothing.
func (r *Router) fire(now, due time.Duration) {
	if due != r.armed || r.closed || r.net.closed {
		return
	}
	r.armed = notArmed
	r.table.Advance(due)
	caused := r.emissions(0)
	if r.armed != notArmed && r.armed <= due {
		r.armed = due + 1 // time must pass, whatever the table says
		r.net.f.wait(r.armed, &r.timer)
	}
	r.emit(now, due, caused)
}

// Changed must be called after calls of the router's table that are not the fabric's: it sends what they caused, and
// learns the table's new deadline. What is due by then should have been delivered before, as the table's time does not
// go back.
func (r *Router) Changed(now time.Duration) {
	f := r.net.f
	f.Deliver(now, 0)
	if r.closed || r.net.closed {
		return
	}
	r.emit(now, now, r.emissions(0))
	f.Deliver(now, 0)
}

// Receive takes a packet that came to the WAN of a router whose WAN is a device. The fabric owns it then, as with
// Uplink.Send.
func (r *Router) Receive(now time.Duration, p *Packet) {
	n := r.net
	f := n.f
	f.Deliver(now, 0)
	if r.closed || n.closed {
		f.pool.put(p)
		return
	}
	n.begin(p)
	if c := check(p); c != link.Passed {
		r.drop(now, Inbound, c, p)
		return
	}
	if r.wan != nil && r.wan.isDown {
		r.drop(now, Inbound, link.Down, p)
		return
	}
	if n.tap != nil {
		f.siblings++
		for c := r.split(p); c.head != nil; {
			r.fromWAN(now, now, c.take())
		}
		f.siblings--
	} else {
		r.fromWAN(now, now, p)
	}
	f.Deliver(now, 0)
}

// echo answers a ping of the gateway (RFC 792, RFC 4443 §4.2), which hears nothing else.
func (r *Router) echo(now, due time.Duration, p *Packet) {
	f := r.net.f
	f.finishChecksum(p)
	b := p.Bytes()
	if !answerEcho(b) {
		r.drop(due, Hairpin, link.NoRoute, p)
		return
	}
	if to := r.lan.to(b); to != nil && to != &r.gateway {
		to.receive(now, due, p)
		return
	}
	f.pool.put(p)
}

// answerEcho turns an echo request into its reply; false for anything else.
func answerEcho(b []byte) bool {
	const ttl = 64
	var m packet.ICMP
	reply := byte(echoReply4)
	if b[0]>>4 == 4 {
		h := packet.IPv4(b)
		if h.Protocol() != packet.ProtocolICMP || h.FragmentOffset() != 0 || h.MoreFragments() {
			return false
		}
		m = packet.ICMP(h.Payload())
	} else {
		protocol, segment, first := packet.IPv6(b).Transport()
		if protocol != packet.ProtocolICMPv6 || !first {
			return false
		}
		m, reply = packet.ICMP(segment), echoReply6
	}
	if len(m) < packet.ICMPHeaderLen || m.Type() != echo4 && m.Type() != echo6 || m.Type() == echo4 != (reply == echoReply4) {
		return false
	}
	old := binary.BigEndian.Uint16(m)
	m[0] = reply
	binary.BigEndian.PutUint16(m[2:], packet.Update16(m.Checksum(), old, binary.BigEndian.Uint16(m)))
	if b[0]>>4 == 4 {
		src, dst := packet.IPv4(b).Src(), packet.IPv4(b).Dst()
		packet.IPv4(b).SetSrc(dst)
		packet.IPv4(b).SetDst(src)
		old := binary.BigEndian.Uint16(b[8:])
		b[8] = ttl
		binary.BigEndian.PutUint16(b[10:], packet.Update16(packet.IPv4(b).Checksum(), old, binary.BigEndian.Uint16(b[8:])))
	} else {
		swap := [16]byte(b[8:24])
		copy(b[8:24], b[24:40])
		copy(b[24:40], swap[:])
		b[7] = ttl
	}
	return true
}
