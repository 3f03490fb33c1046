package netfilter_test

import (
	"bytes"
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/punchlab/punchlab/lab/nat"
	"github.com/punchlab/punchlab/lab/netfilter"
	"github.com/punchlab/punchlab/lab/netns"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// refused sends from a connected socket and says what the kernel heard of it: the ICMP error, or nil for nothing.
func refused(t *testing.T, ns *netns.NS, from, to netip.AddrPort, ttl, size int, wait time.Duration) (heard error) {
	t.Helper()
	must(t, ns.Do(func() error {
		c, err := net.DialUDP("udp4", net.UDPAddrFromAddrPort(from), net.UDPAddrFromAddrPort(to))
		if err != nil {
			return err
		}
		defer c.Close()
		raw, err := c.SyscallConn()
		if err != nil {
			return err
		}
		err = raw.Control(func(fd uintptr) {
			_ = unix.SetsockoptInt(int(fd), unix.SOL_IP, unix.IP_RECVERR, 1)
			if ttl > 0 {
				_ = unix.SetsockoptInt(int(fd), unix.SOL_IP, unix.IP_TTL, ttl)
			}
		})
		if err != nil {
			return err
		}
		if _, err := c.Write(make([]byte, size)); err != nil {
			return err
		}
		if err := c.SetReadDeadline(time.Now().Add(wait)); err != nil {
			return err
		}
		_, err = c.Read(make([]byte, 1))
		if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() {
			err = nil
		}
		heard = err
		return nil
	}))
	return heard
}

func TestUnsolicited(t *testing.T) {
	b := newBench(t, 1)
	srv := b.server[0][0]
	for _, kind := range []string{"port-restricted-cone", "firewall"} {
		for reaction, want := range map[nat.Reaction]error{nat.Drop: nil, nat.ICMP: syscall.ECONNREFUSED, nat.RST: syscall.ECONNREFUSED} {
			behavior := preset(t, kind)
			behavior.Unsolicited = reaction
			b.install(behavior)
			target := at(wanA+".2", 9)
			wait := comes
			if kind == "firewall" {
				must(t, addRouteTo(b.core, "10.0.0.0/16", wanA+".2"))
				target = at("10.0.0.2", 9)
			}
			if want == nil {
				wait = never
			}
			c := b.host(0, 0)
			closed := c.reaches(srv.addr, srv) // a mapped port, but of another remote
			for _, to := range []netip.AddrPort{target, closed} {
				if got := refused(t, b.core, netip.AddrPortFrom(serverAddrs[1], 0), to, 0, 1, wait); !errors.Is(got, want) {
					t.Errorf("%s, unsolicited %v to %v: %v, want %v", kind, reaction, to, got, want)
				}
			}
			if reaction != nat.Drop {
				err := dialTCP(b.core, serverAddrs[1].String(), target, comes)
				if !errors.Is(err, syscall.ECONNREFUSED) {
					t.Errorf("%s, unsolicited %v: SYN gets %v, want it refused", kind, reaction, err)
				}
			}
			if kind == "firewall" {
				must(t, delRouteTo(b.core, "10.0.0.0/16"))
			}
		}
	}
}

func delRouteTo(ns *netns.NS, prefix string) error {
	_, dst, err := net.ParseCIDR(prefix)
	if err != nil {
		return err
	}
	return ns.Netlink().RouteDel(&netlink.Route{Dst: dst})
}

// TestICMPErrors follows errors through the translator, in both directions, and those that the router makes itself.
func TestICMPErrors(t *testing.T) {
	b := newBench(t, 1)
	newSite(t, b.core, wanB, "10.9", 0) // somewhere to go
	closedPort := at("198.51.100.1", 9)
	for _, name := range []string{"port-restricted-cone", "symmetric", "linux"} {
		b.install(preset(t, name))
		if err := refused(t, b.hosts[0], at("10.0.0.2", 0), closedPort, 0, 1, comes); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("%s: port unreachable from the server: host hears %v", name, err)
		}
		for ttl := 1; ttl <= 2; ttl++ { // at this router, and at one beyond it
			if err := refused(t, b.hosts[0], at("10.0.0.2", 0), at("192.0.2.99", 9), ttl, 1, comes); !errors.Is(err, syscall.EHOSTUNREACH) {
				t.Errorf("%s: packet with TTL %d: host hears %v", name, ttl, err)
			}
		}
		srv, c := b.server[1][0], b.host(0, 0)
		mapping := c.reaches(srv.addr, srv)
		must(t, c.conn.Close())
		must(t, srv.conn.Close())
		if err := refused(t, b.core, srv.addr, mapping, 0, 1, comes); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("%s: the host's socket is gone: server hears %v", name, err)
		}
		b.server[1][0] = open(t, b.core, serverAddrs[1].String(), serverPorts[0])
	}
}

