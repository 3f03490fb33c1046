package packet

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"pgregory.net/rapid"
)

func addrPort(a netip.Addr, port uint16) netip.AddrPort { return netip.AddrPortFrom(a, port) }

// to6 and to4 map a.b.c.d to 64:ff9b::a.b.c.d (RFC 6052 §2.2) and back.
func to6(a netip.Addr) (netip.Addr, bool) {
	v := a.As4()
	b := [16]byte{0, 0x64, 0xff, 0x9b}
	copy(b[12:], v[:])
	return netip.AddrFrom16(b), a.Is4()
}

func to4(a netip.Addr) (netip.Addr, bool) {
	v := a.As16()
	return netip.AddrFrom4([4]byte(v[12:])), bytes.HasPrefix(v[:], []byte{0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0})
}

func in6(a netip.Addr) netip.Addr { b, _ := to6(a); return b }

// drawTransport draws a TCP segment, a UDP datagram or an echo for a family.
func drawTransport(t *rapid.T, v4 bool) (gopacket.SerializableLayer, layers.IPProtocol) {
	a, b := rapid.Uint16().Draw(t, "a"), rapid.Uint16().Draw(t, "b")
	switch rapid.IntRange(0, 2).Draw(t, "transport") {
	case 0:
		return &layers.TCP{SrcPort: layers.TCPPort(a), DstPort: layers.TCPPort(b), SYN: true, Seq: 9}, layers.IPProtocolTCP
	case 1:
		return &layers.UDP{SrcPort: layers.UDPPort(a), DstPort: layers.UDPPort(b)}, layers.IPProtocolUDP
	}
	if v4 {
		return &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(8, 0), Id: a, Seq: b}, layers.IPProtocolICMPv4
	}
	return echo6{a, b}, layers.IPProtocolICMPv6
}

// echo6 is an ICMPv6 echo request as one layer; addresses are a's and b's in IPv6.
type echo6 struct{ id, seq uint16 }

func (e echo6) LayerType() gopacket.LayerType { return layers.LayerTypeICMPv6 }
func (e echo6) SerializeTo(buf gopacket.SerializeBuffer, _ gopacket.SerializeOptions) error {
	b, err := buf.PrependBytes(8)
	copy(b, []byte{128, 0, 0, 0, byte(e.id >> 8), byte(e.id), byte(e.seq >> 8), byte(e.seq)})
	binary.BigEndian.PutUint16(b[2:], PseudoChecksum(in6(a4), in6(b4), ProtocolICMPv6, buf.Bytes()))
	return err
}

// TestTranslate6To4: gopacket reads what comes out, checksums are right from scratch, and back it is what it was.
func TestTranslate6To4(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		layer, protocol := drawTransport(rt, false)
		payload := rapid.SliceOfN(rapid.Byte(), 0, 1400).Draw(rt, "payload")
		p := build(t, in6(a4), in6(b4), layer, protocol, payload)
		p[0], p[1] = 0x6a, 0xb0 // traffic class 0xab
		got, err := AppendIPv4([]byte("x"), IPv6(p), 77, to4)
		if err != nil {
			rt.Fatal(err)
		}
		got = got[1:]
		if err := verify(got); err != nil {
			rt.Error(err)
		}
		h, ok := gopacket.NewPacket(got, layers.LayerTypeIPv4, gopacket.Default).NetworkLayer().(*layers.IPv4)
		if !ok || h.TOS != 0xab || h.TTL != 9 || h.Id != 77 || int(h.Length) != len(got) || (h.Flags&layers.IPv4DontFragment != 0) != (len(got) > 1260) {
			rt.Errorf("header %+v", h)
		}
		back, err := AppendIPv6(nil, IPv4(got), to6)
		if err != nil || !bytes.Equal(back, p) {
			rt.Errorf("%v\n%x back, was\n%x", err, back, p)
		}
	})
}

