package portmap_test

import (
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/punchlab/punchlab/lab/netns/netnstest"
	"github.com/punchlab/punchlab/lab/portmap"
)

// description bypasses upnpc's search, which takes two seconds.
const description = "http://192.168.1.1:5000/rootDesc.xml"

func preset(t testing.TB, name string) portmap.Config {
	t.Helper()
	c, ok := portmap.Lookup(name)
	if !ok {
		t.Fatalf("no preset %q", name)
	}
	return c
}

func contains(t testing.TB, said string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(said, w) {
			t.Errorf("want %q in\n%s", w, said)
		}
	}
}

// never is how long is waited for what must not come: veth delivers before the sending call returns, unless the machine
// is very busy.
const never = 50 * time.Millisecond

// passes sends a datagram from outside to the router's port, and back: it must reach the host's port, with the sender's
// address, and be answered from the router's.
func (s *site) passes(host int, inner, outer uint16) {
	s.t.Helper()
	in := open(s.t, s.hosts[host], netip.AddrPortFrom(s.addr(host), inner))
	defer in.Close()
	out := open(s.t, s.core, netip.AddrPortFrom(outside, 0))
	defer out.Close()
	at := netip.AddrPortFrom(external, outer)
	_, err := out.WriteToUDPAddrPort([]byte("knock"), at)
	must(s.t, err)
	b := make([]byte, 16)
	n, from, err := in.ReadFromUDPAddrPort(b)
	if err != nil || string(b[:n]) != "knock" || unmap(from) != out.LocalAddr().(*net.UDPAddr).AddrPort() {
		s.t.Fatalf("from outside through port %d: %q from %v: %v", outer, b[:n], from, err)
	}
	_, err = in.WriteToUDPAddrPort([]byte("who"), from)
	must(s.t, err)
	n, from, err = out.ReadFromUDPAddrPort(b)
	if err != nil || string(b[:n]) != "who" || unmap(from) != at {
		s.t.Fatalf("back from port %d: %q from %v, want from %v: %v", inner, b[:n], from, at, err)
	}
}

// blocked demands that a datagram from outside does not reach the host's port.
func (s *site) blocked(host int, inner, outer uint16) {
	s.t.Helper()
	in := open(s.t, s.hosts[host], netip.AddrPortFrom(s.addr(host), inner))
	defer in.Close()
	out := open(s.t, s.core, netip.AddrPortFrom(outside, 0))
	defer out.Close()
	_, err := out.WriteToUDPAddrPort([]byte("knock"), netip.AddrPortFrom(external, outer))
	must(s.t, err)
	must(s.t, in.SetReadDeadline(time.Now().Add(never)))
	if n, from, err := in.ReadFromUDPAddrPort(make([]byte, 16)); err == nil {
		s.t.Fatalf("port %d is not mapped, yet %d bytes came from %v", outer, n, from)
	}
}

func unmap(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()) }

// connects opens a connection from outside through the router's port to the host's, and sends a word through.
func (s *site) connects(host int, inner, outer uint16) {
	s.t.Helper()
	var l net.Listener
	must(s.t, s.hosts[host].Do(func() (err error) {
		l, err = net.Listen("tcp4", netip.AddrPortFrom(s.addr(host), inner).String())
		return err
	}))
	defer l.Close()
	var c net.Conn
	must(s.t, s.core.Do(func() (err error) {
		c, err = net.DialTimeout("tcp4", netip.AddrPortFrom(external, outer).String(), patience)
		return err
	}))
	defer c.Close()
	server, err := l.Accept()
	must(s.t, err)
	defer server.Close()
	_, err = c.Write([]byte("knock"))
	must(s.t, err)
	b := make([]byte, 5)
	must(s.t, server.SetReadDeadline(time.Now().Add(patience)))
	if _, err := io.ReadFull(server, b); err != nil || string(b) != "knock" {
		s.t.Fatalf("through the connection came %q: %v", b, err)
	}
}

// TestUpnpcMapsPorts maps with Debian's upnpc, and sends through the mappings from outside.
func TestUpnpcMapsPorts(t *testing.T) {
	netnstest.Require(t, "upnpc")
	s := newSite(t, "port-restricted-cone", 2)
	s.serve(preset(t, "upnp"))
	upnpc := func(host int, args ...string) string {
		return s.run(host, "upnpc", append([]string{"-u", description}, args...)...)
	}

	contains(t, upnpc(0, "-s"), "Found valid IGD", "Status : Connected", "ExternalIPAddress = 60.0.0.2")
	s.blocked(0, 5000, 6000)
	contains(t, upnpc(0, "-a", "192.168.1.2", "5000", "6000", "UDP", "600"),
		"external 60.0.0.2:6000 UDP is redirected to internal 192.168.1.2:5000 (duration=600)")
	s.passes(0, 5000, 6000)
	contains(t, upnpc(0, "-a", "192.168.1.2", "5000", "6000", "TCP", "600"), "external 60.0.0.2:6000 TCP is redirected")
	s.connects(0, 5000, 6000)

	contains(t, upnpc(1, "-a", "192.168.1.3", "5000", "6000", "UDP", "600"), "failed with code 718 (ConflictInMappingEntry)")
	contains(t, upnpc(1, "-a", "192.168.1.2", "5001", "6001", "UDP", "600"), "failed with code 606")
	contains(t, upnpc(1, "-n", "192.168.1.3", "5000", "6000", "UDP", "600"), "external 60.0.0.2:5000 UDP is redirected to internal 192.168.1.3:5000")
	s.passes(1, 5000, 5000)
	contains(t, upnpc(0, "-l"), "UDP  5000->192.168.1.3:5000", "TCP  6000->192.168.1.2:5000", "UDP  6000->192.168.1.2:5000")
	contains(t, upnpc(0, "-L"), "TCP  6000->192.168.1.2:5000", "UDP  6000->192.168.1.2:5000")
	contains(t, upnpc(1, "-d", "6000", "UDP"), "UPNP_DeletePortMapping() failed with code : 606")
	contains(t, upnpc(0, "-d", "6000", "UDP"), "UPNP_DeletePortMapping() returned : 0")
	s.blocked(0, 5000, 6000)
	contains(t, upnpc(0, "-N", "1", "65535", "TCP"), "UPNP_DeletePortMappingRange() returned : 0")
	contains(t, upnpc(0, "-d", "6000", "TCP"), "failed with code : 714")
}

