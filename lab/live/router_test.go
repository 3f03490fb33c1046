package live_test

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/punchlab/punchlab/lab/link"
	"github.com/punchlab/punchlab/lab/live"
	"github.com/punchlab/punchlab/lab/nat"
	"github.com/punchlab/punchlab/lab/netns"
	"golang.org/x/sys/unix"
)

// The tests' network: two homes and a server, some with a router between router and core.
//
//	hostA, hostA2 ── home A ── core ── server
//	        hostB ── home B ──┘
var (
	wanA, wanB   = netip.MustParseAddr("203.0.113.1"), netip.MustParseAddr("203.0.113.2")
	lanA, lanB   = netip.MustParsePrefix("192.168.1.0/24"), netip.MustParsePrefix("192.168.2.0/24")
	serverAddr   = netip.MustParseAddr("198.51.100.9")
	server6      = netip.MustParseAddr("2001:db8:5::9")
	lan6         = netip.MustParsePrefix("2001:db8:a:1::/64")
	gatewayA     = lanA.Addr().Next()
	hostA        = gatewayA.Next()
	hostA2       = hostA.Next()
	hostB        = lanB.Addr().Next().Next()
	quick        = 200 * time.Millisecond // for what must not arrive
	addrPortsCmp = cmpopts.EquateComparable(netip.AddrPort{}, netip.Addr{})
)

func behavior(t testing.TB, name string) nat.Behavior {
	t.Helper()
	for _, p := range nat.Presets() {
		if p.Name == name {
			return p.Behavior
		}
	}
	t.Fatalf("no preset %s", name)
	return nat.Behavior{}
}

func home(t testing.TB, preset string, wan netip.Addr, lan netip.Prefix) live.RouterConfig {
	return live.RouterConfig{
		Name:    "home " + wan.String(),
		NAT:     nat.Config{Behavior: behavior(t, preset), External: []netip.Addr{wan}, LAN: []netip.Prefix{lan}, Seed: 1},
		Gateway: lan.Addr().Next(), LAN: []netip.Prefix{lan}, WAN: []netip.Prefix{netip.PrefixFrom(wan, wan.BitLen())},
	}
}

func newRouter(t testing.TB, n *live.Net, c live.RouterConfig) *live.Router {
	t.Helper()
	r, err := n.AttachRouter(c)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// newStation makes a host on a router's LAN with a socket on its address.
func newStation(t testing.TB, r *live.Router, addr netip.Addr, c live.StationConfig) (*site, *live.Station) {
	t.Helper()
	ns, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	c.NS = ns
	if c.Name == "" {
		c.Name = addr.String()
	}
	bits := 24
	if addr.Is6() {
		bits = 64
	}
	c.Addrs = append(c.Addrs, netip.PrefixFrom(addr, bits))
	if c.Gateways == nil && !c.Self {
		c.Gateways = []netip.Addr{netip.PrefixFrom(addr, bits).Masked().Addr().Next()}
	}
	st, err := r.Attach(c)
	if err != nil {
		t.Fatal(err)
	}
	return listen(t, ns, netip.AddrPortFrom(addr, 7000)), st
}

func listen(t testing.TB, ns *netns.NS, at netip.AddrPort) *site {
	t.Helper()
	s := &site{ns: ns, addr: at}
	err := ns.Do(func() (err error) {
		s.conn, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.conn.Close() })
	return s
}

// receiveFrom waits for a packet and tells who sent it.
func (s *site) receiveFrom(t testing.TB, want string) netip.AddrPort {
	t.Helper()
	var b [2048]byte
	if err := s.conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	n, from, err := s.conn.ReadFromUDPAddrPort(b[:])
	if err != nil {
		t.Fatalf("wait for %q: %v", want, err)
	}
	if got := string(b[:n]); got != want {
		t.Fatalf("received %q, want %q", got, want)
	}
	return netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
}

func (s *site) sendTo(t testing.TB, to netip.AddrPort, text string) {
	t.Helper()
	if _, err := s.conn.WriteToUDPAddrPort([]byte(text), to); err != nil {
		t.Fatal(err)
	}
}

// nothing fails if a packet arrives.
func (s *site) nothing(t testing.TB, why string) {
	t.Helper()
	if got, err := s.receiveWithin(quick); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%s: received %q, %v", why, got, err)
	}
}

