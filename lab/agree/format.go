package agree

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"

	"github.com/punchlab/punchlab/lab/packet"
)

// Parse reads a packet's bytes. Every checksum is verified, those in a quote too; what is wrong is an error. Time to live and sequence
// numbers are not looked at. A fragment comes as it is; see Reassemble.
func Parse(b []byte) (*Packet, error) {
	p, err := parse(b, false)
	if err != nil {
		return nil, fmt.Errorf("packet %x: %w", b, err)
	}
	return p, nil
}

func parse(b []byte, quote bool) (*Packet, error) {
	if packet.Version(b) == 6 {
		ip, err := packet.ParseIPv6(b)
		if err != nil {
			return nil, err
		}
		number, segment, _ := ip.Transport()
		return parseSegment(ip.Src(), ip.Dst(), number, segment, quote)
	}
	if len(b) < packet.IPv4HeaderLen || b[0] != 0x45 {
		return nil, fmt.Errorf("want an IPv4 header of 20 bytes")
	}
	total := int(binary.BigEndian.Uint16(b[2:]))
	if !quote && total != len(b) {
		return nil, fmt.Errorf("total length %d of %d bytes", total, len(b))
	}
	if packet.Checksum(b[:packet.IPv4HeaderLen]) != 0 {
		return nil, fmt.Errorf("bad IP checksum")
	}
	src, dst := netip.AddrFrom4([4]byte(b[12:])), netip.AddrFrom4([4]byte(b[16:]))
	segment := b[packet.IPv4HeaderLen:]
	return parseSegment(src, dst, b[9], segment, quote && len(b) < total)
}

// parseSegment reads a transport segment; one that is cut off has no checksum to verify.
func parseSegment(src, dst netip.Addr, number uint8, s []byte, cut bool) (*Packet, error) {
	p := &Packet{Src: netip.AddrPortFrom(src, 0), Dst: netip.AddrPortFrom(dst, 0)}
	good := cut || packet.PseudoChecksum(src, dst, number, s) == 0
	if len(s) < packet.ICMPHeaderLen {
		return nil, fmt.Errorf("transport has %d bytes", len(s))
	}
	ports := func() {
		p.Src = netip.AddrPortFrom(src, binary.BigEndian.Uint16(s))
		p.Dst = netip.AddrPortFrom(dst, binary.BigEndian.Uint16(s[2:]))
	}
	switch number {
	case packet.ProtocolUDP:
		p.Proto, p.Data = "udp", string(s[packet.UDPHeaderLen:])
		ports()
		p.NoCsum = s[6] == 0 && s[7] == 0
		good = good || p.NoCsum
	case packet.ProtocolTCP:
		p.Proto = "tcp"
		ports()
		if len(s) > 13 {
			p.Kind = flagNames(s[13])
		}
	case packet.ProtocolICMP, packet.ProtocolICMPv6:
		if number == packet.ProtocolICMP {
			good = cut || packet.Checksum(s) == 0
		}
		if err := p.parseICMP(s, number == packet.ProtocolICMPv6); err != nil {
			return nil, err
		}
	default:
		p.Proto = fmt.Sprintf("protocol-%d", number)
		good = true
		if number == 47 {
			p.Proto = "gre"
		}
	}
	if !good {
		return nil, fmt.Errorf("bad %s checksum in %v", p.Proto, p)
	}
	return p, nil
}

func (p *Packet) parseICMP(s []byte, six bool) error {
	p.Proto = "icmp"
	family := 0
	if six {
		family = 1
	}
	for kind, t := range icmpTypes {
		if t[family] == [2]byte(s) {
			p.Kind = kind
		}
	}
	switch p.Kind {
	case "":
		return fmt.Errorf("ICMP type %d code %d", s[0], s[1])
	case "echo", "reply":
		p.ID, p.Data = binary.BigEndian.Uint16(s[4:]), string(s[8:])
		return nil
	case "toobig":
		p.MTU = int(binary.BigEndian.Uint32(s[4:]))
	}
	about, err := parse(s[8:], true)
	p.About = about
	return err
}

