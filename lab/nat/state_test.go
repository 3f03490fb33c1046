package nat_test

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/punchlab/punchlab/lab/nat"
)

func newTable(t *testing.T, preset string, change func(*nat.Config)) *nat.Table {
	t.Helper()
	c := nat.Config{External: []netip.Addr{netip.MustParseAddr("203.0.113.1")}, LAN: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, Seed: 1}
	c.Behavior, _ = nat.Lookup(preset)
	if change != nil {
		change(&c)
	}
	table, err := nat.NewTable(c)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func ep(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

// sent is what a UDP packet from inside looks like outside.
func sent(t *testing.T, table *nat.Table, from string) string {
	t.Helper()
	v := table.Translate(0, nat.Inside, udp(ep(from), ep("198.51.100.1:1"), nil))
	if v.Reason != nat.Passed {
		return v.Reason.String()
	}
	return describe(v.Packet)
}

func TestConfigIsChecked(t *testing.T) {
	for _, test := range []struct {
		want   string
		change func(*nat.Config)
	}{
		{"needs an external address", func(c *nat.Config) { c.External = nil }},
		{"want IPv4", func(c *nat.Config) { c.External[0] = netip.MustParseAddr("2001:db8::1") }},
		{"lies in the LAN", func(c *nat.Config) { c.External[0] = netip.MustParseAddr("10.0.0.1") }},
		{"at most -1 mappings", func(c *nat.Config) { c.MaxMappings = -1 }},
		{"mapping is not set", func(c *nat.Config) { c.Mapping = 0 }},
		{"NPTv6", func(c *nat.Config) { c.IPv6 = nat.NPTv6 }},
		{"uses one external address", func(c *nat.Config) {
			c.Behavior, _ = nat.Lookup("linux")
			c.External = append(c.External, netip.MustParseAddr("203.0.113.2"))
		}},
	} {
		c := nat.Config{External: []netip.Addr{netip.MustParseAddr("203.0.113.1")}, LAN: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}
		c.Behavior, _ = nat.Lookup("full-cone")
		test.change(&c)
		if _, err := nat.NewTable(c); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("want an error with %q, got %v", test.want, err)
		}
	}
}

// Reset, Apply and SetExternal forget flows and port mappings; the order of ports begins again.
func TestNothingSurvivesAReset(t *testing.T) {
	table := newTable(t, "symmetric", nil)
	reply := func(port string) nat.Reason {
		return table.Translate(0, nat.Outside, udp(ep("198.51.100.1:1"), ep("203.0.113.1:"+port), nil)).Reason
	}
	first := sent(t, table, "10.0.0.2:5000")
	if _, err := table.Map(0, nat.PortMap{Protocol: 17, Internal: ep("10.0.0.3:80"), External: 8000}); err != nil {
		t.Fatal(err)
	}
	if reply("23345") != nat.Passed || reply("8000") != nat.Passed || table.Len() != 2 {
		t.Fatalf("%s does not work, or %d mappings", first, table.Len())
	}
	for name, forget := range map[string]func() error{
		"Reset":       func() error { table.Reset(1); return nil },
		"Apply":       func() error { b, _ := nat.Lookup("symmetric"); return table.Apply(b, 1) },
		"SetExternal": func() error { return table.SetExternal([]netip.Addr{netip.MustParseAddr("203.0.113.1")}) },
	} {
		if err := forget(); err != nil {
			t.Fatal(err)
		}
		if table.Len() != 0 || table.PortMaps(0) != nil || reply("23345") != nat.NoMapping || reply("8000") != nat.NoMapping {
			t.Errorf("%s leaves something", name)
		}
		if again := sent(t, table, "10.0.0.2:5000"); again != first {
			t.Errorf("%s: %s, before it %s", name, again, first)
		}
	}
	table.Reset(2)
	if other := sent(t, table, "10.0.0.2:5000"); other == first {
		t.Errorf("another seed gives %s again", other)
	}
	if err := table.SetExternal([]netip.Addr{netip.MustParseAddr("203.0.113.77")}); err != nil || !strings.Contains(sent(t, table, "10.0.0.2:5000"), "203.0.113.77:") {
		t.Errorf("SetExternal: %v, %s", err, sent(t, table, "10.0.0.2:5000"))
	}
	if err := table.SetExternal(nil); err == nil {
		t.Error("a translator without an address")
	}
	if err := table.Apply(nat.Behavior{}, 1); err == nil {
		t.Error("a behavior without axes")
	}
}

func TestCounts(t *testing.T) {
	table := newTable(t, "port-restricted-cone", nil)
	sent(t, table, "10.0.0.2:5000")
	sent(t, table, "10.0.0.2:5000")
	sent(t, table, "172.16.0.1:5000")
	table.Translate(0, nat.Inside, []byte{0x45, 0})
	table.Translate(0, nat.Inside, nil)
	bad := udp(ep("10.0.0.2:1"), ep("198.51.100.1:1"), []byte("x"))
	bad[len(bad)-1]++
	table.Translate(0, nat.Inside, bad)
	header := udp(ep("10.0.0.2:1"), ep("198.51.100.1:1"), []byte("x"))
	header[8]--
	table.Translate(0, nat.Inside, header)
	want := nat.Counts{nat.Passed: 2, nat.Spoofed: 1, nat.Malformed: 2, nat.BadChecksum: 2}
	if d := cmp.Diff(want, table.Counts()); d != "" {
		t.Errorf("counts (-want +got):\n%s", d)
	}
	if table.Len() != 1 {
		t.Errorf("%d mappings", table.Len())
	}
}

// A flood ends at the bounds, from either side, and passes over when its mappings do.
func TestFloodIsBounded(t *testing.T) {
	const most = 500
	table := newTable(t, "apdm-eif", func(c *nat.Config) { c.MaxMappings = most })
	counts := map[nat.Reason]int{}
	for i := range 5 * most {
		b := udp(netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 1}), 5000), ep("198.51.100.1:1"), nil)
		counts[table.Translate(0, nat.Inside, b).Reason]++
	}
	if counts[nat.Passed] != most || counts[nat.Full] != 4*most {
		t.Errorf("from inside: %v", counts)
	}
	for i := range 5 * most { // strangers reach an EIF mapping, each making the way back for its answer if there is room
		b := udp(netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, byte(i >> 8), byte(i)}), 9), ep("203.0.113.1:23345"), nil)
		table.Translate(0, nat.Outside, b)
	}
	if err := table.Check(); err != nil {
		t.Error(err)
	}
	table.Advance(2 * time.Minute)
	if got := sent(t, table, "10.0.0.2:5000"); table.Len() != 1 {
		t.Errorf("after the timeout: %s, %d mappings", got, table.Len())
	}
	if err := table.Check(); err != nil {
		t.Error(err)
	}
}