// TestNatpmpcMapsPorts does so with Debian's natpmpc.
func TestNatpmpcMapsPorts(t *testing.T) {
	netnstest.Require(t, "natpmpc")
	for _, name := range []string{"port-restricted-cone", "symmetric", "linux"} {
		s := newSite(t, name, 2)
		p := s.serve(preset(t, "nat-pmp"))
		contains(t, s.run(0, "natpmpc"), "using gateway : 192.168.1.1", "Public IP address : 60.0.0.2")
		contains(t, s.run(0, "natpmpc", "-a", "7000", "7001", "udp", "100"), "Mapped public port 7000 protocol UDP to local port 7001 liftime 100")
		s.passes(0, 7001, 7000)
		contains(t, s.run(0, "natpmpc", "-a", "7000", "7001", "tcp", "100"), "Mapped public port 7000 protocol TCP to local port 7001 liftime 100")
		s.connects(0, 7001, 7000)
		contains(t, s.run(1, "natpmpc", "-a", "7000", "7002", "udp", "100"), "Mapped public port 7002 protocol UDP to local port 7002")
		s.passes(1, 7002, 7002)
		contains(t, s.run(0, "natpmpc", "-a", "7000", "7001", "udp", "0"), "Mapped public port 0 protocol UDP to local port 7001 liftime 0")
		s.blocked(0, 7001, 7000)
		must(t, p.Reboot())
		s.blocked(1, 7002, 7002)
	}
}

// TestUpnpcFindsTheRouter searches from every host at once, behind several NATs: the search goes to a multicast address
// by the host's default route, and is received by whichever of the router's devices leads to the host.
func TestUpnpcFindsTheRouter(t *testing.T) {
	netnstest.Require(t, "upnpc")
	var searches sync.WaitGroup
	for _, name := range []string{"full-cone", "symmetric", "linux", "linux-no-firewall"} {
		s := newSite(t, name, 2)
		s.serve(preset(t, "upnp"))
		for host := range s.hosts {
			searches.Go(func() {
				said := s.run(host, "upnpc", "-s")
				if !strings.Contains(said, "Found valid IGD : http://192.168.1.1:5000/ctl/IPConn") {
					t.Errorf("%s: host %d found nothing:\n%s", name, host, said)
				}
			})
		}
	}
	searches.Wait()
}

// TestBehaviorsAsStrangersSeeThem runs both programs against routers that do not simply grant.
func TestBehaviorsAsStrangersSeeThem(t *testing.T) {
	netnstest.Require(t, "upnpc", "natpmpc")
	for name, want := range map[string]struct{ natpmpc, upnpc string }{
		"refused":            {"readnatpmpresponseorretry() failed", "failed with code 606"},
		"nat-pmp-other-port": {"Mapped public port 8024 protocol UDP to local port 5000", "No valid UPNP Internet Gateway Device"},
		"other-port":         {"Mapped public port 8024 protocol UDP to local port 5000", "is redirected"},
		"upnp-permanent":     {"readnatpmpresponseorretry() failed", "OnlyPermanentLeasesSupported"},
		"short-lease":        {"liftime 30", "(duration=30)"},
		"lying":              {"Public IP address : 198.51.100.254", "ExternalIPAddress = 198.51.100.254"},
	} {
		s := newSite(t, "full-cone", 2)
		s.serve(preset(t, name))
		contains(t, s.run(0, "natpmpc", "-a", "6000", "5000", "udp", "600"), want.natpmpc)
		contains(t, s.run(1, "upnpc", "-u", description, "-a", "192.168.1.3", "5001", "6001", "UDP", "600"), want.upnpc)
	}
	s := newSite(t, "full-cone", 1)
	s.serve(preset(t, "upnp-other-port"))
	contains(t, s.run(0, "upnpc", "-u", description, "-a", "192.168.1.2", "5000", "5000", "UDP", "600"), "code 718")
}

// TestUpnpcDoubtsPrivateRouters has a router tell an address that can't be anyone's: upnpc then knows a second NAT.
func TestUpnpcDoubtsPrivateRouters(t *testing.T) {
	netnstest.Require(t, "upnpc")
	s := newSite(t, "full-cone", 1)
	s.serve(preset(t, "lying"))
	contains(t, s.run(0, "upnpc", "-s"), "Found a (not connected?) IGD")
}
