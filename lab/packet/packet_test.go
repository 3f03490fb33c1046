package packet

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	_ "github.com/punchlab/punchlab/lab/internal/steady"
	"pgregory.net/rapid"
)

var (
	a4, b4 = netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("198.51.100.7")
	a6, b6 = netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8:1::7")
)

// addrs draws two addresses of one family.
func addrs(t *rapid.T) (src, dst netip.Addr) {
	if rapid.Bool().Draw(t, "ipv4") {
		s, d := rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, "src"), rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, "dst")
		return netip.AddrFrom4([4]byte(s)), netip.AddrFrom4([4]byte(d))
	}
	s, d := rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "src"), rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "dst")
	return netip.AddrFrom16([16]byte(s)), netip.AddrFrom16([16]byte(d))
}

// build lets gopacket make a packet of the transport, checksums included.
func build(t testing.TB, src, dst netip.Addr, transport gopacket.SerializableLayer, protocol layers.IPProtocol, payload []byte) []byte {
	t.Helper()
	var ip gopacket.SerializableLayer
	var under gopacket.NetworkLayer
	if src.Is4() {
		h := &layers.IPv4{Version: 4, TTL: 9, Id: 77, Flags: layers.IPv4DontFragment, Protocol: protocol, SrcIP: net.IP(src.AsSlice()), DstIP: net.IP(dst.AsSlice())}
		ip, under = h, h
	} else {
		h := &layers.IPv6{Version: 6, HopLimit: 9, NextHeader: protocol, SrcIP: net.IP(src.AsSlice()), DstIP: net.IP(dst.AsSlice())}
		ip, under = h, h
	}
	if c, ok := transport.(interface {
		SetNetworkLayerForChecksum(gopacket.NetworkLayer) error
	}); ok {
		if err := c.SetNetworkLayerForChecksum(under); err != nil {
			t.Fatal(err)
		}
	}
	buf := gopacket.NewSerializeBuffer()
	o := gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}
	if err := gopacket.SerializeLayers(buf, o, ip, transport, gopacket.Payload(payload)); err != nil {
		t.Fatal(err)
	}
	b := bytes.Clone(buf.Bytes())
	if _, udp := transport.(*layers.UDP); udp {
		if sum := b[len(b)-len(payload)-2:][:2]; sum[0]|sum[1] == 0 { // gopacket leaves it so, which says that there is none (RFC 768)
			sum[0], sum[1] = 0xff, 0xff
		}
	}
	return b
}

// verify checks all checksums of a packet from scratch.
func verify(b []byte) error {
	var src, dst netip.Addr
	var protocol uint8
	var segment []byte
	if Version(b) == 4 {
		p, err := ParseIPv4(b)
		if err != nil {
			return err
		}
		if !p.ChecksumOK() {
			return fmt.Errorf("header checksum %#x is wrong", p.Checksum())
		}
		src, dst, protocol, segment = p.Src(), p.Dst(), p.Protocol(), p.Payload()
	} else {
		p, err := ParseIPv6(b)
		if err != nil {
			return err
		}
		src, dst = p.Src(), p.Dst()
		protocol, segment, _ = p.Transport()
	}
	c := PseudoChecksum(src, dst, protocol, segment)
	if protocol == ProtocolICMP {
		c = Checksum(segment)
	}
	if c != 0 {
		return fmt.Errorf("transport checksum of protocol %d is wrong by %#x", protocol, c)
	}
	return nil
}

func TestViewsAgreeWithGopacket(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		src, dst := addrs(rt)
		payload := rapid.SliceOfN(rapid.Byte(), 0, 64).Draw(rt, "payload")
		sport, dport := rapid.Uint16().Draw(rt, "sport"), rapid.Uint16().Draw(rt, "dport")
		b := build(t, src, dst, &layers.UDP{SrcPort: layers.UDPPort(sport), DstPort: layers.UDPPort(dport)}, layers.IPProtocolUDP, payload)
		segment := checkIP(rt, b, src, dst, ProtocolUDP)
		u, err := ParseUDP(segment)
		if err != nil || u.SrcPort() != sport || u.DstPort() != dport || !bytes.Equal(u.Payload(), payload) {
			rt.Errorf("udp: %v, %v", u, err)
		}
		if err := verify(b); err != nil {
			rt.Error(err)
		}
		b = build(t, src, dst, &layers.TCP{SrcPort: layers.TCPPort(sport), DstPort: layers.TCPPort(dport), Seq: 7, Ack: 8, SYN: true, ACK: true,
			Options: []layers.TCPOption{{OptionType: layers.TCPOptionKindMSS, OptionLength: 4, OptionData: []byte{5, 0xb4}}}}, layers.IPProtocolTCP, payload)
		segment = checkIP(rt, b, src, dst, ProtocolTCP)
		s, err := ParseTCP(segment)
		if err != nil || s.SrcPort() != sport || s.DstPort() != dport || s.Seq() != 7 || s.Ack() != 8 || s.Flags() != SYN|ACK || s.HeaderLen() != 24 || !bytes.Equal(s.Payload(), payload) {
			rt.Errorf("tcp: %v, %v", s, err)
		}
		if err := verify(b); err != nil {
			rt.Error(err)
		}
	})
}

