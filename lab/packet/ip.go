package packet

import (
	"encoding/binary"
	"errors"
	"net/netip"
)

// The protocol numbers that this package reads (IANA, Assigned Internet Protocol Numbers).
const (
	ProtocolICMP   = 1
	ProtocolTCP    = 6
	ProtocolUDP    = 17
	ProtocolICMPv6 = 58
)

// The extension headers that this package skips (RFC 8200 §4).
const (
	nextHopByHop    = 0
	nextRouting     = 43
	nextFragment    = 44
	nextDestination = 60
)

// Header lengths without options or extensions, in bytes.
const (
	IPv4HeaderLen = 20
	IPv6HeaderLen = 40
	UDPHeaderLen  = 8
	TCPHeaderLen  = 20
	ICMPHeaderLen = 8
)

// Why a Parse function refused.
var (
	ErrShort   = errors.New("packet is shorter than its header")
	ErrVersion = errors.New("packet has another IP version")
	ErrLength  = errors.New("packet's length field contradicts its size")
	// ErrProtocol refuses what Segment and the translators have no rule for.
	ErrProtocol = errors.New("packet has no protocol that this is for")
)

// Version is the IP version that b begins with, or 0 if b is empty.
func Version(b []byte) int {
	if len(b) == 0 {
		return 0
	}
	return int(b[0] >> 4)
}

// IPv4 is a packet from its header to its total length (RFC 791 §3.1).
type IPv4 []byte

// ParseIPv4 returns the packet that b begins with, without what may follow its total length.
func ParseIPv4(b []byte) (IPv4, error) {
	if len(b) < IPv4HeaderLen {
		return nil, ErrShort
	}
	if b[0]>>4 != 4 {
		return nil, ErrVersion
	}
	header, total := int(b[0]&15)*4, int(binary.BigEndian.Uint16(b[2:]))
	if header < IPv4HeaderLen || total < header || total > len(b) {
		return nil, ErrLength
	}
	return IPv4(b[:total]), nil
}

// HeaderLen is the length of the header with its options, in bytes.
func (p IPv4) HeaderLen() int { return int(p[0]&15) * 4 }

// TotalLen is the length of the whole packet, in bytes.
func (p IPv4) TotalLen() int { return int(binary.BigEndian.Uint16(p[2:])) }

// ID is the identification of the packet's fragments.
func (p IPv4) ID() uint16 { return binary.BigEndian.Uint16(p[4:]) }

// DontFragment tells whether DF is set.
func (p IPv4) DontFragment() bool { return p[6]&0x40 != 0 }

// MoreFragments tells whether MF is set.
func (p IPv4) MoreFragments() bool { return p[6]&0x20 != 0 }

// FragmentOffset is the place of this fragment's payload in the whole, in bytes. Only the one at 0 has ports.
func (p IPv4) FragmentOffset() int { return int(binary.BigEndian.Uint16(p[6:])&0x1fff) * 8 }

// TTL is the time to live, in hops.
func (p IPv4) TTL() uint8 { return p[8] }

// Protocol is the transport protocol's number.
func (p IPv4) Protocol() uint8 { return p[9] }

// Checksum is the header's checksum field.
func (p IPv4) Checksum() uint16 { return binary.BigEndian.Uint16(p[10:]) }

// ChecksumOK tells whether the header's checksum is right.
func (p IPv4) ChecksumOK() bool { return Checksum(p[:p.HeaderLen()]) == 0 }

// Src is the source address.
func (p IPv4) Src() netip.Addr { return netip.AddrFrom4([4]byte(p[12:16])) }

// Dst is the destination address.
func (p IPv4) Dst() netip.Addr { return netip.AddrFrom4([4]byte(p[16:20])) }

// Payload is what follows the header.
func (p IPv4) Payload() []byte { return p[p.HeaderLen():] }

// DecrementTTL counts the TTL down, checksum included. A TTL of 0 stays.
func (p IPv4) DecrementTTL() {
	if p[8] == 0 {
		return
	}
	old := binary.BigEndian.Uint16(p[8:])
	p[8]--
	p.setChecksum(Update16(p.Checksum(), old, binary.BigEndian.Uint16(p[8:])))
}

