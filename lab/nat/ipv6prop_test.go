package nat

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/punchlab/punchlab/lab/packet"
	"pgregory.net/rapid"
)

func behavior6(mode IPv6Mode) Behavior {
	b, _ := Lookup("full-cone")
	b.IPv6 = mode
	return b
}

func drawAddress6(t *rapid.T, label string) (a address6) {
	words := rapid.SliceOfN(rapid.SampledFrom([]uint16{0, 1, 0xff00, 0xfffe, 0xffff, 0x1234}), 8, 8).Draw(t, label)
	for i, w := range words {
		binary.BigEndian.PutUint16(a[2*i:], w)
	}
	return a
}

// TestNPTv6IsNeutral: out and back is where it came from, the prefix is the other one, the bits behind it that are not
// the word's stay, and the sum of the address is what it was.
func TestNPTv6IsNeutral(t *testing.T) {
	swapped := 0
	rapid.Check(t, func(t *rapid.T) {
		c := Config{Behavior: behavior6(NPTv6)}
		in, ext := drawAddress6(t, "in"), drawAddress6(t, "ext")
		in[0], ext[0] = 0xfd, 0x20
		c.LAN = []netip.Prefix{netip.PrefixFrom(netip.AddrFrom16(in), rapid.IntRange(8, 64).Draw(t, "in bits"))}
		c.External6 = netip.PrefixFrom(netip.AddrFrom16(ext), rapid.IntRange(8, 64).Draw(t, "ext bits"))
		n, err := c.prefixes()
		if err != nil {
			t.Fatal(err)
		}
		a := drawAddress6(t, "host")
		for i := range 16 { // behind the prefix only
			if k := n.bits - 8*i; k >= 8 {
				a[i] = n.in[i]
			} else if k > 0 {
				a[i] = n.in[i] | a[i]&(0xff>>k)
			}
		}
		b, ok := n.swap(a, true)
		if !ok {
			return
		}
		swapped++
		if !n.outer(b) || folded(wordSum(b[:]))%0xffff != folded(wordSum(a[:]))%0xffff {
			t.Fatalf("%x became %x with %+v", a, b, n)
		}
		if back, ok := n.swap(b, false); !ok || back != a {
			t.Fatalf("%x became %x became %x with %+v", a, b, back, n)
		}
	})
	if swapped < 20 {
		t.Errorf("only %d addresses had a counterpart", swapped)
	}
}

// TestEmbed: the examples of RFC 6052 §2.4, and back.
func TestEmbed(t *testing.T) {
	for prefix, want := range map[string]string{
		"2001:db8::/32":               "2001:db8:c000:221::",
		"2001:db8:100::/40":           "2001:db8:1c0:2:21::",
		"2001:db8:122::/48":           "2001:db8:122:c000:2:2100::",
		"2001:db8:122:300::/56":       "2001:db8:122:3c0:0:221::",
		"2001:db8:122:344::/64":       "2001:db8:122:344:c0:2:2100::",
		"2001:db8:122:344::/96":       "2001:db8:122:344::192.0.2.33",
		"64:ff9b::/96":                "64:ff9b::192.0.2.33",
		"2001:db8:122:344:5::/64":     "", // cut to its length
		"2001:db8:122:344:500::/96":   "error",
		"2001:db8::/60":               "error",
		"2001:db8::/128":              "error",
		"203.0.113.0/24":              "error",
		"2001:db8:122:344:0:1:2::/96": "2001:db8:122:344:0:1:192.0.2.33",
	} {
		c := Config{Behavior: behavior6(NAT64), External: []netip.Addr{netip.MustParseAddr("203.0.113.1")}, NAT64Prefix: netip.MustParsePrefix(prefix)}
		table, err := NewTable(c)
		if want == "error" || err != nil {
			if want != "error" || err == nil || !strings.Contains(err.Error(), "NAT64 prefix") {
				t.Errorf("%s: error %v", prefix, err)
			}
			continue
		}
		n := &table.six.nat64
		a := word(netip.MustParseAddr("192.0.2.33"))
		b := n.embed(a)
		if want != "" && netip.AddrFrom16(b) != netip.MustParseAddr(want) {
			t.Errorf("%s: %v, want %s", prefix, netip.AddrFrom16(b), want)
		}
		if back, ok := n.embedded(b); !ok || back != a {
			t.Errorf("%s: %v back, %v", prefix, address(back), ok)
		}
		b[0] ^= 1
		if _, ok := n.embedded(b); ok {
			t.Errorf("%s: an address of another prefix holds one", prefix)
		}
	}
}

