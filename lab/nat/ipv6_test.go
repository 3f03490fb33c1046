package nat_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/punchlab/punchlab/lab/nat"
	"github.com/punchlab/punchlab/lab/packet"
)

// TestIPv6 runs the scripts in testdata/ipv6.
//
//	new MODE [PRESET] [KEY=VALUE…]                     a table; keys as in TestTable, and prefix=P, lan6=P, filter6=F
//	send                                               packets, a line each, as in TestTable where addresses are IPv4
//	  out|in [udp|tcp FLAGS|ping N|pong N] SRC DST
//	  out|in error TYPE/CODE/VALUE ROUTER DST of PACKET
//	  out|in frag ID OFFSET LENGTH [more] SRC DST
//	  out|in raw TYPE SRC DST                          an ICMPv6 message without more
//	  wait DURATION | len
func TestIPv6(t *testing.T) {
	datadriven.Walk(t, "testdata/ipv6", func(t *testing.T, path string) {
		var s *script
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			if d.Cmd == "new" {
				s = newScript6(t, d)
				return ""
			}
			var out strings.Builder
			for line := range strings.Lines(d.Input) {
				line, _, _ = strings.Cut(strings.TrimSpace(line), " #")
				fmt.Fprintf(&out, "%s%s\n", line, s.run6(t, strings.Fields(line)))
			}
			return out.String()
		})
	})
}

func config6(mode nat.IPv6Mode) nat.Config {
	b, _ := nat.Lookup("port-restricted-cone")
	b.IPv6 = mode
	return nat.Config{
		Behavior: b, Seed: 1,
		External:  []netip.Addr{netip.MustParseAddr("203.0.113.1")},
		LAN:       []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00:1:2:3::/64")},
		External6: netip.MustParsePrefix("2001:db8:5:6::/64"),
	}
}

func newScript6(t *testing.T, d *datadriven.TestData) *script {
	modes := map[string]nat.IPv6Mode{"none": nat.IPv6None, "open": nat.IPv6Open, "firewall": nat.IPv6Firewall, "nptv6": nat.NPTv6, "nat64": nat.NAT64}
	c := config6(modes[d.CmdArgs[0].Key])
	if c.IPv6 != nat.NPTv6 && c.IPv6 != nat.NAT64 {
		c.LAN[1] = netip.MustParsePrefix("2001:db8:5:6::/64")
	}
	for _, arg := range d.CmdArgs[1:] {
		switch arg.Key {
		case "preset":
			b, _ := nat.Lookup(arg.Vals[0])
			b.IPv6 = c.IPv6
			c.Behavior = b
		case "filter6":
			c.Filtering6 = map[string]nat.Dependency{"eif": nat.EndpointIndependent, "adf": nat.AddressDependent, "apdf": nat.AddressAndPortDependent}[arg.Vals[0]]
		case "prefix":
			c.NAT64Prefix = netip.MustParsePrefix(arg.Vals[0])
		case "lan6":
			c.LAN[1] = netip.MustParsePrefix(arg.Vals[0])
		case "external6":
			c.External6 = netip.MustParsePrefix(arg.Vals[0])
		case "udp-blocked":
			c.UDPBlocked = true
		case "tcp-only":
			c.TCPPorts = []uint16{443}
		default:
			change(t, &c, arg.Key, arg.Vals)
		}
	}
	table, err := nat.NewTable(c)
	if err != nil {
		t.Fatal(err)
	}
	return &script{table: table}
}

func (s *script) run6(t *testing.T, w []string) string {
	t.Helper()
	if len(w) == 0 {
		return ""
	}
	if w[0] != "out" && w[0] != "in" {
		if w[0] != "wait" {
			return s.run(t, w)
		}
		d, _ := time.ParseDuration(w[1])
		s.now += d
		s.table.Advance(s.now)
		return s.emissions6(t)
	}
	side := nat.Inside
	if w[0] == "in" {
		side = nat.Outside
	}
	b := parse6(t, w[1:])
	before := bytes.Clone(b)
	v := s.table.Translate(s.now, side, b)
	out := ": " + v.Reason.String()
	if v.Reason == nat.Passed {
		checkSums6(t, v.Packet)
		out = fmt.Sprintf(": %v %s", v.To, describe6(v.Packet))
	} else if !bytes.Equal(b, before) && packet.Version(b) == 6 {
		t.Fatalf("%v: refused, but changed", w)
	}
	if v.Created {
		out += " (new)"
	}
	return out + s.emissions6(t)
}

func (s *script) emissions6(t *testing.T) (out string) {
	for {
		e, ok := s.table.Next()
		if !ok {
			return out
		}
		checkSums6(t, e.Packet)
		out += fmt.Sprintf("\n  + %v %s (%v)", e.To, describe6(e.Packet), e.Reason)
	}
}