func TestTranslate4To6(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		layer, protocol := drawTransport(rt, true)
		payload := rapid.SliceOfN(rapid.Byte(), 0, 1400).Draw(rt, "payload")
		p := build(t, a4, b4, layer, protocol, payload)
		got, err := AppendIPv6(nil, IPv4(p), to6)
		if err != nil {
			rt.Fatal(err)
		}
		if err := verify(got); err != nil {
			rt.Error(err)
		}
		d := gopacket.NewPacket(got, layers.LayerTypeIPv6, gopacket.Default)
		h, ok := d.NetworkLayer().(*layers.IPv6)
		if e := unreadable(d); e != nil || !ok || h.HopLimit != 9 || int(h.Length) != len(got)-40 || h.SrcIP.String() != "64:ff9b::c000:201" {
			rt.Errorf("header %+v, %v", h, e)
		}
		if want := len(p) + 20; len(got) != want {
			rt.Errorf("%d bytes, want %d", len(got), want)
		}
	})
}

// TestTranslateKeepsWrongChecksumsWrong: a translator that recomputes would vouch for a packet that was damaged.
func TestTranslateKeepsWrongChecksumsWrong(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		layer, protocol := drawTransport(rt, true)
		p := build(t, a4, b4, layer, protocol, []byte("payload"))
		p[len(p)-1] ^= 1
		got, err := AppendIPv6(nil, IPv4(p), to6)
		if err != nil || verify(got) == nil {
			rt.Errorf("%v, checksum right although it was wrong", err)
		}
	})
}

func TestTranslateUDPWithoutChecksum(t *testing.T) {
	p := AppendUDP(nil, addrPort(a4, 1), addrPort(b4, 2), []byte("hi!"))
	binary.BigEndian.PutUint16(p[26:], 0)
	got, err := AppendIPv6(nil, IPv4(p), to6)
	if err != nil || verify(got) != nil || binary.BigEndian.Uint16(got[46:]) == 0 {
		t.Errorf("%v, %v: want a checksum", err, verify(got))
	}
	p[6] = 0x20 // a first fragment
	if _, err := AppendIPv6(nil, IPv4(p), to6); err != ErrChecksum {
		t.Errorf("a fragment without checksum: %v", err)
	}
	six := AppendUDP(nil, addrPort(in6(a4), 1), addrPort(in6(b4), 2), []byte("hi!"))
	binary.BigEndian.PutUint16(six[46:], 0)
	if _, err := AppendIPv4(nil, IPv6(six), 0, to4); err != ErrChecksum {
		t.Errorf("IPv6 without checksum: %v", err)
	}
}

// TestTranslateFragments: the fragment header and the fields of IPv4 are each other's translation; a first fragment's
// checksum follows the addresses.
func TestTranslateFragments(t *testing.T) {
	whole := AppendUDP(nil, addrPort(a4, 1), addrPort(b4, 2), make([]byte, 64))
	for _, c := range []struct {
		flags        uint16
		from, to     int
		offset, more uint16
	}{{0x2000, 0, 40, 0, 1}, {0x2005, 40, 56, 5 << 3, 1}, {0x0007, 56, 72, 7 << 3, 0}} {
		p := append(bytes.Clone(whole[:20]), whole[20+c.from:20+c.to]...)
		binary.BigEndian.PutUint16(p[2:], uint16(len(p)))
		binary.BigEndian.PutUint16(p[4:], 0xbeef)
		binary.BigEndian.PutUint16(p[6:], c.flags)
		binary.BigEndian.PutUint16(p[10:], 0)
		binary.BigEndian.PutUint16(p[10:], Checksum(p[:20]))
		got, err := AppendIPv6(nil, IPv4(p), to6)
		if err != nil {
			t.Fatal(err)
		}
		f, ok := gopacket.NewPacket(got, layers.LayerTypeIPv6, gopacket.Default).Layer(layers.LayerTypeIPv6Fragment).(*layers.IPv6Fragment)
		if !ok || f.Identification != 0xbeef || f.FragmentOffset != c.offset>>3 || f.MoreFragments != (c.more == 1) || f.NextHeader != layers.IPProtocolUDP {
			t.Errorf("flags %#x: %+v", c.flags, f)
		}
		back, err := AppendIPv4(nil, IPv6(got), 1, to4)
		if err != nil || !bytes.Equal(back, p) {
			t.Errorf("%v\n%x back, was\n%x", err, back, p)
		}
	}
	icmp := build(t, a4, b4, &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(8, 0)}, layers.IPProtocolICMPv4, make([]byte, 16))
	icmp[6] = 0x20
	if _, err := AppendIPv6(nil, IPv4(icmp), to6); err != ErrProtocol {
		t.Errorf("a fragment of an echo: %v", err)
	}
}

