package packet

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
)

// Checksum is the Internet checksum of b (RFC 1071), as it is written into a header whose checksum field was zero.
func Checksum(b []byte) uint16 { return ^fold(sum(b, 0)) }

// sum adds the 16-bit words of b to s, which must be below 2⁴⁸; an odd last byte is padded with zero. It adds eight
// bytes at once: 2¹⁶ ≡ 1 modulo 2¹⁶−1, so wider words and carries brought around give the same folded sum (RFC 1071 §2).
func sum(b []byte, s uint64) uint64 {
	var carry uint64
	for len(b) >= 32 {
		s, carry = bits.Add64(s, binary.BigEndian.Uint64(b), carry)
		s, carry = bits.Add64(s, binary.BigEndian.Uint64(b[8:]), carry)
		s, carry = bits.Add64(s, binary.BigEndian.Uint64(b[16:]), carry)
		s, carry = bits.Add64(s, binary.BigEndian.Uint64(b[24:]), carry)
		b = b[32:]
	}
	s += carry // does not overflow: a sum that carries is at most 2⁶⁵−2, so s is below 2⁶⁴−1
	s = s>>32 + s&0xffffffff
	for len(b) >= 4 {
		s += uint64(binary.BigEndian.Uint32(b))
		b = b[4:]
	}
	if len(b) >= 2 {
		s += uint64(binary.BigEndian.Uint16(b))
		b = b[2:]
	}
	if len(b) == 1 {
		s += uint64(b[0]) << 8
	}
	return s
}

func fold(s uint64) uint16 {
	for s>>16 != 0 {
		s = s&0xffff + s>>16
	}
	return uint16(s)
}

// Update16 returns the checksum after one 16-bit word changed (RFC 1624 §3, equation 3: HC' = ~(~HC + ~m + m')).
func Update16(checksum, old, new uint16) uint16 {
	return ^fold(uint64(^checksum) + uint64(^old) + uint64(new))
}

// Update returns the checksum after the bytes old, at an even offset, became new. Both must have the same even length.
func Update(checksum uint16, old, new []byte) uint16 {
	s := uint64(^checksum)
	for i := 0; i+1 < len(old) && i+1 < len(new); i += 2 {
		s += uint64(^binary.BigEndian.Uint16(old[i:])) + uint64(binary.BigEndian.Uint16(new[i:]))
	}
	return ^fold(s)
}

// PseudoChecksum is the checksum of a transport segment under the pseudo-header of its addresses
// (RFC 9293 §3.1 for IPv4, RFC 8200 §8.1 for IPv6). It is zero for a segment whose checksum field is right.
func PseudoChecksum(src, dst netip.Addr, protocol uint8, segment []byte) uint16 {
	s := uint64(protocol) + uint64(len(segment))
	if src.Is4() {
		a, b := src.As4(), dst.As4()
		s = sum(b[:], sum(a[:], s))
	} else {
		a, b := src.As16(), dst.As16()
		s = sum(b[:], sum(a[:], s))
	}
	return ^fold(sum(segment, s))
}
