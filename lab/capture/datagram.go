package capture

import (
	"encoding/binary"
	"strconv"
	"strings"
)

// datagram classifies a UDP payload by its first bytes.
func (i *Info) datagram(b []byte) {
	const channel = 4 // bytes of a relay frame's header
	if !i.Relayed && len(b) > channel && b[0]>>4 == 4 {
		// TURN's may be padded to a multiple of four (RFC 8656 §12.5), ours never are.
		if n := int(binary.BigEndian.Uint16(b[2:])); n == len(b)-channel || n < len(b)-channel && (n+3)&^3 == len(b)-channel {
			i.Relayed = true
			i.datagram(b[channel:][:n])
			return
		}
	}
	if len(b) < 2 {
		return
	}
	ours := b[1] == 1 // the version of everything from initiation to punch
	switch first := b[0]; {
	case isSTUN(b):
		i.stun(b)
	case first == 4 && ours && len(b) >= 256:
		i.Kind = Initiation
	case first == 5 && ours && len(b) >= 60:
		i.Kind = Response
	case first == 6 && ours && len(b) == 64:
		i.Kind = Cookie
	case first == 7 && ours && len(b) >= 32:
		i.Kind = Sealed
	case first == 8 && ours && len(b) >= 32 && len(b) <= 256:
		i.Kind, i.Detail = Punch, strconv.FormatUint(uint64(binary.LittleEndian.Uint32(b[4:])), 10)
		if b[3]&1 != 0 {
			i.Detail += lowTTL
		}
	case first >= 20 && first <= 63 && len(b) >= 13:
		i.Kind = DTLS
	case first >= 128 && first <= 191 && b[1] >= 192 && b[1] <= 223:
		i.Kind = RTCP
	case first >= 128 && first <= 191 && len(b) >= 12:
		i.Kind = Media
	}
}

// stunCookie is in every STUN message (RFC 8489 §5).
const stunCookie = 0x2112a442

func isSTUN(b []byte) bool {
	return b[0] < 4 && len(b) >= 20 && binary.BigEndian.Uint32(b[4:]) == stunCookie
}

// lowTTL ends the detail of a punch that should have ended on its way.
const lowTTL = ", low TTL"

// stun reads a message of STUN or TURN. A datagram in an indication of TURN is one of a relay.
func (i *Info) stun(b []byte) {
	typ := binary.BigEndian.Uint16(b)
	method, class := typ&0x000f|typ&0x00e0>>1|typ&0x3e00>>2, typ&0x0110 // RFC 8489 §5
	i.Kind, i.Detail = STUN, map[uint16]string{0x0000: "request", 0x0010: "indication", 0x0100: "response", 0x0110: "error"}[class]
	const request, indication = 0x0000, 0x0010
	if turn := turnMethods[method]; turn != "" {
		i.Detail = strings.TrimSuffix(turnPrefix+turn+" "+i.Detail, " request")
	}
	switch {
	case class == indication && !i.Relayed:
		if data := attribute(b, 0x0013); len(data) > 0 { // DATA
			i.Kind, i.Detail, i.Relayed = Other, "", true
			i.datagram(data)
		}
	case class == request && method == 1:
		if change := attribute(b, 0x0003); len(change) == 4 { // CHANGE-REQUEST, RFC 5780 §7.2
			switch change[3] & 6 {
			case 2:
				i.Detail = "change port"
			case 4, 6:
				i.Detail = "change address"
			}
		}
	}
}

// turnMethods are those of RFC 8656 §17; their names' prefix stands in details.
var turnMethods = map[uint16]string{3: "allocate", 4: "refresh", 6: "send", 7: "data", 8: "permission", 9: "channel"}

const turnPrefix = "TURN "

// attribute is the value of a STUN message's first attribute of a type; nil: there is none.
func attribute(b []byte, typ uint16) []byte {
	for b = b[20:]; len(b) >= 4; {
		n := int(binary.BigEndian.Uint16(b[2:]))
		if 4+n > len(b) {
			return nil
		}
		if binary.BigEndian.Uint16(b) == typ {
			return b[4:][:n]
		}
		b = b[min(4+(n+3)&^3, len(b)):]
	}
	return nil
}

// byPort names a datagram of no known kind by the port that it is from or for.
func (i *Info) byPort(b []byte) {
	if i.Kind != Other || i.Relayed || len(b) == 0 {
		return
	}
	for _, port := range []uint16{i.Dst.Port(), i.Src.Port()} {
		switch {
		case port == 53:
			i.Detail = "DNS"
		case port == 5353:
			i.Detail = "mDNS"
		case port == 1900:
			i.Detail = "SSDP"
		case (port == 5350 || port == 5351) && b[0] == 0:
			i.Detail = "NAT-PMP"
		case (port == 5350 || port == 5351) && b[0] == 2:
			i.Detail = "PCP"
		}
	}
}

const tlsPrefix = "TLS "

// stream says what a TCP segment carries: TLS by its record or the port, or datagrams of ours by their frames.
func (i *Info) stream(b []byte) string {
	if len(b) >= 6 && b[1] == 3 && b[2] <= 4 {
		switch {
		case b[0] == 22 && b[5] == 1:
			return tlsPrefix + "client hello"
		case b[0] == 22 && b[5] == 2:
			return tlsPrefix + "server hello"
		case b[0] == 22 || b[0] == 20:
			return tlsPrefix + "handshake"
		case b[0] == 21:
			return tlsPrefix + "alert"
		case b[0] == 23:
			return tlsPrefix + "data"
		}
	}
	if i.Src.Port() == 443 || i.Dst.Port() == 443 { // in the middle of a record
		return tlsPrefix + "data"
	}
	if in := framed(b); in.Kind != Other {
		return in.name()
	}
	return "data"
}

// framed reads the first of the datagrams that a segment consists of, each behind its length (PROTOCOL.md §4, RFC 4571); the last
// one may go on in the next segment.
func framed(b []byte) (first Info) {
	for at := 0; at+2 < len(b); {
		n := int(binary.BigEndian.Uint16(b[at:]))
		if n == 0 || n > maxFrame {
			return Info{}
		}
		if at == 0 && 2+n <= len(b) {
			first.datagram(b[2:][:n])
		}
		at += 2 + n
	}
	return first
}

// maxFrame is the largest datagram of ours (PROTOCOL.md §4).
const maxFrame = 1284

// name says what a packet is, in a word or two.
func (i *Info) name() string {
	s := i.Kind.String()
	switch {
	case i.Kind == Other && i.Detail != "", i.Kind == ICMPError,
		strings.HasPrefix(i.Detail, turnPrefix), strings.HasPrefix(i.Detail, tlsPrefix):
		s = i.Detail
	case i.Kind == Other && i.Protocol == 17:
		s = "UDP"
	case i.Detail != "":
		s += " " + i.Detail
	}
	if i.Relayed {
		return "relay " + s
	}
	return s
}
