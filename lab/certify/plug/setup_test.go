package plug_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv4/nclient4"
	"github.com/miekg/dns"
	"github.com/punchlab/punchlab/lab"
	"github.com/punchlab/punchlab/lab/certify/plug"
	"github.com/punchlab/punchlab/lab/live"
	"github.com/punchlab/punchlab/lab/netns"
	"github.com/punchlab/punchlab/lab/netns/netnstest"
	"github.com/punchlab/punchlab/topologies"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) {
	live.Main()
	if how := os.Getenv("PLUG_TEST_VICTIM"); how != "" {
		victim(how)
	}
	netnstest.Main(m)
}

// patience is how long what must come may take on a busy machine.
const patience = 30 * time.Second

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func startFabric(t testing.TB) *live.Fabric {
	t.Helper()
	netnstest.Require(t, "netns", "nftables")
	f, err := live.Start(live.Options{})
	must(t, err)
	t.Cleanup(func() { must(t, f.Close()) })
	return f
}

// topology is one whose links take no time.
func topology(t testing.TB, engine, name string, settings ...string) *lab.Topology {
	t.Helper()
	topo, _, err := topologies.Load(name)
	must(t, err)
	topo.UseEngine(engine)
	for i := 0; i < len(settings); i += 2 {
		must(t, topo.Set(settings[i], settings[i+1]))
	}
	must(t, topo.Set("link", "lan"))
	must(t, topo.Resolve())
	return topo
}

func up(t testing.TB, f *live.Fabric, topo *lab.Topology) *lab.Lab {
	t.Helper()
	l, err := lab.Up(f, topo, 1)
	must(t, err)
	t.Cleanup(func() { must(t, l.Close()) })
	return l
}

// bench is a machine with a cable, whose other end is a vendor's device.
//
//	machine ── eth7 ═══ eth0 ── device
type bench struct {
	t               testing.TB
	machine, device *netns.NS
}

const benchMTU = 2000

func newBench(t testing.TB) *bench {
	t.Helper()
	b := &bench{t, newNS(t), newNS(t)}
	must(t, b.machine.Netlink().LinkAdd(&netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: "eth7", MTU: benchMTU}, PeerName: "eth0", PeerNamespace: netlink.NsFd(b.device.FD()),
	}))
	must(t, b.machine.Netlink().LinkSetUp(b.link(b.machine, "eth7")))
	must(t, b.device.Netlink().LinkSetUp(b.link(b.device, "eth0")))
	return b
}

func newNS(t testing.TB) *netns.NS {
	t.Helper()
	n, err := netns.New()
	must(t, err)
	t.Cleanup(func() { n.Close() })
	return n
}

func (b *bench) link(n *netns.NS, name string) netlink.Link {
	b.t.Helper()
	l, err := n.Netlink().LinkByName(name)
	must(b.t, err)
	return l
}

// attach plugs the cable in.
func (b *bench) attach(l *lab.Lab, site string, o plug.Options) *plug.Box {
	b.t.Helper()
	o.Interface, o.From = "eth7", b.machine
	box, err := plug.Attach(b.t.Context(), l, site, o)
	must(b.t, err)
	b.t.Cleanup(func() { must(b.t, box.Close()) })
	return box
}

// isHome demands that the machine has its interface as it was.
func (b *bench) isHome() {
	b.t.Helper()
	a := b.link(b.machine, "eth7").Attrs()
	if a.MTU != benchMTU || a.Flags&net.FlagUp == 0 || len(a.AltNames) > 0 {
		b.t.Errorf("the interface is back with MTU %d, flags %v, other names %v, want %d, up and none", a.MTU, a.Flags, a.AltNames, benchMTU)
	}
	links, err := b.machine.Netlink().LinkList()
	must(b.t, err)
	if len(links) != 2 {
		b.t.Errorf("the machine has %d interfaces, want lo and eth7", len(links))
	}
}

// client is a DHCP client on the device, of the library that the server uses for its messages.
func (b *bench) client() *nclient4.Client {
	b.t.Helper()
	var conn net.PacketConn
	must(b.t, b.device.Do(func() (err error) {
		conn, err = nclient4.NewRawUDPConn("eth0", nclient4.ClientPort)
		return err
	}))
	c, err := nclient4.NewWithConn(conn, b.link(b.device, "eth0").Attrs().HardwareAddr, nclient4.WithTimeout(time.Second), nclient4.WithRetry(100))
	must(b.t, err)
	b.t.Cleanup(func() { c.Close() })
	return c
}

