package fabric

import (
	"net/netip"
	"testing"
	"time"

	"github.com/punchlab/punchlab/lab/link"
	"github.com/punchlab/punchlab/lab/packet"
)

// addPackets gives a fuzz target its first packets.
func addPackets(add func(b []byte)) {
	add(udp(100))
	add(udp(1600))
	add(packet.AppendUDP(nil, netip.MustParseAddrPort("[2001:db8::1]:1"), netip.MustParseAddrPort("[2001:db8::2]:2"), make([]byte, 1300)))
	add([]byte{})
	add([]byte{0x45, 0, 0, 20})
	add(datagram("192.168.1.2:1", "198.51.100.1:2", 1400))
	add(datagram("192.168.1.2:1", "203.0.113.1:2", 10))
	add(datagram("198.51.100.1:2", "203.0.113.1:1", 10))
	add(echoRequest(inner4, gateway4))
	add(echoRequest(inner6, gateway6))
	add(datagram("192.168.1.2:1", "239.255.255.250:2", 10))
}

// FuzzSend: whatever a site sends, nothing panics and no packet is lost from the pool.
func FuzzSend(f *testing.F) {
	addPackets(func(b []byte) { f.Add(b) })
	f.Fuzz(func(t *testing.T, b []byte) {
		const limit = 200
		fab := New(Config{MaxPackets: limit})
		n := fab.NewNet(1)
		all4, all6 := netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")
		u, err := n.Attach(UplinkConfig{Name: "a", Routed: []netip.Prefix{all4, all6}, Output: &sink{},
			Profile: link.Profile{Up: link.Impairment{Corrupt: 1, Duplicate: 1}, Down: link.Impairment{MTU: 1280, Corrupt: 1, Delay: 1}}})
		if err != nil {
			t.Fatal(err)
		}
		for i := range 4 {
			sendBytes(fab, u, time.Duration(i), b[:min(len(b), link.MaxMTU)])
		}
		fab.Deliver(time.Second, 0)
		if back := len(fab.pool.free) + fab.pool.left; back != limit {
			t.Errorf("%d packets of %d came back", back, limit)
		}
		s := n.Stats(nil).Uplinks[0]
		if s.Up.Packets != 4 {
			t.Errorf("%d packets counted, sent 4", s.Up.Packets)
		}
	})
}

// FuzzRouter: whatever comes to a router from either side, whole or to be split, nothing panics, the tap can be told
// of it, and no packet is lost from the pools.
func FuzzRouter(f *testing.F) {
	addPackets(func(b []byte) { f.Add(b, uint8(0), uint16(0), false) })
	big, g := tcp(netip.AddrPortFrom(inner4, 4000), tcpDst, 5000, 1000)
	f.Add(big, uint8(g.Type), g.Size, false)
	f.Add(big, uint8(g.Type), uint16(1990), true)
	f.Fuzz(func(t *testing.T, b []byte, typ uint8, size uint16, tapped bool) {
		h := newHome(t, preset(t, "full-cone"), link.Profile{Up: link.Impairment{MTU: 1280}}, true)
		if tapped {
			h.net.SetTap(func(e TapEvent) { _ = len(e.Packet) + len(e.Point.String()) })
		}
		g := GSO{Type: GSOType(typ), Size: size, CsumStart: 20, CsumOffset: 16, NeedsCsum: size > 0}
		b = b[:min(len(b), 1<<16-1)]
		for i, from := range []sender{h.station, h.peer, fromDevice{h.router}, h.station} {
			sendBig(h.fab, from, time.Duration(i), b, g)
			sendBig(h.fab, from, time.Duration(i), b, GSO{})
		}
		h.fab.Deliver(time.Hour, 0)
		whole(t, h.fab)
	})
}
