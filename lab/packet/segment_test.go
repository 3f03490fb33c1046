package packet

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"pgregory.net/rapid"
)

// TestSegment: the packets are whole for gopacket and have the payload and the numbers of the large one between them.
func TestSegment(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		src, dst := addrs(rt)
		payload := make([]byte, rapid.IntRange(0, 20_000).Draw(rt, "payload"))
		for i := range payload {
			payload[i] = byte(i * 7)
		}
		size := rapid.IntRange(1, 3000).Draw(rt, "size")
		if len(payload)/size > 500 {
			size = 536
		}
		tcp := rapid.Bool().Draw(rt, "tcp")
		var big []byte
		if tcp {
			big = build(t, src, dst, &layers.TCP{SrcPort: 1, DstPort: 2, Seq: 0xfffffff0, ACK: true, FIN: true, PSH: true, CWR: true,
				Options: []layers.TCPOption{{OptionType: layers.TCPOptionKindNop}, {OptionType: layers.TCPOptionKindNop}}}, layers.IPProtocolTCP, payload)
		} else {
			big = build(t, src, dst, &layers.UDP{SrcPort: 1, DstPort: 2}, layers.IPProtocolUDP, payload)
		}
		var got []byte
		n := 0
		err := Segment(bytes.Clone(big), size, func(seg []byte) {
			if err := verify(seg); err != nil {
				rt.Errorf("packet %d: %v", n, err)
			}
			part := transportPayload(rt, seg, src.Is4(), n, len(got), len(got)+size >= len(payload))
			if len(part) != min(size, len(payload)-len(got)) {
				rt.Errorf("packet %d has %d bytes of payload", n, len(part))
			}
			got = append(got, part...)
			n++
		})
		if err != nil || !bytes.Equal(got, payload) {
			rt.Errorf("%v; %d bytes in %d packets, want %d", err, len(got), n, len(payload))
		}
	})
}

// transportPayload lets gopacket read packet n, whose payload begins at byte at of the whole.
func transportPayload(t *rapid.T, seg []byte, v4 bool, n, at int, last bool) []byte {
	first := gopacket.LayerType(layers.LayerTypeIPv6)
	if v4 {
		first = layers.LayerTypeIPv4
	}
	p := gopacket.NewPacket(seg, first, gopacket.Default)
	if e := unreadable(p); e != nil {
		t.Errorf("packet %d: %v", n, e)
	}
	if ip, ok := p.Layer(layers.LayerTypeIPv4).(*layers.IPv4); ok && (ip.Id != uint16(77+n) || ip.TTL != 9) {
		t.Errorf("packet %d: ID %d, TTL %d", n, ip.Id, ip.TTL)
	}
	if s, ok := p.Layer(layers.LayerTypeTCP).(*layers.TCP); ok {
		if s.Seq != 0xfffffff0+uint32(at) || s.FIN != last || s.PSH != last || s.CWR != (n == 0) || !s.ACK || len(s.Options) == 0 {
			t.Errorf("packet %d: seq %#x, fin %v, psh %v, cwr %v", n, s.Seq, s.FIN, s.PSH, s.CWR)
		}
		return s.Payload
	}
	u, ok := p.Layer(layers.LayerTypeUDP).(*layers.UDP)
	if !ok {
		t.Fatalf("packet %d is neither TCP nor UDP", n)
	}
	return u.Payload
}

