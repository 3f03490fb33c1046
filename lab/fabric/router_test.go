package fabric

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/punchlab/punchlab/lab/link"
	"github.com/punchlab/punchlab/lab/nat"
	"github.com/punchlab/punchlab/lab/packet"
	"pgregory.net/rapid"
)

var (
	lanPrefix4, lanPrefix6 = netip.MustParsePrefix("192.168.1.0/24"), netip.MustParsePrefix("2001:db8:1::/64")
	gateway4, gateway6     = netip.MustParseAddr("192.168.1.1"), netip.MustParseAddr("2001:db8:1::1")
	inner4, inner6         = netip.MustParseAddr("192.168.1.2"), netip.MustParseAddr("2001:db8:1::2")
	wanAddr                = netip.MustParseAddr("203.0.113.1")
)

// home is a router with one station, and a peer on the core.
type home struct {
	fab             *Fabric
	net             *Net
	router          *Router
	station         *Station
	peer            *Uplink
	inside, outside *keeper
}

func newHome(t fataler, b nat.Behavior, p link.Profile, offload bool) *home {
	t.Helper()
	f := New(Config{})
	h := &home{fab: f, net: f.NewNet(1), inside: &keeper{}, outside: &keeper{}}
	table, err := nat.NewTable(nat.Config{Behavior: b, External: []netip.Addr{wanAddr}, LAN: []netip.Prefix{lanPrefix4, lanPrefix6}})
	if err != nil {
		t.Fatal(err)
	}
	h.router, err = h.net.AttachRouter(RouterConfig{Name: "home", Table: table, Gateway: gateway4, Gateway6: gateway6, Profile: p,
		LAN: []netip.Prefix{lanPrefix4, lanPrefix6}, WAN: append(hosts(wanAddr), lanPrefix6)})
	if err != nil {
		t.Fatal(err)
	}
	if h.station, err = h.router.Attach(StationConfig{Name: "host", Addrs: hosts(inner4, inner6), Output: h.inside, Offload: offload}); err != nil {
		t.Fatal(err)
	}
	h.peer, err = h.net.Attach(UplinkConfig{Name: "peer", Routed: hosts(dstAddr, tcpDst6.Addr()), Output: h.outside, Offload: offload})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func preset(t fataler, name string) nat.Behavior {
	t.Helper()
	b, ok := nat.Lookup(name)
	if !ok {
		t.Fatal("no preset ", name)
	}
	b.IPv6 = nat.IPv6Firewall
	return b
}

func datagram(src, dst string, size int) []byte {
	return packet.AppendUDP(nil, netip.MustParseAddrPort(src), netip.MustParseAddrPort(dst), make([]byte, size))
}

func TestRoutedPacketAllocatesNothing(t *testing.T) {
	h := newHome(t, preset(t, "port-restricted-cone"), busy, false)
	sinkhole := &sink{}
	h.router.stations[0].out, h.peer.out = sinkhole, sinkhole
	out, in := datagram("192.168.1.2:1000", "198.51.100.1:5", 1100), datagram("198.51.100.1:5", "203.0.113.1:1000", 1100)
	now := time.Duration(0)
	step := func() {
		now += 40 * time.Microsecond
		sendBytes(h.fab, h.station, now, out)
		sendBytes(h.fab, h.peer, now, in)
	}
	for range 10_000 {
		step()
	}
	if n := testing.AllocsPerRun(10_000, step); n != 0 {
		t.Errorf("%v allocations for two packets", n)
	}
	if sinkhole.n < 30_000 {
		t.Errorf("%d of 40000 packets arrived", sinkhole.n)
	}
}

// TestGSOThroughRouter: a GSO packet of TCP is translated whole, to what its segments become one by one.
func TestGSOThroughRouter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n, size := rapid.IntRange(1, 60000).Draw(t, "n"), rapid.IntRange(100, 1400).Draw(t, "size")
		v6 := rapid.Bool().Draw(t, "v6")
		src, dst := netip.AddrPortFrom(inner4, 4000), tcpDst
		if v6 {
			src, dst = netip.AddrPortFrom(inner6, 4000), tcpDst6
		}
		syn, _ := tcp(src, dst, 0, 0)
		setFlags(syn, packet.SYN)
		data, g := tcp(src, dst, n, size)
		reply, rg := tcp(dst, src, n, size)
		if !v6 {
			reply, rg = tcp(dst, netip.AddrPortFrom(wanAddr, 4000), n, size)
		}
		b := preset(t, "full-cone")
		whole, split := newHome(t, b, link.Profile{}, true), newHome(t, b, link.Profile{}, false)
		for _, h := range []*home{whole, split} {
			sendBytes(h.fab, h.station, 0, syn)
			sendBig(h.fab, h.station, 0, data, g)
			sendBig(h.fab, h.peer, 0, reply, rg)
		}
		for _, side := range []struct{ whole, split *keeper }{{whole.outside, split.outside}, {whole.inside, split.inside}} {
			k := len(side.whole.packets) - 1
			if k < 0 || side.whole.gso[k].Type == GSONone {
				t.Fatalf("GSO %+v arrived", side.whole.gso)
			}
			var segments [][]byte
			if err := packet.Segment(bytes.Clone(side.whole.packets[k]), size, func(seg []byte) { segments = append(segments, bytes.Clone(seg)) }); err != nil {
				t.Fatal(err)
			}
			last := bytes.Clone(side.whole.packets[k])
			if err := packet.FinishChecksum(last, int(g.CsumStart), int(g.CsumOffset)); err != nil || !transportOK(last) {
				t.Fatalf("the pseudo-header's sum is wrong after translation, %v", err)
			}
			if diff := cmp.Diff(side.split.packets[k:], segments); diff != "" {
				t.Fatalf("segments of the whole (+) and in parts (-):\n%s", diff)
			}
		}
	})
}