func TestRouterTranslates(t *testing.T) {
	both(t, func(t *testing.T, f *live.Fabric) {
		n := newNet(t, f)
		server := newSite(t, n, "server", serverAddr, delay(time.Millisecond))
		c := home(t, "port-restricted-cone", wanA, lanA)
		c.Profile = delay(5 * time.Millisecond)
		r := newRouter(t, n, c)
		a, _ := newStation(t, r, hostA, live.StationConfig{})
		a2, _ := newStation(t, r, hostA2, live.StationConfig{})

		began := time.Now()
		a.send(t, server, "ping")
		seen := server.receiveFrom(t, "ping")
		if seen.Addr() != wanA {
			t.Errorf("the server saw %v, want the router's %v", seen, wanA)
		}
		server.sendTo(t, seen, "pong")
		if from := a.receiveFrom(t, "pong"); from != server.addr {
			t.Errorf("the host saw %v, want %v", from, server.addr)
		}
		if d := time.Since(began); d < 12*time.Millisecond {
			t.Errorf("the round trip took %v, want at least the links' 12ms", d)
		}

		a2.send(t, a, "neighbor")
		if from := a.receiveFrom(t, "neighbor"); from != a2.addr {
			t.Errorf("the host saw its neighbor as %v", from)
		}
		server.sendTo(t, netip.AddrPortFrom(wanA, 1), "stray")
		counts := func() nat.Counts {
			c, err := r.Counts()
			if err != nil {
				t.Fatal(err)
			}
			return c
		}
		await(t, "the stray packet to be counted", func() bool { return counts()[nat.NoMapping] == 1 })
		if c := counts(); c[nat.Passed] != 2 {
			t.Errorf("counts %v, want 2 passed", c)
		}
		if k, err := r.Len(); err != nil || k != 1 {
			t.Errorf("%d mappings, %v, want 1", k, err)
		}
		s, err := n.Stats()
		if err != nil {
			t.Fatal(err)
		}
		if len(s.Uplinks) != 2 || len(s.Routers) != 1 || len(s.Stations) != 2 {
			t.Fatalf("stats of %d uplinks, %d routers, %d stations", len(s.Uplinks), len(s.Routers), len(s.Stations))
		}
		if k := s.Stations[0]; k.Router != r.Name() || k.Up.Packets != 1 || k.Down.Packets != 2 {
			t.Errorf("the first station: %+v, want 1 up, 2 down", k)
		}
		if k := s.Routers[0]; k.Out.Packets != 1 || k.In.Packets != 2 {
			t.Errorf("the router: %+v, want 1 out, 2 in", k)
		}
	})
}

func TestRouterResets(t *testing.T) {
	both(t, func(t *testing.T, f *live.Fabric) {
		n := newNet(t, f)
		server := newSite(t, n, "server", serverAddr, link.Profile{})
		r := newRouter(t, n, home(t, "symmetric", wanA, lanA))
		a, _ := newStation(t, r, hostA, live.StationConfig{})
		port := func() uint16 {
			a.send(t, server, "x")
			return server.receiveFrom(t, "x").Port()
		}
		reset := func(seed uint64) {
			if err := n.Reset(seed); err != nil {
				t.Fatal(err)
			}
		}
		given := port()
		if err := r.Reset(1); err != nil {
			t.Fatal(err)
		}
		if again := port(); again != given {
			t.Errorf("port %d with the seed of the configuration, %d with the same one given to Reset", given, again)
		}
		reset(5)
		first := port()
		reset(6)
		other := port()
		reset(5)
		if again := port(); again != first || other == first {
			t.Errorf("ports %d with seed 5, %d with 6, %d with 5 again", first, other, again)
		}
		if err := r.Reset(9); err != nil {
			t.Fatal(err)
		}
		if k, err := r.Len(); k != 0 || err != nil {
			t.Errorf("%d mappings after a reboot, %v", k, err)
		}
		b := behavior(t, "full-cone")
		b.PortAssignment, b.PortMin, b.PortMax = nat.PortPreservation, 1024, 65535
		if err := r.Apply(b, 1); err != nil {
			t.Fatal(err)
		}
		if p := port(); p != 7000 {
			t.Errorf("port %d of a NAT that keeps ports, want the host's 7000", p)
		}
		if err := r.Apply(nat.Behavior{}, 1); err == nil {
			t.Error("an invalid behavior was accepted")
		}
	})
}

func TestRouterAddressChange(t *testing.T) {
	both(t, func(t *testing.T, f *live.Fabric) {
		n := newNet(t, f)
		server := newSite(t, n, "server", serverAddr, link.Profile{})
		r := newRouter(t, n, home(t, "full-cone", wanA, lanA))
		a, _ := newStation(t, r, hostA, live.StationConfig{})
		a.send(t, server, "before")
		was := server.receiveFrom(t, "before")
		if err := r.SetExternal([]netip.Addr{wanB}, []netip.Prefix{netip.PrefixFrom(wanB, 32)}); err != nil {
			t.Fatal(err)
		}
		server.sendTo(t, was, "late")
		a.nothing(t, "to the former address")
		a.send(t, server, "after")
		seen := server.receiveFrom(t, "after")
		if seen.Addr() != wanB {
			t.Errorf("after the change the server saw %v, want %v", seen, wanB)
		}
		server.sendTo(t, seen, "answer")
		a.receiveFrom(t, "answer")
	})
}