func checkIP(t *rapid.T, b []byte, src, dst netip.Addr, protocol uint8) (segment []byte) {
	longer := append(bytes.Clone(b), 1, 2, 3) // what follows is not the packet's
	if src.Is4() {
		p, err := ParseIPv4(longer)
		if err != nil {
			t.Fatal(err)
		}
		if p.Src() != src || p.Dst() != dst || p.TTL() != 9 || p.ID() != 77 || !p.DontFragment() || p.MoreFragments() || p.FragmentOffset() != 0 || p.Protocol() != protocol || p.TotalLen() != len(b) {
			t.Errorf("ipv4 %x", p)
		}
		return p.Payload()
	}
	p, err := ParseIPv6(longer)
	if err != nil {
		t.Fatal(err)
	}
	got, segment, first := p.Transport()
	if p.Src() != src || p.Dst() != dst || p.HopLimit() != 9 || got != protocol || !first || p.TotalLen() != len(b) {
		t.Errorf("ipv6 %x", p)
	}
	return segment
}

// TestChangesKeepChecksums: after each setter all checksums are right from scratch.
func TestChangesKeepChecksums(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		src, dst := addrs(rt)
		newSrc, newDst := addrs(rt)
		payload := rapid.SliceOfN(rapid.Byte(), 0, 9).Draw(rt, "payload")
		port := rapid.Uint16().Draw(rt, "port")
		for protocol, layer := range map[layers.IPProtocol]gopacket.SerializableLayer{
			layers.IPProtocolUDP: &layers.UDP{SrcPort: 1, DstPort: 2}, layers.IPProtocolTCP: &layers.TCP{SrcPort: 1, DstPort: 2}} {
			b := build(t, src, dst, layer, protocol, payload)
			var segment []byte
			if p, err := ParseIPv4(b); err == nil {
				p.DecrementTTL()
				if newSrc.Is4() {
					p.SetSrc(newSrc)
					p.SetDst(newDst)
				}
				segment = p.Payload()
			} else if p, err := ParseIPv6(b); err == nil {
				p.DecrementHopLimit()
				if newSrc.Is6() {
					p.SetSrc(newSrc)
					p.SetDst(newDst)
				}
				segment = p[IPv6HeaderLen:]
			}
			if u, err := ParseUDP(segment); err == nil && protocol == layers.IPProtocolUDP {
				u.SetSrcPort(port)
				u.SetDstPort(port ^ 0x5555)
			} else if s, err := ParseTCP(segment); err == nil {
				s.SetSrcPort(port)
				s.SetDstPort(port ^ 0x5555)
			}
			if err := verify(b); err != nil {
				rt.Errorf("protocol %v: %v", protocol, err)
			}
		}
	})
}

// TestRFC1624Example is the example of RFC 1624 §4: equation 2 gives 0xffff there, equation 3 the right 0x0000.
func TestRFC1624Example(t *testing.T) {
	if got := Update16(0xdd2f, 0x5555, 0x3285); got != 0x0000 {
		t.Errorf("checksum %#04x, want 0", got)
	}
}

// TestRFC1071Example is the example of RFC 1071 §3: the sum is 0xddf2.
func TestRFC1071Example(t *testing.T) {
	if got := ^Checksum([]byte{0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7}); got != 0xddf2 {
		t.Errorf("sum %#04x, want 0xddf2", got)
	}
}

func TestUDPWithoutChecksumStaysSo(t *testing.T) {
	b := AppendUDP(nil, netip.AddrPortFrom(a4, 1), netip.AddrPortFrom(b4, 2), []byte("x"))
	p, _ := ParseIPv4(b)
	u, _ := ParseUDP(p.Payload())
	u[6], u[7] = 0, 0
	p.SetSrc(b4)
	u.SetSrcPort(99)
	if u.Checksum() != 0 {
		t.Errorf("checksum %#x, want none as before", u.Checksum())
	}
}