func TestPortMapErrors(t *testing.T) {
	table := newTable(t, "full-cone", func(c *nat.Config) { c.PortMin, c.PortMax = 30000, 30000 })
	good := nat.PortMap{Protocol: 17, Internal: ep("10.0.0.2:5000"), External: 5000}
	if _, err := table.Map(0, good); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[error]func(*nat.PortMap){
		nat.ErrPortTaken: func(m *nat.PortMap) { m.Internal = ep("10.0.0.3:1") },
		nat.ErrPortMap:   func(m *nat.PortMap) { m.Protocol = 1 },
	} {
		m := good
		change(&m)
		if _, err := table.Map(0, m); !errors.Is(err, want) {
			t.Errorf("want %v, got %v", want, err)
		}
	}
	if err := table.Unmap(0, nat.PortMap{Protocol: 17, External: 5001}); !errors.Is(err, nat.ErrNotMapped) {
		t.Errorf("unmap of nothing: %v", err)
	}
	if err := table.Unmap(0, nat.PortMap{Protocol: 17, External: 5000}); err != nil {
		t.Errorf("unmap by external port: %v", err)
	}
	for _, in := range []string{"10.0.0.2:7", "10.0.0.3:7"} { // the second gets the one port of the range
		if _, err := table.Map(0, nat.PortMap{Protocol: 17, Internal: ep(in)}); err != nil {
			t.Errorf("any port for %s: %v", in, err)
		}
	}
	if _, err := table.Map(0, nat.PortMap{Protocol: 17, Internal: ep("10.0.0.4:7")}); !errors.Is(err, nat.ErrNoPort) {
		t.Errorf("no port is left: %v", err)
	}
}