func setFlags(b []byte, flags byte) {
	_, _, s, _ := transportOf(b)
	old := binary.BigEndian.Uint16(s[12:])
	s[13] = flags
	binary.BigEndian.PutUint16(s[16:], packet.Update16(binary.BigEndian.Uint16(s[16:]), old, binary.BigEndian.Uint16(s[12:])))
}

func transportOK(b []byte) bool {
	e := endpointsOf(b)
	_, protocol, s, _ := transportOf(b)
	return packet.PseudoChecksum(e.Src.Addr(), e.Dst.Addr(), protocol, s) == 0
}

// TestTrafficClassIsLeftAlone: DSCP and ECN pass links of every kind and routers as they are (RFC 3168 §5, RFC 6040).
func TestTrafficClassIsLeftAlone(t *testing.T) {
	queue := link.Impairment{Rate: 1e6, QueueBytes: 50_000, AQM: link.CoDel}
	for _, p := range []link.Profile{{}, {Up: queue, Down: queue}} {
		for class := range 256 {
			h := newHome(t, preset(t, "full-cone"), p, false)
			four, six := datagram("192.168.1.2:1000", "198.51.100.1:5", 100), datagram("[2001:db8:1::2]:1000", "[2001:db8::2]:5", 100)
			four[1] = byte(class)
			setFragment(four, packet.IPv4HeaderLen, 0, false)
			binary.BigEndian.PutUint16(six, 0x6000|uint16(class)<<4)
			for i := range 60 {
				sendBytes(h.fab, h.station, time.Duration(i), four)
				sendBytes(h.fab, h.station, time.Duration(i), six)
			}
			h.fab.Deliver(time.Minute, 0)
			for _, b := range h.outside.packets {
				got := b[1]
				if b[0]>>4 == 6 {
					got = byte(binary.BigEndian.Uint16(b) >> 4)
				}
				if got != byte(class) {
					t.Fatalf("traffic class %#x became %#x", class, got)
				}
			}
			if len(h.outside.packets) < 10 {
				t.Fatalf("%d packets arrived; %+v", len(h.outside.packets), h.net.Stats(nil))
			}
		}
	}
}

// TestTableDeadline: what a table sends by itself comes when it is due, and not after a reset (RFC 5382 REQ-4).
func TestTableDeadline(t *testing.T) {
	b := preset(t, "full-cone")
	b.Unsolicited = nat.RSTAfter6s
	for _, reset := range []bool{false, true} {
		h := newHome(t, b, link.Profile{}, false)
		syn, _ := tcp(tcpDst, netip.AddrPortFrom(wanAddr, 4000), 0, 0)
		setFlags(syn, packet.SYN)
		sendBytes(h.fab, h.peer, time.Second, syn)
		if reset {
			h.net.Reset(1)
		}
		due, ok := h.fab.Deadline()
		if !ok || due != 7*time.Second {
			t.Fatalf("deadline %v, %v; want 7s", due, ok)
		}
		h.fab.Deliver(due-1, 0)
		early := len(h.outside.packets)
		h.fab.Deliver(due, 0)
		if got := len(h.outside.packets); early != 0 || reset == (got == 1) {
			t.Errorf("reset %v: %d answers before 6 s, %d then", reset, early, got)
		}
		if _, ok := h.fab.Deadline(); ok {
			t.Error("there is a deadline after the last event")
		}
	}
}

