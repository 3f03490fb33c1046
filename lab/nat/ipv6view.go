package nat

import (
	"encoding/binary"
	"net/netip"

	"github.com/punchlab/punchlab/lab/packet"
)

// view6 is view for IPv6.
type view6 struct {
	ip           packet.IPv6
	l4           []byte
	src, dst     address6
	sport, dport uint16
	proto        uint8 // of ICMPv6, protoICMP
	flags        uint8
	kind         uint8
	fragment     bool // one of several,
	more         bool // and not the last
	id           uint32
	span         span
	quote        []byte // of an error: what it quotes, if that names a flow
	quoted       flow6
}

const icmp6 = packet.ProtocolICMPv6

// ICMPv6's types (RFC 4443).
const (
	firstInformational6 = 128
	echo6               = 128
	echoReply6          = 129
	unreachable6        = 1
	prohibited6         = 1 // code
	lastError6          = 4
)

// look6 reads a packet's headers and verifies what is not about its route.
func look6(p packet.IPv6) (v view6, r Reason) {
	v = view6{ip: p, src: address6(p[8:24]), dst: address6(p[24:40])}
	next, rest := p.NextHeader(), p[packet.IPv6HeaderLen:]
	for {
		switch next {
		case 0, 43, 60: // hop-by-hop, routing, destination options
			if len(rest) < 8 || len(rest) < 8+int(rest[1])*8 {
				return v, Malformed
			}
			next, rest = rest[0], rest[8+int(rest[1])*8:]
			continue
		case 44:
			if v.id != 0 || v.span.to != 0 || len(rest) < 8 {
				return v, Malformed // RFC 8200 §4.5: one is enough
			}
			offset := binary.BigEndian.Uint16(rest[2:])
			v.more, v.id = offset&1 != 0, binary.BigEndian.Uint32(rest[4:])
			v.span = span{int(offset &^ 7), int(offset&^7) + len(rest) - 8}
			v.fragment = v.more || v.span.from != 0 // else an atomic one (RFC 6946)
			next, rest = rest[0], rest[8:]
			if v.span.from != 0 {
				v.proto, v.l4 = protocol4(next), rest
				return v, Passed
			}
			continue
		}
		break
	}
	v.proto, v.l4 = protocol4(next), rest
	return v, v.lookTransport()
}

// protocol4 names ICMPv6 as the timeouts do.
func protocol4(next uint8) uint8 {
	switch next {
	case icmp6:
		return protoICMP
	case protoICMP:
		return 0 // in IPv6 it is no ICMP
	}
	return next
}

func (v *view6) lookTransport() Reason {
	switch v.proto {
	case protoUDP:
		if len(v.l4) < packet.UDPHeaderLen {
			return Malformed
		}
		n := int(binary.BigEndian.Uint16(v.l4[4:]))
		if n < packet.UDPHeaderLen || n > len(v.l4) && !v.fragment {
			return Malformed
		}
		v.kind = segment
		if !v.fragment && (binary.BigEndian.Uint16(v.l4[6:]) == 0 || !v.sumOK(protoUDP, n)) {
			return BadChecksum
		}
	case protoTCP:
		if len(v.l4) < packet.TCPHeaderLen {
			return Malformed
		}
		if n := int(v.l4[12]>>4) * 4; n < packet.TCPHeaderLen || n > len(v.l4) && !v.fragment {
			return Malformed
		}
		v.kind, v.flags = segment, v.l4[13]
		if !v.fragment && !v.sumOK(protoTCP, len(v.l4)) {
			return BadChecksum
		}
	case protoICMP:
		return v.lookICMP()
	default:
		return Passed
	}
	v.sport, v.dport = binary.BigEndian.Uint16(v.l4), binary.BigEndian.Uint16(v.l4[2:])
	return Passed
}

func (v *view6) lookICMP() Reason {
	if len(v.l4) < packet.ICMPHeaderLen {
		return Malformed
	}
	if !v.fragment && !v.sumOK(icmp6, len(v.l4)) {
		return BadChecksum
	}
	switch typ := v.l4[0]; {
	case typ == echo6 || typ == echoReply6:
		v.kind = echo
		v.sport = binary.BigEndian.Uint16(v.l4[4:])
	case typ >= unreachable6 && typ <= lastError6:
		if v.fragment {
			return Malformed // its quote would have to be whole
		}
		v.kind = failure
		v.lookQuote(v.l4[packet.ICMPHeaderLen:])
	}
	return Passed
}

func (v *view6) sumOK(proto uint8, n int) bool {
	return packet.PseudoChecksum(netip.AddrFrom16(v.src), netip.AddrFrom16(v.dst), proto, v.l4[:n]) == 0
}

// lookQuote reads what an error quotes, from the view of who sent it: local is the source.
func (v *view6) lookQuote(b []byte) {
	if len(b) < packet.IPv6HeaderLen || b[0]>>4 != 6 {
		return
	}
	next, rest := b[6], b[packet.IPv6HeaderLen:]
	for next == 0 || next == 43 || next == 60 || next == 44 {
		n := 8
		if len(rest) < n {
			return
		}
		if next == 44 {
			if binary.BigEndian.Uint16(rest[2:])&^7 != 0 {
				return
			}
		} else if n += int(rest[1]) * 8; len(rest) < n {
			return
		}
		next, rest = rest[0], rest[n:]
	}
	if len(rest) < 8 {
		return
	}
	q := flow6{proto: protocol4(next)}
	switch q.proto {
	case protoUDP, protoTCP:
		q.lport, q.rport = binary.BigEndian.Uint16(rest), binary.BigEndian.Uint16(rest[2:])
	case protoICMP:
		switch id := binary.BigEndian.Uint16(rest[4:]); rest[0] {
		case echo6:
			q.lport = id
		case echoReply6: // the identifier is that of the side that asked
			q.rport = id
		default:
			return
		}
	default:
		return
	}
	v.quote, v.quoted = b, q
}
