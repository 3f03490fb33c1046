package packet

import (
	"encoding/binary"
	"net/netip"
)

// maxHeaders bounds the headers of a packet that Segment splits: IPv4 and TCP with all options, or IPv6 with extensions.
const maxHeaders = 256

// Segment splits a TCP or UDP packet of up to 64 KiB whose payload is longer than gsoSize bytes, as a network card
// does for its host (TSO, USO), and gives emit the packets in their order, checksums included. b's own transport
// checksum is not read. A packet whose payload is not longer comes out as one.
//
//	b  │ headers │ gsoSize │ gsoSize │ rest │
//	   │ headers │ gsoSize │                            emit
//	             │ headers │ gsoSize │ (over the payload emitted before)
//
// seg lies in b and is valid until emit returns; b is used up. The error tells why b cannot be split; nothing has been
// emitted then.
func Segment(b []byte, gsoSize int, emit func(seg []byte)) error {
	h, err := readHeaders(b)
	if err != nil {
		return err
	}
	if gsoSize <= 0 || h.len > maxHeaders {
		return ErrLength
	}
	b = b[:h.total]
	var saved [maxHeaders]byte
	copy(saved[:], b[:h.len])
	for at, n := 0, 0; ; at, n = at+gsoSize, n+1 {
		seg := b[at:min(at+h.len+gsoSize, len(b))]
		copy(seg, saved[:h.len])
		last := at+len(seg) == len(b)
		h.finish(seg, n, at, last)
		emit(seg)
		if last {
			return nil
		}
	}
}

// headers tells where the headers of a packet are.
type headers struct {
	v4       bool
	protocol uint8
	src, dst netip.Addr
	ip, len  int // bytes of IP headers, and of these with the transport's
	total    int
}

func readHeaders(b []byte) (h headers, err error) {
	var segment []byte
	if h.v4 = Version(b) == 4; h.v4 {
		p, err := ParseIPv4(b)
		if err != nil {
			return h, err
		}
		if p.FragmentOffset() != 0 || p.MoreFragments() {
			return h, ErrProtocol
		}
		h.src, h.dst, h.protocol, h.ip, h.total = p.Src(), p.Dst(), p.Protocol(), p.HeaderLen(), len(p)
		segment = p.Payload()
	} else {
		p, err := ParseIPv6(b)
		if err != nil {
			return h, err
		}
		h.src, h.dst, h.total = p.Src(), p.Dst(), len(p)
		if h.protocol, segment = p.whole(); segment == nil {
			return h, ErrProtocol
		}
		h.ip = len(p) - len(segment)
	}
	switch h.protocol {
	case ProtocolTCP:
		t, err := ParseTCP(segment)
		if err != nil {
			return h, err
		}
		h.len = h.ip + t.HeaderLen()
	case ProtocolUDP:
		if len(segment) < UDPHeaderLen {
			return h, ErrShort
		}
		h.len = h.ip + UDPHeaderLen
	default:
		return h, ErrProtocol
	}
	return h, nil
}

// whole skips extension headers as Transport does, but gives no segment where there is a fragment header or no
// transport's header.
func (p IPv6) whole() (protocol uint8, segment []byte) {
	protocol, segment, first := p.Transport()
	if !first {
		return protocol, nil
	}
	next, ext := p.NextHeader(), p[IPv6HeaderLen:]
	for len(ext) > len(segment) {
		if next == nextFragment {
			return protocol, nil
		}
		next, ext = ext[0], ext[8+int(ext[1])*8:]
	}
	return protocol, segment
}

// finish makes seg, which begins with the headers of the whole, the n-th packet, with the payload from byte at on.
func (h *headers) finish(seg []byte, n, at int, last bool) {
	if h.v4 {
		p := IPv4(seg)
		binary.BigEndian.PutUint16(p[2:], uint16(len(seg)))
		binary.BigEndian.PutUint16(p[4:], p.ID()+uint16(n))
		p.setChecksum(0)
		p.setChecksum(Checksum(p[:h.ip]))
	} else {
		binary.BigEndian.PutUint16(seg[4:], uint16(len(seg)-IPv6HeaderLen))
	}
	s := seg[h.ip:]
	if h.protocol == ProtocolUDP {
		binary.BigEndian.PutUint16(s[4:], uint16(len(s)))
		binary.BigEndian.PutUint16(s[6:], 0)
		binary.BigEndian.PutUint16(s[6:], nonZero(PseudoChecksum(h.src, h.dst, ProtocolUDP, s)))
		return
	}
	const cwr = 1 << 7
	binary.BigEndian.PutUint32(s[4:], TCP(s).Seq()+uint32(at))
	if !last {
		s[13] &^= FIN | PSH
	}
	if n > 0 {
		s[13] &^= cwr // RFC 3168 §6.1.2: once
	}
	binary.BigEndian.PutUint16(s[16:], 0)
	binary.BigEndian.PutUint16(s[16:], PseudoChecksum(h.src, h.dst, ProtocolTCP, s))
}

// FinishChecksum completes a checksum that a host left to its network card: the field at start+offset holds the sum of
// the pseudo-header, and what is to be summed reaches from start to the end of b (virtio: VIRTIO_NET_HDR_F_NEEDS_CSUM).
// It returns ErrLength, and changes nothing, where these are not in b.
func FinishChecksum(b []byte, start, offset int) error {
	if start < 0 || offset < 0 || start > len(b) || offset > len(b)-start-2 {
		return ErrLength
	}
	// A sum of 0 is written as its other representation, as Linux does: UDP needs it and TCP does not mind.
	binary.BigEndian.PutUint16(b[start+offset:], nonZero(Checksum(b[start:])))
	return nil
}
