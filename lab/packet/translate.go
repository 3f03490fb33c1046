package packet

import (
	"encoding/binary"
	"errors"
	"net/netip"
)

// Translation between IPv4 and IPv6 (RFC 7915). The caller maps the addresses; hop counts and, where nothing is a
// fragment, upper checksums follow without reading the payload.
//
//	IPv6 │ 40 │ extensions │ fragment │ transport │          IPv4 │ 20 │ transport │
//	       │        │           │            └─ checksum: other pseudo-header ─┘
//	       │        │           └─ identification, offset, M ──────► ID, offset, MF
//	       │        └─ dropped, unless a routing header has segments left
//	       └─ traffic class, hop limit, length ────────────────────► TOS, TTL, length
//
// ICMP errors carry a packet, which is translated likewise (§4.3, §5.3); RFC 4884 extensions are cut off.

// AddressMap gives the address of the other family, and false for one that has none: the packet is then refused.
type AddressMap func(netip.Addr) (netip.Addr, bool)

// Why a packet is not translated, besides the errors of the Parse functions and ErrProtocol.
var (
	ErrAddress  = errors.New("packet has an address without a counterpart in the other family")
	ErrChecksum = errors.New("packet's checksum is wrong or missing where the other family needs one")
)

// safeIPv4 is the size up to which a translated packet may be fragmented on its way: 20 bytes below IPv6's least MTU
// (RFC 7915 §5.1).
const safeIPv4 = 1260

// AppendIPv4 appends p translated to IPv4 to b, with id as its identification unless p is a fragment and has its own
// (RFC 7915 §5). b must not overlap p.
func AppendIPv4(b []byte, p IPv6, id uint16, to4 AddressMap) ([]byte, error) {
	return appendIPv4(b, p, id, to4, false)
}

// AppendIPv6 appends p translated to IPv6 to b (RFC 7915 §4). b must not overlap p.
func AppendIPv6(b []byte, p IPv4, to6 AddressMap) ([]byte, error) {
	return appendIPv6(b, p, to6, false)
}

// fragmentation is what a fragment says of itself; offset in units of 8 bytes.
type fragmentation struct {
	is     bool
	more   bool
	offset uint16
	id     uint32
}

// appendIPv4 translates p, of which only a part may be there if it is quoted in an ICMP error.
func appendIPv4(b []byte, p []byte, id uint16, to4 AddressMap, quoted bool) ([]byte, error) {
	src, ok := to4(IPv6(p).Src())
	dst, ok2 := to4(IPv6(p).Dst())
	if !ok || !ok2 || !src.Is4() || !dst.Is4() {
		return b, ErrAddress
	}
	protocol, rest, f, err := extensions(p, quoted)
	if err != nil {
		return b, err
	}
	extra := len(p) - IPv6HeaderLen - len(rest)
	total := IPv4HeaderLen + int(binary.BigEndian.Uint16(p[4:])) - extra
	if total < IPv4HeaderLen || total > 0xffff {
		return b, ErrLength
	}
	flags := f.offset
	switch {
	case f.is:
		id = uint16(f.id)
		if f.more {
			flags |= 0x2000
		}
	case total > safeIPv4:
		flags = 0x4000 // DF
	}
	if protocol == ProtocolICMPv6 {
		protocol = ProtocolICMP
	}
	at := len(b)
	b = append(b, 0x45, p[0]<<4|p[1]>>4)
	b = binary.BigEndian.AppendUint16(b, uint16(total))
	b = binary.BigEndian.AppendUint16(b, id)
	b = binary.BigEndian.AppendUint16(b, flags)
	b = append(b, p[7], protocol, 0, 0)
	s, d := src.As4(), dst.As4()
	b = append(append(b, s[:]...), d[:]...)
	b, err = appendTransport4(b, p, rest, protocol, f, to4, quoted)
	if err != nil {
		return b[:at], err
	}
	return finishIPv4(b, at, quoted), nil
}

// finishIPv4 writes the length of a whole packet and the header's checksum.
func finishIPv4(b []byte, at int, quoted bool) []byte {
	if !quoted {
		binary.BigEndian.PutUint16(b[at+2:], uint16(len(b)-at))
	}
	binary.BigEndian.PutUint16(b[at+10:], Checksum(b[at:at+IPv4HeaderLen]))
	return b
}

func appendTransport4(b, p, rest []byte, protocol uint8, f fragmentation, to4 AddressMap, quoted bool) ([]byte, error) {
	header := len(b) - IPv4HeaderLen
	if protocol == ProtocolICMP {
		if f.offset != 0 || f.more {
			return b, ErrProtocol // its checksum covers the length of the whole, which no fragment tells
		}
		return appendICMP4(b, p, rest, to4, quoted)
	}
	segment := len(b)
	b = append(b, rest...)
	if f.offset != 0 {
		return b, nil
	}
	if !quoted && protocol == ProtocolUDP && len(rest) >= UDPHeaderLen && UDP(rest).Checksum() == 0 {
		return b, ErrChecksum // RFC 8200 §8.1
	}
	return b, changeAddresses(protocol, b[segment:], p[8:40], b[header+12:header+20], quoted)
}

