package portmap_test

import (
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/punchlab/punchlab/lab/live"
	"github.com/punchlab/punchlab/lab/nat"
	"github.com/punchlab/punchlab/lab/netfilter"
	"github.com/punchlab/punchlab/lab/netns"
	"github.com/punchlab/punchlab/lab/netns/netnstest"
	"github.com/punchlab/punchlab/lab/portmap"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) {
	live.Main()
	netnstest.Main(m)
}

// The network of these tests, cabled as package lab does it. Its outside has an address that could be anyone's: upnpc
// takes a router for unconnected whose external address is private or meant for documentation, as package lab's are.
//
//	192.168.1.2 host0 ─ lan0 ┐ 192.168.1.1               ┌ 198.51.100.1 on lo
//	                         router ─ wan0 ── core ──────┤
//	192.168.1.3 host1 ─ lan1 ┘          60.0.0.2      └ 60.0.0.1
var (
	gateway  = netip.MustParseAddr("192.168.1.1")
	lan      = netip.MustParsePrefix("192.168.1.0/24")
	external = netip.MustParseAddr("60.0.0.2")
	outside  = netip.MustParseAddr("198.51.100.1")
)

type site struct {
	t            testing.TB
	core, router *netns.NS
	hosts        []*netns.NS
	devices      []string
	nat          *netfilter.Router
	links        int
}

func newSite(t testing.TB, preset string, hosts int) *site {
	t.Helper()
	netnstest.Require(t, "netns", "nftables")
	s := &site{t: t, core: newNS(t), router: newNS(t)}
	must(t, s.core.Sysctl("net/ipv4/ip_forward", "1"))
	addAddr(t, s.core, "lo", netip.PrefixFrom(outside, 32))
	s.cable(s.router, "wan0", netip.PrefixFrom(external, 24), s.core, "site", netip.MustParsePrefix("60.0.0.1/24"))
	route(t, s.router, "wan0", netip.Prefix{}, netip.MustParseAddr("60.0.0.1"))
	for i := range hosts {
		h, dev := newNS(t), fmt.Sprintf("lan%d", i)
		s.hosts, s.devices = append(s.hosts, h), append(s.devices, dev)
		s.cable(h, "eth0", netip.PrefixFrom(s.addr(i), 24), s.router, dev, netip.PrefixFrom(gateway, 32))
		route(t, s.router, dev, netip.PrefixFrom(s.addr(i), 32), netip.Addr{})
		route(t, h, "eth0", netip.PrefixFrom(gateway, 32), netip.Addr{})
		route(t, h, "eth0", netip.Prefix{}, gateway)
	}
	b, ok := nat.Lookup(preset)
	if !ok {
		t.Fatalf("no NAT preset %q", preset)
	}
	r, err := netfilter.Install(s.router, netfilter.Config{
		LAN: "lan*", WAN: "wan0", External: []netip.Addr{external}, LANPrefix: lan, Behavior: b, Seed: 1,
	})
	must(t, err)
	t.Cleanup(func() { r.Close() })
	s.nat = r
	return s
}

func (s *site) addr(i int) netip.Addr { return netip.AddrFrom4([4]byte{192, 168, 1, byte(2 + i)}) }

func (s *site) where() portmap.Site {
	return portmap.Site{
		NS: s.router, Devices: s.devices,
		Router: portmap.Router{Address: gateway, LAN: lan, External: func() netip.Addr { return external }, Gateway: s.nat},
	}
}

func (s *site) serve(c portmap.Config) *portmap.Server {
	s.t.Helper()
	p, err := portmap.Serve(s.where(), c)
	must(s.t, err)
	s.t.Cleanup(func() { must(s.t, p.Close()) })
	return p
}

// run runs a program on a host.
func (s *site) run(host int, name string, args ...string) string {
	s.t.Helper()
	netnstest.Require(s.t, name)
	cmd := exec.CommandContext(s.t.Context(), name, args...)
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	must(s.t, s.hosts[host].Do(cmd.Start))
	_ = cmd.Wait() // its words are its verdict
	return out.String()
}

// cable joins two namespaces by a veth pair and waits until both ends send.
func (s *site) cable(a *netns.NS, devA string, addrA netip.Prefix, b *netns.NS, devB string, addrB netip.Prefix) {
	s.t.Helper()
	s.links++ // unlike indexes at both ends: the kernel holds back equally numbered pairs for up to a second
	must(s.t, a.Netlink().LinkAdd(&netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: devA, Index: 1000 + s.links}, PeerName: devB, PeerNamespace: netlink.NsFd(b.FD()),
	}))
	for _, end := range []struct {
		ns   *netns.NS
		dev  string
		addr netip.Prefix
	}{{a, devA, addrA}, {b, devB, addrB}} {
		must(s.t, end.ns.Netlink().LinkSetUp(link(s.t, end.ns, end.dev)))
		addAddr(s.t, end.ns, end.dev, end.addr)
	}
	for _, end := range []struct {
		ns  *netns.NS
		dev string
	}{{a, devA}, {b, devB}} {
		eventually(s.t, "link "+end.dev, func() bool { return link(s.t, end.ns, end.dev).Attrs().OperState == netlink.OperUp })
	}
}

func newNS(t testing.TB) *netns.NS {
	t.Helper()
	ns, err := netns.New()
	must(t, err)
	t.Cleanup(func() { ns.Close() })
	return ns
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func link(t testing.TB, ns *netns.NS, dev string) netlink.Link {
	t.Helper()
	l, err := ns.Netlink().LinkByName(dev)
	must(t, err)
	return l
}

func addAddr(t testing.TB, ns *netns.NS, dev string, p netip.Prefix) {
	t.Helper()
	flags := unix.IFA_F_NOPREFIXROUTE
	if p.Bits() == 24 && p.Addr().As4()[0] == 60 {
		flags = 0
	}
	must(t, ns.Netlink().AddrAdd(link(t, ns, dev), &netlink.Addr{IPNet: ipNet(p), Flags: flags}))
}

// route adds one by a device; the zero prefix is the default route, the zero gateway the cable itself.
func route(t testing.TB, ns *netns.NS, dev string, to netip.Prefix, via netip.Addr) {
	t.Helper()
	r := &netlink.Route{LinkIndex: link(t, ns, dev).Attrs().Index}
	if to.IsValid() {
		r.Dst = ipNet(to)
	}
	if via.IsValid() {
		r.Gw = via.AsSlice()
	} else {
		r.Scope = netlink.SCOPE_LINK
	}
	must(t, ns.Netlink().RouteReplace(r))
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), 32)}
}

// patience is how long what must come may take on a busy machine.
const patience = 30 * time.Second

// eventually waits for a condition.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not after %v", what, patience)
		}
	}
}

// open opens a UDP socket in a namespace.
func open(t testing.TB, ns *netns.NS, at netip.AddrPort) *net.UDPConn {
	t.Helper()
	var c *net.UDPConn
	must(t, ns.Do(func() (err error) {
		c, err = net.ListenUDP("udp4", net.UDPAddrFromAddrPort(at))
		return err
	}))
	t.Cleanup(func() { c.Close() })
	must(t, c.SetReadDeadline(time.Now().Add(patience)))
	return c
}