// TestPathMTU has the router refuse a packet that is too big for its uplink; the host must hear of it.
func TestPathMTU(t *testing.T) {
	b := newBench(t, 1)
	wan, err := b.ns.Netlink().LinkByName("wan0")
	must(t, err)
	must(t, b.ns.Netlink().LinkSetMTU(wan, 1280))
	for i, name := range []string{"port-restricted-cone", "symmetric", "firewall"} {
		b.install(preset(t, name))
		to := netip.AddrPortFrom(serverAddrs[i%2], 4000+uint16(i))
		err := refused(t, b.hosts[0], at("10.0.0.2", 0), to, 0, 1400, comes)
		if !errors.Is(err, syscall.EMSGSIZE) {
			t.Errorf("%s: 1400 bytes towards an MTU of 1280: host hears %v, want %v", name, err, syscall.EMSGSIZE)
		}
		must(t, b.hosts[0].Do(func() error { return os.WriteFile("/proc/sys/net/ipv4/route/flush", []byte("1"), 0) }))
	}
}

// TestOddPackets sends fragments, and UDP without a checksum.
func TestOddPackets(t *testing.T) {
	b := newBench(t, 2)
	for _, name := range []string{"full-cone", "symmetric", "linux", "firewall"} {
		b.install(preset(t, name))
		if name == "firewall" {
			must(t, addRouteTo(b.core, "10.0.0.0/16", wanA+".2"))
		}
		srv, c := b.server[0][0], b.host(0, 0)
		mapping := c.reaches(srv.addr, srv)
		big := bytes.Repeat([]byte("x"), 8000)
		for _, way := range []struct {
			from, at *sock
			to       netip.AddrPort
		}{{c, srv, srv.addr}, {srv, c, mapping}} {
			_, err := way.from.conn.WriteToUDPAddrPort(big, way.to)
			must(t, err)
			must(t, way.at.conn.SetReadDeadline(time.Now().Add(comes)))
			buf := make([]byte, 9000)
			if n, err := way.at.conn.Read(buf); err != nil || !bytes.Equal(buf[:n], big) {
				t.Errorf("%s: 8000 bytes from %v arrive as %d, %v", name, way.from.addr, n, err)
			}
		}
		for _, s := range []*sock{c, srv} {
			raw, err := s.conn.SyscallConn()
			must(t, err)
			must(t, raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_NO_CHECK, 1) }))
			must(t, err)
		}
		c.reaches(srv.addr, srv)
		srv.reaches(mapping, c)
	}
	if n := badChecksums(t, b.core) + badChecksums(t, b.hosts[0]); n != 0 {
		t.Errorf("%d packets arrived with bad checksums", n)
	}
}

// badChecksums reads the namespace's count of UDP checksum errors.
func badChecksums(t *testing.T, ns *netns.NS) (n int) {
	t.Helper()
	must(t, ns.Do(func() error {
		text, err := os.ReadFile("/proc/thread-self/net/snmp")
		if err != nil {
			return err
		}
		var names []string
		for line := range strings.Lines(string(text)) {
			f := strings.Fields(line)
			switch {
			case f[0] != "Udp:":
			case names == nil:
				names = f
			default:
				for i, name := range names {
					if name == "InCsumErrors" && f[i] != "0" {
						n++
					}
				}
			}
		}
		return nil
	}))
	return n
}