func TestSegmentRefuses(t *testing.T) {
	whole := build(t, a4, b4, &layers.TCP{}, layers.IPProtocolTCP, make([]byte, 100))
	fragment := bytes.Clone(whole)
	fragment[6] = 0x20
	fragment6 := append(appendIP(nil, a6, b6, nextFragment, 16), 17, 0, 0, 1, 0, 0, 0, 1, 0, 1, 0, 2, 0, 8, 0, 0)
	for name, c := range map[string]struct {
		b    []byte
		size int
		want error
	}{
		"no size":            {whole, 0, ErrLength},
		"nothing":            {nil, 9, ErrShort},
		"ICMP":               {build(t, a4, b4, &layers.ICMPv4{}, layers.IPProtocolICMPv4, nil), 9, ErrProtocol},
		"a fragment":         {fragment, 9, ErrProtocol},
		"an IPv6 fragment":   {fragment6, 9, ErrProtocol},
		"a TCP header short": {whole[:30], 9, ErrLength},
		"UDP header short":   {append(appendIP(nil, a4, b4, 17, 4), 0, 1, 0, 2), 9, ErrShort},
	} {
		err := Segment(bytes.Clone(c.b), c.size, func([]byte) { t.Errorf("%s was emitted", name) })
		if err != c.want {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

func TestFinishChecksum(t *testing.T) {
	for _, b := range [][]byte{
		build(t, a4, b4, &layers.TCP{SrcPort: 1, DstPort: 2}, layers.IPProtocolTCP, []byte("hello")),
		build(t, a6, b6, &layers.UDP{SrcPort: 1, DstPort: 2}, layers.IPProtocolUDP, []byte("hello")),
	} {
		start, offset, protocol := IPv4HeaderLen, 16, uint8(ProtocolTCP)
		src, dst := a4, b4
		if Version(b) == 6 {
			start, offset, protocol, src, dst = IPv6HeaderLen, 6, ProtocolUDP, a6, b6
		}
		want := bytes.Clone(b)
		n := len(b) - start
		pseudo := append(append([]byte{}, src.AsSlice()...), dst.AsSlice()...)
		pseudo = binary.BigEndian.AppendUint32(append(pseudo, 0, protocol), uint32(n))
		binary.BigEndian.PutUint16(b[start+offset:], fold(sum(pseudo, 0)))
		if err := FinishChecksum(b, start, offset); err != nil || !bytes.Equal(b, want) {
			t.Errorf("%v; %x, want %x", err, b, want)
		}
		for _, bad := range [][2]int{{-1, 0}, {0, -1}, {len(b) + 1, 0}, {start, n - 1}, {len(b), 0}, {1, 1 << 62}} {
			if err := FinishChecksum(b, bad[0], bad[1]); err != ErrLength {
				t.Errorf("start %d, offset %d of %d bytes: %v", bad[0], bad[1], len(b), err)
			}
		}
	}
	zero := []byte{0xff, 0xff, 0, 0} // the sum is 0xffff, so the checksum would be 0
	if err := FinishChecksum(zero, 0, 2); err != nil || binary.BigEndian.Uint16(zero[2:]) != 0xffff {
		t.Errorf("%v, %x", err, zero)
	}
}

// TestSumIsTheSumOfWords compares with RFC 1071 §4.1's loop, on bytes that carry a lot.
func TestSumIsTheSumOfWords(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for n := range 300 {
		b := make([]byte, n)
		for i := range b {
			b[i] = 0xff - byte(r.IntN(1+n%3))
		}
		var want uint64
		for i := 0; i+1 < n; i += 2 {
			want += uint64(binary.BigEndian.Uint16(b[i:]))
		}
		if n%2 == 1 {
			want += uint64(b[n-1]) << 8
		}
		if got := Checksum(b); got != ^fold(want) {
			t.Errorf("%d bytes: %#x, want %#x", n, got, ^fold(want))
		}
	}
}

func TestSegmentAllocatesNothing(t *testing.T) {
	big := build(t, a4, b4, &layers.TCP{}, layers.IPProtocolTCP, make([]byte, 50_000))
	b := make([]byte, len(big))
	emit := func([]byte) {}
	if n := testing.AllocsPerRun(20, func() { copy(b, big); _ = Segment(b, 1448, emit) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkSegment(b *testing.B) {
	big := AppendUDP(nil, addrPort(a4, 1), addrPort(b4, 2), make([]byte, 60_000))
	buf := make([]byte, len(big))
	b.SetBytes(int64(len(big)))
	for b.Loop() {
		copy(buf, big)
		_ = Segment(buf, 1448, func([]byte) {})
	}
}
