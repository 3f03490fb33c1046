package tape

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/punchlab/punchlab/lab/packet"
)

// with6 puts extension headers behind the IPv6 header, each told the next one's number.
func with6(b []byte, extensions ...[]byte) []byte {
	next, rest := b[6], b[packet.IPv6HeaderLen:]
	var mid []byte
	at := 6
	out := append([]byte(nil), b[:packet.IPv6HeaderLen]...)
	for _, e := range extensions {
		number, body := e[0], append([]byte(nil), e[1:]...)
		if len(mid) == 0 {
			out[at] = number
		} else {
			mid[at] = number
		}
		at = len(mid)
		mid = append(mid, body...)
	}
	mid[at] = next
	binary.BigEndian.PutUint16(out[4:], uint16(len(mid)+len(rest)))
	return append(append(out, mid...), rest...)
}

func hopByHop() []byte { return []byte{0, 0, 0, 1, 4, 0, 0, 0, 0} }

func fragment6(offset int, more bool, id byte) []byte {
	e := []byte{44, 0, 0, byte(offset >> 8), byte(offset), 0, 0, 0, id}
	if more {
		e[4] |= 1
	}
	return e
}

// fragment4 makes an IPv4 packet a fragment.
func fragment4(b []byte, offset int, more bool, id byte) []byte {
	b = append([]byte(nil), b...)
	binary.BigEndian.PutUint16(b[6:], uint16(offset/8))
	if more {
		b[6] |= 0x20
	}
	b[5] = id
	return b
}

func TestDecode(t *testing.T) {
	udp4, udp6 := packet.AppendUDP(nil, a4, b4, []byte("datagram")), packet.AppendUDP(nil, a6, b6, []byte("datagram"))
	long := append([]byte(nil), udp4...)
	binary.BigEndian.PutUint16(long[20+4:], 3000) // a first fragment's UDP header is of the whole
	nat := netip.MustParseAddrPort("203.0.113.1:0")
	later := packet.AppendUDP(nil, netip.AddrPortFrom(nat.Addr(), 1), b4, []byte("datagram"))
	d := decoder{}
	for _, tt := range []struct {
		name     string
		b        []byte
		in       bool
		src, dst netip.AddrPort
		payload  string // empty: it is none
		fragment bool
	}{
		{"IPv4", udp4, false, a4, b4, "datagram", false},
		{"with padding behind it", append(append([]byte(nil), udp4...), 0, 0, 0), false, a4, b4, "datagram", false},
		{"IPv6", udp6, false, a6, b6, "datagram", false},
		{"IPv6 with options", with6(udp6, hopByHop()), false, a6, b6, "datagram", false},
		{"a first fragment", fragment4(long, 0, true, 7), false, a4, b4, "datagram", false},
		{"a later one", fragment4(udp4, 16, true, 7), false, a4, b4, string(udp4[20:]), true},
		{"a later one that the router has changed", fragment4(later, 24, false, 7), false, a4, b4, string(later[20:]), true},
		{"another's", fragment4(udp4, 24, false, 8), false, netip.AddrPortFrom(a4.Addr(), 0), netip.AddrPortFrom(b4.Addr(), 0),
			string(udp4[20:]), true},
		{"one that came in", fragment4(later, 24, false, 7), true, nat, netip.AddrPortFrom(b4.Addr(), 0), string(later[20:]), true},
		{"the first one of IPv6", with6(udp6, hopByHop(), fragment6(0, true, 7)), true, a6, b6, "datagram", false},
		{"the second one", with6(udp6, fragment6(16, false, 7)), true, a6, b6, string(udp6[40:]), true},
		{"one of IPv6 that is sent", with6(udp6, fragment6(0, true, 8)), false, a6, b6, "datagram", false},
		{"its second one, which the router has fragmented anew", with6(udp6, fragment6(16, false, 9)), false, a6, b6, string(udp6[40:]), true},
		{"cut off", udp4[:19], false, netip.AddrPort{}, netip.AddrPort{}, "", false},
		{"cut off in UDP", fragment4(append([]byte{0x45, 0, 0, 24}, udp4[4:24]...), 0, false, 1), false, netip.AddrPortFrom(a4.Addr(), 0),
			netip.AddrPortFrom(b4.Addr(), 0), string(udp4[20:24]), false},
		{"nothing", nil, false, netip.AddrPort{}, netip.AddrPort{}, "", false},
		{"no IP", []byte{0x15, 1, 2}, false, netip.AddrPort{}, netip.AddrPort{}, "", false},
	} {
		b := append([]byte(nil), tt.b...)
		if len(b) >= 20 && b[0] == 0x45 && tt.name == "cut off in UDP" {
			binary.BigEndian.PutUint16(b[2:], 24)
		}
		p, ok := d.decode(b, !tt.in)
		if ok != (tt.payload != "") || ok && (p.Src != tt.src || p.Dst != tt.dst || string(p.Payload) != tt.payload || p.Fragment != tt.fragment ||
			p.Protocol != packet.ProtocolUDP || p.Out == tt.in) {
			t.Errorf("%s: %v %+v %q", tt.name, ok, p, p.Payload)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(packet.AppendUDP(nil, a4, b4, []byte("datagram")), true)
	f.Add(with6(packet.AppendUDP(nil, a6, b6, []byte("datagram")), hopByHop(), fragment6(0, true, 7)), false)
	f.Fuzz(func(t *testing.T, b []byte, out bool) {
		p, ok := (&decoder{}).decode(b, out)
		if ok && (p.Size > len(b) || len(p.Payload) > p.Size || p.Out != out) {
			t.Errorf("%+v of %d bytes", p, len(b))
		}
	})
}
