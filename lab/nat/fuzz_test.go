package nat_test

import (
	"bytes"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/punchlab/punchlab/lab/nat"
	"pgregory.net/rapid"
)

// tape feeds a fuzzed run.
type tape []byte

func (p *tape) next() byte {
	if len(*p) == 0 {
		return 0
	}
	b := (*p)[0]
	*p = (*p)[1:]
	return b
}

func (p *tape) take(n int) []byte {
	n = min(n, len(*p))
	b := (*p)[:n]
	*p = (*p)[n:]
	return bytes.Clone(b)
}

// fuzzBehaviors are the presets and what they leave out.
func fuzzBehaviors() (all []nat.Behavior) {
	for _, p := range nat.Presets() {
		all = append(all, p.Behavior)
	}
	vary := func(name string, change func(*nat.Behavior)) {
		b, _ := nat.Lookup(name)
		change(&b)
		all = append(all, b)
	}
	vary("full-cone", func(b *nat.Behavior) { b.PortOverloading, b.Unsolicited = true, nat.RSTAfter6s })
	vary("restricted-cone", func(b *nat.Behavior) { b.PortHoldDown, b.Quota, b.Exhausted = time.Minute, 3, nat.ICMP })
	vary("apdm-eif", func(b *nat.Behavior) { b.PortParity, b.PortContiguity, b.PortMin, b.PortMax = true, true, 30000, 30007 })
	vary("adm-adf", func(b *nat.Behavior) {
		b.FilterPerMapping, b.Pooling, b.Hairpinning, b.Unsolicited = false, nat.Arbitrary, nat.HairpinInternalSource, nat.ICMP
	})
	vary("adm-eif", func(b *nat.Behavior) {
		b.ReplyByNewMapping, b.InboundRefresh, b.InboundFirstRemap, b.Unsolicited = true, true, true, nat.RST
	})
	vary("port-restricted-cone", func(b *nat.Behavior) {
		b.FlowLimit, b.InboundFirstBlock, b.CrashTime = 5, time.Second, time.Millisecond
	})
	vary("adm-apdf", func(b *nat.Behavior) { b.LenientPorts, b.FilterPerMapping = []uint16{5000, 5003, 30002}, false })
	vary("symmetric-sequential", func(b *nat.Behavior) {
		b.Pooling, b.Fragments, b.NoOutboundRefresh = nat.Arbitrary, nat.FragmentsInOrder, true
	})
	return all
}

func fuzzConfig(which byte) nat.Config {
	all := fuzzBehaviors()
	c := nat.Config{Behavior: all[int(which)%len(all)], Seed: uint64(which), MaxMappings: 24, LAN: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}
	if c.Kind != nat.NoNAT {
		c.External = []netip.Addr{netip.MustParseAddr("203.0.113.1"), netip.MustParseAddr("203.0.113.2")}
	}
	if c.Kind == nat.Masquerade {
		c.External = c.External[:1]
	}
	return c
}

// fuzzed is a packet that the tape describes: few addresses and ports, so that packets have to do with each other.
func (p *tape) packet(depth int) []byte {
	kind, s, d, x := p.next(), p.next(), p.next(), p.next()
	addr := func(b byte) netip.Addr {
		switch b % 8 {
		case 0, 1, 2:
			return netip.AddrFrom4([4]byte{10, 0, 0, b % 8})
		case 3, 4:
			return netip.AddrFrom4([4]byte{203, 0, 113, b%8 - 2})
		default:
			return netip.AddrFrom4([4]byte{198, 51, 100, b % 8})
		}
	}
	port := func(b byte) uint16 {
		if b>>7 != 0 {
			return 30000 + uint16(b>>3&15)
		}
		return 5000 + uint16(b>>3&7)
	}
	src, dst := netip.AddrPortFrom(addr(s), port(s)), netip.AddrPortFrom(addr(d), port(d))
	flags := []uint8{2, 18, 16, 17, 4, 20, 1, 0}
	switch kind % 8 {
	case 0, 1:
		return udp(src, dst, []byte("hello"))
	case 2, 3:
		return tcp(src, dst, flags[x%8])
	case 4:
		return echoPacket(src.Addr(), dst.Addr(), x%2*8, uint16(x>>1&3))
	case 5:
		if depth == 0 {
			return icmpError(src.Addr(), dst.Addr(), x%5, p.packet(1))
		}
		return udp(src, dst, nil)
	case 6:
		at := int(x>>5) * 8
		return fragment(src, dst, uint16(x&3), at, 8+int(x>>3&3)*8, x&4 != 0)
	default:
		b := udp(src, dst, []byte("broken"))
		for range 1 + x%4 {
			b[int(p.next())%len(b)] ^= p.next()
		}
		return b[:len(b)-int(x>>6)]
	}
}

