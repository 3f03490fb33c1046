package fabric

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/punchlab/punchlab/lab/link"
	"github.com/punchlab/punchlab/lab/packet"
	"pgregory.net/rapid"
)

// keeper keeps what it is given.
type keeper struct {
	packets [][]byte
	gso     []GSO
}

func (k *keeper) Deliver(p *Packet) bool {
	k.packets, k.gso = append(k.packets, bytes.Clone(p.Bytes())), append(k.gso, p.GSO)
	return true
}

// tcp makes a TCP packet with DF as a kernel hands it to a card with TSO: n payload bytes in segments of size, or of a
// complete checksum if size is 0.
func tcp(src, dst netip.AddrPort, n, size int) ([]byte, GSO) {
	b := packet.AppendUDP(nil, src, dst, make([]byte, packet.TCPHeaderLen-packet.UDPHeaderLen+n))
	header, g := packet.IPv4HeaderLen, GSO{Type: GSOTCPv4, Size: uint16(size), CsumOffset: 16, NeedsCsum: true}
	if src.Addr().Is6() {
		header, g.Type = packet.IPv6HeaderLen, GSOTCPv6
		b[6] = packet.ProtocolTCP
	} else {
		b[9] = packet.ProtocolTCP
		b[10], b[11] = 0, 0
		binary.BigEndian.PutUint16(b[10:], packet.Checksum(b[:header]))
	}
	g.CsumStart = uint16(header)
	s := b[header:]
	clear(s[4:packet.TCPHeaderLen])
	s[12], s[13] = 5<<4, packet.ACK|packet.PSH
	binary.BigEndian.PutUint32(s[4:], 1000)
	for i := range s[packet.TCPHeaderLen:] {
		s[packet.TCPHeaderLen+i] = byte(i * 7)
	}
	if size == 0 {
		binary.BigEndian.PutUint16(s[16:], packet.PseudoChecksum(src.Addr(), dst.Addr(), packet.ProtocolTCP, s))
		return b, GSO{}
	}
	restorePartial(b, &g)
	return b, g
}

var (
	tcpSrc, tcpDst   = netip.AddrPortFrom(srcAddr, 40000), netip.AddrPortFrom(dstAddr, 80)
	tcpSrc6, tcpDst6 = netip.MustParseAddrPort("[2001:db8::1]:40000"), netip.MustParseAddrPort("[2001:db8::2]:80")
)

// fataler is both *testing.T and *rapid.T.
type fataler interface {
	Helper()
	Fatal(args ...any)
}