func TestRouterPortMaps(t *testing.T) {
	both(t, func(t *testing.T, f *live.Fabric) {
		n := newNet(t, f)
		server := newSite(t, n, "server", serverAddr, link.Profile{})
		r := newRouter(t, n, home(t, "symmetric", wanA, lanA))
		a, _ := newStation(t, r, hostA, live.StationConfig{})
		m := nat.PortMap{Protocol: unix.IPPROTO_UDP, Internal: a.addr, External: 8123}
		at, err := r.Map(m)
		if err != nil || at != netip.AddrPortFrom(wanA, 8123) {
			t.Fatalf("mapped to %v, %v", at, err)
		}
		server.sendTo(t, at, "in")
		if from := a.receiveFrom(t, "in"); from != server.addr {
			t.Errorf("the host saw %v, want %v", from, server.addr)
		}
		other := m
		other.Internal = netip.AddrPortFrom(hostA2, 7000)
		if _, err := r.Map(other); !errors.Is(err, nat.ErrPortTaken) {
			t.Errorf("a taken port: %v, want %v", err, nat.ErrPortTaken)
		}
		maps, err := r.PortMaps()
		if diff := cmp.Diff([]nat.PortMap{m}, maps, addrPortsCmp); diff != "" || err != nil {
			t.Errorf("port mappings (-want +got), %v:\n%s", err, diff)
		}
		if err := r.Unmap(m); err != nil {
			t.Error(err)
		}
		if err := r.Unmap(m); !errors.Is(err, nat.ErrNotMapped) {
			t.Errorf("unmapped twice: %v, want %v", err, nat.ErrNotMapped)
		}
	})
}

func TestRouterBehindRouter(t *testing.T) {
	both(t, func(t *testing.T, f *live.Fabric) {
		n := newNet(t, f)
		server := newSite(t, n, "server", serverAddr, link.Profile{})
		outer := newRouter(t, n, home(t, "symmetric", wanA, netip.MustParsePrefix("100.64.0.0/24")))
		inside := netip.MustParseAddr("100.64.0.7")
		c := home(t, "full-cone", inside, lanA)
		c.Behind = outer
		inner := newRouter(t, n, c)
		a, _ := newStation(t, inner, hostA, live.StationConfig{})
		a.send(t, server, "ping")
		seen := server.receiveFrom(t, "ping")
		if seen.Addr() != wanA {
			t.Errorf("the server saw %v, want the outer router's %v", seen, wanA)
		}
		server.sendTo(t, seen, "pong")
		a.receiveFrom(t, "pong")
		for _, r := range []*live.Router{outer, inner} {
			if k, err := r.Len(); k != 1 || err != nil {
				t.Errorf("%s has %d mappings, %v", r.Name(), k, err)
			}
		}
		if inner.Uplink() != nil || outer.Uplink() == nil {
			t.Error("the inner router has an uplink, or the outer one none")
		}
	})
}

func TestSelfStation(t *testing.T) {
	both(t, func(t *testing.T, f *live.Fabric) {
		n := newNet(t, f)
		r := newRouter(t, n, home(t, "full-cone", wanA, lanA))
		a, _ := newStation(t, r, hostA, live.StationConfig{})
		self, _ := newStation(t, r, gatewayA, live.StationConfig{Self: true})
		a.send(t, self, "to the gateway")
		if from := self.receiveFrom(t, "to the gateway"); from != a.addr {
			t.Errorf("the router saw %v, want %v", from, a.addr)
		}
		self.send(t, a, "back")
		a.receiveFrom(t, "back")

		group := netip.MustParseAddrPort("239.255.255.250:1900")
		in := joinGroup(t, self.ns, "eth0", group)
		a.sendTo(t, group, "M-SEARCH")
		if from := in.receiveFrom(t, "M-SEARCH"); from != a.addr {
			t.Errorf("the search came from %v, want %v", from, a.addr)
		}
	})
}

func joinGroup(t *testing.T, ns *netns.NS, device string, group netip.AddrPort) *site {
	t.Helper()
	s := &site{ns: ns, addr: group}
	err := ns.Do(func() error {
		i, err := net.InterfaceByName(device)
		if err == nil {
			s.conn, err = net.ListenMulticastUDP("udp4", i, net.UDPAddrFromAddrPort(group))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.conn.Close() })
	return s
}
