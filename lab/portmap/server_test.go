package portmap_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/punchlab/punchlab/lab/netns"
	"github.com/punchlab/punchlab/lab/portmap"
	"golang.org/x/net/ipv4"
)

const search = "M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nMAN: \"ssdp:discover\"\r\nMX: 1\r\nST: upnp:rootdevice\r\n\r\n"

var (
	mapPort    = netip.AddrPortFrom(gateway, 5351)
	anyone     = netip.AddrPortFrom(netip.IPv4Unspecified(), 0)
	pmpAsks    = []byte{0, 0}
	everywhere = netip.MustParseAddrPort("239.255.255.250:1900")
)

// ask sends and returns the answer, or "" if none comes in time.
func ask(t testing.TB, c *net.UDPConn, to netip.AddrPort, b []byte, wait time.Duration) (string, netip.AddrPort) {
	t.Helper()
	_, err := c.WriteToUDPAddrPort(b, to)
	must(t, err)
	return receive(t, c, wait)
}

func receive(t testing.TB, c *net.UDPConn, wait time.Duration) (string, netip.AddrPort) {
	t.Helper()
	must(t, c.SetReadDeadline(time.Now().Add(wait)))
	b := make([]byte, 2048)
	n, from, err := c.ReadFromUDPAddrPort(b)
	if err != nil {
		return "", netip.AddrPort{}
	}
	return string(b[:n]), unmap(from)
}

// TestManyDevices has more hosts, each on a device of its own, than a socket may join groups by default.
func TestManyDevices(t *testing.T) {
	const hosts = 22
	s := newSite(t, "linux", hosts)
	p := s.serve(preset(t, "all"))
	for i := range s.hosts {
		c := open(t, s.hosts[i], anyone)
		answer, from := ask(t, c, everywhere, []byte(search), patience)
		if !strings.Contains(answer, "LOCATION: "+description) || from != netip.AddrPortFrom(gateway, 1900) {
			t.Errorf("host %d searched and got %q from %v", i, answer, from)
		}
	}
	if got := p.Counts()[portmap.Told]; got != hosts {
		t.Errorf("%d searches were answered, want each of %d once", got, hosts)
	}
}

// TestAnnouncementsReachEveryHost listens as a client does, for NAT-PMP, PCP and SSDP, on every host.
func TestAnnouncementsReachEveryHost(t *testing.T) {
	s := newSite(t, "full-cone", 2)
	p := s.serve(preset(t, "all"))
	var clients, devices []*net.UDPConn
	for _, h := range s.hosts {
		clients = append(clients, joined(t, h, "224.0.0.1:5350"))
		devices = append(devices, joined(t, h, "239.255.255.250:1900"))
	}
	must(t, p.Reboot())
	for i := range s.hosts {
		for _, want := range []string{"\x00\x80\x00\x00", "\x02\x80\x00\x00"} {
			got, from := receive(t, clients[i], patience)
			if !strings.HasPrefix(got, want) || from != mapPort {
				t.Errorf("host %d heard %x from %v, want %x…", i, got, from, want)
			}
		}
		if got, from := receive(t, devices[i], patience); !strings.HasPrefix(got, "NOTIFY * ") || from != netip.AddrPortFrom(gateway, 1900) {
			t.Errorf("host %d heard %q from %v, want an advertisement", i, got, from)
		}
	}
	if got, _ := receive(t, clients[0], patience); got == "" {
		t.Error("the announcement was not repeated")
	}
}

// joined opens a socket that receives a group by eth0.
func joined(t testing.TB, h *netns.NS, group string) (c *net.UDPConn) {
	t.Helper()
	at := netip.MustParseAddrPort(group)
	c = open(t, h, netip.AddrPortFrom(netip.IPv4Unspecified(), at.Port()))
	must(t, h.Do(func() error { return join(c, at.Addr().String()) }))
	return c
}

// join has a socket receive a group by eth0 of the namespace that it runs in.
func join(c *net.UDPConn, group string) error {
	eth0, err := net.InterfaceByName("eth0")
	if err != nil {
		return err
	}
	return ipv4.NewPacketConn(c).JoinGroup(eth0, &net.UDPAddr{IP: net.ParseIP(group)})
}

// TestOnlyTheLANIsServed asks from outside, at each of the router's addresses.
func TestOnlyTheLANIsServed(t *testing.T) {
	s := newSite(t, "open", 1)
	p := s.serve(preset(t, "all"))
	route(t, s.core, "site", netip.PrefixFrom(gateway, 32), external)
	out := open(t, s.core, anyone)
	for _, to := range []netip.AddrPort{
		mapPort, netip.AddrPortFrom(external, 5351), netip.AddrPortFrom(gateway, 1900), netip.AddrPortFrom(external, 1900),
	} {
		b := pmpAsks
		if to.Port() == 1900 {
			b = []byte(search)
		}
		if answer, from := ask(t, out, to, b, never); answer != "" {
			t.Errorf("from outside to %v: %q from %v", to, answer, from)
		}
	}
	if c := p.Counts(); c != (portmap.Counts{}) {
		t.Errorf("requests from outside were looked at: %v", c)
	}
	if answer, _ := ask(t, open(t, s.hosts[0], anyone), mapPort, pmpAsks, patience); answer == "" {
		t.Error("a request from the LAN was not answered")
	}
}