func TestTranslateExtensions(t *testing.T) {
	udp := AppendUDP(nil, addrPort(in6(a4), 1), addrPort(in6(b4), 2), []byte("x"))[40:]
	with := func(next byte, ext ...byte) IPv6 {
		return append(append(appendIP(nil, in6(a4), in6(b4), next, len(ext)+len(udp)), ext...), udp...)
	}
	got, err := AppendIPv4(nil, with(0, 60, 0, 1, 4, 0, 0, 0, 0, 17, 0, 1, 4, 0, 0, 0, 0), 0, to4)
	if err != nil || len(got) != 29 || verify(got) != nil {
		t.Errorf("hop-by-hop and destination options: %v, %x", err, got)
	}
	if _, err := AppendIPv4(nil, with(43, 17, 0, 0, 0, 0, 0, 0, 0), 0, to4); err != nil {
		t.Errorf("a routing header that has ended: %v", err)
	}
	if _, err := AppendIPv4(nil, with(43, 17, 0, 0, 1, 0, 0, 0, 0), 0, to4); err != ErrProtocol {
		t.Errorf("a routing header with segments left: %v", err)
	}
	p := AppendUDP(nil, addrPort(a4, 1), addrPort(b4, 2), nil)
	routed := append(append(append([]byte{}, p[:20]...), 1, 131, 7, 4, 192, 0, 2, 9), p[20:]...)
	routed[0], routed[3] = 0x47, byte(len(routed))
	if _, err := AppendIPv6(nil, IPv4(routed), to6); err != ErrProtocol {
		t.Errorf("a source route: %v", err)
	}
	routed[23] = 8 // past its end
	if got, err := AppendIPv6(nil, IPv4(routed), to6); err != nil || len(got) != 48 {
		t.Errorf("options: %v, %d bytes", err, len(got))
	}
	if _, err := AppendIPv4(nil, IPv6(AppendUDP(nil, addrPort(a6, 1), addrPort(in6(b4), 2), nil)), 0, to4); err != ErrAddress {
		t.Errorf("an address without a counterpart: %v", err)
	}
}

// icmpCase is a line of the tables in RFC 7915 §4.2 and §5.2: type, code and the second word.
type icmpCase struct {
	typ, code   uint8
	rest        uint32
	to          uint8
	toCode      uint8
	toRest      uint32
	unsupported bool
}