// offloadNet is two uplinks; the second's device takes GSO packets or does not.
func offloadNet(t fataler, f *Fabric, p link.Profile, offload bool) (*Uplink, *keeper, *Net) {
	t.Helper()
	n, got := f.NewNet(1), &keeper{}
	u, err := n.Attach(UplinkConfig{Name: "a", Routed: hosts(srcAddr, tcpSrc6.Addr()), Profile: p, Output: &sink{}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.Attach(UplinkConfig{Name: "b", Routed: hosts(dstAddr, tcpDst6.Addr()), Profile: p, Output: got, Offload: offload}); err != nil {
		t.Fatal(err)
	}
	return u, got, n
}

func hosts(addrs ...netip.Addr) (ps []netip.Prefix) {
	for _, a := range addrs {
		ps = append(ps, netip.PrefixFrom(a, a.BitLen()))
	}
	return ps
}

func sendBig(f *Fabric, u sender, now time.Duration, b []byte, g GSO) {
	p := f.GetBig()
	p.Set(b)
	p.GSO = g
	u.Send(now, p)
}

// TestGSOWholeOrSplit: through links that only delay, a GSO packet passes whole to a device that takes it, and as its
// segments to one that does not. Through links that impair, each segment meets its own fate, the same as if the host
// had sent it alone.
func TestGSOWholeOrSplit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		src, dst := tcpSrc, tcpDst
		if rapid.Bool().Draw(t, "v6") {
			src, dst = tcpSrc6, tcpDst6
		}
		data, g := tcp(src, dst, rapid.IntRange(1, 65000).Draw(t, "n"), rapid.IntRange(100, 1400).Draw(t, "size"))
		profile := rapid.SampledFrom([]link.Profile{
			{},
			{Up: link.Impairment{Delay: time.Millisecond, KeepOrder: true, AQM: link.CoDel, MTU: 1460}},
			{Up: link.Impairment{MTU: 700}},
			{Down: link.Impairment{Loss: 0.3}},
			{Up: link.Impairment{Rate: 1e8, QueueBytes: 20_000}, Down: link.Impairment{Corrupt: 0.5, Duplicate: 0.3}},
			{Up: link.Impairment{Jitter: time.Millisecond}},
		}).Draw(t, "profile")
		f := New(Config{})
		offload := rapid.Bool().Draw(t, "offload")
		u, whole, n := offloadNet(t, f, profile, offload)
		sendBig(f, u, 0, data, g)
		f.Deliver(time.Minute, 0)

		// The same segments one by one.
		alone, each, _ := offloadNet(t, f, profile, false)
		if err := packet.Segment(bytes.Clone(data), int(g.Size), func(seg []byte) {
			sendBytes(f, alone, 0, seg)
		}); err != nil {
			t.Fatal(err)
		}
		f.Deliver(time.Minute, 0)
		passesWhole := plain(profile.Up) && plain(profile.Down) && (profile.Up.MTU == 0 || headersOf(data)+int(g.Size) <= profile.Up.MTU || len(data) <= profile.Up.MTU)
		if offload && passesWhole {
			want := bytes.Clone(data)
			countDown(want, CoreHops)
			if len(whole.packets) != 1 || !bytes.Equal(whole.packets[0], want) || whole.gso[0] != g {
				t.Fatalf("%d packets arrived, of %v, want one with its TTL less by one, of %v", len(whole.packets), whole.gso, g)
			}
		} else if diff := cmp.Diff(each.packets, whole.packets); diff != "" {
			t.Fatalf("sent whole (+) and as segments (-):\n%s", diff)
		}
		if st := n.Stats(nil); st.Uplinks[0].Up != (Count{uint64((len(data) - headersOf(data) + int(g.Size) - 1) / int(g.Size)),
			uint64(len(data) + (segmentsOf(data, g)-1)*headersOf(data))}) {
			t.Errorf("counted %+v for %d bytes in segments of %d", st.Uplinks[0].Up, len(data), g.Size)
		}
		if left := len(f.pool.freeBig) + f.pool.leftBig; left != DefaultMaxBig {
			t.Errorf("%d of %d big packets came back", left, DefaultMaxBig)
		}
	})
}

func segmentsOf(b []byte, g GSO) int {
	return (len(b) - headersOf(b) + int(g.Size) - 1) / int(g.Size)
}

func sendBytes(f *Fabric, u sender, now time.Duration, b []byte) {
	p := f.Get()
	p.Set(b)
	u.Send(now, p)
}

// TestUnfinishedChecksum: it passes to a device that takes it, and is finished before whatever could not tell.
func TestUnfinishedChecksum(t *testing.T) {
	data, g := tcp(tcpSrc, tcpDst, 100, 1000)
	g.Type, g.Size = GSONone, 0
	for _, c := range []struct {
		name    string
		profile link.Profile
		offload bool
		left    bool
	}{
		{"plain", link.Profile{}, true, true},
		{"device without offload", link.Profile{}, false, false},
		{"impaired", link.Profile{Up: link.Impairment{Loss: 1e-9}}, true, false},
	} {
		f := New(Config{})
		u, got, n := offloadNet(t, f, c.profile, c.offload)
		sendBig(f, u, 0, data, g)
		if len(got.packets) != 1 {
			t.Fatalf("%s: %d packets, %+v", c.name, len(got.packets), n.Stats(nil))
		}
		b := got.packets[0]
		ok := packet.PseudoChecksum(srcAddr, dstAddr, packet.ProtocolTCP, b[packet.IPv4HeaderLen:]) == 0
		if got.gso[0].NeedsCsum != c.left || ok == c.left {
			t.Errorf("%s: checksum right %v, unfinished %v; want unfinished %v", c.name, ok, got.gso[0].NeedsCsum, c.left)
		}
	}
}

