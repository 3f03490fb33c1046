package device

import (
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/punch"
	"golang.org/x/sys/unix"
)

func TestDefaultRoute(t *testing.T) {
	const head = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
	for _, tt := range []struct{ table, want string }{
		{head, "invalid IP"},
		{head + "eth0\t0000A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n", "invalid IP"},
		{head + "eth0\t0000A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\neth0\t00000000\t0100A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n", "192.168.0.1"},
		{head + "tun0\t00000000\t00000000\t0001\t0\t0\t0\t00000000\t0\t0\t0\n", "invalid IP"},
		{"eth0\t00000000\tzork\n", "invalid IP"},
	} {
		if got := defaultRoute(strings.NewReader(tt.table)).String(); got != tt.want {
			t.Errorf("the gateway of %q is %s, want %s", tt.table, got, tt.want)
		}
	}
}

func TestServers(t *testing.T) {
	at := []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:4479"), netip.MustParseAddrPort("[2001:db8::1]:4479")}
	tls := []netip.AddrPort{
		core.Over(core.TLS, netip.MustParseAddrPort("192.0.2.1:443")), core.Over(core.TLS, netip.MustParseAddrPort("[2001:db8::1]:443")),
	}
	for u, want := range map[punch.Uplink][]netip.AddrPort{
		punch.UplinkUDP: at,
		punch.UplinkTCP: {core.Over(core.TCP, at[0]), core.Over(core.TCP, at[1])},
		punch.UplinkTLS: tls,
		punch.UplinkAny: {at[0], at[1], tls[0], tls[1]},
	} {
		if diff := cmp.Diff(want, Servers(at, 443, u), cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); diff != "" {
			t.Errorf("uplink %v:\n%s", u, diff)
		}
	}
}

// quiet is a core that says nothing.
type quiet struct{}

func (quiet) HandlePacket(time.Time, netip.AddrPort, netip.AddrPort, []byte) {}
func (quiet) HandleTimeout(time.Time)                                        {}
func (quiet) Deadline() time.Time                                            { return time.Time{} }
func (quiet) Ready() core.Output                                             { return core.Output{} }

// A device that was closed has no socket left, whether its core was driven or not.
func TestClose(t *testing.T) {
	p, err := punch.Lookup("tcp")
	if err != nil {
		t.Fatal(err)
	}
	n := Host()
	for _, driven := range []bool{false, true} {
		d, err := Open(n, p, 0)
		if err != nil {
			t.Fatal(err)
		}
		listener := d.opt.Accept[0].Addr().String()
		if driven {
			if err := d.Drive(quiet{}, nil); err != nil {
				t.Fatal(err)
			}
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		c, err := n.ListenUDP(netip.AddrPortFrom(netip.Addr{}, d.port))
		if err != nil {
			t.Errorf("driven %v: the main socket is left: %v", driven, err)
			continue
		}
		c.Close()
		if _, port, _ := strings.Cut(listener, "]:"); dials(t, n, port) {
			t.Errorf("driven %v: the TCP listener is left", driven)
		}
	}
}

func dials(t *testing.T, n Network, port string) bool {
	t.Helper()
	c, err := n.DialTCP(t.Context(), netip.AddrPort{}, netip.MustParseAddrPort("127.0.0.1:"+port))
	if err == nil {
		c.Close()
	}
	return err == nil
}

func TestHostListsPlausibleAddresses(t *testing.T) {
	n := Host()
	n.Addrs = []netip.Addr{netip.MustParseAddr("192.168.1.2"), netip.MustParseAddr("0.0.0.0"), netip.MustParseAddr("2001:db8::2")}
	for range 10 {
		n.Addrs = append(n.Addrs, netip.MustParseAddr("192.168.1.3"))
	}
	d, err := Open(n, punch.Policy{Uplink: punch.UplinkUDP}, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	at := d.Host()
	if len(at) != maxHost || at[0].Addr() != n.Addrs[0] || at[1].Addr() != n.Addrs[2] || at[0].Port() != d.port {
		t.Errorf("own addresses %v", at)
	}
}

// A device dials from the port on which it listens, or both sides' SYNs do not meet: neither socket is one of MPTCP, which shares
// no port with TCP.
func TestDialsFromItsListener(t *testing.T) {
	n := Host()
	far, err := n.ListenTCP(netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	own, err := n.ListenTCP(netip.AddrPort{})
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close()
	port := own.Addr().(*net.TCPAddr).AddrPort().Port()
	c, err := n.DialTCP(t.Context(), netip.AddrPortFrom(netip.IPv4Unspecified(), port), far.Addr().(*net.TCPAddr).AddrPort())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got := c.LocalAddr().(*net.TCPAddr).AddrPort().Port(); got != port {
		t.Errorf("dialled from port %d, which listens on %d", got, port)
	}
	for name, s := range map[string]syscall.Conn{"listener": own, "connection": c.(*net.TCPConn)} {
		raw, err := s.SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		if err := raw.Control(func(fd uintptr) {
			if p, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PROTOCOL); err != nil || p != unix.IPPROTO_TCP {
				t.Errorf("%s: protocol %d, %v", name, p, err)
			}
		}); err != nil {
			t.Fatal(err)
		}
	}
}
