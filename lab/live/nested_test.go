package live_test

import (
	"net/netip"
	"testing"

	"github.com/punchlab/punchlab/lab/link"
	"github.com/punchlab/punchlab/lab/live"
	"github.com/punchlab/punchlab/lab/netns"
	"golang.org/x/sys/unix"
)

// kernelRouter makes a namespace forward.
func kernelRouter(t *testing.T) *netns.NS {
	t.Helper()
	ns, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	if err := ns.Sysctl("net/ipv4/ip_forward", "1"); err != nil {
		t.Fatal(err)
	}
	return ns
}

// TestRouterBehindKernelRouter hangs a table router on a LAN device of a namespace that forwards.
func TestRouterBehindKernelRouter(t *testing.T) {
	both(t, func(t *testing.T, f *live.Fabric) {
		n := newNet(t, f)
		server := newSite(t, n, "server", serverAddr, link.Profile{})
		ns := kernelRouter(t)
		up, err := n.Attach(live.UplinkConfig{Name: "outer", NS: ns, Addrs: []netip.Prefix{netip.PrefixFrom(wanB, 32)},
			Routed: []netip.Prefix{netip.PrefixFrom(wanA, 32)}})
		if err != nil {
			t.Fatal(err)
		}
		c := home(t, "full-cone", wanA, lanA)
		c.NS, c.Device, c.DeviceAddrs = ns, "lan3", []netip.Addr{netip.MustParseAddr("100.64.0.1")}
		r := newRouter(t, n, c)
		a, _ := newStation(t, r, hostA, live.StationConfig{})
		a.send(t, server, "ping")
		seen := server.receiveFrom(t, "ping")
		if seen.Addr() != wanA {
			t.Errorf("the server saw %v, want %v", seen, wanA)
		}
		server.sendTo(t, seen, "pong")
		a.receiveFrom(t, "pong")

		moved := netip.PrefixFrom(wanA.Next().Next().Next(), 32)
		if err := r.SetExternal([]netip.Addr{moved.Addr()}, []netip.Prefix{moved}); err != nil {
			t.Fatal(err)
		}
		if err := up.SetRouted([]netip.Prefix{moved, netip.PrefixFrom(wanB, 32)}); err != nil {
			t.Fatal(err)
		}
		if l, err := ns.Netlink().LinkByName("lan3"); err != nil {
			t.Error(err)
		} else if routes, err := ns.Netlink().RouteList(l, unix.AF_INET); err != nil || len(routes) != 1 || routes[0].Dst.String() != moved.String() {
			t.Errorf("routes %v, %v; want one to %v", routes, err, moved)
		}
		a.send(t, server, "from the new address")
		if seen = server.receiveFrom(t, "from the new address"); seen.Addr() != moved.Addr() {
			t.Errorf("the server saw %v, want %v", seen, moved)
		}
		server.sendTo(t, seen, "to the new address")
		a.receiveFrom(t, "to the new address")
	})
}

// TestKernelRouterBehindRouter hangs a namespace that forwards on a table router's LAN.
func TestKernelRouterBehindRouter(t *testing.T) {
	both(t, func(t *testing.T, f *live.Fabric) {
		n := newNet(t, f)
		server := newSite(t, n, "server", serverAddr, link.Profile{})
		c := home(t, "full-cone", wanA, netip.MustParsePrefix("100.64.0.0/24"))
		c.NAT.LAN = append(c.NAT.LAN, lanB)
		r := newRouter(t, n, c)
		ns := kernelRouter(t)
		if _, err := r.Attach(live.StationConfig{Name: "inner", NS: ns, Device: "wan0", Addrs: []netip.Prefix{netip.MustParsePrefix("100.64.0.7/24")},
			Routed: []netip.Prefix{lanB}, Gateways: []netip.Addr{c.Gateway}}); err != nil {
			t.Fatal(err)
		}
		// The inner LAN, public to the outer router: an address on the loopback is enough.
		if err := ns.Do(func() error { return addLoopback(ns, hostB) }); err != nil {
			t.Fatal(err)
		}
		b := listen(t, ns, netip.AddrPortFrom(hostB, 7000))
		b.send(t, server, "ping")
		seen := server.receiveFrom(t, "ping")
		server.sendTo(t, seen, "pong")
		b.receiveFrom(t, "pong")
	})
}
