package nat

import (
	"encoding/binary"
	"net/netip"

	"github.com/punchlab/punchlab/lab/packet"
)

// flow6 is an entry's key: an inner endpoint and the remote one, blank where the filter does not look.
type flow6 struct {
	local, remote address6
	lport, rport  uint16
	proto         uint8
}

// flows6 are the entries of the IPv6 firewall. An entry that has ended is remembered for a while, to tell "expired"
// from "filtered".
type flows6 struct {
	index  map[flow6]uint32
	slab   slab[entry6]
	timers timers
	ghosts int
}

type entry6 struct {
	key     flow6
	expires int64
	gen     uint32
	ghost   bool
}

// alive finds an entry that has not ended.
func (x *flows6) alive(k flow6) (e *entry6, was bool) {
	i, ok := x.index[k]
	if !ok {
		return nil, false
	}
	if e = x.slab.at(i); e.ghost {
		return nil, true
	}
	return e, true
}

// add enters k until a time. It reports false if there are as many entries as there may be.
func (x *flows6) add(k flow6, until int64, most int) bool {
	if len(x.index)-x.ghosts >= most {
		return false
	}
	if x.index == nil {
		x.index = map[flow6]uint32{}
	}
	i, ok := x.index[k]
	if ok {
		x.ghosts--
	} else {
		i = x.slab.alloc()
		x.index[k] = i
	}
	e := x.slab.at(i)
	*e = entry6{key: k, expires: until, gen: e.gen + 1}
	x.timers.push(due{until, i, e.gen})
	return true
}

// expire ends what has reached its end.
func (x *flows6) expire(now int64, most int) {
	for len(x.timers) > 0 && x.timers[0].at <= now {
		d := x.timers.pop()
		e := x.slab.at(d.ref)
		switch {
		case e.gen != d.gen:
		case e.expires > now:
			x.timers.push(due{e.expires, d.ref, d.gen})
		case !e.ghost && x.ghosts < most:
			e.ghost = true
			x.ghosts++
			e.expires += ghostLife
			x.timers.push(due{e.expires, d.ref, d.gen})
		default:
			if e.ghost {
				x.ghosts--
			}
			delete(x.index, e.key)
			e.gen++
			x.slab.release(d.ref)
		}
	}
}

// key6 is an entry's key for a flow.
func (t *Table) key6(f flow6, whole bool) flow6 {
	if whole {
		return f
	}
	switch t.b.Filtering6 {
	case EndpointIndependent:
		f.remote, f.rport = address6{}, 0
	case AddressDependent:
		f.rport = 0
	}
	return f
}

// flowOf is the flow of a packet in terms of the inner side.
func (v *view6) flowOf(from Side, local address6) flow6 {
	f := flow6{proto: v.proto, local: local}
	switch {
	case v.kind == echo: // the identifier is the inner side's, whichever way it goes
		f.lport = v.sport
		f.remote = v.src
		if from == Inside {
			f.remote = v.dst
		}
	case from == Inside:
		f.remote, f.lport, f.rport = v.dst, v.sport, v.dport
	default:
		f.remote, f.lport, f.rport = v.src, v.dport, v.sport
	}
	return f
}

// firewall6 judges a packet. What leaves opens the filter for its answers.
func (t *Table) firewall6(from Side, v *view6, w ways6) (r Reason, created bool) {
	if v.kind == failure {
		return t.firewallError6(from, v, w), false
	}
	if v.kind == other {
		return Unsupported, false
	}
	if v.kind == echo && (v.l4[0] == echo6) != (from == Inside) {
		return Filtered, false // requests from outside and their replies do not pass
	}
	k := t.key6(v.flowOf(from, w.local), v.kind == echo)
	e, was := t.six.flows.alive(k)
	if from == Outside && e == nil {
		t.react6(v)
		if was {
			return Expired, false
		}
		return Filtered, false
	}
	life, refresh := t.firewallLife(from, flow{proto: v.proto, flags: v.flags})
	if e != nil {
		if refresh {
			e.expires = max(e.expires, t.after(life))
		}
		return Passed, false
	}
	if !t.six.flows.add(k, t.after(life), t.maxMappings) {
		t.refuse6(from, v)
		return Full, false
	}
	return Passed, true
}

