package packet

import (
	"encoding/binary"
	"net/netip"
)

// The types of ICMP (RFC 792) and ICMPv6 (RFC 4443) that have a counterpart.
const (
	icmp4EchoReply    = 0
	icmp4Unreachable  = 3
	icmp4Echo         = 8
	icmp4TimeExceeded = 11
	icmp4Parameter    = 12

	icmp6Unreachable  = 1
	icmp6TooBig       = 2
	icmp6TimeExceeded = 3
	icmp6Parameter    = 4
	icmp6Echo         = 128
	icmp6EchoReply    = 129
)

// maxError6 bounds an ICMPv6 error (RFC 4443 §2.4 c).
const maxError6 = 1280

// appendICMP4 appends the translation of an ICMPv6 message; b ends with the IPv4 header.
func appendICMP4(b, p, m []byte, to4 AddressMap, quoted bool) ([]byte, error) {
	if len(m) < ICMPHeaderLen {
		if quoted {
			return append(b, m...), nil
		}
		return b, ErrShort
	}
	typ, ok := echo6to4(m[0])
	if ok {
		at := len(b)
		b = append(b, m...)
		b[at] = typ
		old, new := pseudo6(p[8:40], int(binary.BigEndian.Uint16(p[4:]))-(len(p)-IPv6HeaderLen-len(m))), [2]byte{typ, m[1]}
		c := replace(ICMP(m).Checksum(), old[:], nil)
		c = replace(c, m[:2], new[:])
		binary.BigEndian.PutUint16(b[at+2:], c)
		return b, nil
	}
	if quoted {
		return b, ErrProtocol // an error about an error
	}
	src, dst := netip.AddrFrom16([16]byte(p[8:])), netip.AddrFrom16([16]byte(p[24:]))
	if PseudoChecksum(src, dst, ProtocolICMPv6, m) != 0 {
		return b, ErrChecksum
	}
	typ, code, rest, ok := error6to4(m)
	if !ok {
		return b, ErrProtocol
	}
	at := len(b)
	b = append(b, typ, code, 0, 0)
	b = binary.BigEndian.AppendUint32(b, rest)
	quote := m[ICMPHeaderLen:]
	if n := int(m[4]) * 8; n > 0 && n < len(quote) && (m[0] == icmp6Unreachable || m[0] == icmp6TimeExceeded) {
		quote = quote[:n]
	}
	if len(quote) < IPv6HeaderLen || quote[0]>>4 != 6 {
		return b, ErrShort
	}
	quote = quote[:min(len(quote), IPv6HeaderLen+int(binary.BigEndian.Uint16(quote[4:])))]
	b, err := appendIPv4(b, quote, 0, to4, true)
	if err != nil {
		return b, err
	}
	binary.BigEndian.PutUint16(b[at+2:], Checksum(b[at:]))
	return b, nil
}

// appendICMP6 appends the translation of an ICMP message; the IPv6 header begins at header.
func appendICMP6(b []byte, header int, m []byte, to6 AddressMap, quoted bool) ([]byte, error) {
	if len(m) < ICMPHeaderLen {
		if quoted {
			return append(b, m...), nil
		}
		return b, ErrShort
	}
	typ, ok := echo4to6(m[0])
	if ok {
		at := len(b)
		b = append(b, m...)
		b[at] = typ
		old, new := [2]byte{m[0], m[1]}, [2]byte{typ, m[1]}
		pseudo := pseudo6(b[header+8:header+40], int(binary.BigEndian.Uint16(b[header+4:])))
		c := replace(ICMP(m).Checksum(), old[:], new[:])
		c = replace(c, nil, pseudo[:])
		binary.BigEndian.PutUint16(b[at+2:], c)
		return b, nil
	}
	if quoted {
		return b, ErrProtocol
	}
	if Checksum(m) != 0 {
		return b, ErrChecksum
	}
	typ, code, rest, ok := error4to6(m)
	if !ok {
		return b, ErrProtocol
	}
	at := len(b)
	b = append(b, typ, code, 0, 0)
	b = binary.BigEndian.AppendUint32(b, rest)
	quote := m[ICMPHeaderLen:]
	if n := int(m[5]) * 4; n > 0 && n < len(quote) {
		quote = quote[:n]
	}
	if len(quote) < IPv4HeaderLen || quote[0]>>4 != 4 || IPv4(quote).HeaderLen() < IPv4HeaderLen {
		return b, ErrShort
	}
	quote = quote[:max(min(len(quote), IPv4(quote).TotalLen()), IPv4HeaderLen)]
	b, err := appendIPv6(b, quote, to6, true)
	if err != nil {
		return b, err
	}
	b = b[:min(len(b), header+maxError6)]
	src, dst := netip.AddrFrom16([16]byte(b[header+8:])), netip.AddrFrom16([16]byte(b[header+24:]))
	binary.BigEndian.PutUint16(b[at+2:], PseudoChecksum(src, dst, ProtocolICMPv6, b[at:]))
	return b, nil
}