// TestFirewall routes a public LAN with each filter, and with none.
func TestFirewall(t *testing.T) {
	core := newCore(t)
	home := newSite(t, core, wanA, "10.0", 2)
	must(t, addRouteTo(core, "10.0.0.0/16", wanA+".2"))
	t.Run("classify", func(t *testing.T) {
		srv := startServer(t, core)
		for _, f := range append([]nat.Dependency{0}, dependencies...) {
			behavior := nat.Behavior{Kind: nat.NoNAT, Filtering: f}
			home.install(behavior)
			r := classify(t, home.hosts[0], "10.0.0.2", srv)
			if err := r.Check([]nat.Behavior{behavior}); err != nil {
				t.Error(err)
			}
		}
	})
	home.install(preset(t, "firewall"))
	echo(t, home.hosts[0], "10.0.0.2:7777")
	echo(t, core, "198.51.100.1:80")
	must(t, dialTCP(home.hosts[0], "10.0.0.2", at("198.51.100.1", 80), comes))
	if err := dialTCP(core, "198.51.100.1", at("10.0.0.2", 7777), 100*time.Millisecond); err == nil {
		t.Error("a TCP connection from outside gets through")
	}
	must(t, dialTCP(home.hosts[1], "10.0.1.2", at("10.0.0.2", 7777), comes))
	c, srv := home.host(0, 0), open(t, core, "198.51.100.1", 0)
	srv.misses(c.addr, c)
	if from := c.reaches(srv.addr, srv); from != c.addr {
		t.Errorf("source %v became %v", c.addr, from)
	}
	srv.reaches(c.addr, c)
	must(t, home.router.Reset(1))
	srv.misses(c.addr, c)
	if err := refused(t, home.hosts[0], at("10.0.0.2", 0), at("198.51.100.1", 9), 0, 1, comes); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("port unreachable from the server: host hears %v", err)
	}
	home.install(preset(t, "open"))
	must(t, dialTCP(core, "198.51.100.1", at("10.0.0.2", 7777), comes))
}