// firewallError6 lets an error pass that quotes a flow which the firewall has seen.
func (t *Table) firewallError6(from Side, v *view6, w ways6) Reason {
	if t.b.ICMPErrors == ICMPErrorsDropped || v.quote == nil {
		return ErrorQuote
	}
	f := v.quoted
	f.local, f.remote = w.qsrc, w.qdst // it comes in: our host sent what it quotes
	if from == Inside {
		q := v.quoted
		f.local, f.remote = address6(v.quote[24:40]), address6(v.quote[8:24])
		f.lport, f.rport = q.rport, q.lport
	}
	if e, _ := t.six.flows.alive(t.key6(f, f.proto == protoICMP)); e == nil {
		return Filtered
	}
	return Passed
}

// react6 answers a packet from outside that is not let in (RFC 6092 REC-38, without its six seconds).
func (t *Table) react6(v *view6) {
	switch {
	case t.b.Unsolicited == Drop || t.b.Unsolicited == RSTAfter6s || v.kind != segment:
	case t.b.Unsolicited == RST && v.proto == protoTCP:
		t.reset6(v)
	default:
		t.sendError6(Outside, v)
	}
}

// refuse6 answers a packet from inside that does not pass.
func (t *Table) refuse6(from Side, v *view6) {
	if from == Inside && t.b.Exhausted == ICMP {
		t.sendError6(Inside, v)
	}
}

// sendError6 queues "administratively prohibited" about a packet, from the address that it went to.
func (t *Table) sendError6(to Side, v *view6) {
	if v.kind == failure || v.kind == other {
		return
	}
	e := t.out.add(to, Filtered)
	if e == nil {
		return
	}
	const most = 1280 - packet.IPv6HeaderLen - packet.ICMPHeaderLen // RFC 4443 §2.4 c
	quote := v.ip[:min(len(v.ip), most)]
	b := appendHeader6(e.Packet, v.dst, v.src, icmp6, packet.ICMPHeaderLen+len(quote))
	at := len(b)
	b = append(b, unreachable6, prohibited6, 0, 0, 0, 0, 0, 0)
	b = append(b, quote...)
	e.Packet = finish6(b, at, 2, icmp6)
}

// reset6 queues a reset as a host sends that has no such connection.
func (t *Table) reset6(v *view6) {
	if v.flags&packet.RST != 0 {
		return
	}
	e := t.out.add(Outside, Filtered)
	if e == nil {
		return
	}
	ack, seq, flags := binary.BigEndian.Uint32(v.l4[8:]), binary.BigEndian.Uint32(v.l4[4:]), uint8(packet.RST)
	if v.flags&packet.ACK != 0 {
		seq, ack = ack, 0
	} else {
		ack = seq + uint32(max(len(v.l4)-int(v.l4[12]>>4)*4, 0))
		for _, bit := range []uint8{packet.SYN, packet.FIN} {
			if v.flags&bit != 0 {
				ack++
			}
		}
		seq, flags = 0, packet.RST|packet.ACK
	}
	b := appendHeader6(e.Packet, v.dst, v.src, protoTCP, packet.TCPHeaderLen)
	at := len(b)
	b = binary.BigEndian.AppendUint16(b, v.dport)
	b = binary.BigEndian.AppendUint16(b, v.sport)
	b = binary.BigEndian.AppendUint32(b, seq)
	b = binary.BigEndian.AppendUint32(b, ack)
	b = append(b, packet.TCPHeaderLen/4<<4, flags, 0, 0, 0, 0, 0, 0)
	e.Packet = finish6(b, at, 16, protoTCP)
}

func appendHeader6(b []byte, src, dst address6, next uint8, n int) []byte {
	const hops = 64
	b = append(b, 0x60, 0, 0, 0, byte(n>>8), byte(n), next, hops)
	return append(append(b, src[:]...), dst[:]...)
}

// finish6 writes the checksum of the segment that begins at a place, behind a bare header.
func finish6(b []byte, at, field int, proto uint8) []byte {
	h := b[at-packet.IPv6HeaderLen:]
	src, dst := netip.AddrFrom16(address6(h[8:24])), netip.AddrFrom16(address6(h[24:40]))
	binary.BigEndian.PutUint16(b[at+field:], packet.PseudoChecksum(src, dst, proto, b[at:]))
	return b
}