func TestReasonsHaveNames(t *testing.T) {
	seen := map[string]bool{}
	for r := range nat.Reasons {
		if s := r.String(); s == "" || seen[s] || strings.HasPrefix(s, "invalid") {
			t.Errorf("reason %d is %q", r, s)
		}
		seen[r.String()] = true
	}
	for got, want := range map[string]string{
		nat.NoMapping.String(): "no mapping", nat.Inside.String(): "inside", nat.NPTv6.String(): "nptv6",
		nat.RSTAfter6s.String(): "rst-after-6s", nat.FragmentsInOrder.String(): "in-order", nat.ICMPErrorsDropped.String(): "dropped",
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// The clock may begin again with a Reset; otherwise it never goes back.
func TestResetRestartsTheClock(t *testing.T) {
	table := newTable(t, "full-cone", nil)
	in := func(now time.Duration) nat.Reason {
		return table.Translate(now, nat.Outside, udp(ep("198.51.100.1:1"), ep("203.0.113.1:5000"), nil)).Reason
	}
	table.Advance(time.Hour)
	table.Reset(1)
	sent(t, table, "10.0.0.2:5000") // at 0
	if in(119*time.Second) != nat.Passed || in(120*time.Second) != nat.Expired || in(0) != nat.Expired {
		t.Error("the mapping should have lasted from 0 to 120 s after the reset")
	}
}

// External addresses need not be a range, nor in order.
func TestPoolWithGaps(t *testing.T) {
	table := newTable(t, "full-cone", func(c *nat.Config) {
		c.External = []netip.Addr{netip.MustParseAddr("203.0.113.5"), netip.MustParseAddr("203.0.113.9"), netip.MustParseAddr("203.0.113.1")}
	})
	for i, want := range []nat.Reason{1: nat.NoMapping, 4: nat.NoRoute, 5: nat.NoMapping, 6: nat.NoRoute, 7: nat.NoRoute, 9: nat.NoMapping} {
		to := netip.AddrPortFrom(netip.AddrFrom4([4]byte{203, 0, 113, byte(i)}), 5000)
		if v := table.Translate(0, nat.Outside, udp(ep("198.51.100.1:1"), to, nil)); want != 0 && v.Reason != want {
			t.Errorf("to %v: %v, want %v", to, v.Reason, want)
		}
	}
}

// Packets of mappings that are there cost no garbage.
func TestTranslateAllocatesNothing(t *testing.T) {
	table := newTable(t, "port-restricted-cone", nil)
	out, in := udp(ep("10.0.0.2:5000"), ep("198.51.100.1:1"), make([]byte, 1000)), udp(ep("198.51.100.1:1"), ep("203.0.113.1:5000"), make([]byte, 1000))
	refused := udp(ep("198.51.100.1:2"), ep("203.0.113.1:5000"), nil)
	b := make([]byte, 1500)
	n := testing.AllocsPerRun(100, func() {
		for _, p := range []struct {
			from nat.Side
			b    []byte
			want nat.Reason
		}{{nat.Inside, out, nat.Passed}, {nat.Outside, in, nat.Passed}, {nat.Outside, refused, nat.Filtered}} {
			if v := table.Translate(0, p.from, b[:copy(b, p.b)]); v.Reason != p.want {
				t.Fatal(v.Reason)
			}
		}
	})
	if n != 0 {
		t.Errorf("three packets allocate %v times", n)
	}
}