// TestModesOnTheWire tells silence from nobody listening.
func TestModesOnTheWire(t *testing.T) {
	s := newSite(t, "linux", 1)
	dial := func() error {
		return s.hosts[0].Do(func() error {
			c, err := net.DialTimeout("tcp4", "192.168.1.1:5000", patience)
			if err == nil {
				c.Close()
			}
			return err
		})
	}
	refused := func(wait time.Duration) bool { // by an ICMP error
		var heard error
		must(t, s.hosts[0].Do(func() error {
			c, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(mapPort))
			if err != nil {
				return err
			}
			defer c.Close()
			if _, err := c.Write(pmpAsks); err != nil {
				return err
			}
			must(t, c.SetReadDeadline(time.Now().Add(wait)))
			_, heard = c.Read(make([]byte, 64))
			return nil
		}))
		return !os.IsTimeout(heard)
	}
	if dial() == nil || !refused(patience) {
		t.Error("something listens before the services have started")
	}
	p, err := portmap.Serve(s.where(), preset(t, "silent"))
	must(t, err)
	must(t, s.hosts[0].Do(func() error {
		c, err := net.DialTimeout("tcp4", "192.168.1.1:5000", patience)
		if err != nil {
			t.Errorf("a silent router takes connections: %v", err)
			return nil
		}
		defer c.Close()
		if _, err := c.Write([]byte("GET /rootDesc.xml HTTP/1.0\r\n\r\n")); err != nil {
			return err
		}
		must(t, c.SetReadDeadline(time.Now().Add(never)))
		if n, err := c.Read(make([]byte, 64)); !os.IsTimeout(err) {
			t.Errorf("a silent router answered by HTTP: %d bytes, %v", n, err)
		}
		return nil
	}))
	if refused(never) {
		t.Error("a silent router answered")
	}
	must(t, p.Close())
	if dial() == nil || !refused(patience) {
		t.Error("something listens after the services have ended")
	}
	s.serve(preset(t, "none"))
	if dial() == nil || !refused(patience) {
		t.Error("something listens although no service is offered")
	}
}

// TestHTTPBounds sends what no client of good will sends.
func TestHTTPBounds(t *testing.T) {
	s := newSite(t, "linux", 1)
	s.serve(preset(t, "upnp"))
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(_ context.Context, network, addr string) (c net.Conn, err error) {
		err = s.hosts[0].Do(func() error { c, err = net.DialTimeout(network, addr, patience); return err })
		return c, err
	}}}
	for name, try := range map[string]struct {
		method, path, body string
		want               int
	}{
		"description":       {"GET", "/rootDesc.xml", "", 200},
		"nowhere":           {"GET", "/etc/passwd", "", 404},
		"wrong method":      {"DELETE", "/rootDesc.xml", "", 405},
		"GET of a control":  {"GET", "/ctl/IPConn", "", 405},
		"no envelope":       {"POST", "/ctl/IPConn", "hello", 500},
		"a body too long":   {"POST", "/ctl/IPConn", strings.Repeat("x", 64<<10+1), 400}, // of more the rest is not read, and the answer may be lost
		"a body of nothing": {"POST", "/ctl/IPConn", "", 500},
	} {
		req, err := http.NewRequest(try.method, "http://192.168.1.1:5000"+try.path, strings.NewReader(try.body))
		must(t, err)
		r, err := client.Do(req)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		r.Body.Close()
		if r.StatusCode != try.want {
			t.Errorf("%s: status %d, want %d", name, r.StatusCode, try.want)
		}
	}
}

// TestServeFailsCleanly has each port taken in turn: nothing stays open.
func TestServeFailsCleanly(t *testing.T) {
	s := newSite(t, "linux", 1)
	must(t, s.serve(preset(t, "all")).Close()) // what opens once stays open
	for _, try := range []struct{ preset, network, taken string }{
		{"upnp", "udp4", "0.0.0.0:1900"}, {"pcp", "udp4", "192.168.1.1:5351"}, {"upnp", "tcp4", "192.168.1.1:5000"},
	} {
		var taken io.Closer
		must(t, s.router.Do(func() (err error) {
			if try.network == "tcp4" {
				taken, err = net.Listen(try.network, try.taken)
			} else {
				taken, err = net.ListenPacket(try.network, try.taken)
			}
			return err
		}))
		before := descriptors(t)
		if p, err := portmap.Serve(s.where(), preset(t, try.preset)); err == nil {
			p.Close()
			t.Errorf("with %s taken: served all the same", try.taken)
		} else if !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("with %s taken: %v", try.taken, err)
		}
		if after := descriptors(t); after > before { // fewer: what an earlier test has left ends late
			t.Errorf("with %s taken: %d descriptors before, %d after", try.taken, before, after)
		}
		must(t, taken.Close())
	}
	site := s.where()
	site.Devices = []string{"lan7"}
	if _, err := portmap.Serve(site, preset(t, "pcp")); err == nil || !strings.Contains(err.Error(), "lan7") {
		t.Errorf("a device that is not there: %v", err)
	}
}

func descriptors(t *testing.T) int {
	t.Helper()
	d, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	return len(d)
}