// TestPing follows an echo request and its answer.
func TestPing(t *testing.T) {
	b := newBench(t, 1)
	for _, name := range []string{"full-cone", "symmetric", "linux", "firewall", "open"} {
		b.install(preset(t, name))
		if name == "firewall" {
			must(t, addRouteTo(b.core, "10.0.0.0/16", wanA+".2"))
		}
		if err := ping(b.hosts[0], serverAddrs[0], comes); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	b.install(preset(t, "firewall"))
	if err := ping(b.core, netip.MustParseAddr("10.0.0.2"), 50*time.Millisecond); err == nil {
		t.Error("a ping from outside passes the firewall")
	}
}

// ping sends an echo request by a raw socket and waits for the answer.
func ping(ns *netns.NS, to netip.Addr, wait time.Duration) error {
	return ns.Do(func() error {
		c, err := net.DialIP("ip4:icmp", nil, &net.IPAddr{IP: to.AsSlice()})
		if err != nil {
			return err
		}
		defer c.Close()
		echo := []byte{8, 0, 0xe5, 0xca, 0x12, 0x34, 0, 1} // with its checksum
		if _, err := c.Write(echo); err != nil {
			return err
		}
		if err := c.SetReadDeadline(time.Now().Add(wait)); err != nil {
			return err
		}
		buf := make([]byte, 100)
		for {
			n, _, err := c.ReadFrom(buf)
			if err != nil {
				return err
			}
			if n >= 8 && buf[0] == 0 {
				return nil
			}
		}
	})
}

// TestLinuxSimultaneousOpen punches through two masquerading routers at once, where each side's packet may be at the
// other's router before that one's own: without the input drop it moves the mapping that had been announced.
func TestLinuxSimultaneousOpen(t *testing.T) {
	core := newCore(t)
	home, away := newSite(t, core, wanA, "10.0", 1), newSite(t, core, wanB, "10.9", 1)
	srv := open(t, core, serverAddrs[0].String(), serverPorts[0])
	for name, want := range map[string]bool{"linux": true, "linux-no-firewall": false} {
		home.install(preset(t, name))
		away.install(preset(t, name))
		for range 20 {
			a, b := home.host(0, 0), away.host(0, 0)
			atA, atB := a.reaches(srv.addr, srv), b.reaches(srv.addr, srv)
			a.send(atB) // is at B's router before B has sent
			b.send(atA)
			_, there := a.try(atB, b, want)
			_, back := b.try(atA, a, want)
			if there != want || back != want {
				t.Fatalf("%s: after simultaneous punches packets pass %v and %v, want %v", name, there, back, want)
			}
		}
	}
}

func TestSupportsNamesWhatIsMissing(t *testing.T) {
	var refused []string
	for _, p := range nat.Presets() {
		if err := netfilter.Supports(p.Behavior); err != nil {
			refused = append(refused, p.Name)
		}
	}
	if d := cmp.Diff([]string{"inbound-first-block", "misclassified", "flow-limit", "alg", "inbound-first-remap"}, refused); d != "" {
		t.Errorf("presets refused (-want +got):\n%s", d)
	}
	base := preset(t, "full-cone")
	for name, change := range map[string]func(*nat.Behavior){
		"port parity":     func(b *nat.Behavior) { b.PortParity = true },
		"port contiguity": func(b *nat.Behavior) { b.PortContiguity = true },
		"quota":           func(b *nat.Behavior) { b.Quota = 10 },
		"inbound-first":   func(b *nat.Behavior) { b.InboundFirstRemap = true },
		"sends before":    func(b *nat.Behavior) { b.InboundFirstBlock = time.Second },
		"leniency":        func(b *nat.Behavior) { b.LenientPorts = []uint16{3478} },
		"flow limit":      func(b *nat.Behavior) { b.FlowLimit = 10 },
		"UDP timeout":     func(b *nat.Behavior) { b.UDPTimeout = time.Millisecond },
		"ICMP timeout":    func(b *nat.Behavior) { b.ICMPTimeout = time.Millisecond },
		"SYN timeout":     func(b *nat.Behavior) { b.TCPSynTimeout = 1500 * time.Millisecond },
		"ALG":             func(b *nat.Behavior) { b.ALG = true },
		"hold-down":       func(b *nat.Behavior) { b.PortHoldDown = time.Minute },
		"reset after 6 s": func(b *nat.Behavior) { b.Unsolicited = nat.RSTAfter6s },
		"in order":        func(b *nat.Behavior) { b.Fragments = nat.FragmentsInOrder },
		"NAT64":           func(b *nat.Behavior) { b.IPv6 = nat.NAT64 },
		"transitory":      func(b *nat.Behavior) { b.TCPTransitory = 1500 * time.Millisecond },
		"port blocks":     func(b *nat.Behavior) { b.PortAssignment, b.PortBlockSize = nat.PortBlock, 64 },
	} {
		behavior := base
		change(&behavior)
		if err := netfilter.Supports(behavior); !errors.Is(err, netfilter.ErrUnsupported) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	masq := preset(t, "linux")
	masq.Hairpinning = nat.HairpinExternalSource
	if err := netfilter.Supports(masq); !errors.Is(err, netfilter.ErrUnsupported) {
		t.Errorf("masquerade with hairpinning: %v", err)
	}
}

func TestInstallRefuses(t *testing.T) {
	core := newCore(t)
	good := netfilter.Config{LAN: "lan*", WAN: "wan0", External: []netip.Addr{netip.MustParseAddr("203.0.113.2")},
		LANPrefix: netip.MustParsePrefix("10.0.0.0/16"), Behavior: preset(t, "full-cone")}
	for name, change := range map[string]func(*netfilter.Config){
		"no LAN device":       func(c *netfilter.Config) { c.LAN = "" },
		"long device name":    func(c *netfilter.Config) { c.WAN = "a-very-long-device" },
		"no external address": func(c *netfilter.Config) { c.External = nil },
		"IPv6 external":       func(c *netfilter.Config) { c.External[0] = netip.MustParseAddr("2001:db8::1") },
		"external in LAN":     func(c *netfilter.Config) { c.External[0] = netip.MustParseAddr("10.0.3.4") },
		"no LAN prefix":       func(c *netfilter.Config) { c.LANPrefix = netip.Prefix{} },
		"no IPv6 prefix":      func(c *netfilter.Config) { c.Behavior.IPv6 = nat.IPv6Firewall },
		"no external prefix": func(c *netfilter.Config) {
			c.Behavior.IPv6, c.LANPrefix6 = nat.NPTv6, netip.MustParsePrefix("fd00::/48")
		},
		"long prefix": func(c *netfilter.Config) {
			c.Behavior.IPv6, c.LANPrefix6, c.External6 = nat.NPTv6, netip.MustParsePrefix("fd00::/80"), netip.MustParsePrefix("2001:db8::/48")
		},
		"unsupported behavior": func(c *netfilter.Config) { c.Behavior.PortParity = true },
		"invalid behavior":     func(c *netfilter.Config) { c.Behavior.Mapping = 0 },
	} {
		c := good
		c.External = append([]netip.Addr(nil), good.External...)
		change(&c)
		if r, err := netfilter.Install(core, c); err == nil {
			r.Close()
			t.Errorf("%s: accepted", name)
		}
	}
}