func TestTTLStaysAtZero(t *testing.T) {
	b := AppendUDP(nil, netip.AddrPortFrom(a4, 1), netip.AddrPortFrom(b4, 2), nil)
	p, _ := ParseIPv4(b)
	for range 70 {
		p.DecrementTTL()
	}
	if p.TTL() != 0 || !p.ChecksumOK() {
		t.Errorf("ttl %d, checksum right: %v", p.TTL(), p.ChecksumOK())
	}
}

func TestLaterFragmentHasNoPorts(t *testing.T) {
	b := AppendUDP(nil, netip.AddrPortFrom(a4, 1), netip.AddrPortFrom(b4, 2), []byte("not a header, although it is where one would be"))
	b[6], b[7] = 0x20, 8 // MF, offset 64
	p, _ := ParseIPv4(b)
	before := bytes.Clone(p.Payload())
	p.SetSrc(b4)
	if p.FragmentOffset() != 64 || !p.MoreFragments() || !bytes.Equal(before, p.Payload()) {
		t.Errorf("offset %d, payload %x, was %x", p.FragmentOffset(), p.Payload(), before)
	}
}

func TestIPv6Extensions(t *testing.T) {
	udp := []byte{0, 1, 0, 2, 0, 8, 0, 0}
	hop := func(next byte) []byte { return []byte{next, 0, 1, 4, 0, 0, 0, 0} }
	fragment := func(next byte, offset uint16) []byte {
		return binary.BigEndian.AppendUint32([]byte{next, 0, byte(offset >> 8), byte(offset)}, 9)
	}
	for name, c := range map[string]struct {
		next     byte
		payload  []byte
		protocol uint8
		first    bool
	}{
		"none":            {17, udp, 17, true},
		"hop by hop":      {0, append(hop(17), udp...), 17, true},
		"two":             {0, append(append(hop(60), hop(17)...), udp...), 17, true},
		"first fragment":  {44, append(fragment(17, 1), udp...), 17, true},
		"later fragment":  {44, append(fragment(17, 8), udp...), 17, false},
		"cut off":         {0, hop(17)[:5], 0, false},
		"longer than all": {0, []byte{17, 9, 0, 0, 0, 0, 0, 0}, 0, false},
	} {
		b := append(appendIP(nil, a6, b6, c.next, len(c.payload)), c.payload...)
		p, err := ParseIPv6(b)
		if err != nil {
			t.Fatal(err)
		}
		if protocol, _, first := p.Transport(); protocol != c.protocol || first != c.first {
			t.Errorf("%s: protocol %d, first %v, want %d, %v", name, protocol, first, c.protocol, c.first)
		}
	}
}

func TestEcho(t *testing.T) {
	b := build(t, a4, b4, &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(8, 0), Id: 5, Seq: 6}, layers.IPProtocolICMPv4, []byte("abc"))
	p, _ := ParseIPv4(b)
	m, err := ParseICMP(p.Payload())
	if err != nil || m.Type() != 8 || m.Code() != 0 || m.ID() != 5 || string(m.Body()) != "abc" {
		t.Fatalf("%x, %v", m, err)
	}
	m.SetID(0x1234)
	p.SetDst(a4)
	if err := verify(b); err != nil || m.ID() != 0x1234 {
		t.Errorf("id %#x, %v", m.ID(), err)
	}
}

// unreadable is what gopacket could not read of p's headers. Above them it guesses the application by the port (a datagram to
// port 67 must be DHCP): what it misses there says nothing of the packet.
func unreadable(p gopacket.Packet) error {
	if e := p.ErrorLayer(); e != nil && p.TransportLayer() == nil {
		return e.Error()
	}
	return nil
}

