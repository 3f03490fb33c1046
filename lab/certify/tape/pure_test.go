package tape_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/punchlab/punchlab/lab/certify/tape"
	"github.com/punchlab/punchlab/lab/packet"
)

var (
	cam = netip.MustParseAddrPort("192.168.1.2:5000")
	wan = netip.MustParseAddrPort("203.0.113.1:5000")
	far = netip.MustParseAddrPort("203.0.113.33:6000")
	t0  = time.Unix(1_700_000_000, 0)
)

func at(d time.Duration) time.Time { return t0.Add(d) }

// every makes packets at times, in seconds.
func every(size int, seconds ...float64) (ps []tape.Packet) {
	for _, s := range seconds {
		ps = append(ps, tape.Packet{
			At: at(time.Duration(s * float64(time.Second))), Host: "camera", Out: true, Protocol: packet.ProtocolUDP, Src: cam, Dst: far, Size: size,
			Payload: make([]byte, max(0, size-28)),
		})
	}
	return ps
}

func TestMatches(t *testing.T) {
	udp := tape.Packet{
		At: at(time.Second), Host: "camera", Out: true, Protocol: packet.ProtocolUDP, Src: cam, Dst: far, Size: 528,
		Payload: make([]byte, 500),
	}
	udp.Payload[77] = 9
	came := udp
	came.Host, came.Out = "viewer", false
	syn := tape.Packet{Host: "viewer", Protocol: packet.ProtocolTCP, Src: cam, Dst: netip.MustParseAddrPort("[2001:db8::1]:443"), Flags: packet.SYN}
	icmp := tape.Packet{Host: "camera", Out: true, Protocol: packet.ProtocolICMP, Src: netip.AddrPortFrom(cam.Addr(), 0), Payload: make([]byte, 600)}
	all := []tape.Packet{udp, came, syn, icmp}
	small := udp
	small.Payload = small.Payload[:499]
	for _, tt := range []struct {
		name  string
		match tape.Match
		want  string
	}{
		{"Media", tape.Media, "udp came"},
		{"Out", tape.Out, "udp icmp"},
		{"In", tape.In, "came syn"},
		{"UDP", tape.UDP, "udp came"},
		{"TCP", tape.TCP, "syn"},
		{"ICMP", tape.ICMP, "icmp"},
		{"Full", tape.Full, "udp came"},
		{"At", tape.At("viewer"), "came syn"},
		{"From", tape.From("camera", "viewer"), "udp icmp"},
		{"CameTo", tape.CameTo("camera", "viewer"), "came syn"},
		{"To", tape.To(far.Addr()), "udp came"},
		{"By", tape.By(cam.Addr()), "udp came syn icmp"},
		{"With", tape.With(far.Addr()), "udp"},
		{"With the other", tape.With(cam.Addr()), "came syn"},
		{"WithEndpoint", tape.WithEndpoint(far), "udp"},
		{"Port", tape.Port(6000), "udp came"},
		{"Port of none", tape.Port(0), ""},
		{"LocalPort", tape.LocalPort(6000), "came"},
		{"AtLeast", tape.AtLeast(528), "udp came"},
		{"AtLeast more", tape.AtLeast(529), ""},
		{"Flags", tape.Flags(packet.SYN, packet.ACK), "syn"},
		{"Flags that are clear", tape.Flags(packet.SYN|packet.ACK, 0), ""},
		{"Flags that are set", tape.Flags(0, packet.SYN), ""},
		{"Between", tape.Between(at(time.Second), at(time.Second+1)), "udp came"},
		{"Between, up to", tape.Between(t0, at(time.Second)), ""},
		{"Between, open", tape.Between(at(time.Second), time.Time{}), "udp came"},
		{"Carries", tape.Carries([]byte{0, 9, 0}), "udp came"},
		{"Not", tape.Not(tape.UDP), "syn icmp"},
		{"Any", tape.Any(tape.TCP, tape.ICMP), "syn icmp"},
		{"All", tape.All(tape.UDP, tape.In), "came"},
		{"IPv6", tape.IPv6, ""},
	} {
		var got []string
		for i, name := range []string{"udp", "came", "syn", "icmp"} {
			if tt.match(&all[i]) {
				got = append(got, name)
			}
		}
		if s := strings.Join(got, " "); s != tt.want || tape.Count(all, tt.match) != len(got) || len(tape.Select(all, tt.match)) != len(got) {
			t.Errorf("%s matches %q, want %q", tt.name, s, tt.want)
		}
	}
	if tape.Media(&small) {
		t.Error("499 bytes are media")
	}
}

