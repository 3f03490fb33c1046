package live

import (
	"net/netip"
	"testing"
	"time"

	"github.com/punchlab/punchlab/lab/fabric"
	"github.com/punchlab/punchlab/lab/link"
	"github.com/punchlab/punchlab/lab/nat"
	"github.com/punchlab/punchlab/lab/packet"
)

// vnet is a virtio header.
func vnet(flags, typ byte, hdrLen, size, start, offset uint16) (b [vnetLen]byte) {
	b[0], b[1] = flags, typ
	for i, v := range []uint16{hdrLen, size, start, offset} {
		order.PutUint16(b[2+2*i:], v)
	}
	return b
}

// vnetNet is a net with one uplink, to which everything is routed, and a router with a station; all devices take GSO.
type vnetNet struct {
	fab    *fabric.Fabric
	uplink *fabric.Uplink
	send   []func(time.Duration, *fabric.Packet)
	router *fabric.Router
	host   *fabric.Station
}

// vnetDevice is an output that writes the header as a port does.
type vnetDevice struct {
	offload bool
	t       testing.TB
}

func (d vnetDevice) Deliver(k *fabric.Packet) bool {
	putVnet(k.Frame(vnetLen), &k.GSO)
	if !d.offload && k.GSO.NeedsCsum {
		d.t.Error("a device without offload was given a packet with work left")
	}
	return true
}

func newVnetNet(t testing.TB, p link.Profile, offload, tapped bool) *vnetNet {
	t.Helper()
	v := &vnetNet{fab: fabric.New(fabric.Config{MaxPackets: vnetSmall, MaxBig: vnetBig})}
	n := v.fab.NewNet(1)
	out := vnetDevice{offload, t}
	var err error
	v.uplink, err = n.Attach(fabric.UplinkConfig{Name: "a", Output: out, Offload: offload, Profile: p,
		Routed: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}})
	if err != nil {
		t.Fatal(err)
	}
	lan := []netip.Prefix{netip.MustParsePrefix("192.168.1.0/24"), netip.MustParsePrefix("2001:db8::/64")}
	behavior := anyBehavior()
	behavior.IPv6 = nat.IPv6Open
	table, err := nat.NewTable(nat.Config{Behavior: behavior, External: []netip.Addr{testWAN}, LAN: lan})
	if err != nil {
		t.Fatal(err)
	}
	v.router, err = n.AttachRouter(fabric.RouterConfig{Name: "r", Table: table, LAN: lan, WAN: []netip.Prefix{netip.PrefixFrom(testWAN, 32), lan[1]}})
	if err != nil {
		t.Fatal(err)
	}
	v.host, err = v.router.Attach(fabric.StationConfig{Name: "h", Output: out, Offload: offload,
		Addrs: []netip.Prefix{netip.MustParsePrefix("192.168.1.2/24"), netip.MustParsePrefix("2001:db8::2/64")}})
	if err != nil {
		t.Fatal(err)
	}
	if tapped {
		n.SetTap(func(e fabric.TapEvent) { _ = len(e.Packet) })
	}
	v.send = []func(time.Duration, *fabric.Packet){v.uplink.Send, v.host.Send}
	return v
}

const vnetSmall, vnetBig = 200, 4

// read is what port.read makes of a frame.
func (v *vnetNet) read(frame []byte) *fabric.Packet {
	k := v.fab.GetBig()
	k.SetFrame(vnetLen, copy(k.Buffer(vnetLen), frame))
	getVnet(k.Frame(vnetLen), &k.GSO)
	return k
}

// missing is how many packets did not come back to the pool.
func (v *vnetNet) missing() (n int) {
	for n = vnetSmall + vnetBig; v.fab.Get() != nil; n-- {
	}
	for ; v.fab.GetBig() != nil; n-- {
	}
	return n
}

func tcpPacket(payload int) []byte {
	from, to := netip.MustParseAddrPort("192.168.1.2:1"), netip.MustParseAddrPort("198.51.100.9:2")
	b := packet.AppendUDP(nil, from, to, make([]byte, packet.TCPHeaderLen-packet.UDPHeaderLen+payload))
	b[9], b[10], b[11] = packet.ProtocolTCP, 0, 0
	sum := packet.Checksum(b[:packet.IPv4HeaderLen])
	b[10], b[11] = byte(sum>>8), byte(sum)
	clear(b[24:40])
	b[32] = 5 << 4
	return b
}