// play runs a tape on a table and checks after each step what must always hold.
func play(t failer, data []byte) (log []string) {
	p := tape(data)
	table, err := nat.NewTable(fuzzConfig(p.next()))
	if err != nil {
		t.Fatalf("%v", err)
	}
	now := time.Duration(0)
	for steps := 0; len(p) > 0 && steps < 200; steps++ {
		op := p.next()
		switch op % 8 {
		case 0:
			now += time.Duration(p.next()) * time.Second
			table.Advance(now)
		case 1:
			m := nat.PortMap{
				Protocol: []uint8{6, 17}[op>>3&1], External: uint16(op >> 4 & 3),
				Internal: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, op >> 6}), 5000), Lifetime: time.Duration(p.next()) * time.Second,
			}
			if op>>5&1 == 0 {
				ext, err := table.Map(now, m)
				log = append(log, fmt.Sprint(ext, err))
			} else {
				log = append(log, fmt.Sprint(table.Unmap(now, m)))
			}
		case 2:
			log = append(log, step(t, table, now, nat.Side(op>>3&1), p.take(int(p.next()))))
		default:
			log = append(log, step(t, table, now, nat.Side(op>>3&1), p.packet(0)))
		}
		if err := table.Check(); err != nil {
			t.Fatalf("after %d steps: %v\n%q", steps, err, log)
		}
	}
	return log
}

// step translates one packet and checks the outcome.
func step(t failer, table *nat.Table, now time.Duration, side nat.Side, b []byte) string {
	table.Advance(now)
	before, counts, bytesBefore := table.Sizes(), table.Counts(), bytes.Clone(b)
	v := table.Translate(now, side, b)
	after := table.Sizes()
	counts[v.Reason]++
	if counts != table.Counts() {
		t.Fatalf("%v was counted otherwise", v.Reason)
	}
	out := v.Reason.String()
	if v.Reason == nat.Passed {
		if len(v.Packet) == 0 {
			t.Fatalf("passed without a packet")
		}
		if v.Packet[0]>>4 == 4 {
			if err := sums(v.Packet, false); err != nil && sums(bytesBefore, false) == nil {
				t.Fatalf("%v: % x became % x", err, bytesBefore, v.Packet)
			}
		}
		out += fmt.Sprintf(" %x", v.Packet)
	} else {
		if !bytes.Equal(b, bytesBefore) {
			t.Fatalf("%v, but the packet changed", v.Reason)
		}
		after.Strays, after.Held = before.Strays, before.Held // the remap quirk; fragments that wait
		if !v.Created && before != after && !toExternal(bytesBefore) {
			t.Fatalf("%v, but the state changed from %+v to %+v: %v % x", v.Reason, before, after, side, bytesBefore)
		}
	}
	for {
		e, ok := table.Next()
		if !ok {
			return out
		}
		if err := sums(e.Packet, false); err != nil {
			t.Fatalf("emission: %v", err)
		}
		out += fmt.Sprintf(" + %v %x", e.To, e.Packet)
	}
}

// toExternal tells whether a packet goes to an external address: refused, it may have opened its sender's filter.
func toExternal(b []byte) bool {
	return len(b) >= 20 && netip.MustParsePrefix("203.0.113.0/24").Contains(netip.AddrFrom4([4]byte(b[16:20])))
}

// FuzzTable plays tapes.
func FuzzTable(f *testing.F) {
	for i := range fuzzBehaviors() {
		tape := []byte{byte(i)}
		for j := range 120 {
			tape = append(tape, byte(j*37+i), byte(j*j), byte(j*11), byte(j*13+i), byte(j*5))
		}
		f.Add(tape)
	}
	f.Fuzz(func(t *testing.T, data []byte) { play(t, data) })
}

// The same packets give the same packets, byte for byte.
func TestTableIsDeterministic(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		data := rapid.SliceOfN(rapid.Byte(), 1, 1500).Draw(t, "tape")
		first, second := play(t, data), play(t, data)
		for i := range first {
			if first[i] != second[i] {
				t.Fatalf("step %d: %s, then %s", i, first[i], second[i])
			}
		}
	})
}
