package netfilter_test

import (
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/punchlab/punchlab/lab/nat"
	"github.com/punchlab/punchlab/lab/netfilter"
	"github.com/punchlab/punchlab/lab/netns"
	"github.com/punchlab/punchlab/lab/netns/netnstest"
	"github.com/punchlab/punchlab/lab/probe"
	"github.com/vishvananda/netlink"
)

func TestMain(m *testing.M) { netnstest.Main(m) }

// The network of these tests, all veth pairs:
//
//	10.0.0.2 host0 ─ lan0 ┐                           ┌ 198.51.100.1, .2 on lo
//	                      router ─ wan0 ─── core ─────┤
//	10.0.1.2 host1 ─ lan1 ┘  203.0.113.2…4            └ also routes to the second site, 192.0.2.2
const (
	lanPrefix = "10.0.0.0/16"
	wanA      = "203.0.113"
	wanB      = "192.0.2"
)

var (
	serverAddrs = [2]netip.Addr{netip.MustParseAddr("198.51.100.1"), netip.MustParseAddr("198.51.100.2")}
	serverPorts = [2]uint16{3478, 3479}
)

func at(addr string, port uint16) netip.AddrPort {
	return netip.AddrPortFrom(netip.MustParseAddr(addr), port)
}

// site is a router with its hosts.
type site struct {
	t      testing.TB
	ns     *netns.NS
	hosts  []*netns.NS
	wan    string
	prefix netip.Prefix
	router *netfilter.Router
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

// newCore makes the namespace between the sites.
func newCore(t testing.TB) *netns.NS {
	t.Helper()
	netnstest.Require(t, "netns", "nftables")
	core := newNS(t)
	must(t, core.Sysctl("net/ipv4/ip_forward", "1"))
	must(t, core.Sysctl("net/ipv4/icmp_ratelimit", "0"))
	for _, a := range serverAddrs {
		addAddr(t, core, "lo", a.String()+"/32")
	}
	return core
}

// newSite hangs a router with n hosts on outer, where it has wan.2 and the gateway wan.1.
func newSite(t testing.TB, outer *netns.NS, wan, lan string, n int) *site {
	t.Helper()
	s := &site{t: t, ns: newNS(t), wan: wan, prefix: netip.MustParsePrefix(lan + ".0.0/16")}
	connect(t, s.ns, "wan0", wan+".2/24", outer, "to"+wan, wan+".1/24")
	addRoute(t, s.ns, wan+".1")
	for i := range n {
		h := newNS(t)
		s.hosts = append(s.hosts, h)
		net := fmt.Sprintf("%s.%d", lan, i)
		connect(t, h, "eth0", net+".2/24", s.ns, fmt.Sprintf("lan%d", i), net+".1/24")
		addRoute(t, h, net+".1")
	}
	return s
}

// links numbers the veth pairs. Both ends must not happen to have one interface index: the kernel then takes the device
// for one without a peer, and may let up to a second pass before it sends anything.
var links atomic.Int32

func connect(t testing.TB, a *netns.NS, devA, addrA string, b *netns.NS, devB, addrB string) {
	t.Helper()
	must(t, a.Netlink().LinkAdd(&netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: devA, Index: 1000 + int(links.Add(1))}, PeerName: devB, PeerNamespace: netlink.NsFd(b.FD()),
	}))
	for _, end := range []struct {
		ns        *netns.NS
		dev, addr string
	}{{a, devA, addrA}, {b, devB, addrB}} {
		l, err := end.ns.Netlink().LinkByName(end.dev)
		must(t, err)
		must(t, end.ns.Netlink().LinkSetUp(l))
		addAddr(t, end.ns, end.dev, end.addr)
	}
	carries(t, a, devA)
	carries(t, b, devB)
}

// carries waits until a device sends: the kernel begins that by and by, and drops what is sent before.
func carries(t testing.TB, ns *netns.NS, device string) {
	t.Helper()
	for end := time.Now().Add(comes); ; {
		l, err := ns.Netlink().LinkByName(device)
		must(t, err)
		if l.Attrs().OperState == netlink.OperUp {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s is %v after %v", device, l.Attrs().OperState, comes)
		}
	}
}

func addAddr(t testing.TB, ns *netns.NS, dev, prefix string) {
	t.Helper()
	l, err := ns.Netlink().LinkByName(dev)
	must(t, err)
	a, err := netlink.ParseAddr(prefix)
	must(t, err)
	must(t, ns.Netlink().AddrAdd(l, a))
}

func addRoute(t testing.TB, ns *netns.NS, via string) {
	t.Helper()
	must(t, ns.Netlink().RouteAdd(&netlink.Route{Gw: net.ParseIP(via)}))
}

// install gives the site's router a behavior; external addresses beyond the first must be there already.
func (s *site) install(b nat.Behavior, external ...string) *netfilter.Router {
	s.t.Helper()
	if s.router != nil && len(external) == 0 {
		must(s.t, s.router.Apply(b, 1))
		return s.router
	}
	c := netfilter.Config{LAN: "lan*", WAN: "wan0", LANPrefix: s.prefix, Behavior: b, Seed: 1}
	if len(external) == 0 {
		external = []string{s.wan + ".2"}
	}
	for _, a := range external {
		c.External = append(c.External, netip.MustParseAddr(a))
	}
	r, err := netfilter.Install(s.ns, c)
	must(s.t, err)
	s.t.Cleanup(func() { r.Close() })
	s.router = r
	return r
}