// extensions skips the extension headers of p and tells of a fragment header.
func extensions(p []byte, quoted bool) (protocol uint8, rest []byte, f fragmentation, err error) {
	protocol, rest = p[6], p[IPv6HeaderLen:]
	for {
		switch protocol {
		case nextHopByHop, nextRouting, nextDestination:
			if len(rest) < 8 || len(rest) < 8+int(rest[1])*8 {
				return 0, nil, f, ErrShort
			}
			if protocol == nextRouting && rest[3] != 0 && !quoted {
				return 0, nil, f, ErrProtocol // RFC 7915 §5.1: segments left
			}
			protocol, rest = rest[0], rest[8+int(rest[1])*8:]
		case nextFragment:
			if len(rest) < 8 {
				return 0, nil, f, ErrShort
			}
			v := binary.BigEndian.Uint16(rest[2:])
			f = fragmentation{is: true, more: v&1 != 0, offset: v >> 3, id: binary.BigEndian.Uint32(rest[4:])}
			protocol, rest = rest[0], rest[8:]
			if f.offset != 0 {
				return protocol, rest, f, nil
			}
		default:
			return protocol, rest, f, nil
		}
	}
}

// appendIPv6 is appendIPv4's counterpart.
func appendIPv6(b []byte, p []byte, to6 AddressMap, quoted bool) ([]byte, error) {
	h := IPv4(p)
	src, ok := to6(h.Src())
	dst, ok2 := to6(h.Dst())
	if !ok || !ok2 || !src.Is6() || !dst.Is6() {
		return b, ErrAddress
	}
	n := h.HeaderLen()
	if len(p) < n || h.TotalLen() < n {
		return b, ErrLength
	}
	if !quoted && sourceRouted(p[IPv4HeaderLen:n]) {
		return b, ErrProtocol
	}
	protocol, rest := h.Protocol(), p[n:]
	if protocol == ProtocolICMP {
		protocol = ProtocolICMPv6
	}
	f := fragmentation{more: h.MoreFragments(), offset: uint16(h.FragmentOffset() / 8), id: uint32(h.ID())}
	f.is = f.more || f.offset != 0
	length, next := h.TotalLen()-n, protocol
	if f.is {
		length, next = length+8, nextFragment
	}
	if length > 0xffff {
		return b, ErrLength
	}
	at := len(b)
	b = append(b, 0x60|p[1]>>4, p[1]<<4, 0, 0)
	b = binary.BigEndian.AppendUint16(b, uint16(length))
	b = append(b, next, h.TTL())
	s, d := src.As16(), dst.As16()
	b = append(append(b, s[:]...), d[:]...)
	if f.is {
		v := f.offset << 3
		if f.more {
			v |= 1
		}
		b = append(b, protocol, 0)
		b = binary.BigEndian.AppendUint16(b, v)
		b = binary.BigEndian.AppendUint32(b, f.id)
	}
	b, err := appendTransport6(b, at, p, rest, protocol, f, to6, quoted)
	if err != nil {
		return b[:at], err
	}
	if !quoted {
		binary.BigEndian.PutUint16(b[at+4:], uint16(len(b)-at-IPv6HeaderLen))
	}
	return b, nil
}

func appendTransport6(b []byte, at int, p, rest []byte, protocol uint8, f fragmentation, to6 AddressMap, quoted bool) ([]byte, error) {
	if protocol == ProtocolICMPv6 {
		if f.is {
			return b, ErrProtocol
		}
		return appendICMP6(b, at, rest, to6, quoted)
	}
	segment := len(b)
	b = append(b, rest...)
	if f.offset != 0 {
		return b, nil
	}
	if protocol == ProtocolUDP && len(rest) >= UDPHeaderLen && UDP(rest).Checksum() == 0 {
		switch {
		case quoted:
			return b, nil
		case f.is:
			return b, ErrChecksum // RFC 7915 §4.5: the rest of the datagram is not here
		}
		u := b[segment:]
		if n := int(binary.BigEndian.Uint16(u[4:])); n < UDPHeaderLen || n > len(u) {
			return b, ErrLength
		} else {
			u = u[:n]
		}
		src, dst := netip.AddrFrom16([16]byte(b[at+8:])), netip.AddrFrom16([16]byte(b[at+24:]))
		binary.BigEndian.PutUint16(u[6:], nonZero(PseudoChecksum(src, dst, ProtocolUDP, u)))
		return b, nil
	}
	return b, changeAddresses(protocol, b[segment:], p[12:20], b[at+8:at+40], quoted)
}

// sourceRouted tells whether IPv4 options hold a source route that has not ended (RFC 7915 §4.1).
func sourceRouted(options []byte) bool {
	const end, nop, loose, strict = 0, 1, 131, 137
	for len(options) > 0 {
		switch options[0] {
		case end:
			return false
		case nop:
			options = options[1:]
			continue
		}
		if len(options) < 2 || options[1] < 2 || int(options[1]) > len(options) {
			return false
		}
		if o := options[:options[1]]; (o[0] == loose || o[0] == strict) && len(o) >= 3 && int(o[2]) <= len(o) {
			return true
		}
		options = options[options[1]:]
	}
	return false
}

// changeAddresses lets the checksum of a segment that begins at its header follow other addresses in its
// pseudo-header, of whatever lengths. A quoted segment may end before its checksum.
func changeAddresses(protocol uint8, segment, old, new []byte, quoted bool) error {
	var at, least int
	switch protocol {
	case ProtocolUDP:
		at, least = 6, UDPHeaderLen
	case ProtocolTCP:
		at, least = 16, TCPHeaderLen
	default:
		return nil
	}
	switch {
	case len(segment) < least && !quoted:
		return ErrShort
	case len(segment) < at+2:
		return nil
	}
	c := binary.BigEndian.Uint16(segment[at:])
	if protocol == ProtocolUDP && c == 0 {
		return nil
	}
	c = replace(c, old, new)
	if protocol == ProtocolUDP {
		c = nonZero(c)
	}
	binary.BigEndian.PutUint16(segment[at:], c)
	return nil
}

// replace is Update for old and new of different even lengths.
func replace(checksum uint16, old, new []byte) uint16 {
	return ^fold(uint64(^checksum) + uint64(^fold(sum(old, 0))) + uint64(fold(sum(new, 0))))
}