func TestICMPErrors4To6(t *testing.T) {
	var cases []icmpCase
	codes := map[uint8][3]uint8{0: {1, 0, 0}, 1: {1, 0, 0}, 2: {4, 1, 6}, 3: {1, 4, 0}, 5: {1, 0, 0}, 6: {1, 0, 0}, 7: {1, 0, 0}, 8: {1, 0, 0},
		9: {1, 1, 0}, 10: {1, 1, 0}, 11: {1, 0, 0}, 12: {1, 0, 0}, 13: {1, 1, 0}, 15: {1, 1, 0}}
	for code := range uint8(18) {
		if w, ok := codes[code]; ok {
			cases = append(cases, icmpCase{typ: 3, code: code, to: w[0], toCode: w[1], toRest: uint32(w[2])})
		} else if code != 4 {
			cases = append(cases, icmpCase{typ: 3, code: code, unsupported: true})
		}
	}
	for mtu, want := range map[uint32]uint32{1500: 1520, 1000: 1280, 0: 1280, 65535: 65555} {
		cases = append(cases, icmpCase{typ: 3, code: 4, rest: mtu, to: 2, toRest: want})
	}
	for pointer, want := range map[uint32]int{0: 0, 1: 1, 2: 4, 3: 4, 4: -1, 5: -1, 6: -1, 7: -1, 8: 7, 9: 6, 10: -1, 11: -1, 12: 8, 15: 8, 16: 24, 19: 24, 20: -1, 255: -1} {
		cases = append(cases, icmpCase{typ: 12, code: 0, rest: pointer << 24, to: 4, toRest: uint32(max(want, 0)), unsupported: want < 0},
			icmpCase{typ: 12, code: 2, rest: pointer << 24, to: 4, toRest: uint32(max(want, 0)), unsupported: want < 0})
	}
	cases = append(cases, icmpCase{typ: 11, code: 1, to: 3, toCode: 1}, icmpCase{typ: 12, code: 1, unsupported: true})
	for _, typ := range []uint8{4, 5, 9, 10, 13, 14, 15, 16, 17, 18, 40} {
		cases = append(cases, icmpCase{typ: typ, unsupported: true})
	}
	quote := build(t, b4, a4, &layers.TCP{SrcPort: 5, DstPort: 6}, layers.IPProtocolTCP, []byte("abcdef"))
	want := build(t, in6(b4), in6(a4), &layers.TCP{SrcPort: 5, DstPort: 6}, layers.IPProtocolTCP, []byte("abcdef"))
	for _, c := range cases {
		got, err := AppendIPv6(nil, IPv4(icmpError(a4, b4, c, quote)), to6)
		checkICMP(t, c, got, err, in6(a4), in6(b4), want)
	}
}

func TestICMPErrors6To4(t *testing.T) {
	cases := []icmpCase{
		{typ: 1, code: 0, to: 3, toCode: 1}, {typ: 1, code: 1, to: 3, toCode: 10}, {typ: 1, code: 2, to: 3, toCode: 1},
		{typ: 1, code: 3, to: 3, toCode: 1}, {typ: 1, code: 4, to: 3, toCode: 3}, {typ: 1, code: 5, unsupported: true},
		{typ: 2, rest: 1280, to: 3, toCode: 4, toRest: 1260}, {typ: 2, rest: 5, to: 3, toCode: 4}, {typ: 2, rest: 1 << 20, to: 3, toCode: 4, toRest: 0xffff},
		{typ: 3, code: 0, to: 11}, {typ: 3, code: 1, to: 11, toCode: 1},
		{typ: 4, code: 1, to: 3, toCode: 2}, {typ: 4, code: 2, unsupported: true}, {typ: 100, unsupported: true},
		{typ: 130, unsupported: true}, {typ: 133, unsupported: true}, {typ: 135, unsupported: true}, {typ: 200, unsupported: true},
	}
	for pointer, want := range map[uint32]int{0: 0, 1: 1, 2: -1, 3: -1, 4: 2, 5: 2, 6: 9, 7: 8, 8: 12, 23: 12, 24: 16, 39: 16, 40: -1, 1 << 31: -1} {
		cases = append(cases, icmpCase{typ: 4, rest: pointer, to: 12, toRest: uint32(max(want, 0)) << 24, unsupported: want < 0})
	}
	quote := build(t, in6(b4), in6(a4), &layers.UDP{SrcPort: 5, DstPort: 6}, layers.IPProtocolUDP, []byte("abcdef"))
	want := build(t, b4, a4, &layers.UDP{SrcPort: 5, DstPort: 6}, layers.IPProtocolUDP, []byte("abcdef"))
	for _, c := range cases {
		got, err := AppendIPv4(nil, IPv6(icmpError(in6(a4), in6(b4), c, quote)), 0, to4)
		if err == nil && len(got) >= 48 { // the quoted header's own fields differ from gopacket's packet
			copy(got[32:40], want[4:12])
			copy(got[38:40], want[10:12])
			binary.BigEndian.PutUint16(got[22:], 0)
			binary.BigEndian.PutUint16(got[22:], Checksum(got[20:]))
		}
		checkICMP(t, c, got, err, a4, b4, want)
	}
}