// TestRouterAnswersIPv6: the gateway's own errors and echo replies have right checksums.
func TestRouterAnswersIPv6(t *testing.T) {
	h := newHome(t, preset(t, "full-cone"), link.Profile{Up: link.Impairment{MTU: 1280}}, false)
	expired := datagram("[2001:db8:1::2]:1000", "[2001:db8::2]:5", 10)
	expired[7] = 1
	for _, b := range [][]byte{echoRequest(inner6, gateway6), expired, datagram("[2001:db8:1::2]:1000", "[2001:db8::2]:5", 1300)} {
		sendBytes(h.fab, h.station, 0, b)
	}
	var types []byte
	for _, b := range h.inside.packets {
		if e := endpointsOf(b); e.Src.Addr() != gateway6 || !transportOK(b) {
			t.Errorf("from %v, checksum right %v", e.Src, transportOK(b))
		}
		types = append(types, b[packet.IPv6HeaderLen])
	}
	if want := []byte{echoReply6, 3, 2}; !bytes.Equal(types, want) {
		t.Errorf("answers of types %v, want %v", types, want)
	}
}

func TestRouterRefused(t *testing.T) {
	h := newHome(t, preset(t, "full-cone"), link.Profile{}, false)
	table := h.router.Table()
	other := New(Config{}).NewNet(1)
	for want, c := range map[string]RouterConfig{
		`attach router "": name and table are required`:                                       {Table: table},
		`attach router "x": name and table are required`:                                      {Name: "x"},
		`attach router "home": the net has one of this name`:                                  {Name: "home", Table: table},
		`attach router "peer": the net has one of this name`:                                  {Name: "peer", Table: table},
		`attach router "x": route 203.0.113.1/32 already leads to "home"`:                     {Name: "x", Table: table, WAN: hosts(wanAddr)},
		`attach router "x": its WAN is either behind a router or a device: give one of them`:  {Name: "x", Table: table, Behind: h.router, Output: h.inside},
		`attach router "x": attach station "x": route 192.168.1.2/32 already leads to "host"`: {Name: "x", Table: table, Behind: h.router, WAN: hosts(inner4)},
	} {
		if _, err := h.net.AttachRouter(c); err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
	if _, err := other.AttachRouter(RouterConfig{Name: "x", Table: table, Behind: h.router}); err == nil {
		t.Error("a router behind one of another net was taken")
	}
	if _, err := h.router.Attach(StationConfig{Name: "host", Output: h.inside}); err == nil {
		t.Error("two stations of one name were taken")
	}
}

// TestRouterClose: nothing reaches or leaves a router that was closed, nor what is behind it, and its names are free.
func TestRouterClose(t *testing.T) {
	h := newHome(t, preset(t, "full-cone"), link.Profile{Down: link.Impairment{Delay: time.Second}}, false)
	b := preset(t, "full-cone")
	table, err := nat.NewTable(nat.Config{Behavior: b, External: []netip.Addr{netip.MustParseAddr("192.168.1.7")}})
	if err != nil {
		t.Fatal(err)
	}
	behind, err := h.net.AttachRouter(RouterConfig{Name: "inner", Table: table, Behind: h.router, WAN: hosts(netip.MustParseAddr("192.168.1.7"))})
	if err != nil {
		t.Fatal(err)
	}
	deep, err := behind.Attach(StationConfig{Name: "deep", Addrs: hosts(netip.MustParseAddr("10.0.0.2")), Output: h.inside})
	if err != nil {
		t.Fatal(err)
	}
	sendBytes(h.fab, h.station, 0, datagram("192.168.1.2:1000", "198.51.100.1:5", 10))
	sendBytes(h.fab, deep, 0, datagram("10.0.0.2:1000", "198.51.100.1:5", 10))
	sendBytes(h.fab, h.peer, 0, datagram("198.51.100.1:5", "203.0.113.1:1000", 10))
	if len(h.outside.packets) != 2 {
		t.Fatalf("%d packets arrived, want 2", len(h.outside.packets))
	}
	h.router.Close()
	h.router.Close()
	sendBytes(h.fab, h.station, 0, datagram("192.168.1.2:1000", "198.51.100.1:5", 10))
	sendBytes(h.fab, deep, 0, datagram("10.0.0.2:1000", "198.51.100.1:5", 10))
	h.router.Changed(0)
	h.fab.Deliver(time.Minute, 0)
	if len(h.outside.packets) != 2 || len(h.inside.packets) != 0 || len(h.net.routers) != 0 {
		t.Errorf("%d packets left, %d came, %d routers", len(h.outside.packets), len(h.inside.packets), len(h.net.routers))
	}
	if _, err := h.net.AttachRouter(RouterConfig{Name: "home", Table: table, WAN: hosts(wanAddr)}); err != nil {
		t.Error(err)
	}
	if _, err := h.router.Attach(StationConfig{Name: "late", Output: h.inside}); err == nil {
		t.Error("a closed router took a station")
	}
}
