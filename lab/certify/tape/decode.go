package tape

import (
	"encoding/binary"
	"net/netip"

	"github.com/punchlab/punchlab/lab/packet"
)

// decoder reads packets from their bytes. It knows the fragments that it saw, so one host's packets go to one decoder. It is not safe for
// concurrent use.
type decoder struct {
	first map[datagram]ends // of the first fragments
	sent6 ends              // of the newest first fragment by IPv6 that the host sent
}

// datagram is what fragments have in common (RFC 791 §3.2, RFC 8200 §4.5). Those that the host sent have no addresses here: Linux forwards
// later fragments in the memory in which a packet socket has yet to read them, so that they may be seen as the host's router has
// translated them. By IPv6 a router that follows connections puts packets together and fragments them anew, by an identification of its own
// (net/ipv6: ip6_fragment): what the host sent has none that could be relied on, and belongs to the newest first fragment.
type datagram struct {
	src, dst netip.Addr
	protocol uint8
	id       uint32
}

type ends struct{ src, dst netip.AddrPort }

// maxDatagrams is how many fragmented datagrams are known at once.
const maxDatagrams = 1024

// decode reads a packet that the host sent or got, and whose payload then lies in b. What is damaged is read as far as it goes; false: it
// is no IP packet.
func (d *decoder) decode(b []byte, out bool) (p Packet, ok bool) {
	p.Out = out
	var f fragment
	switch packet.Version(b) {
	case 4:
		ip, err := packet.ParseIPv4(b)
		if err != nil {
			return p, false
		}
		p.Size, p.Protocol, p.Payload = ip.TotalLen(), ip.Protocol(), ip.Payload()
		f = fragment{datagram{ip.Src(), ip.Dst(), p.Protocol, uint32(ip.ID())}, ip.FragmentOffset() > 0, ip.MoreFragments()}
	case 6:
		ip, err := packet.ParseIPv6(b)
		if err != nil {
			return p, false
		}
		var whole bool
		p.Size = ip.TotalLen()
		p.Protocol, p.Payload, whole = ip.Transport()
		f = fragmentOf6(ip, p.Protocol, whole)
	default:
		return p, false
	}
	d.address(&p, f)
	return p, true
}

// address gives the packet its ends, and a fragment those of its first one.
func (d *decoder) address(p *Packet, f fragment) {
	var src, dst uint16
	six := f.src.Is6()
	if !f.later {
		src, dst = p.transport()
	}
	p.Fragment = f.later
	p.Src, p.Dst = netip.AddrPortFrom(f.src, src), netip.AddrPortFrom(f.dst, dst)
	if p.Out {
		f.src, f.dst = netip.Addr{}, netip.Addr{}
	}
	e, known := d.first[f.datagram]
	if !known && p.Out && six {
		e, known = d.sent6, d.sent6.src.IsValid()
	}
	if f.later && known {
		p.Src, p.Dst = e.src, e.dst
	}
	if f.more && !f.later {
		d.know(f.datagram, ends{p.Src, p.Dst})
		if p.Out && six {
			d.sent6 = ends{p.Src, p.Dst}
		}
	}
}

// transport reads the ports, and leaves what is behind the transport's header.
func (p *Packet) transport() (src, dst uint16) {
	b := p.Payload
	switch {
	case p.Protocol == packet.ProtocolUDP && len(b) >= packet.UDPHeaderLen:
		u := packet.UDP(b) // as a first fragment it is shorter than it says
		if whole, err := packet.ParseUDP(b); err == nil {
			u = whole
		}
		p.Payload = u.Payload()
		return u.SrcPort(), u.DstPort()
	case p.Protocol == packet.ProtocolTCP:
		t, err := packet.ParseTCP(b)
		if err != nil {
			return 0, 0
		}
		p.Flags, p.Seq, p.Payload = t.Flags(), t.Seq(), t.Payload()
		return t.SrcPort(), t.DstPort()
	}
	return 0, 0
}

// know remembers a first fragment's ends.
func (d *decoder) know(g datagram, e ends) {
	if d.first == nil || len(d.first) >= maxDatagrams {
		d.first = map[datagram]ends{}
	}
	d.first[g] = e
}

// fragment is what a packet says of the datagram that it is a piece of.
type fragment struct {
	datagram
	later, more bool
}

// fragmentOf6 finds the fragment header behind others; whole: there is a transport's header behind it.
func fragmentOf6(ip packet.IPv6, protocol uint8, whole bool) (f fragment) {
	f.datagram = datagram{src: ip.Src(), dst: ip.Dst(), protocol: protocol}
	const fragmentHeader = 44
	next, b := ip.NextHeader(), ip[packet.IPv6HeaderLen:]
	for len(b) >= 8 {
		switch next {
		case 0, 43, 60: // hop-by-hop, routing, destination options (RFC 8200 §4)
			n := 8 + int(b[1])*8
			if n > len(b) {
				return f
			}
			next, b = b[0], b[n:]
		case fragmentHeader:
			f.id, f.more, f.later = binary.BigEndian.Uint32(b[4:]), b[3]&1 != 0, !whole
			return f
		default:
			return f
		}
	}
	return f
}