// icmpError builds an error of the family of src.
func icmpError(src, dst netip.Addr, c icmpCase, quote []byte) []byte {
	m := binary.BigEndian.AppendUint32([]byte{c.typ, c.code, 0, 0}, c.rest)
	m = append(m, quote...)
	protocol := byte(ProtocolICMP)
	if src.Is6() {
		protocol = ProtocolICMPv6
		binary.BigEndian.PutUint16(m[2:], PseudoChecksum(src, dst, protocol, m))
	} else {
		binary.BigEndian.PutUint16(m[2:], Checksum(m))
	}
	return append(appendIP(nil, src, dst, protocol, len(m)), m...)
}

func checkICMP(t *testing.T, c icmpCase, got []byte, err error, src, dst netip.Addr, quote []byte) {
	t.Helper()
	if c.unsupported {
		if err != ErrProtocol {
			t.Errorf("type %d, code %d, %#x: %v, want a refusal", c.typ, c.code, c.rest, err)
		}
		return
	}
	if err != nil {
		t.Errorf("type %d, code %d, %#x: %v", c.typ, c.code, c.rest, err)
		return
	}
	if err := verify(got); err != nil {
		t.Errorf("type %d, code %d: %v", c.typ, c.code, err)
	}
	want := icmpError(src, dst, icmpCase{typ: c.to, code: c.toCode, rest: c.toRest}, quote)
	from := 40
	if src.Is4() {
		from = 20
	}
	if d := cmp.Diff(want[from:], got[from:]); d != "" {
		t.Errorf("type %d, code %d, %#x: (-want +got)\n%s", c.typ, c.code, c.rest, d)
	}
}

// TestICMPErrorsAboutCutPackets: quotes end anywhere, RFC 4884 extensions go, what quotes an error is refused, and an
// old router's silence about the MTU becomes a plateau.
func TestICMPErrorsAboutCutPackets(t *testing.T) {
	full := build(t, b4, a4, &layers.UDP{SrcPort: 5, DstPort: 6}, layers.IPProtocolUDP, make([]byte, 1400))
	for n := range 60 {
		p := icmpError(a4, b4, icmpCase{typ: 3, code: 3}, full[:n])
		got, err := AppendIPv6(nil, IPv4(p), to6)
		if (err == nil) != (n >= 20) || err == nil && (verify(got) != nil || len(got) != 48+20+n) {
			t.Errorf("quote of %d bytes: %v, %d bytes", n, err, len(got))
		}
	}
	got, err := AppendIPv6(nil, IPv4(icmpError(a4, b4, icmpCase{typ: 3, code: 4}, full)), to6)
	if err != nil || len(got) != maxError6 || verify(got) != nil || binary.BigEndian.Uint32(got[44:]) != 1280 {
		t.Errorf("a long quote: %v, %d bytes", err, len(got))
	}
	binary.BigEndian.PutUint16(full[2:], 4000)
	if got, err = AppendIPv6(nil, IPv4(icmpError(a4, b4, icmpCase{typ: 3, code: 4}, full[:28])), to6); err != nil || binary.BigEndian.Uint32(got[44:]) != 2022 {
		t.Errorf("no MTU for a packet of 4000 bytes: %v, %x", err, got)
	}
	extended := append(bytes.Clone(full[:128]), 0x20, 0, 0, 0, 0, 4, 1, 1)
	if got, err = AppendIPv6(nil, IPv4(icmpError(a4, b4, icmpCase{typ: 11, rest: 32 << 16}, extended)), to6); err != nil || len(got) != 48+20+128 || verify(got) != nil {
		t.Errorf("with an extension: %v, %d bytes", err, len(got))
	}
	about := icmpError(b4, a4, icmpCase{typ: 3, code: 3}, full[:28])
	if _, err = AppendIPv6(nil, IPv4(icmpError(a4, b4, icmpCase{typ: 3, code: 3}, about)), to6); err != ErrProtocol {
		t.Errorf("an error about an error: %v", err)
	}
	wrong := icmpError(a4, b4, icmpCase{typ: 3, code: 3}, full[:28])
	wrong[22] ^= 1
	if _, err = AppendIPv6(nil, IPv4(wrong), to6); err != ErrChecksum {
		t.Errorf("a wrong checksum: %v", err)
	}
}