func flagNames(bits byte) string {
	var names []string
	for _, f := range []string{"fin", "syn", "rst", "psh", "ack"} {
		if bits&flagBits[f] != 0 {
			names = append(names, f)
		}
	}
	return strings.Join(names, "+")
}

// String gives the packet's words, which ParsePacket understands.
func (p *Packet) String() string {
	return p.Words(func(_ string, e netip.AddrPort) string { return e.String() })
}

// Words is String for a caller that names endpoints; an echo's identifier is the port of the one who asks.
func (p *Packet) Words(name func(proto string, e netip.AddrPort) string) string {
	bare := func(e netip.AddrPort) string {
		if p.Proto == "udp" || p.Proto == "tcp" {
			return name(p.Proto, e)
		}
		return e.Addr().String()
	}
	s := fmt.Sprintf("%s %s > %s", p.Proto, bare(p.Src), bare(p.Dst))
	switch p.Kind {
	case "":
	case "echo", "reply":
		id := name(p.Proto, netip.AddrPortFrom(p.idOwner(), p.ID))
		s += " " + p.Kind + " " + id[strings.LastIndexByte(id, ':')+1:]
	case "toobig":
		s += fmt.Sprintf(" toobig=%d", p.MTU)
	default:
		s += " " + p.Kind
	}
	if p.NoCsum {
		s += " nocsum"
	}
	if p.Data != "" && p.Data != "x" {
		if len(p.Data) > 40 {
			s += fmt.Sprintf(" size=%d", len(p.Data))
		} else {
			s += " data=" + p.Data
		}
	}
	if p.About != nil {
		s += " about (" + p.About.Words(name) + ")"
	}
	return s
}

// idOwner is the address that an echo's identifier belongs to: that of the one who asks.
func (p *Packet) idOwner() netip.Addr {
	if p.Kind == "reply" {
		return p.Dst.Addr()
	}
	return p.Src.Addr()
}

// Reassemble joins the fragments among packets; the whole takes the place of its last fragment. What never becomes whole is
// dropped.
func Reassemble(in [][]byte) (out [][]byte) {
	type key struct {
		id       uint16
		src, dst [4]byte
	}
	parts := map[key][][]byte{}
	for _, b := range in {
		field := uint16(0)
		if packet.Version(b) == 4 && len(b) >= packet.IPv4HeaderLen {
			field = binary.BigEndian.Uint16(b[6:]) & 0x3fff
		}
		if field == 0 {
			out = append(out, b)
			continue
		}
		k := key{binary.BigEndian.Uint16(b[4:]), [4]byte(b[12:]), [4]byte(b[16:])}
		parts[k] = append(parts[k], b)
		if whole := join(parts[k]); whole != nil {
			delete(parts, k)
			out = append(out, whole)
		}
	}
	return out
}

// join returns the whole packet of fragments, or nil.
func join(parts [][]byte) []byte {
	const h = packet.IPv4HeaderLen
	total, have := -1, 0
	for _, b := range parts {
		field := binary.BigEndian.Uint16(b[6:])
		have += len(b) - h
		if field&0x2000 == 0 {
			total = int(field&0x1fff)*8 + len(b) - h
		}
	}
	if have != total {
		return nil
	}
	whole := make([]byte, h+total)
	for _, b := range parts {
		at := h + int(binary.BigEndian.Uint16(b[6:])&0x1fff)*8
		if at == h {
			copy(whole, b[:h])
		}
		copy(whole[at:], b[h:])
	}
	binary.BigEndian.PutUint16(whole[2:], uint16(len(whole)))
	binary.BigEndian.PutUint16(whole[6:], 0)
	binary.BigEndian.PutUint16(whole[10:], 0)
	binary.BigEndian.PutUint16(whole[10:], packet.Checksum(whole[:h]))
	return whole
}