// SetSrc changes the source address, which must be IPv4, and the checksums of the header and of the transport.
func (p IPv4) SetSrc(a netip.Addr) { p.setAddr(12, a) }

// SetDst changes the destination address, which must be IPv4, and the checksums of the header and of the transport.
func (p IPv4) SetDst(a netip.Addr) { p.setAddr(16, a) }

func (p IPv4) setAddr(at int, a netip.Addr) {
	old, new := [4]byte(p[at:]), a.As4()
	copy(p[at:], new[:])
	p.setChecksum(Update(p.Checksum(), old[:], new[:]))
	if p.FragmentOffset() == 0 {
		updateTransport(p.Protocol(), p.Payload(), old[:], new[:])
	}
}

func (p IPv4) setChecksum(c uint16) { binary.BigEndian.PutUint16(p[10:], c) }

// IPv6 is a packet from its header to its payload length (RFC 8200 §3).
type IPv6 []byte

// ParseIPv6 returns the packet that b begins with, without what may follow its payload. A jumbogram (RFC 2675) is refused.
func ParseIPv6(b []byte) (IPv6, error) {
	if len(b) < IPv6HeaderLen {
		return nil, ErrShort
	}
	if b[0]>>4 != 6 {
		return nil, ErrVersion
	}
	total := IPv6HeaderLen + int(binary.BigEndian.Uint16(b[4:]))
	if total > len(b) {
		return nil, ErrLength
	}
	return IPv6(b[:total]), nil
}

// TotalLen is the length of the whole packet, in bytes.
func (p IPv6) TotalLen() int { return IPv6HeaderLen + int(binary.BigEndian.Uint16(p[4:])) }

// NextHeader is the number of the first extension or transport.
func (p IPv6) NextHeader() uint8 { return p[6] }

// HopLimit is the number of hops left.
func (p IPv6) HopLimit() uint8 { return p[7] }

// Src is the source address.
func (p IPv6) Src() netip.Addr { return netip.AddrFrom16([16]byte(p[8:24])) }

// Dst is the destination address.
func (p IPv6) Dst() netip.Addr { return netip.AddrFrom16([16]byte(p[24:40])) }

// DecrementHopLimit counts the hop limit down. A limit of 0 stays.
func (p IPv6) DecrementHopLimit() {
	if p[7] > 0 {
		p[7]--
	}
}

// SetSrc changes the source address, which must be IPv6, and the transport's checksum.
func (p IPv6) SetSrc(a netip.Addr) { p.setAddr(8, a) }

// SetDst changes the destination address, which must be IPv6, and the transport's checksum.
func (p IPv6) SetDst(a netip.Addr) { p.setAddr(24, a) }

func (p IPv6) setAddr(at int, a netip.Addr) {
	old, new := [16]byte(p[at:]), a.As16()
	copy(p[at:], new[:])
	if protocol, segment, first := p.Transport(); first {
		updateTransport(protocol, segment, old[:], new[:])
	}
}

// Transport skips the extension headers (RFC 8200 §4). First tells that the segment begins with the transport's
// header: it is false in a later fragment and behind an extension that is cut off or not known.
func (p IPv6) Transport() (protocol uint8, segment []byte, first bool) {
	protocol, segment = p.NextHeader(), p[IPv6HeaderLen:]
	for {
		switch protocol {
		case nextHopByHop, nextRouting, nextDestination:
			if len(segment) < 8 || len(segment) < 8+int(segment[1])*8 {
				return protocol, segment, false
			}
			protocol, segment = segment[0], segment[8+int(segment[1])*8:]
		case nextFragment:
			if len(segment) < 8 {
				return protocol, segment, false
			}
			later := binary.BigEndian.Uint16(segment[2:])&0xfff8 != 0
			protocol, segment = segment[0], segment[8:]
			if later {
				return protocol, segment, false
			}
		default:
			return protocol, segment, true
		}
	}
}
