package capture

import (
	"encoding/binary"
	"net/netip"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

// Kind is what a packet carries, as far as its first bytes tell: the split of RFC 7983 and RFC 9443, with
// impl/PROTOCOL.md §4 in the ranges that those leave free.
type Kind uint8

// The kinds.
const (
	Other      Kind = iota // UDP of no known protocol, or no UDP, TCP or ICMP
	STUN                   // RFC 8489
	Initiation             // PROTOCOL.md §5.1
	Response               // §5.2
	Cookie                 // §5.3
	Sealed                 // §5.4: a control message
	Punch                  // §6
	DTLS                   // RFC 9147
	Media                  // SRTP
	RTCP                   // SRTCP
	TCP
	Echo      // ICMP echo and its reply
	ICMPError // about another packet
	Fragment  // a later one: it has no ports
	kinds
)

var kindNames = [kinds]string{"packet", "STUN", "initiation", "response", "cookie", "sealed", "punch", "DTLS", "SRTP", "RTCP",
	"TCP", "ping", "ICMP error", "fragment"}

func (k Kind) String() string { return kindNames[min(k, kinds-1)] }

// Info is what a packet says.
type Info struct {
	Protocol uint8
	Src, Dst netip.AddrPort // ports: TCP's and UDP's; an echo's identifier on both sides; else 0
	TTL      uint8
	Size     int // of the whole packet, bytes
	Kind     Kind
	Relayed  bool   // it is a frame of a relay, and Kind that of the datagram in it
	Detail   string // more about the kind: "SYN", "port unreachable", a punch's number
	payload  []byte // of the transport: what translation leaves alone
}

// decoder reuses gopacket's layers. It is not safe for concurrent use.
type decoder struct {
	ip4     layers.IPv4
	ip6     layers.IPv6
	skip    layers.IPv6ExtensionSkipper
	udp     layers.UDP
	tcp     layers.TCP
	icmp4   layers.ICMPv4
	icmp6   layers.ICMPv6
	echo6   layers.ICMPv6Echo
	payload gopacket.Payload
	v4, v6  *gopacket.DecodingLayerParser
	seen    []gopacket.LayerType
}

func newDecoder() *decoder {
	d := &decoder{}
	all := []gopacket.DecodingLayer{&d.ip4, &d.ip6, &d.skip, &d.udp, &d.tcp, &d.icmp4, &d.icmp6, &d.echo6, &d.payload}
	d.v4 = gopacket.NewDecodingLayerParser(layers.LayerTypeIPv4, all...)
	d.v6 = gopacket.NewDecodingLayerParser(layers.LayerTypeIPv6, all...)
	d.v4.IgnoreUnsupported, d.v6.IgnoreUnsupported = true, true
	return d
}

// decode reads a packet. What is damaged or cut off is read as far as it goes; orig is its whole length.
func (d *decoder) decode(b []byte, orig int) Info {
	i := Info{Size: orig}
	if len(b) == 0 {
		return i
	}
	parser := d.v4
	if b[0]>>4 == 6 {
		parser = d.v6
	}
	_ = parser.DecodeLayers(b, &d.seen) // an error leaves the layers before it
	var src, dst netip.Addr
	for _, t := range d.seen {
		switch t {
		case layers.LayerTypeIPv4:
			src, dst = addr(d.ip4.SrcIP), addr(d.ip4.DstIP)
			i.Protocol, i.TTL = uint8(d.ip4.Protocol), d.ip4.TTL
			if d.ip4.FragOffset != 0 {
				i.Kind, i.payload = Fragment, d.ip4.Payload
			}
		case layers.LayerTypeIPv6:
			src, dst = addr(d.ip6.SrcIP), addr(d.ip6.DstIP)
			i.Protocol, i.TTL = uint8(d.ip6.NextHeader), d.ip6.HopLimit
			if d.ip6.NextHeader == layers.IPProtocolIPv6Fragment {
				i.Kind, i.payload = Fragment, d.ip6.Payload
			}
		case layers.LayerTypeUDP:
			i.Protocol = uint8(layers.IPProtocolUDP)
			i.Src, i.Dst = netip.AddrPortFrom(src, uint16(d.udp.SrcPort)), netip.AddrPortFrom(dst, uint16(d.udp.DstPort))
			i.payload = d.udp.Payload
			i.datagram(d.udp.Payload)
			i.byPort(d.udp.Payload)
		case layers.LayerTypeTCP:
			i.Protocol = uint8(layers.IPProtocolTCP)
			i.Src, i.Dst = netip.AddrPortFrom(src, uint16(d.tcp.SrcPort)), netip.AddrPortFrom(dst, uint16(d.tcp.DstPort))
			i.Kind, i.payload, i.Detail = TCP, tcpRest(d.tcp.Contents, d.tcp.Payload), d.tcpDetail(&i)
		case layers.LayerTypeICMPv4:
			i.icmp4(&d.icmp4, src, dst)
		case layers.LayerTypeICMPv6:
			i.icmp6(&d.icmp6, src, dst)
		}
	}
	if !i.Src.IsValid() {
		i.Src, i.Dst = netip.AddrPortFrom(src, 0), netip.AddrPortFrom(dst, 0)
	}
	return i
}

func addr(b []byte) netip.Addr {
	a, _ := netip.AddrFromSlice(b)
	return a.Unmap()
}

func (d *decoder) tcpDetail(i *Info) string {
	switch t := &d.tcp; {
	case t.RST:
		return "RST"
	case t.SYN && t.ACK:
		return "SYN-ACK"
	case t.SYN:
		return "SYN"
	case t.FIN:
		return "FIN"
	case len(t.Payload) == 0:
		return "ACK"
	}
	return i.stream(d.tcp.Payload)
}

func (i *Info) icmp4(m *layers.ICMPv4, src, dst netip.Addr) {
	i.payload = m.Payload
	switch m.TypeCode.Type() {
	case layers.ICMPv4TypeEchoRequest, layers.ICMPv4TypeEchoReply:
		i.Kind = Echo
		i.Src, i.Dst = netip.AddrPortFrom(src, m.Id), netip.AddrPortFrom(dst, m.Id)
		i.payload = append([]byte{byte(m.Seq >> 8), byte(m.Seq)}, m.Payload...)
		if m.TypeCode.Type() == layers.ICMPv4TypeEchoReply {
			i.Detail = "reply"
		}
	case layers.ICMPv4TypeTimeExceeded:
		i.Kind, i.Detail = ICMPError, "time exceeded"
	case layers.ICMPv4TypeDestinationUnreachable:
		i.Kind, i.Detail = ICMPError, "unreachable"
		switch m.TypeCode.Code() {
		case layers.ICMPv4CodePort:
			i.Detail = "port unreachable"
		case layers.ICMPv4CodeFragmentationNeeded:
			i.Detail = "too big"
		case layers.ICMPv4CodeCommAdminProhibited:
			i.Detail = "prohibited"
		}
	default:
		i.Kind, i.Detail = ICMPError, m.TypeCode.String()
	}
}

func (i *Info) icmp6(m *layers.ICMPv6, src, dst netip.Addr) {
	i.payload = m.Payload
	i.Protocol = uint8(layers.IPProtocolICMPv6)
	switch m.TypeCode.Type() {
	case layers.ICMPv6TypeEchoRequest, layers.ICMPv6TypeEchoReply:
		i.Kind = Echo
		if len(m.Payload) >= 2 {
			id := binary.BigEndian.Uint16(m.Payload)
			i.Src, i.Dst, i.payload = netip.AddrPortFrom(src, id), netip.AddrPortFrom(dst, id), m.Payload[2:]
		}
		if m.TypeCode.Type() == layers.ICMPv6TypeEchoReply {
			i.Detail = "reply"
		}
	case layers.ICMPv6TypeTimeExceeded:
		i.Kind, i.Detail = ICMPError, "time exceeded"
	case layers.ICMPv6TypePacketTooBig:
		i.Kind, i.Detail = ICMPError, "too big"
	case layers.ICMPv6TypeDestinationUnreachable:
		i.Kind, i.Detail = ICMPError, "unreachable"
		if m.TypeCode.Code() == layers.ICMPv6CodePortUnreachable {
			i.Detail = "port unreachable"
		}
	default:
		i.Kind, i.Detail = ICMPError, m.TypeCode.String()
	}
}