// TestBrokenVnetHeaders: what cannot be done is counted as malformed and dropped.
func TestBrokenVnetHeaders(t *testing.T) {
	udp6 := packet.AppendUDP(nil, netip.MustParseAddrPort("[2001:db8::2]:1"), netip.MustParseAddrPort("[2001:db8:1::2]:2"), make([]byte, 100))
	other6 := append([]byte(nil), udp6...)
	other6[6] = 132 // SCTP
	const csum, tcp4, tcp6, udp = 1, 1, 4, 5
	for name, c := range map[string]struct {
		header [vnetLen]byte
		b      []byte
		ok     bool
	}{
		"right":                            {vnet(csum, tcp4, 40, 1000, 20, 16), tcpPacket(3000), true},
		"a hdr_len that lies":              {vnet(csum, tcp4, 9999, 1000, 20, 16), tcpPacket(3000), true},
		"gso_size 0":                       {vnet(csum, tcp4, 40, 0, 20, 16), tcpPacket(3000), false},
		"more segments than can be":        {vnet(csum, tcp4, 40, 1, 20, 16), tcpPacket(3000), false},
		"small segments":                   {vnet(csum, tcp4, 40, 48, 20, 16), tcpPacket(60000), true},
		"csum_start beyond":                {vnet(csum, 0, 0, 0, 5000, 16), tcpPacket(3000), false},
		"csum_start at the end":            {vnet(csum, 0, 0, 0, 3039, 0), tcpPacket(3000), false},
		"csum_offset beyond":               {vnet(csum, 0, 0, 0, 20, 65534), tcpPacket(3000), false},
		"csum_start in the IP header":      {vnet(csum, 0, 0, 0, 12, 2), tcpPacket(10), false},
		"csum_start in the IPv6 addresses": {vnet(csum, 0, 0, 0, 24, 0), other6, false},
		"another protocol's checksum":      {vnet(csum, 0, 0, 0, 40, 8), other6, true},
		"no checksum to finish":            {vnet(0, tcp4, 40, 1000, 20, 16), tcpPacket(3000), false},
		"unknown type":                     {vnet(csum, 99, 40, 1000, 20, 16), tcpPacket(3000), false},
		"with ECN":                         {vnet(csum, tcp4|0x80, 40, 1000, 20, 16), tcpPacket(3000), false},
		"the other IP version":             {vnet(csum, tcp6, 40, 1000, 20, 16), tcpPacket(3000), false},
		"TCP said to be UDP":               {vnet(csum, udp, 40, 1000, 20, 16), tcpPacket(3000), false},
	} {
		for _, tapped := range []bool{false, true} {
			v := newVnetNet(t, link.Profile{}, true, tapped)
			v.host.Send(0, v.read(append(c.header[:], c.b...)))
			v.fab.Deliver(time.Hour, 0)
			if got := v.host.Stats().Drops[link.Malformed]; (got == 0) != c.ok {
				t.Errorf("%s (tap: %v): %d malformed, want it to pass: %v", name, tapped, got, c.ok)
			}
			if n := v.missing(); n != 0 {
				t.Errorf("%s: %d packets are missing in the pool", name, n)
			}
		}
	}
}

// FuzzVnet: whatever header and packet a host writes, nothing panics, no packet leaves the pools, a device without
// offload gets whole packets, and each packet that came is counted.
func FuzzVnet(f *testing.F) {
	for _, h := range [][vnetLen]byte{vnet(1, 1, 40, 1000, 20, 16), vnet(1, 1, 40, 0, 20, 16), vnet(1, 0, 0, 0, 5000, 16),
		vnet(1, 99, 40, 1000, 20, 16), vnet(1, 5, 9999, 1, 40, 6), vnet(0, 1, 0, 1, 0, 0)} {
		for _, b := range [][]byte{tcpPacket(3000), syn(netip.AddrPortFrom(testPeer, 1), netip.AddrPortFrom(testWAN, 2)),
			packet.AppendUDP(nil, netip.MustParseAddrPort("[2001:db8::2]:1"), netip.MustParseAddrPort("[2001:db8:1::2]:2"), make([]byte, 100))} {
			for how := range uint8(8) {
				f.Add(append(h[:], b...), how)
			}
		}
	}
	f.Fuzz(func(t *testing.T, frame []byte, how uint8) {
		if len(frame) < vnetLen || len(frame) > vnetLen+1<<16-1 {
			return
		}
		var p link.Profile
		if how&4 != 0 {
			p = link.Profile{Up: link.Impairment{Loss: 0.1, MTU: 1280}, Down: link.Impairment{Corrupt: 1, MTU: 1000}}
		}
		v := newVnetNet(t, p, how&1 != 0, how&2 != 0)
		for i, send := range v.send {
			for k := range 2 {
				send(time.Duration(2*i+k), v.read(frame))
			}
		}
		v.fab.Deliver(time.Hour, 0)
		if got := v.host.Stats().Up.Packets; got < 2 {
			t.Errorf("the host's packets count as %d", got)
		}
		if n := v.missing(); n != 0 {
			t.Errorf("%d packets are missing in the pools", n)
		}
	})
}
