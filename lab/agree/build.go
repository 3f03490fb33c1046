package agree

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/punchlab/punchlab/lab/packet"
)

// Packet is a packet in words:
//
//	udp 192.168.1.2:5000 > 198.51.100.1:3478 [data=TEXT] [nocsum] [badcsum] [size=N id=N frag=1/3]
//	tcp 192.168.1.2:5000 > 198.51.100.1:80 syn|syn+ack|ack|fin+ack|rst|rst+ack
//	icmp 192.168.1.2 > 198.51.100.1 echo 7            also reply 7
//	icmp 192.0.2.9 > 203.0.113.2 unreachable about (udp 203.0.113.2:5000 > 198.51.100.1:3478)
//	                             also ttl, toobig=1280
//	gre 192.168.1.2 > 198.51.100.1
//
// IPv6 endpoints are written as [2001:db8::1]:5000; icmp between IPv6 addresses is ICMPv6.
type Packet struct {
	Proto    string // udp, tcp, icmp, gre
	Src, Dst netip.AddrPort
	Kind     string // tcp: flags; icmp: echo, reply, unreachable, ttl, toobig
	ID       uint16 // icmp: of echo and reply
	MTU      int    // icmp: of toobig
	About    *Packet

	Data    string // udp; icmp echo
	NoCsum  bool   // udp: no checksum
	BadCsum bool   // a wrong one
	BadIP   bool   // a wrong IPv4 header checksum
	BadPart bool   // about: a wrong header checksum in the quote
	Short   int    // so many bytes are cut off at the end

	TTL        uint8 // 0: 64
	DF         bool
	Size       int // udp: of the payload, instead of Data
	FragID     uint16
	Frag, Frgs int // which fragment of how many; 0: whole
}

const tcpWindow = 64000

// Sequence numbers: conntrack follows connections, so packets must fit each other.
const (
	innerISN = 1000
	outerISN = 5000
)

// Bytes builds the packet. Inner tells that it is sent by the side that opens connections, whose sequence numbers it
// then has.
func (p *Packet) Bytes(inner bool) []byte {
	var number uint8
	var segment []byte
	switch p.Proto {
	case "udp":
		number, segment = packet.ProtocolUDP, p.udp()
	case "tcp":
		number, segment = packet.ProtocolTCP, p.tcp(inner)
	case "icmp":
		number, segment = packet.ProtocolICMP, p.icmp(inner)
		if p.Src.Addr().Is6() {
			number = packet.ProtocolICMPv6
		}
	case "gre":
		number, segment = 47, make([]byte, 8)
	}
	p.checksum(number, segment)
	b := p.ip(number, segment)
	return b[:max(0, len(b)-p.Short)]
}

func (p *Packet) udp() []byte {
	data := []byte(p.Data)
	if p.Size > 0 {
		data = make([]byte, p.Size)
		for i := range data {
			data[i] = byte(i * 7)
		}
	}
	b := binary.BigEndian.AppendUint16(nil, p.Src.Port())
	b = binary.BigEndian.AppendUint16(b, p.Dst.Port())
	b = binary.BigEndian.AppendUint16(b, uint16(packet.UDPHeaderLen+len(data)))
	return append(append(b, 0, 0), data...)
}

var flagBits = map[string]byte{"fin": packet.FIN, "syn": packet.SYN, "rst": packet.RST, "psh": packet.PSH, "ack": packet.ACK}

func (p *Packet) tcp(inner bool) []byte {
	var flags byte
	for _, f := range strings.Split(p.Kind, "+") {
		flags |= flagBits[f]
	}
	seq, ack := uint32(innerISN), uint32(outerISN)
	if !inner {
		seq, ack = ack, seq
	}
	if flags&packet.SYN == 0 {
		seq++
	}
	ack++
	if flags&packet.ACK == 0 {
		ack = 0
	}
	b := binary.BigEndian.AppendUint16(nil, p.Src.Port())
	b = binary.BigEndian.AppendUint16(b, p.Dst.Port())
	b = binary.BigEndian.AppendUint32(b, seq)
	b = binary.BigEndian.AppendUint32(b, ack)
	b = append(b, packet.TCPHeaderLen/4<<4, flags)
	b = binary.BigEndian.AppendUint16(b, tcpWindow)
	return append(b, 0, 0, 0, 0)
}

// ICMP types and codes by their words here: for IPv4, then for IPv6.
var icmpTypes = map[string][2][2]byte{
	"echo": {{8, 0}, {128, 0}}, "reply": {{0, 0}, {129, 0}}, "unreachable": {{3, 3}, {1, 4}}, "ttl": {{11, 0}, {3, 0}}, "toobig": {{3, 4}, {2, 0}},
	"prohibited": {{3, 13}, {1, 1}},
}

func (p *Packet) icmp(inner bool) []byte {
	family := 0
	if p.Src.Addr().Is6() {
		family = 1
	}
	t := icmpTypes[p.Kind][family]
	b := []byte{t[0], t[1], 0, 0}
	switch p.Kind {
	case "echo", "reply":
		b = binary.BigEndian.AppendUint16(b, p.ID)
		b = append(b, 0, 1)
		b = append(b, p.Data...)
	default:
		b = binary.BigEndian.AppendUint32(b, uint32(p.MTU))
	}
	if p.About != nil {
		quote := p.About.Bytes(!inner)
		if p.BadPart {
			quote[10] ^= 0x55
		}
		b = append(b, quote...)
	}
	return b
}

