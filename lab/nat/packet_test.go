package nat_test

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"testing"

	"github.com/punchlab/punchlab/lab/packet"
)

// parsePacket builds what a script line says.
func parsePacket(t *testing.T, w []string) []byte {
	t.Helper()
	number := func(s string) int {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatalf("%v: %v", w, err)
		}
		return n
	}
	switch w[0] {
	case "udp":
		return udp(netip.MustParseAddrPort(w[1]), netip.MustParseAddrPort(w[2]), []byte("hello"))
	case "tcp":
		return tcp(netip.MustParseAddrPort(w[2]), netip.MustParseAddrPort(w[3]), tcpFlags[w[1]])
	case "ping", "pong":
		typ := map[string]uint8{"ping": 8, "pong": 0}[w[0]]
		return echoPacket(netip.MustParseAddr(w[2]), netip.MustParseAddr(w[3]), typ, uint16(number(w[1])))
	case "error", "short-error":
		about := parsePacket(t, w[5:])
		if w[0] != "error" {
			about = about[:28]
		}
		return icmpError(netip.MustParseAddr(w[2]), netip.MustParseAddr(w[3]), uint8(number(w[1])), about)
	case "frag":
		more := w[4] == "more"
		n := 4
		if more {
			n++
		}
		return fragment(netip.MustParseAddrPort(w[n]), netip.MustParseAddrPort(w[n+1]), uint16(number(w[1])), number(w[2]), number(w[3]), more)
	}
	t.Fatalf("%v: what is that?", w)
	return nil
}

func ip(src, dst netip.Addr, proto uint8, id, fragment uint16, payload []byte) []byte {
	b := make([]byte, 20, 20+len(payload))
	b[0], b[8], b[9] = 0x45, 64, proto
	binary.BigEndian.PutUint16(b[2:], uint16(20+len(payload)))
	binary.BigEndian.PutUint16(b[4:], id)
	binary.BigEndian.PutUint16(b[6:], fragment)
	copy(b[12:], src.AsSlice())
	copy(b[16:], dst.AsSlice())
	binary.BigEndian.PutUint16(b[10:], packet.Checksum(b))
	return append(b, payload...)
}

func udpSegment(src, dst netip.AddrPort, payload []byte) []byte {
	return packet.AppendUDP(nil, src, dst, payload)[20:]
}

func udp(src, dst netip.AddrPort, payload []byte) []byte {
	return ip(src.Addr(), dst.Addr(), 17, 7, 0, udpSegment(src, dst, payload))
}

func tcp(src, dst netip.AddrPort, flags uint8) []byte {
	s := make([]byte, 20)
	binary.BigEndian.PutUint16(s, src.Port())
	binary.BigEndian.PutUint16(s[2:], dst.Port())
	binary.BigEndian.PutUint32(s[4:], 1000)
	binary.BigEndian.PutUint32(s[8:], 2000)
	s[12], s[13] = 5<<4, flags
	binary.BigEndian.PutUint16(s[16:], packet.PseudoChecksum(src.Addr(), dst.Addr(), 6, s))
	return ip(src.Addr(), dst.Addr(), 6, 7, 0, s)
}

func echoPacket(src, dst netip.Addr, typ uint8, id uint16) []byte {
	m := append([]byte{typ, 0, 0, 0, byte(id >> 8), byte(id), 0, 1}, "ping!"...)
	binary.BigEndian.PutUint16(m[2:], packet.Checksum(m))
	return ip(src, dst, 1, 7, 0, m)
}

func icmpError(src, dst netip.Addr, code uint8, about []byte) []byte {
	m := append([]byte{3, code, 0, 0, 0, 0, 0, 0}, about...)
	binary.BigEndian.PutUint16(m[2:], packet.Checksum(m))
	return ip(src, dst, 1, 7, 0, m)
}

// datagramLen is the size of the UDP datagram that fragment takes its parts of.
const datagramLen = 64

func fragment(src, dst netip.AddrPort, id uint16, offset, n int, more bool) []byte {
	s := append(udpSegment(src, dst, make([]byte, datagramLen-8)), make([]byte, 64)...)
	field := uint16(offset / 8)
	if more {
		field |= 0x2000
	}
	return ip(src.Addr(), dst.Addr(), 17, id, field, s[offset:offset+n])
}

// checkSums fails if a checksum of the packet or of what it quotes is wrong.
func checkSums(t failer, b []byte) {
	t.Helper()
	if err := sums(b, true); err != nil {
		t.Fatalf("%v in % x", err, b)
	}
}

func sums(b []byte, whole bool) error {
	header := int(b[0]&15) * 4
	if packet.Checksum(b[:header]) != 0 {
		return fmt.Errorf("IP checksum is wrong")
	}
	src, dst := netip.AddrFrom4([4]byte(b[12:16])), netip.AddrFrom4([4]byte(b[16:20]))
	if binary.BigEndian.Uint16(b[6:])&0x3fff != 0 || int(binary.BigEndian.Uint16(b[2:])) > len(b) {
		return nil
	}
	l4 := b[header:binary.BigEndian.Uint16(b[2:])]
	switch b[9] {
	case 17:
		if l4[6] != 0 || l4[7] != 0 {
			if packet.PseudoChecksum(src, dst, 17, l4[:binary.BigEndian.Uint16(l4[4:])]) != 0 {
				return fmt.Errorf("UDP checksum is wrong")
			}
		}
	case 6:
		if len(l4) >= 20 && packet.PseudoChecksum(src, dst, 6, l4) != 0 {
			return fmt.Errorf("TCP checksum is wrong")
		}
	case 1:
		if packet.Checksum(l4) != 0 {
			return fmt.Errorf("ICMP checksum is wrong")
		}
		if whole && l4[0] == 3 {
			if err := sums(l4[8:], false); err != nil {
				return fmt.Errorf("quote: %w", err)
			}
		}
	}
	return nil
}

// describe tells a packet in the script's words.
func describe(b []byte) string {
	src, dst := netip.AddrFrom4([4]byte(b[12:16])), netip.AddrFrom4([4]byte(b[16:20]))
	l4 := append(slices.Clone(b[int(b[0]&15)*4:]), make([]byte, 8)...) // a quote may be cut off
	offset := int(binary.BigEndian.Uint16(b[6:])&0x1fff) * 8
	if offset > 0 || b[6]&0x20 != 0 {
		s := fmt.Sprintf("frag %d %d %v→%v", offset, len(l4)-8, src, dst)
		if offset == 0 {
			s += fmt.Sprintf(" ports %d→%d", binary.BigEndian.Uint16(l4), binary.BigEndian.Uint16(l4[2:]))
		}
		return s
	}
	ports := func() string {
		return fmt.Sprintf("%v→%v", netip.AddrPortFrom(src, binary.BigEndian.Uint16(l4)), netip.AddrPortFrom(dst, binary.BigEndian.Uint16(l4[2:])))
	}
	switch b[9] {
	case 17:
		return "udp " + ports()
	case 6:
		name := fmt.Sprint(l4[13])
		for k, v := range tcpFlags {
			if v == l4[13] {
				name = k
			}
		}
		return "tcp " + name + " " + ports()
	}
	if l4[0] == 3 {
		return fmt.Sprintf("error %d %v→%v of %s", l4[1], src, dst, describe(l4[8:]))
	}
	return fmt.Sprintf("%s %d %v→%v", map[uint8]string{8: "ping", 0: "pong"}[l4[0]], binary.BigEndian.Uint16(l4[4:]), src, dst)
}