func TestNPTv6NeedsItsPrefixes(t *testing.T) {
	for want, c := range map[string]Config{
		"external IPv6 prefix": {LAN: []netip.Prefix{netip.MustParsePrefix("fd00::/64")}},
		"prefix inside":        {External6: netip.MustParsePrefix("2001:db8::/64"), LAN: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}},
		"64 bits":              {External6: netip.MustParsePrefix("2001:db8::/64"), LAN: []netip.Prefix{netip.MustParsePrefix("fd00::/80")}},
		"overlap":              {External6: netip.MustParsePrefix("2001:db8::/32"), LAN: []netip.Prefix{netip.MustParsePrefix("2001:db8:1::/64")}},
	} {
		c.Behavior, c.External = behavior6(NPTv6), []netip.Addr{netip.MustParseAddr("203.0.113.1")}
		if _, err := NewTable(c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
}

func udp6(src, dst string) []byte {
	return packet.AppendUDP(nil, netip.MustParseAddrPort(src), netip.MustParseAddrPort(dst), []byte("x"))
}

// TestNAT64Numbers: a flood from ever new addresses takes no more numbers than there may be mappings, and hosts whose
// mappings have ended make room.
func TestNAT64Numbers(t *testing.T) {
	table, err := NewTable(Config{Behavior: behavior6(NAT64), External: []netip.Addr{netip.MustParseAddr("203.0.113.1")},
		LAN: []netip.Prefix{netip.MustParsePrefix("fd00::/64")}, MaxMappings: 10})
	if err != nil {
		t.Fatal(err)
	}
	send := func(now time.Duration, host byte) Reason {
		b := udp6("[fd00::1]:5000", "[64:ff9b::c633:6401]:9")
		p, _ := packet.ParseIPv6(b)
		a := p.Src().As16()
		a[15] = host
		p.SetSrc(netip.AddrFrom16(a))
		return table.Translate(now, Inside, b).Reason
	}
	for i := range 200 {
		want := Passed
		if i >= 10 {
			want = Full
		}
		if r := send(0, byte(i+1)); r != want {
			t.Fatalf("host %d: %v, want %v", i, r, want)
		}
	}
	if n := len(table.six.nat64.hosts); n != 10 {
		t.Errorf("%d numbers", n)
	}
	for i := range 10 {
		if r := send(10*time.Minute, byte(100+i)); r != Passed {
			t.Errorf("after the mappings' end: %v", r)
		}
	}
	if n := len(table.six.nat64.hosts); n != 10 {
		t.Errorf("%d numbers after those were given anew", n)
	}
}

// TestNAT64Splits: what is too long for IPv6 arrives in pieces of at most 1280 bytes that are the whole between them.
func TestNAT64Splits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		table, err := NewTable(Config{Behavior: behavior6(NAT64), External: []netip.Addr{netip.MustParseAddr("203.0.113.1")}})
		if err != nil {
			t.Fatal(err)
		}
		table.Translate(0, Inside, udp6("[fd00::1]:5000", "[64:ff9b::c633:6401]:9"))
		payload := make([]byte, rapid.IntRange(1450, 4000).Draw(t, "payload")&^7)
		for i := range payload {
			payload[i] = byte(i ^ i>>8)
		}
		whole := packet.AppendUDP(nil, netip.MustParseAddrPort("198.51.100.1:9"), netip.MustParseAddrPort("203.0.113.1:5000"), payload)
		got := make([]byte, len(whole)-20)
		var have, end, lasts int
		take := func(b []byte) {
			p, err := packet.ParseIPv6(b)
			if err != nil || len(p) != len(b) || len(b) > 1500 || p.NextHeader() == 44 && len(b) > 1280 && len(whole) <= 1500 {
				t.Fatalf("%v: %x", err, b)
			}
			l4, offset, last := b[40:], 0, true
			if p.NextHeader() == 44 {
				offset, last = int(binary.BigEndian.Uint16(b[42:])&^7), b[43]&1 == 0
				l4 = b[48:]
			}
			have += copy(got[offset:], l4)
			if last {
				end = offset + len(l4)
				lasts++
			}
		}
		size := rapid.SampledFrom([]int{5000, 1480, 1488}).Draw(t, "fragments of")
		for at := 0; at < len(whole)-20; at += size {
			b := append(bytes.Clone(whole[:20]), whole[20+at:min(20+at+size, len(whole))]...)
			binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
			field := uint16(at / 8)
			if at+size < len(whole)-20 {
				field |= 0x2000
			}
			binary.BigEndian.PutUint16(b[6:], field)
			binary.BigEndian.PutUint16(b[10:], 0)
			binary.BigEndian.PutUint16(b[10:], packet.Checksum(b[:20]))
			v := table.Translate(0, Outside, b)
			if v.Reason != Passed || v.To != Inside {
				t.Fatal(v.Reason)
			}
			take(v.Packet)
			for e, ok := table.Next(); ok; e, ok = table.Next() {
				take(e.Packet)
			}
		}
		src, dst := netip.MustParseAddr("64:ff9b::198.51.100.1"), netip.MustParseAddr("fd00::1")
		if have != len(got) || end != len(got) || lasts != 1 || packet.PseudoChecksum(src, dst, 17, got) != 0 || !bytes.Equal(got[8:], payload) {
			t.Errorf("%d of %d bytes, the last at %d", have, len(got), end)
		}
	})
}