func TestAmounts(t *testing.T) {
	ps := every(100, 0, 0.5, 1, 2.5, 2.999, 3)
	want := []tape.Amount{{2, 200}, {1, 100}, {2, 200}}
	if d := cmp.Diff(want, tape.PerSecond(ps, t0, at(3*time.Second))); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]tape.Amount{{1, 100}, {1, 100}}, tape.PerMinute(every(100, 0, 60, 65), t0, at(61*time.Second))); d != "" {
		t.Error(d)
	}
	if got := tape.Rate(ps, t0, at(2*time.Second)); got != 300*8/2 {
		t.Errorf("rate %v", got)
	}
	if got := tape.Rate(ps, t0, t0); got != 0 {
		t.Errorf("rate of no time: %v", got)
	}
	if b, p := tape.Bytes(ps), tape.PayloadBytes(ps); b != 600 || p != 6*72 {
		t.Errorf("%d bytes, of which %d payload", b, p)
	}
	if tape.PerSecond(ps, t0, t0) != nil {
		t.Error("no time has seconds")
	}
}

// The busiest minute begins anywhere, and in any order of packets.
func TestBusiest(t *testing.T) {
	ps := append(every(100, 130, 50, 55, 0, 70, 109.9, 110), every(1000, 300)...)
	packets, bytes := tape.Busiest(time.Minute, ps)
	if packets != (tape.Peak{N: 4, At: at(50 * time.Second)}) || bytes != (tape.Peak{N: 1000, At: at(300 * time.Second)}) {
		t.Errorf("%v, %v", packets, bytes)
	}
	if packets, bytes := tape.Busiest(time.Minute, nil); packets.N != 0 || bytes.N != 0 {
		t.Errorf("of nothing: %v, %v", packets, bytes)
	}
}

func TestGaps(t *testing.T) {
	ps := every(100, 5, 1, 1.5, 8, 20)
	show := func(gs []tape.Gap) string {
		var s []string
		for _, g := range gs {
			s = append(s, fmt.Sprintf("%v+%v", g.From.Sub(t0), g.Length()))
		}
		return strings.Join(s, " ")
	}
	for _, tt := range []struct {
		from, to, least time.Duration
		want            string
	}{
		{0, 10 * time.Second, time.Second, "0s+1s 1.5s+3.5s 5s+3s 8s+2s"},
		{time.Second, 8 * time.Second, 3 * time.Second, "1.5s+3.5s 5s+3s"},
		{0, time.Second, 0, "0s+1s"},
		{9 * time.Second, 10 * time.Second, time.Second, "9s+1s"},
		{0, 10 * time.Second, 4 * time.Second, ""},
	} {
		if got := show(tape.Gaps(ps, at(tt.from), at(tt.to), tt.least)); got != tt.want {
			t.Errorf("from %v to %v, %v at least: %q, want %q", tt.from, tt.to, tt.least, got, tt.want)
		}
	}
	if p, ok := tape.First(ps, at(2*time.Second), tape.Out); !ok || p.At != at(5*time.Second) {
		t.Errorf("first after 2 s: %v, %v", p.At, ok)
	}
	if p, ok := tape.First(ps, t0); !ok || p.At != at(time.Second) {
		t.Errorf("first of all: %v, %v", p.At, ok)
	}
	if p, ok := tape.Last(ps, tape.Between(t0, at(8*time.Second))); !ok || p.At != at(5*time.Second) {
		t.Errorf("last before 8 s: %v, %v", p.At, ok)
	}
	if _, ok := tape.First(ps, at(2*time.Second), tape.In); ok {
		t.Error("there is one that there is not")
	}
}