// TestGSORefused: what cannot be split is malformed, and no harm.
func TestGSORefused(t *testing.T) {
	data, good := tcp(tcpSrc, tcpDst, 3000, 1000)
	datagrams := packet.AppendUDP(nil, tcpSrc, tcpDst, make([]byte, 3000))
	fragment := bytes.Clone(data)
	fragment[6] = 0x20
	for name, c := range map[string]struct {
		b    []byte
		edit func(g *GSO)
		want link.Cause
	}{
		"good":                 {data, func(*GSO) {}, link.Passed},
		"no size":              {data, func(g *GSO) { g.Size = 0 }, link.Malformed},
		"another version":      {data, func(g *GSO) { g.Type = GSOTCPv6 }, link.Malformed},
		"another protocol":     {datagrams, func(*GSO) {}, link.Malformed},
		"unknown type":         {data, func(g *GSO) { g.Type = 3 }, link.Malformed},
		"complete checksum":    {data, func(g *GSO) { g.NeedsCsum = false }, link.Malformed},
		"checksum outside":     {data, func(g *GSO) { g.CsumStart = 3039; g.CsumOffset = 0 }, link.Malformed},
		"checksum in header":   {data, func(g *GSO) { g.CsumStart = 0 }, link.Malformed},
		"checksum of another":  {data, func(g *GSO) { g.CsumOffset = 6 }, link.Malformed},
		"fragment":             {fragment, func(*GSO) {}, link.Malformed},
		"too big a segment":    {data, func(g *GSO) { g.Size = link.MaxMTU - 39 }, link.TooBig},
		"big without a type":   {data, func(g *GSO) { *g = GSO{} }, link.TooBig},
		"truncated":            {data[:19], func(*GSO) {}, link.Malformed},
		"datagrams with a sum": {datagrams, func(g *GSO) { g.Type, g.CsumOffset = GSOUDP, 6 }, link.Passed},
	} {
		g := good
		c.edit(&g)
		f := New(Config{})
		u, got, n := offloadNet(t, f, link.Profile{}, true)
		sendBig(f, u, 0, c.b, g)
		drops := n.Stats(nil).Uplinks[0].Drops
		if c.want == link.Passed && (drops.Total() != 0 || len(got.packets) != 1) || c.want != link.Passed && drops[c.want] == 0 {
			t.Errorf("%s: drops %v, %d delivered; want %v", name, drops, len(got.packets), c.want)
		}
	}
}

// TestTapSeesSegments: with a tap, what passes is what a wire would carry.
func TestTapSeesSegments(t *testing.T) {
	f := New(Config{})
	u, got, n := offloadNet(t, f, link.Profile{}, true)
	var seen []string
	n.SetTap(func(e TapEvent) {
		seen = append(seen, fmt.Sprint(e.Point, " ", len(e.Packet), " ", e.ID, " of ", e.Parent))
		if packet.PseudoChecksum(srcAddr, dstAddr, packet.ProtocolTCP, e.Packet[packet.IPv4HeaderLen:]) != 0 {
			t.Errorf("%v: wrong checksum", e.Point)
		}
	})
	data, g := tcp(tcpSrc, tcpDst, 1500, 1000)
	sendBig(f, u, 0, data, g)
	want := []string{"sent 1040 2 of 1", "sent 540 3 of 1", "arrived 1040 2 of 1", "arrived 540 3 of 1", "delivered 1040 2 of 1", "delivered 540 3 of 1"}
	if diff := cmp.Diff(want, seen); diff != "" || len(got.packets) != 2 {
		t.Errorf("%d delivered; the tap saw (-want +got):\n%s", len(got.packets), diff)
	}
}

// TestErrorQuotesFinishedChecksum: the eight bytes behind the header that an error quotes have UDP's checksum.
func TestErrorQuotesFinishedChecksum(t *testing.T) {
	h := newHome(t, preset(t, "full-cone"), link.Profile{}, true)
	b := datagram("192.168.1.2:1000", "198.51.100.1:5", 100)
	setTTL(b, 1, true)
	want := binary.BigEndian.Uint16(b[packet.IPv4HeaderLen+6:])
	g := GSO{CsumStart: packet.IPv4HeaderLen, CsumOffset: 6, NeedsCsum: true}
	restorePartial(b, &g)
	sendBig(h.fab, h.station, 0, b, g)
	if len(h.inside.packets) != 1 {
		t.Fatalf("%d answers", len(h.inside.packets))
	}
	quote := h.inside.packets[0][packet.IPv4HeaderLen+packet.ICMPHeaderLen:]
	if got := binary.BigEndian.Uint16(quote[packet.IPv4HeaderLen+6:]); got != want {
		t.Errorf("the quoted checksum is %#x, want %#x", got, want)
	}
}
