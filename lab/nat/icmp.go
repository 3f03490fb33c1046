package nat

import (
	"encoding/binary"

	"github.com/punchlab/punchlab/lab/packet"
)

// quote is the packet inside an ICMP error: as much of it as the error holds.
//
//	ICMP   0     2         4       8                                     8 + header
//	       │type │ checksum│ unused│ quoted IP header … src, dst, options │ ports │ length │ checksum …
type quote struct {
	ip       []byte
	l4       []byte
	proto    uint8
	src, dst endpoint
}

// quoted reads what an error quotes. It reports false if that names no flow: cut off, with a wrong header checksum (RFC
// 5508 REQ-3a), a later fragment, an error itself, or of another protocol.
func quoted(l4 []byte) (q quote, ok bool) {
	b := l4[packet.ICMPHeaderLen:]
	if len(b) < packet.IPv4HeaderLen || b[0]>>4 != 4 {
		return q, false
	}
	header := int(b[0]&15) * 4
	const least = 8 // RFC 792
	if header < packet.IPv4HeaderLen || len(b) < header+least || packet.Checksum(b[:header]) != 0 || binary.BigEndian.Uint16(b[6:])&0x1fff != 0 {
		return q, false
	}
	q = quote{ip: b, l4: b[header:], proto: b[9]}
	q.src.addr, q.dst.addr = be32(b[12:]), be32(b[16:])
	switch q.proto {
	case protoUDP, protoTCP:
		q.src.port, q.dst.port = binary.BigEndian.Uint16(q.l4), binary.BigEndian.Uint16(q.l4[2:])
	case protoICMP:
		if q.l4[0] != 0 && q.l4[0] != 8 {
			return q, false
		}
		q.src.port = binary.BigEndian.Uint16(q.l4[4:])
		if q.l4[0] == 0 { // a reply: the identifier is that of the side that asked
			q.src.port, q.dst.port = 0, q.src.port
		}
	default:
		return q, false
	}
	return q, true
}

// set rewrites an endpoint of the quote, with the checksums that it has.
func (q *quote) set(addrAt, portAt int, e endpoint) {
	setTransport(q.proto, q.l4, portAt, e.port, replaceAddr(q.ip, addrAt, e.addr))
}

// translateError translates an ICMP error with what it quotes (RFC 5508 REQ-4, REQ-5). It refreshes nothing and ends
// nothing (REQ-6; RFC 4787 REQ-12).
func (t *Table) translateError(from Side, v *view) (Reason, Side) {
	q, ok := quoted(v.l4)
	if t.b.ICMPErrors == ICMPErrorsDropped || !ok {
		return ErrorQuote, from
	}
	if from == Inside {
		return t.errorOut(v, &q)
	}
	r := t.errorIn(v, &q)
	return r, Inside
}

// errorIn translates an error that quotes a packet which left by a mapping.
func (t *Table) errorIn(v *view, q *quote) Reason {
	in, r := t.sender(q.proto, q.src, q.dst)
	if r != Passed {
		return r
	}
	t.writeIn(v, q, in)
	return Passed
}

// sender finds who sent a packet that was translated: from an external endpoint to a remote one.
func (t *Table) sender(proto uint8, ext, remote endpoint) (endpoint, Reason) {
	i, r := t.lookIn(flow{proto: proto, local: ext, remote: remote})
	if i == none {
		if s := t.statics.at(proto, ext); s != nil {
			return s.in, Passed
		}
		return endpoint{}, r
	}
	return t.maps.at(i).internal(), Passed // whatever its filter says: the mapping decides (RFC 5508 REQ-4)
}

func (t *Table) writeIn(v *view, q *quote, in endpoint) {
	q.set(srcAddr, srcPort, in)
	replaceAddr(v.ip, dstAddr, in.addr)
	renewChecksum(v.l4)
}

func renewChecksum(icmp []byte) {
	icmp[2], icmp[3] = 0, 0
	binary.BigEndian.PutUint16(icmp[2:], packet.Checksum(icmp))
}

// errorOut translates an error about a packet that came in. It leaves from the external address of the mapping, also
// if a router inside sent it. One about a hairpinned packet is turned around as well (REQ-7).
func (t *Table) errorOut(v *view, q *quote) (Reason, Side) {
	// An echo reply's identifier is in the port of its destination: the host inside asked.
	f := flow{proto: q.proto, local: q.dst, remote: q.src}
	ext, _, mapped := t.staticOf(f)
	if i, _ := t.lookOut(f); i != none {
		ext, mapped = t.maps.at(i).external(), true
	}
	if !mapped {
		return NoMapping, Outside
	}
	if !t.own(v.dst.addr) {
		q.set(dstAddr, dstPort, ext)
		replaceAddr(v.ip, srcAddr, ext.addr)
		renewChecksum(v.l4)
		return Passed, Outside
	}
	if t.b.Hairpinning == HairpinNone {
		return HairpinOff, Inside
	}
	in, r := t.sender(q.proto, q.src, ext)
	if r != Passed {
		return r, Inside
	}
	q.set(dstAddr, dstPort, ext)
	replaceAddr(v.ip, srcAddr, ext.addr)
	t.writeIn(v, q, in)
	return Passed, Inside
}

// firewallError lets an error pass that quotes a flow which the firewall has seen.
func (t *Table) firewallError(from Side, v *view) Reason {
	q, ok := quoted(v.l4)
	if t.b.ICMPErrors == ICMPErrorsDropped || !ok {
		return ErrorQuote
	}
	local, remote := q.src, q.dst
	if from == Inside {
		local, remote = q.dst, q.src
	}
	far := remote.narrowed(t.b.Filtering)
	if q.proto == protoICMP {
		far = remote
	}
	if t.findPin(filterPin, q.proto, local, far) == none && t.staticFor(flow{proto: q.proto, local: local, remote: remote}) == nil {
		return Filtered
	}
	return Passed
}
