package fabric

import (
	"net/netip"
	"testing"
	"time"

	"github.com/punchlab/punchlab/lab/link"
	"github.com/punchlab/punchlab/lab/packet"
)

// FuzzSend: whatever a site sends, nothing panics and no packet is lost from the pool.
func FuzzSend(f *testing.F) {
	f.Add(udp(100))
	f.Add(udp(1600))
	f.Add(packet.AppendUDP(nil, netip.MustParseAddrPort("[2001:db8::1]:1"), netip.MustParseAddrPort("[2001:db8::2]:2"), make([]byte, 1300)))
	f.Add([]byte{})
	f.Add([]byte{0x45, 0, 0, 20})
	f.Fuzz(func(t *testing.T, b []byte) {
		const limit = 20
		fab := New(Config{MaxPackets: limit})
		n := fab.NewNet(1)
		all4, all6 := netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")
		u, err := n.Attach(UplinkConfig{Name: "a", Routed: []netip.Prefix{all4, all6}, Output: &sink{},
			Profile: link.Profile{Up: link.Impairment{Corrupt: 1, Duplicate: 1}, Down: link.Impairment{MTU: 1280, Corrupt: 1, Delay: 1}}})
		if err != nil {
			t.Fatal(err)
		}
		for i := range 4 {
			p := fab.Get()
			p.Set(b[:min(len(b), link.MaxMTU)])
			u.Send(time.Duration(i), p)
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