func (p *Packet) checksum(number uint8, segment []byte) {
	at, ok := map[uint8]int{packet.ProtocolUDP: 6, packet.ProtocolTCP: 16, packet.ProtocolICMP: 2, packet.ProtocolICMPv6: 2}[number]
	if !ok || p.NoCsum {
		return
	}
	sum := packet.Checksum(segment)
	if number != packet.ProtocolICMP {
		sum = packet.PseudoChecksum(p.Src.Addr(), p.Dst.Addr(), number, segment)
	}
	if number == packet.ProtocolUDP && sum == 0 {
		sum = 0xffff
	}
	if p.BadCsum {
		sum ^= 0x5555
	}
	binary.BigEndian.PutUint16(segment[at:], sum)
}

func (p *Packet) ip(number uint8, segment []byte) []byte {
	ttl := p.TTL
	if ttl == 0 {
		ttl = 64
	}
	src, dst := p.Src.Addr(), p.Dst.Addr()
	if src.Is6() {
		b := binary.BigEndian.AppendUint16([]byte{0x60, 0, 0, 0}, uint16(len(segment)))
		b = append(append(append(b, number, ttl), src.AsSlice()...), dst.AsSlice()...)
		return append(b, segment...)
	}
	offset, more := 0, uint16(0)
	if p.DF {
		more = 0x4000
	}
	if p.Frgs > 0 {
		each := (len(segment)/p.Frgs + 7) &^ 7
		offset = (p.Frag - 1) * each
		segment = segment[offset:]
		if p.Frag < p.Frgs {
			segment, more = segment[:each], more|0x2000
		}
	}
	b := binary.BigEndian.AppendUint16([]byte{0x45, 0}, uint16(packet.IPv4HeaderLen+len(segment)))
	b = binary.BigEndian.AppendUint16(b, p.FragID)
	b = binary.BigEndian.AppendUint16(b, more|uint16(offset/8))
	b = append(b, ttl, number, 0, 0)
	b = append(append(b, src.AsSlice()...), dst.AsSlice()...)
	sum := packet.Checksum(b)
	if p.BadIP {
		sum ^= 0x5555
	}
	binary.BigEndian.PutUint16(b[10:], sum)
	return append(b, segment...)
}

// ParsePacket reads a packet from its words.
func ParsePacket(s string) (*Packet, error) {
	p, err := parsePacket(s)
	if err != nil {
		return nil, fmt.Errorf("parse packet %q: %w", s, err)
	}
	return p, nil
}

func parsePacket(s string) (*Packet, error) {
	p := &Packet{Data: "x"}
	if head, quote, ok := strings.Cut(s, "about ("); ok {
		about, err := parsePacket(strings.TrimSuffix(strings.TrimSpace(quote), ")"))
		if err != nil {
			return nil, err
		}
		p.About, s = about, head
	}
	f := strings.Fields(s)
	if len(f) < 4 || f[2] != ">" {
		return nil, fmt.Errorf("want PROTOCOL SOURCE > DESTINATION")
	}
	p.Proto = f[0]
	var err error
	if p.Src, err = parseEndpoint(f[1]); err == nil {
		p.Dst, err = parseEndpoint(f[3])
	}
	if err != nil {
		return nil, err
	}
	for rest := f[4:]; len(rest) > 0; rest = rest[1:] {
		if rest[0] == "echo" || rest[0] == "reply" {
			if len(rest) < 2 {
				return nil, fmt.Errorf("%s wants an identifier", rest[0])
			}
			id, err := strconv.ParseUint(rest[1], 10, 16)
			if err != nil {
				return nil, err
			}
			p.Kind, p.ID, rest = rest[0], uint16(id), rest[1:]
			continue
		}
		if err := p.option(rest[0]); err != nil {
			return nil, err
		}
	}
	return p, p.check()
}

func (p *Packet) option(word string) (err error) {
	key, value, _ := strings.Cut(word, "=")
	number := func(into *int) { *into, err = strconv.Atoi(value) }
	switch key {
	case "data":
		p.Data = value
	case "nocsum":
		p.NoCsum = true
	case "badcsum":
		p.BadCsum = true
	case "badip":
		p.BadIP = true
	case "badquote":
		p.BadPart = true
	case "short":
		number(&p.Short)
	case "size":
		number(&p.Size)
	case "toobig":
		p.Kind = key
		number(&p.MTU)
	case "df":
		p.DF = true
	case "ttl":
		if value == "" {
			p.Kind = key
			break
		}
		var ttl int
		number(&ttl)
		p.TTL = uint8(ttl)
	case "id":
		var id int
		number(&id)
		p.FragID = uint16(id)
	case "frag":
		_, err = fmt.Sscanf(value, "%d/%d", &p.Frag, &p.Frgs)
	default:
		p.Kind = key
	}
	return err
}

// check refuses words that nothing is known for.
func (p *Packet) check() error {
	switch p.Proto {
	case "udp", "gre":
		if p.Kind != "" {
			return fmt.Errorf("%s has no %q", p.Proto, p.Kind)
		}
	case "tcp":
		for _, f := range strings.Split(p.Kind, "+") {
			if flagBits[f] == 0 {
				return fmt.Errorf("TCP has no flag %q", f)
			}
		}
	case "icmp":
		if _, ok := icmpTypes[p.Kind]; !ok {
			return fmt.Errorf("ICMP message %q is not known", p.Kind)
		}
	default:
		return fmt.Errorf("protocol %q is not known", p.Proto)
	}
	if p.Src.Addr().Is4() != p.Dst.Addr().Is4() {
		return fmt.Errorf("addresses of two families")
	}
	return nil
}

// parseEndpoint reads an address with a port or without.
func parseEndpoint(s string) (netip.AddrPort, error) {
	if a, err := netip.ParseAddr(s); err == nil {
		return netip.AddrPortFrom(a, 0), nil
	}
	return netip.ParseAddrPort(s)
}