func TestErrorsAreReadable(t *testing.T) {
	for _, c := range []struct {
		about []byte
		src   netip.Addr
		types [2]int // of FragmentationNeeded, TimeExceeded
	}{
		{AppendUDP(nil, netip.AddrPortFrom(a4, 1), netip.AddrPortFrom(b4, 2), make([]byte, 1400)), b4, [2]int{3, 11}},
		{AppendUDP(nil, netip.AddrPortFrom(a6, 1), netip.AddrPortFrom(b6, 2), make([]byte, 1400)), b6, [2]int{2, 3}},
	} {
		for i, e := range []Error{FragmentationNeeded, TimeExceeded} {
			b := AppendError(nil, e, c.src, 1280, c.about)
			if err := verify(b); err != nil {
				t.Errorf("%v about version %d: %v", e, Version(c.about), err)
			}
			first := gopacket.LayerType(layers.LayerTypeIPv4)
			if c.src.Is6() {
				first = layers.LayerTypeIPv6
			}
			p := gopacket.NewPacket(b, first, gopacket.Default)
			if f := unreadable(p); f != nil {
				t.Errorf("gopacket: %v", f)
			}
			got := -1
			if m, ok := p.Layer(layers.LayerTypeICMPv4).(*layers.ICMPv4); ok {
				got = int(m.TypeCode.Type())
				if e == FragmentationNeeded && (m.TypeCode.Code() != 4 || m.Seq != 1280) {
					t.Errorf("code %d, mtu %d", m.TypeCode.Code(), m.Seq)
				}
			} else if m, ok := p.Layer(layers.LayerTypeICMPv6).(*layers.ICMPv6); ok {
				got = int(m.TypeCode.Type())
				if mtu := binary.BigEndian.Uint32(m.Payload); e == FragmentationNeeded && mtu != 1280 {
					t.Errorf("mtu %d", mtu)
				}
			}
			if got != c.types[i] {
				t.Errorf("type %d, want %d", got, c.types[i])
			}
		}
	}
}

func TestNoErrorAbout(t *testing.T) {
	good := AppendUDP(nil, netip.AddrPortFrom(a4, 1), netip.AddrPortFrom(b4, 2), make([]byte, 100))
	good6 := AppendUDP(nil, netip.AddrPortFrom(a6, 1), netip.AddrPortFrom(b6, 2), make([]byte, 100))
	change := func(b []byte, f func(b []byte)) []byte {
		b = bytes.Clone(b)
		f(b)
		return b
	}
	for name, about := range map[string][]byte{
		"nothing":                 nil,
		"a later fragment":        change(good, func(b []byte) { b[7] = 1 }),
		"an error":                AppendError(nil, TimeExceeded, b4, 0, good),
		"an ICMPv6 error":         AppendError(nil, TimeExceeded, b6, 0, good6),
		"an unspecified source":   change(good, func(b []byte) { copy(b[12:], []byte{0, 0, 0, 0}) }),
		"a multicast destination": change(good, func(b []byte) { b[16] = 224 }),
		"a broadcast":             change(good, func(b []byte) { copy(b[16:], []byte{255, 255, 255, 255}) }),
		"IPv6 multicast":          change(good6, func(b []byte) { b[24] = 0xff }),
	} {
		src := b4
		if Version(about) == 6 {
			src = b6
		}
		if b := AppendError(nil, TimeExceeded, src, 0, about); b != nil {
			t.Errorf("about %s: %x", name, b)
		}
	}
	if AppendError(nil, TimeExceeded, b6, 0, good) != nil || AppendError(nil, TimeExceeded, b4, 0, good) == nil {
		t.Error("the error's source must be of the packet's family")
	}
}

// TestTruncation: a packet cut at any byte is refused or its views stay inside.
func TestTruncation(t *testing.T) {
	for _, b := range [][]byte{
		build(t, a4, b4, &layers.TCP{}, layers.IPProtocolTCP, []byte("abc")),
		build(t, a6, b6, &layers.UDP{}, layers.IPProtocolUDP, []byte("abc")),
	} {
		for n := range b {
			if _, err := ParseIPv4(b[:n]); err == nil {
				t.Errorf("IPv4 of %d bytes was accepted at %d", len(b), n)
			}
			if _, err := ParseIPv6(b[:n]); err == nil {
				t.Errorf("IPv6 of %d bytes was accepted at %d", len(b), n)
			}
		}
	}
}

func TestAllocatesNothing(t *testing.T) {
	b := AppendUDP(nil, netip.AddrPortFrom(a4, 1), netip.AddrPortFrom(b4, 2), make([]byte, 100))
	out := make([]byte, 0, 2000)
	n := testing.AllocsPerRun(100, func() {
		p, _ := ParseIPv4(b)
		p.SetSrc(b4)
		u, _ := ParseUDP(p.Payload())
		u.SetSrcPort(u.SrcPort() + 1)
		out = AppendError(out[:0], TimeExceeded, b4, 0, b)
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}