// boot has the device do as one that is switched on: it gets a lease and uses it.
func (b *bench) boot(modifiers ...dhcpv4.Modifier) *dhcpv4.DHCPv4 {
	b.t.Helper()
	c := b.client()
	defer c.Close()
	ctx, cancel := context.WithTimeout(b.t.Context(), patience)
	defer cancel()
	lease := linked(b.t, ctx, func() (*nclient4.Lease, error) { return c.Request(ctx, modifiers...) })
	b.use(lease.ACK)
	return lease.ACK
}

// linked asks until the kernel is done with the link's coming up: before, it sends nothing.
func linked[T any](t testing.TB, ctx context.Context, ask func() (T, error)) T {
	t.Helper()
	v, err := ask()
	for errors.Is(err, unix.ENOBUFS) && ctx.Err() == nil {
		time.Sleep(5 * time.Millisecond)
		v, err = ask()
	}
	must(t, err)
	return v
}

// use configures the device as the server says.
func (b *bench) use(ack *dhcpv4.DHCPv4) {
	b.t.Helper()
	h, link := b.device.Netlink(), b.link(b.device, "eth0")
	must(b.t, h.AddrReplace(link, &netlink.Addr{IPNet: &net.IPNet{IP: ack.YourIPAddr, Mask: ack.SubnetMask()}}))
	must(b.t, h.RouteReplace(&netlink.Route{LinkIndex: link.Attrs().Index, Gw: ack.Router()[0]}))
}

// listen opens a UDP socket on the device.
func (b *bench) listen(at netip.AddrPort) *net.UDPConn {
	b.t.Helper()
	var c *net.UDPConn
	must(b.t, b.device.Do(func() (err error) {
		c, err = net.ListenUDP("udp4", udpAddr(at))
		return err
	}))
	b.t.Cleanup(func() { c.Close() })
	must(b.t, c.SetReadDeadline(time.Now().Add(patience)))
	return c
}

// resolve asks the DNS server that the lease named.
func (b *bench) resolve(ack *dhcpv4.DHCPv4, network, name string, typ uint16) *dns.Msg {
	b.t.Helper()
	var conn net.Conn
	must(b.t, b.device.Do(func() (err error) {
		conn, err = net.DialTimeout(network, net.JoinHostPort(ack.DNS()[0].String(), "53"), patience)
		return err
	}))
	defer conn.Close()
	must(b.t, conn.SetDeadline(time.Now().Add(patience)))
	q := new(dns.Msg).SetQuestion(dns.Fqdn(name), typ)
	d := &dns.Conn{Conn: conn}
	must(b.t, d.WriteMsg(q))
	m, err := d.ReadMsg()
	must(b.t, err)
	if m.Id != q.Id {
		b.t.Fatalf("answer %d to question %d", m.Id, q.Id)
	}
	return m
}

// echo answers each datagram with where it came from.
func echo(t testing.TB, conn *net.UDPConn) {
	go func() {
		b := make([]byte, 2048)
		for {
			_, from, err := conn.ReadFromUDPAddrPort(b)
			if errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrDeadlineExceeded) {
				return
			}
			if err == nil {
				_, _ = conn.WriteToUDPAddrPort([]byte(from.String()), from)
			}
		}
	}()
}

// serveEcho echoes on a host of the lab.
func serveEcho(t testing.TB, l *lab.Lab, host string, port uint16) netip.AddrPort {
	t.Helper()
	at := netip.AddrPortFrom(l.Host(host).Addr(), port)
	conn, err := l.Host(host).ListenUDP(at)
	must(t, err)
	t.Cleanup(func() { conn.Close() })
	echo(t, conn)
	return at
}

// seen asks an echo server how it sees a socket's owner, as often as links need to wake up.
func seen(t testing.TB, conn *net.UDPConn, server netip.AddrPort) netip.AddrPort {
	t.Helper()
	b := make([]byte, 2048)
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		_, err := conn.WriteToUDPAddrPort([]byte("who am I?"), server)
		must(t, err)
		must(t, conn.SetReadDeadline(time.Now().Add(500*time.Millisecond)))
		if n, err := conn.Read(b); err == nil {
			at, err := netip.ParseAddrPort(string(b[:n]))
			must(t, err)
			return at
		}
	}
	t.Fatalf("no answer from %v", server)
	return netip.AddrPort{}
}

// words are questions without what differs from run to run.
func words(qs []plug.Question) (ws []string) {
	for _, q := range qs {
		ws = append(ws, fmt.Sprintf("%s %s %s %v %s", q.Network, q.Name, q.Type, q.Answer, q.Code))
	}
	return ws
}

// udpAddr is an endpoint, of which an invalid address is any.
func udpAddr(at netip.AddrPort) *net.UDPAddr {
	if !at.Addr().IsValid() {
		return &net.UDPAddr{Port: int(at.Port())}
	}
	return net.UDPAddrFromAddrPort(at)
}