func TestKeepalives(t *testing.T) {
	ps := every(60, 0, 0.4, 1, 1.2, 25, 25.1, 51, 52.5)
	times := tape.Keepalives(ps, time.Second)
	want := []time.Time{t0, at(1200 * time.Millisecond), at(25 * time.Second), at(51 * time.Second), at(52500 * time.Millisecond)}
	if d := cmp.Diff(want, times); d != "" {
		t.Error(d)
	}
	ds := tape.Distances(times[2:])
	if d := cmp.Diff([]time.Duration{26 * time.Second, 1500 * time.Millisecond}, ds); d != "" {
		t.Error(d)
	}
	if m := tape.Mean(ds); m != 13750*time.Millisecond {
		t.Errorf("mean %v", m)
	}
	if m := tape.Mean(tape.Distances(times[:1])); m != 0 {
		t.Errorf("mean of nothing: %v", m)
	}
}

// arrived is a packet that came to the viewer, in seconds.
func arrived(s float64, src string, port uint16) tape.Packet {
	return tape.Packet{
		At: at(time.Duration(s * float64(time.Second))), Host: "viewer", Protocol: packet.ProtocolUDP,
		Src: netip.MustParseAddrPort(src), Dst: netip.AddrPortFrom(far.Addr(), port), Size: 1000,
	}
}

func TestRebinds(t *testing.T) {
	ps := []tape.Packet{
		arrived(1, "203.0.113.1:5000", 6000), arrived(2, "203.0.113.1:5001", 6000), // another port
		arrived(2.1, "203.0.113.1:5000", 6000), arrived(3, "203.0.113.1:5001", 6000), // a late one
		arrived(5, "203.0.113.2:5001", 6000),                                      // another address
		arrived(6, "203.0.113.2:7000", 6001),                                      // another flow
		arrived(4, "[2001:db8::1]:5000", 6002), arrived(7, "203.0.113.2:1", 6002), // another family
	}
	out := arrived(8, "203.0.113.77:1", 6000)
	out.Out = true
	tcp := arrived(8, "203.0.113.77:1", 6000)
	tcp.Protocol = packet.ProtocolTCP
	var got []string
	for _, r := range tape.Rebinds(append(ps, out, tcp)) {
		got = append(got, fmt.Sprintf("%v %s %d %v>%v", r.At.Sub(t0), r.Host, r.Local.Port(), r.Old, r.New))
	}
	want := []string{"2s viewer 6000 203.0.113.1:5000>203.0.113.1:5001", "5s viewer 6000 203.0.113.1:5001>203.0.113.2:5001",
		"7s viewer 6002 [2001:db8::1]:5000>203.0.113.2:1"}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestFlows(t *testing.T) {
	ps := append(every(100, 3, 1), tape.Packet{At: at(2 * time.Second), Host: "camera", Protocol: packet.ProtocolUDP, Src: far, Dst: cam, Size: 70},
		arrived(1.1, wan.String(), 6000))
	got := tape.Flows(ps)
	want := []tape.Flow{
		{Host: "camera", Protocol: 17, Local: cam, Remote: far, First: at(time.Second), Last: at(3 * time.Second),
			Out: tape.Amount{Packets: 2, Bytes: 200}, In: tape.Amount{Packets: 1, Bytes: 70}},
		{Host: "viewer", Protocol: 17, Local: far, Remote: wan, First: at(1100 * time.Millisecond), Last: at(1100 * time.Millisecond),
			In: tape.Amount{Packets: 1, Bytes: 1000}},
	}
	if d := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); d != "" {
		t.Error(d)
	}
	if !slices.IsSortedFunc(got, func(a, b tape.Flow) int { return a.First.Compare(b.First) }) {
		t.Error("not in order")
	}
}