// FuzzTranslate: no input panics, what is translated has a length that fits, and from right checksums come right ones.
func FuzzTranslate(f *testing.F) {
	f.Add(AppendUDP(nil, addrPort(a4, 1), addrPort(b4, 2), []byte("hello")))
	f.Add(AppendUDP(nil, addrPort(in6(a4), 1), addrPort(in6(b4), 2), []byte("hello")))
	quote := AppendUDP(nil, addrPort(b4, 1), addrPort(a4, 2), nil)
	f.Add(icmpError(a4, b4, icmpCase{typ: 3, code: 4, rest: 1400}, quote))
	f.Add(icmpError(in6(a4), in6(b4), icmpCase{typ: 2, rest: 1400}, AppendUDP(nil, addrPort(in6(b4), 1), addrPort(in6(a4), 2), nil)))
	f.Fuzz(func(t *testing.T, b []byte) {
		any4 := func(a netip.Addr) (netip.Addr, bool) { v := a.As16(); return netip.AddrFrom4([4]byte(v[12:])), true }
		if p, err := ParseIPv4(b); err == nil {
			good := wellFormed(p)
			if got, err := AppendIPv6(nil, p, to6); err == nil {
				if q, err := ParseIPv6(got); err != nil || len(q) != len(got) {
					t.Errorf("%x became %x: %v", b, got, err)
				}
				if good && verify(got) != nil {
					t.Errorf("%x became %x: %v", b, got, verify(got))
				}
			} else if len(got) != 0 {
				t.Errorf("%v, and %d bytes", err, len(got))
			}
		}
		if p, err := ParseIPv6(b); err == nil {
			good := wellFormed(b)
			if got, err := AppendIPv4(nil, p, 0, any4); err == nil {
				if q, err := ParseIPv4(got); err != nil || len(q) != len(got) || !q.ChecksumOK() {
					t.Errorf("%x became %x: %v", b, got, err)
				}
				if good && verify(got) != nil {
					t.Errorf("%x became %x: %v", b, got, verify(got))
				}
			} else if len(got) != 0 {
				t.Errorf("%v, and %d bytes", err, len(got))
			}
		}
		_ = Segment(bytes.Clone(b), 1+len(b)/3, func(seg []byte) {
			if len(seg) > len(b) {
				t.Errorf("%d bytes of %d", len(seg), len(b))
			}
		})
	})
}

// wellFormed tells whether a packet is whole, not a fragment, and its checksums right.
func wellFormed(b []byte) bool {
	if p, err := ParseIPv4(b); err == nil {
		if p.MoreFragments() || p.FragmentOffset() != 0 {
			return false
		}
		if u, err := ParseUDP(p.Payload()); p.Protocol() == ProtocolUDP && (err != nil || len(u) != len(p.Payload()) || u.Checksum() == 0) {
			return false
		}
		return summed(p.Protocol()) && verify(p) == nil
	}
	p, err := ParseIPv6(b)
	if err != nil {
		return false
	}
	protocol, segment := p.whole()
	if u, err := ParseUDP(segment); protocol == ProtocolUDP && (err != nil || len(u) != len(segment)) {
		return false
	}
	return segment != nil && summed(protocol) && verify(p) == nil
}

// summed tells whether a protocol has a checksum that this package knows.
func summed(protocol uint8) bool {
	return protocol == ProtocolUDP || protocol == ProtocolTCP || protocol == ProtocolICMP || protocol == ProtocolICMPv6
}