// TestIPv6Repeats: the same packets give the same answers, after a reset too.
func TestIPv6Repeats(t *testing.T) {
	for _, mode := range []IPv6Mode{IPv6Firewall, NPTv6, NAT64} {
		c := Config{Behavior: behavior6(mode), External: []netip.Addr{netip.MustParseAddr("203.0.113.1")}, Seed: 5,
			LAN: []netip.Prefix{netip.MustParsePrefix("fd00::/64")}, External6: netip.MustParsePrefix("2001:db8::/64")}
		c.PortAssignment = PortRandom
		table, err := NewTable(c)
		if err != nil {
			t.Fatal(err)
		}
		play := func() (out [][]byte) {
			for i := range 50 {
				dst := "[64:ff9b::c633:6401]:9"
				if i%2 == 1 {
					dst = "[64:ff9b::c633:6402]:" + string(rune('1'+i%9))
				}
				v := table.Translate(time.Duration(i)*time.Second, Inside, udp6("[fd00::1]:500"+string(rune('0'+i%7)), dst))
				out = append(out, bytes.Clone(v.Packet))
			}
			return out
		}
		first := play()
		table.Reset(5)
		if d := cmp.Diff(first, play()); d != "" {
			t.Errorf("%v: %s", mode, d)
		}
	}
}

func TestIPv6AllocatesNothing(t *testing.T) {
	for _, mode := range []IPv6Mode{IPv6Firewall, NPTv6, NAT64} {
		table, _ := NewTable(Config{Behavior: behavior6(mode), External: []netip.Addr{netip.MustParseAddr("203.0.113.1")},
			LAN: []netip.Prefix{netip.MustParsePrefix("fd00::/64")}, External6: netip.MustParsePrefix("2001:db8::/64")})
		whole := udp6("[fd00::1]:5000", "[64:ff9b::c633:6401]:9")
		b := make([]byte, len(whole))
		if n := testing.AllocsPerRun(100, func() {
			copy(b, whole)
			if v := table.Translate(0, Inside, b); v.Reason != Passed {
				t.Error(v.Reason)
			}
		}); n != 0 {
			t.Errorf("%v: %v allocations", mode, n)
		}
	}
}

// FuzzIPv6: whatever comes, the table does not panic, changes nothing that it refuses, and what passes is a packet
// whose checksums are as right as they were.
func FuzzIPv6(f *testing.F) {
	f.Add(udp6("[fd00::1]:5000", "[64:ff9b::c633:6401]:9"), uint8(0))
	f.Add(udp6("[2001:db8:9::1]:9", "[2001:db8::1]:9"), uint8(7))
	f.Add(append(udp6("[fd00::1]:5000", "[64:ff9b::c633:6401]:9"), 1, 2, 3), uint8(3))
	f.Fuzz(func(t *testing.T, b []byte, how uint8) {
		c := Config{Behavior: behavior6(IPv6Mode(how % 5)), External: []netip.Addr{netip.MustParseAddr("203.0.113.1")}, Seed: 5,
			LAN: []netip.Prefix{netip.MustParsePrefix("fd00::/64")}, External6: netip.MustParsePrefix("2001:db8::/64")}
		c.Unsolicited, c.Exhausted = RST, ICMP
		table, err := NewTable(c)
		if err != nil {
			t.Fatal(err)
		}
		for range 3 { // the whole, and both halves
			for _, side := range []Side{Inside, Outside} {
				p := bytes.Clone(b)
				v := table.Translate(0, side, p)
				if v.Reason != Passed && packet.Version(b) == 6 && !bytes.Equal(p, b) {
					t.Fatalf("%v: changed %x to %x", v.Reason, b, p)
				}
				if v.Reason == Passed {
					checkWhole(t, v.Packet)
				}
				for e, ok := table.Next(); ok; e, ok = table.Next() {
					checkWhole(t, e.Packet)
				}
			}
			b = b[len(b)/2:]
		}
	})
}

func checkWhole(t *testing.T, b []byte) {
	t.Helper()
	if p, err := packet.ParseIPv4(b); err == nil && p.ChecksumOK() && len(p) == len(b) {
		return
	}
	p, err := packet.ParseIPv6(b)
	if err != nil || len(p) != len(b) {
		t.Fatalf("%v: %x", err, b)
	}
	protocol, l4, first := p.Transport()
	if first && p.NextHeader() != 44 && (protocol == 6 || protocol == 58) && packet.PseudoChecksum(p.Src(), p.Dst(), protocol, l4) != 0 {
		t.Fatalf("checksum is wrong: %x", b)
	}
}

func BenchmarkTranslateIPv6(b *testing.B) {
	for _, mode := range []IPv6Mode{IPv6Firewall, NPTv6, NAT64} {
		b.Run(mode.String(), func(b *testing.B) {
			table, _ := NewTable(Config{Behavior: behavior6(mode), External: []netip.Addr{netip.MustParseAddr("203.0.113.1")},
				LAN: []netip.Prefix{netip.MustParsePrefix("fd00::/64")}, External6: netip.MustParsePrefix("2001:db8::/64")})
			whole := udp6("[fd00::1]:5000", "[64:ff9b::c633:6401]:9")
			p := make([]byte, len(whole))
			for b.Loop() {
				copy(p, whole)
				table.Translate(0, Inside, p)
			}
		})
	}
}