func preset(t testing.TB, name string) nat.Behavior {
	t.Helper()
	b, ok := nat.Lookup(name)
	if !ok {
		t.Fatalf("no preset %q", name)
	}
	return b
}

// listen opens a packet socket in a namespace.
func listen(ns *netns.NS) func(network, address string) (net.PacketConn, error) {
	return func(network, address string) (c net.PacketConn, err error) {
		err = ns.Do(func() error {
			c, err = net.ListenPacket(network, address)
			return err
		})
		return c, err
	}
}

// startServer starts a STUN server at the core.
func startServer(t testing.TB, core *netns.NS) *probe.Server {
	t.Helper()
	srv, err := probe.NewServer(listen(core), serverAddrs, serverPorts)
	must(t, err)
	t.Cleanup(func() { srv.Close() })
	return srv
}

// classify probes from a host.
func classify(t testing.TB, host *netns.NS, addr string, srv *probe.Server) probe.Result {
	t.Helper()
	r, err := probe.Classify(t.Context(), func() (net.PacketConn, error) {
		return listen(host)("udp4", addr+":0")
	}, srv.Addr(), probe.Options{})
	must(t, err)
	return r
}

// sock is a UDP socket whose packets a test follows by their tokens.
type sock struct {
	t    testing.TB
	conn *net.UDPConn
	addr netip.AddrPort
}

var tokens atomic.Int64

func open(t testing.TB, ns *netns.NS, addr string, port uint16) *sock {
	t.Helper()
	c, err := listen(ns)("udp4", fmt.Sprintf("%s:%d", addr, port))
	must(t, err)
	t.Cleanup(func() { c.Close() })
	return &sock{t, c.(*net.UDPConn), c.LocalAddr().(*net.UDPAddr).AddrPort()}
}

// host opens a socket at host i.
func (s *site) host(i int, port uint16) *sock {
	s.t.Helper()
	a := s.prefix.Addr().As4()
	a[2], a[3] = byte(i), 2
	return open(s.t, s.hosts[i], netip.AddrFrom4(a).String(), port)
}

// How long a packet may take that must come, and how long one that must not is waited for: the kernel delivers
// over veth before the sending call returns, unless it is very busy.
const (
	comes = 20 * time.Second
	never = 20 * time.Millisecond
)

func (s *sock) send(to netip.AddrPort) (token string) {
	s.t.Helper()
	token = fmt.Sprintf("token %d", tokens.Add(1))
	if _, err := s.conn.WriteToUDPAddrPort([]byte(token), to); err != nil {
		s.t.Fatalf("send from %v to %v: %v", s.addr, to, err)
	}
	return token
}

// receive waits for a token and returns its packet's source.
func (s *sock) receive(token string, wait time.Duration) (netip.AddrPort, bool) {
	s.t.Helper()
	must(s.t, s.conn.SetReadDeadline(time.Now().Add(wait)))
	buf := make([]byte, 2048)
	for {
		n, from, err := s.conn.ReadFromUDPAddrPort(buf)
		if ne, ok := err.(net.Error); ok && ne.Timeout() {
			return netip.AddrPort{}, false
		}
		if err == nil && string(buf[:n]) == token {
			return netip.AddrPortFrom(from.Addr().Unmap(), from.Port()), true
		}
	}
}

// reaches sends to an address and demands that the packet comes to a socket; it returns the source that it saw.
func (s *sock) reaches(to netip.AddrPort, dst *sock) netip.AddrPort {
	s.t.Helper()
	from, ok := dst.receive(s.send(to), comes)
	if !ok {
		s.t.Fatalf("packet from %v to %v did not reach %v", s.addr, to, dst.addr)
	}
	return from
}

// misses sends to an address and demands that the packet does not come to a socket.
func (s *sock) misses(to netip.AddrPort, dst *sock) {
	s.t.Helper()
	if from, ok := dst.receive(s.send(to), never); ok {
		s.t.Fatalf("packet from %v to %v reached %v (from %v), and should not", s.addr, to, dst.addr, from)
	}
}

// try is for outcomes that a test compares.
func (s *sock) try(to netip.AddrPort, dst *sock, expected bool) (netip.AddrPort, bool) {
	s.t.Helper()
	wait := never
	if expected {
		wait = comes
	}
	return dst.receive(s.send(to), wait)
}

func renameLink(t testing.TB, ns *netns.NS, from, to string) {
	t.Helper()
	l, err := ns.Netlink().LinkByName(from)
	must(t, err)
	must(t, ns.Netlink().LinkSetDown(l))
	must(t, ns.Netlink().LinkSetName(l, to))
	must(t, ns.Netlink().LinkSetUp(l))
}

func addRouteTo(ns *netns.NS, prefix, via string) error {
	_, dst, err := net.ParseCIDR(prefix)
	if err != nil {
		return err
	}
	return ns.Netlink().RouteAdd(&netlink.Route{Dst: dst, Gw: net.ParseIP(via)})
}