// parse6 builds what a script line says, of the family of its last address.
func parse6(t *testing.T, w []string) []byte {
	t.Helper()
	number := func(s string) int {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatalf("%v: %v", w, err)
		}
		return n
	}
	if last := w[len(w)-1]; !strings.Contains(last, "::") {
		if w[0] == "big" { // ID LENGTH [df] SRC DST
			b := udp(netip.MustParseAddrPort(w[len(w)-2]), netip.MustParseAddrPort(last), make([]byte, number(w[2])-28))
			if w[3] == "df" {
				b[6] = 0x40
			}
			binary.BigEndian.PutUint16(b[4:], uint16(number(w[1])))
			b[10], b[11] = 0, 0
			binary.BigEndian.PutUint16(b[10:], packet.Checksum(b[:20]))
			return b
		}
		return parsePacket(t, w)
	}
	switch w[0] {
	case "udp":
		return packet.AppendUDP(nil, netip.MustParseAddrPort(w[1]), netip.MustParseAddrPort(w[2]), []byte("hello"))
	case "tcp":
		src, dst := netip.MustParseAddrPort(w[2]), netip.MustParseAddrPort(w[3])
		s := tcp(src, dst, tcpFlags[w[1]])[20:]
		return ip6(src.Addr(), dst.Addr(), 6, s[len(s)-20:])
	case "ping", "pong":
		typ := map[string]uint8{"ping": 128, "pong": 129}[w[0]]
		id := number(w[1])
		return icmp6(netip.MustParseAddr(w[2]), netip.MustParseAddr(w[3]), append([]byte{typ, 0, 0, 0, byte(id >> 8), byte(id), 0, 1}, "ping!"...))
	case "raw":
		return icmp6(netip.MustParseAddr(w[2]), netip.MustParseAddr(w[3]), []byte{byte(number(w[1])), 0, 0, 0, 0, 0, 0, 0})
	case "error":
		var typ, code uint8
		var value uint32
		if _, err := fmt.Sscanf(w[1], "%d/%d/%d", &typ, &code, &value); err != nil {
			t.Fatal(err)
		}
		m := binary.BigEndian.AppendUint32([]byte{typ, code, 0, 0}, value)
		return icmp6(netip.MustParseAddr(w[2]), netip.MustParseAddr(w[3]), append(m, parse6(t, w[5:])...))
	case "frag":
		n := 4
		if w[4] == "more" {
			n++
		}
		src, dst := netip.MustParseAddrPort(w[n]), netip.MustParseAddrPort(w[n+1])
		s := append(packet.AppendUDP(nil, src, dst, make([]byte, datagramLen-8))[40:], make([]byte, 64)...)
		offset := number(w[2])
		h := []byte{17, 0, byte(offset >> 8), byte(offset), 0, 0, byte(number(w[1]) >> 8), byte(number(w[1]))}
		h[3] |= byte(n - 4)
		return ip6(src.Addr(), dst.Addr(), 44, append(h, s[offset:offset+number(w[3])]...))
	}
	t.Fatalf("%v: what is that?", w)
	return nil
}

func ip6(src, dst netip.Addr, next uint8, payload []byte) []byte {
	b := []byte{0x60, 0, 0, 0, byte(len(payload) >> 8), byte(len(payload)), next, 64}
	return append(append(append(b, src.AsSlice()...), dst.AsSlice()...), payload...)
}

func icmp6(src, dst netip.Addr, m []byte) []byte {
	binary.BigEndian.PutUint16(m[2:], packet.PseudoChecksum(src, dst, 58, m))
	return ip6(src, dst, 58, m)
}

func checkSums6(t testing.TB, b []byte) {
	t.Helper()
	if err := sums6(b, true); err != nil {
		t.Fatalf("%v in % x", err, b)
	}
}

func sums6(b []byte, whole bool) error {
	if packet.Version(b) == 4 {
		return sums(b, whole)
	}
	p, err := packet.ParseIPv6(b)
	if err != nil || len(p) != len(b) {
		return fmt.Errorf("IPv6 length: %v", err)
	}
	protocol, l4, _ := p.Transport()
	if p.NextHeader() == 44 {
		return nil
	}
	if packet.PseudoChecksum(p.Src(), p.Dst(), protocol, l4) != 0 {
		return fmt.Errorf("checksum of protocol %d is wrong", protocol)
	}
	if protocol == 58 && l4[0] < 128 && whole {
		if err := sums6(l4[8:], false); err != nil {
			return fmt.Errorf("quote: %w", err)
		}
	}
	return nil
}

func describe6(b []byte) string {
	if packet.Version(b) == 4 {
		if b[9] == 1 && b[20] == 11 {
			return fmt.Sprintf("expired %v→%v of %s", netip.AddrFrom4([4]byte(b[12:16])), netip.AddrFrom4([4]byte(b[16:20])), describe(b[28:]))
		}
		return describe(b)
	}
	p, _ := packet.ParseIPv6(b)
	protocol, l4, first := p.Transport()
	if p.NextHeader() == 44 {
		s := fmt.Sprintf("frag %d+%d more=%d id=%d %v→%v", binary.BigEndian.Uint16(b[42:])&^7, len(l4), b[43]&1, binary.BigEndian.Uint32(b[44:]), p.Src(), p.Dst())
		if first {
			s += fmt.Sprintf(" ports %d→%d", binary.BigEndian.Uint16(l4), binary.BigEndian.Uint16(l4[2:]))
		}
		return s
	}
	src, dst := netip.AddrPortFrom(p.Src(), binary.BigEndian.Uint16(l4)), netip.AddrPortFrom(p.Dst(), binary.BigEndian.Uint16(l4[2:]))
	switch protocol {
	case 17:
		return fmt.Sprintf("udp %v→%v", src, dst)
	case 6:
		name := fmt.Sprint(l4[13])
		for k, v := range tcpFlags {
			if v == l4[13] {
				name = k
			}
		}
		return fmt.Sprintf("tcp %s %v→%v", name, src, dst)
	}
	if l4[0] < 128 {
		return fmt.Sprintf("error %d/%d/%d %v→%v of %s", l4[0], l4[1], binary.BigEndian.Uint32(l4[4:]), p.Src(), p.Dst(), describe6(l4[8:]))
	}
	return fmt.Sprintf("%s %d %v→%v", map[uint8]string{128: "ping", 129: "pong"}[l4[0]], binary.BigEndian.Uint16(l4[4:]), p.Src(), p.Dst())
}
