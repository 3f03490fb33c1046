package tape

import (
	"encoding/binary"
	"net/netip"

	"github.com/punchlab/punchlab/lab/packet"
)

// decoder reads packets from their bytes. It knows the fragments that it saw, so one host's packets go to one decoder. It is not safe for
// concurrent use.
type decoder struct {
	first map[datagram]ports // what the first fragments said
}

// datagram is what fragments have in common (RFC 791 §3.2, RFC 8200 §4.5).
type datagram struct {
	src, dst netip.Addr
	protocol uint8
	id       uint32
}

type ports struct{ src, dst uint16 }

// maxDatagrams is how many fragmented datagrams are known at once.
const maxDatagrams = 1024

// decode reads a packet, whose payload then lies in b. What is damaged is read as far as it goes; false: it is no IP packet.
func (d *decoder) decode(b []byte) (p Packet, ok bool) {
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
		p.Protocol, p.Payload, whole = ip.Transport()
		p.Size = ip.TotalLen()
		f = fragmentOf6(ip, p.Protocol, whole)
	default:
		return p, false
	}
	var at ports
	if f.later {
		p.Fragment, at = true, d.first[f.datagram]
	} else {
		at = p.transport()
	}
	if f.more && !f.later {
		d.know(f.datagram, at)
	}
	p.Src, p.Dst = netip.AddrPortFrom(f.src, at.src), netip.AddrPortFrom(f.dst, at.dst)
	return p, true
}

// transport reads the transport's header, and leaves its payload.
func (p *Packet) transport() (at ports) {
	b := p.Payload
	switch {
	case p.Protocol == packet.ProtocolUDP && len(b) >= packet.UDPHeaderLen:
		u := packet.UDP(b)
		at = ports{u.SrcPort(), u.DstPort()}
		p.Payload = u.Payload()
		if whole, err := packet.ParseUDP(b); err == nil { // else a first fragment, or a wrong length
			p.Payload = whole.Payload()
		}
	case p.Protocol == packet.ProtocolTCP:
		t, err := packet.ParseTCP(b)
		if err != nil {
			return at
		}
		at = ports{t.SrcPort(), t.DstPort()}
		p.Flags, p.Seq, p.Payload = t.Flags(), t.Seq(), t.Payload()
	}
	return at
}

// know remembers a first fragment's ports.
func (d *decoder) know(g datagram, at ports) {
	if d.first == nil || len(d.first) >= maxDatagrams {
		d.first = map[datagram]ports{}
	}
	d.first[g] = at
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