// pseudo6 is the pseudo-header of an ICMPv6 message of n bytes (RFC 8200 §8.1).
func pseudo6(addrs []byte, n int) (h [40]byte) {
	copy(h[:], addrs)
	binary.BigEndian.PutUint32(h[32:], uint32(n))
	h[39] = ProtocolICMPv6
	return h
}

func echo6to4(t uint8) (uint8, bool) {
	switch t {
	case icmp6Echo:
		return icmp4Echo, true
	case icmp6EchoReply:
		return icmp4EchoReply, true
	}
	return 0, false
}

func echo4to6(t uint8) (uint8, bool) {
	switch t {
	case icmp4Echo:
		return icmp6Echo, true
	case icmp4EchoReply:
		return icmp6EchoReply, true
	}
	return 0, false
}

// none marks what has no counterpart in the tables below.
const none = 0xff

// error6to4 is RFC 7915 §5.2: type, code and the four bytes that follow the checksum.
func error6to4(m []byte) (typ, code uint8, rest uint32, ok bool) {
	value := binary.BigEndian.Uint32(m[4:])
	switch m[0] {
	case icmp6Unreachable:
		codes := [...]uint8{1, 10, 1, 1, 3} // no route, prohibited, beyond scope, address, port
		if int(m[1]) < len(codes) {
			return icmp4Unreachable, codes[m[1]], 0, true
		}
	case icmp6TooBig:
		return icmp4Unreachable, 4, min(max(value, 20)-20, 0xffff), true
	case icmp6TimeExceeded:
		return icmp4TimeExceeded, m[1], 0, true
	case icmp6Parameter:
		switch m[1] {
		case 0:
			if value < uint32(len(pointer6to4)) && pointer6to4[value] != none {
				return icmp4Parameter, 0, uint32(pointer6to4[value]) << 24, true
			}
		case 1: // unknown next header: protocol unreachable
			return icmp4Unreachable, 2, 0, true
		}
	}
	return 0, 0, 0, false
}

// error4to6 is RFC 7915 §4.2.
func error4to6(m []byte) (typ, code uint8, rest uint32, ok bool) {
	switch m[0] {
	case icmp4Unreachable:
		return unreachable4to6(m)
	case icmp4TimeExceeded:
		return icmp6TimeExceeded, m[1], 0, true
	case icmp4Parameter:
		if m[1] != 0 && m[1] != 2 || int(m[4]) >= len(pointer4to6) || pointer4to6[m[4]] == none {
			return 0, 0, 0, false
		}
		return icmp6Parameter, 0, uint32(pointer4to6[m[4]]), true
	}
	return 0, 0, 0, false
}

func unreachable4to6(m []byte) (typ, code uint8, rest uint32, ok bool) {
	switch m[1] {
	case 0, 1, 5, 6, 7, 8, 11, 12:
		return icmp6Unreachable, 0, 0, true // no route
	case 2:
		return icmp6Parameter, 1, 6, true // unrecognized next header, at its place
	case 3:
		return icmp6Unreachable, 4, 0, true
	case 4:
		return icmp6TooBig, 0, tooBig(m), true
	case 9, 10, 13, 15:
		return icmp6Unreachable, 1, 0, true // prohibited
	}
	return 0, 0, 0, false
}

// plateaus are the likely MTUs of RFC 1191 §7.1 that IPv6 can use.
var plateaus = [...]uint32{65535, 32000, 17914, 8166, 4352, 2002, 1492}

// tooBig is the MTU for an ICMPv6 packet too big: 20 bytes more for the longer header, and never below 1280. An old
// router that tells none is answered by the plateau below the packet's length.
func tooBig(m []byte) uint32 {
	mtu := uint32(binary.BigEndian.Uint16(m[6:]))
	if mtu == 0 && len(m) >= ICMPHeaderLen+4 {
		length := uint32(binary.BigEndian.Uint16(m[ICMPHeaderLen+2:]))
		for _, p := range plateaus {
			if p < length {
				mtu = p
				break
			}
		}
	}
	return max(mtu+20, maxError6)
}

// pointer6to4 and pointer4to6 translate the place of an error in the header (RFC 7915 figures 6 and 3).
var (
	pointer6to4 = func() (t [40]uint8) {
		for i := range t {
			switch {
			case i < 2:
				t[i] = uint8(i)
			case i < 4:
				t[i] = none
			case i < 6:
				t[i] = 2
			case i == 6:
				t[i] = 9
			case i == 7:
				t[i] = 8
			case i < 24:
				t[i] = 12
			default:
				t[i] = 16
			}
		}
		return t
	}()
	pointer4to6 = [20]uint8{0, 1, 4, 4, none, none, none, none, 7, 6, none, none, 8, 8, 8, 8, 24, 24, 24, 24}
)
