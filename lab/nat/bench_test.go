package nat_test

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"runtime"
	"testing"

	"github.com/punchlab/punchlab/lab/nat"
)

// million is the number of mappings that the benchmarks keep. 32 external addresses have ports for them.
const million = 1_000_000

func bigTable(b testing.TB, preset string) *nat.Table {
	c := nat.Config{LAN: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, Seed: 1, MaxMappings: million + 1<<17}
	var ok bool
	if c.Behavior, ok = nat.Lookup(preset); !ok {
		b.Fatal(preset)
	}
	for i := range 32 {
		c.External = append(c.External, netip.AddrFrom4([4]byte{203, 0, 113, byte(i + 1)}))
	}
	t, err := nat.NewTable(c)
	if err != nil {
		b.Fatal(err)
	}
	return t
}

// load is a packet whose addresses and ports a benchmark writes over, checksum-neutrally: what one word gains the
// payload loses.
type load struct{ fresh, b []byte }

// packet is the packet with n added to a port field and to the low half of an address.
func (l *load) packet(addrAt, portAt int, addr uint16, port uint16) []byte {
	copy(l.b, l.fresh)
	be := binary.BigEndian
	be.PutUint16(l.b[addrAt+2:], addr)
	be.PutUint16(l.b[20+portAt:], port)
	be.PutUint16(l.b[40:], ^addr) // both sums are as before if these were 0 and ^0
	be.PutUint16(l.b[42:], ^port)
	be.PutUint16(l.b[4:], ^addr)
	return l.b
}

// outLoad and inLoad begin with zero where packet writes.
func outLoad() *load {
	l := &load{udp(netip.MustParseAddrPort("10.0.0.0:0"), netip.MustParseAddrPort("198.51.100.1:1"), benchPayload()), make([]byte, 100)}
	return l.complement()
}

func inLoad() *load {
	l := &load{udp(netip.MustParseAddrPort("198.51.100.1:1"), netip.MustParseAddrPort("203.0.0.0:0"), benchPayload()), make([]byte, 100)}
	return l.complement()
}

func benchPayload() []byte { return append(make([]byte, 12), make([]byte, 60)...) }

func (l *load) complement() *load {
	for i := 40; i < 44; i++ {
		l.fresh[i] = 0xff // a word of all ones adds nothing
	}
	id := binary.BigEndian.Uint16(l.fresh[4:])
	binary.BigEndian.PutUint16(l.fresh[4:], 0xffff)
	sum := uint32(binary.BigEndian.Uint16(l.fresh[10:])) + uint32(id) // the checksum loses what the ID no longer adds
	binary.BigEndian.PutUint16(l.fresh[10:], uint16(sum&0xffff+sum>>16))
	return l
}

// scattered runs over all numbers below a million in an order that no cache foresees.
func scattered(i int) int { return i * 611_953 % million }

func (l *load) out(i int) []byte { return l.packet(12, 0, uint16(i/500), uint16(2000+i%500)) }

func fill(b testing.TB, t *nat.Table) (external [][6]byte) {
	l := outLoad()
	external = make([][6]byte, million)
	for i := range million {
		v := t.Translate(0, nat.Inside, l.out(i))
		if v.Reason != nat.Passed {
			b.Fatalf("mapping %d: %v", i, v.Reason)
		}
		copy(external[i][:], v.Packet[12:16])
		copy(external[i][4:], v.Packet[20:22])
	}
	return external
}

// arranged puts endpoints in the order of their packets, so that reading them costs the benchmark no cache misses.
func arranged(external [][6]byte, order func(int) int) [][6]byte {
	in := make([][6]byte, million)
	for i := range in {
		in[i] = external[order(i)]
	}
	return in
}

// near stays among a thousand mappings for a while: what a caches sees of traffic that comes in flows.
func near(i int) int { return (i/100_000*1000 + i%1000) % million }

// BenchmarkTranslate translates 100-byte UDP packets among 10^6 mappings: each packet of another one anywhere
// ("scattered"), or of a thousand that talk at the time ("near"). Mpps are a million packets in a second of a core's time. BenchmarkBound has what the memory allows.
func BenchmarkTranslate(b *testing.B) {
	for _, preset := range []string{"port-restricted-cone", "symmetric"} {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		t := bigTable(b, preset)
		external := fill(b, t)
		runtime.GC()
		runtime.ReadMemStats(&after)
		size := float64(after.HeapAlloc-before.HeapAlloc)/million - 6 // less external's
		for name, order := range map[string]func(int) int{"near": near, "scattered": scattered} {
			b.Run(preset+"/out/"+name, func(b *testing.B) {
				l := outLoad()
				defer onOneCore(b)()
				for i := 0; b.Loop(); i++ {
					if v := t.Translate(0, nat.Inside, l.out(order(i))); v.Reason != nat.Passed {
						b.Fatal(v.Reason)
					}
				}
				b.ReportMetric(size, "B/mapping")
			})
			b.Run(preset+"/in/"+name, func(b *testing.B) {
				l := inLoad()
				be, inOrder := binary.BigEndian, arranged(external, order)
				defer onOneCore(b)()
				for i := 0; b.Loop(); i++ {
					e := inOrder[i%million]
					if v := t.Translate(0, nat.Outside, l.inPacket(be.Uint32(e[:]), be.Uint16(e[4:]))); v.Reason != nat.Passed {
						b.Fatal(v.Reason)
					}
				}
			})
		}
		runtime.KeepAlive(t)
	}
	b.Run("new", func(b *testing.B) {
		l := outLoad()
		t := bigTable(b, "symmetric")
		defer onOneCore(b)()
		for i := 0; b.Loop(); i++ {
			if i%million == 0 {
				t.Reset(1)
			}
			if v := t.Translate(0, nat.Inside, l.out(scattered(i%million))); !v.Created {
				b.Fatal(v.Reason)
			}
		}
	})
}

// inPacket is a packet to an external endpoint of 203.0.x.x.
func (l *load) inPacket(addr uint32, port uint16) []byte { return l.packet(16, 2, uint16(addr), port) }

// The benchmarks' packets must be right, or they measure refusals.
func TestBenchmarkPackets(t *testing.T) {
	for _, i := range []int{0, 1, 77_777, million - 1} {
		checkSums(t, outLoad().out(i))
		checkSums(t, inLoad().inPacket(0xcb007105, uint16(i)))
		if s := describe(outLoad().out(i)); s != fmt.Sprintf("udp 10.0.%d.%d:%d→198.51.100.1:1", i/500>>8, i/500&255, 2000+i%500) {
			t.Error(s)
		}
	}
}
