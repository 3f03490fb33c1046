package packet

import (
	"encoding/binary"
	"net/netip"
)

// defaultTTL is what AppendUDP gives a packet (RFC 1700's recommendation, Linux's default).
const defaultTTL = 64

// AppendUDP appends a UDP packet with its IP header to b; both addresses must be of one family. IPv4 packets have DF
// set, as Linux's have.
func AppendUDP(b []byte, src, dst netip.AddrPort, payload []byte) []byte {
	b = appendIP(b, src.Addr(), dst.Addr(), ProtocolUDP, UDPHeaderLen+len(payload))
	segment := len(b)
	b = binary.BigEndian.AppendUint16(b, src.Port())
	b = binary.BigEndian.AppendUint16(b, dst.Port())
	b = binary.BigEndian.AppendUint16(b, uint16(UDPHeaderLen+len(payload)))
	b = append(b, 0, 0)
	b = append(b, payload...)
	c := PseudoChecksum(src.Addr(), dst.Addr(), ProtocolUDP, b[segment:])
	binary.BigEndian.PutUint16(b[segment+6:], nonZero(c))
	return b
}

// appendIP appends an IP header for a payload of n bytes.
func appendIP(b []byte, src, dst netip.Addr, protocol uint8, n int) []byte {
	if src.Is4() {
		at := len(b)
		b = append(b, 0x45, 0)
		b = binary.BigEndian.AppendUint16(b, uint16(IPv4HeaderLen+n))
		b = append(b, 0, 0, 0x40, 0, defaultTTL, protocol, 0, 0)
		s, d := src.As4(), dst.As4()
		b = append(append(b, s[:]...), d[:]...)
		binary.BigEndian.PutUint16(b[at+10:], Checksum(b[at:]))
		return b
	}
	b = append(b, 0x60, 0, 0, 0)
	b = binary.BigEndian.AppendUint16(b, uint16(n))
	b = append(b, protocol, defaultTTL)
	s, d := src.As16(), dst.As16()
	return append(append(b, s[:]...), d[:]...)
}

// Error is an ICMP error in the terms of ICMP for IPv4; AppendError writes its counterpart for an IPv6 packet.
type Error uint8

// The errors that a router sends about a packet.
const (
	FragmentationNeeded Error = iota + 1 // RFC 1191 §4; RFC 4443 §3.2, packet too big
	TimeExceeded                         // RFC 792, RFC 4443 §3.3
)

// AppendError appends an ICMP error about the packet to b, from src to the packet's source. mtu is the next hop's, for
// FragmentationNeeded. Nothing is appended about a packet that must cause none: an ICMP error, a later fragment, or
// one from an address that is no host's (RFC 1122 §3.2.2, RFC 4443 §2.4).
func AppendError(b []byte, e Error, src netip.Addr, mtu int, about []byte) []byte {
	switch Version(about) {
	case 4:
		if p, err := ParseIPv4(about); err == nil && src.Is4() && answerable4(p) {
			return appendError4(b, e, src, mtu, p)
		}
	case 6:
		if p, err := ParseIPv6(about); err == nil && src.Is6() && answerable6(p) {
			return appendError6(b, e, src, mtu, p)
		}
	}
	return b
}

func host(a netip.Addr) bool { return !a.IsUnspecified() && !a.IsMulticast() && a != broadcast }

var broadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})

func answerable4(p IPv4) bool {
	if p.FragmentOffset() != 0 || !host(p.Src()) || !host(p.Dst()) {
		return false
	}
	if p.Protocol() != ProtocolICMP {
		return true
	}
	const echoReply, echo = 0, 8
	m, err := ParseICMP(p.Payload())
	return err == nil && (m.Type() == echo || m.Type() == echoReply)
}

func answerable6(p IPv6) bool {
	protocol, segment, first := p.Transport()
	if !first || !host(p.Src()) || p.Dst().IsMulticast() {
		return false
	}
	if protocol != ProtocolICMPv6 {
		return true
	}
	const firstInformational = 128
	m, err := ParseICMP(segment)
	return err == nil && m.Type() >= firstInformational
}

func appendError4(b []byte, e Error, src netip.Addr, mtu int, p IPv4) []byte {
	const quoted = 8 // bytes behind the header, the least that RFC 792 asks for
	quote := p[:min(len(p), p.HeaderLen()+quoted)]
	b = appendIP(b, src, p.Src(), ProtocolICMP, ICMPHeaderLen+len(quote))
	at := len(b)
	typ, code := byte(11), byte(0)
	if e == FragmentationNeeded {
		typ, code = 3, 4
	} else {
		mtu = 0
	}
	b = append(b, typ, code, 0, 0, 0, 0, byte(mtu>>8), byte(mtu))
	b = append(b, quote...)
	binary.BigEndian.PutUint16(b[at+2:], Checksum(b[at:]))
	return b
}

func appendError6(b []byte, e Error, src netip.Addr, mtu int, p IPv6) []byte {
	const minMTU = 1280 // RFC 8200 §5, which bounds the error too (RFC 4443 §2.4 c)
	quote := p[:min(len(p), minMTU-IPv6HeaderLen-ICMPHeaderLen)]
	b = appendIP(b, src, p.Src(), ProtocolICMPv6, ICMPHeaderLen+len(quote))
	at := len(b)
	typ := byte(3)
	if e == FragmentationNeeded {
		typ = 2
	} else {
		mtu = 0
	}
	b = append(b, typ, 0, 0, 0)
	b = binary.BigEndian.AppendUint32(b, uint32(mtu))
	b = append(b, quote...)
	binary.BigEndian.PutUint16(b[at+2:], PseudoChecksum(src, p.Src(), ProtocolICMPv6, b[at:]))
	return b
}
