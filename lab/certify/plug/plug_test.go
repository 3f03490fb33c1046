package plug_test

import (
	"context"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/miekg/dns"
	"github.com/punchlab/punchlab/lab"
	"github.com/punchlab/punchlab/lab/capture"
	"github.com/punchlab/punchlab/lab/certify/plug"
	"github.com/vishvananda/netlink"
	vns "github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// A device that nothing is known of gets an address, finds its vendor's server by name, and reaches it through the site's
// NAT, whichever that is; its interface is back afterwards.
func TestBoxBehindEveryKindOfRouter(t *testing.T) {
	t.Parallel()
	f := startFabric(t)
	for _, preset := range []string{"port-restricted-cone", "symmetric-sequential", "linux", "firewall", "open"} {
		t.Run(preset, func(t *testing.T) {
			l := up(t, f, topology(t, lab.EngineNetfilter, "two-homes", "camera.nat", preset))
			b := newBench(t)
			vendor := l.Host("rendezvous").Addr()
			box := b.attach(l, "camera", plug.Options{Names: map[string]netip.Addr{"P2P.vendor.example": vendor}})
			ack := b.boot(dhcpv4.WithOption(dhcpv4.OptHostName("cam-7")))
			mine, _ := netip.AddrFromSlice(ack.YourIPAddr.To4())

			m := b.resolve(ack, "udp", "p2p.vendor.example", dns.TypeA)
			if len(m.Answer) != 1 || m.Answer[0].(*dns.A).A.String() != vendor.String() {
				t.Fatalf("the vendor's server is %v, want %v", m, vendor)
			}
			want := l.Topology().Site("camera").WAN[0]
			if l.Topology().Site("camera").Public() {
				want = mine
			}
			server := serveEcho(t, l, "rendezvous", 7)
			if at := seen(t, b.listen(netip.AddrPortFrom(mine, 5000)), server); at.Addr() != want {
				t.Errorf("the vendor's server saw the box at %v, want %v", at, want)
			}

			lease, err := box.Await(t.Context())
			must(t, err)
			if lease.Addr != mine || lease.Hostname != "cam-7" || lease.MAC != b.link(b.device, "eth0").Attrs().HardwareAddr.String() {
				t.Errorf("the lease is %+v, want one for %v, cam-7", lease, mine)
			}
			must(t, box.Close())
			b.isHome()
			if q, _ := box.Questions(); len(q) != 1 {
				t.Errorf("after Close the questions are %v", q)
			}
		})
	}
}

// The box is a host of the site: the others reach it and it them, its port can be forwarded, the router's own services
// answer it, and captures have it.
func TestBoxIsAHostOfTheSite(t *testing.T) {
	t.Parallel()
	f := startFabric(t)
	l := up(t, f, topology(t, lab.EngineNetfilter, "two-homes", "camera.portmap", "all"))
	b := newBench(t)
	box := b.attach(l, "camera", plug.Options{})
	if _, err := box.Forward(554); err == nil {
		t.Error("a port was forwarded to a box without a lease")
	}
	ack := b.boot()
	mine := addrOf(t, ack)
	conn := b.listen(netip.AddrPortFrom(mine, 5000))

	file, err := os.Create(filepath.Join(t.TempDir(), "box.pcapng"))
	must(t, err)
	defer file.Close()
	must(t, l.Capture(file))
	camera := serveEcho(t, l, "camera", 7)
	if at := seen(t, conn, camera); at != netip.AddrPortFrom(mine, 5000) {
		t.Errorf("the camera beside it saw the box as %v, want %v untranslated", at, mine)
	}
	must(t, l.StopCapture())
	if n := packetsAt(t, file.Name(), box.Outlet().Name); n < 2 {
		t.Errorf("the capture has %d packets of %s, want a question and its answer at least", n, box.Outlet().Name)
	}

	ext, err := box.Forward(554)
	must(t, err)
	echo(t, b.listen(netip.AddrPortFrom(mine, 554)))
	viewer, err := l.Host("viewer").ListenUDP(netip.AddrPort{})
	must(t, err)
	defer viewer.Close()
	seen(t, viewer, ext)

	gateway := netip.AddrPortFrom(l.Host("camera").Gateway(), 5351)
	if version := natPMP(t, conn, gateway); version != 0 {
		t.Errorf("the router answered the box's NAT-PMP request by version %d", version)
	}
	must(t, box.Close())
	other, err := l.Host("camera").ListenUDP(netip.AddrPort{})
	must(t, err)
	defer other.Close()
	natPMP(t, other, gateway) // its services have survived the box
	b.isHome()
}

func addrOf(t testing.TB, ack *dhcpv4.DHCPv4) netip.Addr {
	t.Helper()
	a, ok := netip.AddrFromSlice(ack.YourIPAddr.To4())
	if !ok {
		t.Fatalf("address %v", ack.YourIPAddr)
	}
	return a
}

// packetsAt counts what a capture's monitor saw.
func packetsAt(t testing.TB, path, name string) (n int) {
	t.Helper()
	trace, err := capture.Open(path)
	must(t, err)
	for _, p := range trace.Packets {
		if i := trace.Interfaces[p.Interface]; i.Kind == "monitor" && i.Name == name {
			n++
		}
	}
	return n
}

// natPMP asks for the external address (RFC 6886 §3.2) until it is told, and returns the answer's version.
func natPMP(t testing.TB, conn *net.UDPConn, gateway netip.AddrPort) byte {
	t.Helper()
	b := make([]byte, 64)
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		_, err := conn.WriteToUDPAddrPort([]byte{0, 0}, gateway)
		must(t, err)
		must(t, conn.SetReadDeadline(time.Now().Add(500*time.Millisecond)))
		if n, from, err := conn.ReadFromUDPAddrPort(b); err == nil && from.Port() == gateway.Port() && n == 12 {
			return b[0]
		}
	}
	t.Fatalf("%v does not answer NAT-PMP", gateway)
	return 0
}

// Beside an inner router the box gets an address that this will not have either, when it is readdressed.
func TestBoxOnACarriersLAN(t *testing.T) {
	t.Parallel()
	f := startFabric(t)
	l := up(t, f, topology(t, lab.EngineNetfilter, "cgn"))
	b := newBench(t)
	box := b.attach(l, "carrier", plug.Options{})
	mine := addrOf(t, b.boot())
	for _, a := range append(l.Topology().FreeWAN("camera", 1), l.Topology().Site("camera").WAN...) {
		if slices.Contains(box.Outlet().Addrs, a) {
			t.Errorf("the box may get %v, which is the inner router's", a)
		}
	}
	want := l.Topology().Site("carrier").WAN
	if at := seen(t, b.listen(netip.AddrPortFrom(mine, 5000)), serveEcho(t, l, "rendezvous", 7)); !slices.Contains(want, at.Addr()) {
		t.Errorf("the box is seen at %v, want one of %v", at, want)
	}
}

// Each question is kept, with what was answered, by either transport.
func TestQuestions(t *testing.T) {
	t.Parallel()
	f := startFabric(t)
	l := up(t, f, topology(t, lab.EngineNetfilter, "two-homes", "camera.nat", "udp-blocked"))
	b := newBench(t)
	vendor := l.Host("rendezvous").Addr()
	box := b.attach(l, "camera", plug.Options{Names: map[string]netip.Addr{"*.vendor.example": vendor}})
	ack := b.boot()
	b.resolve(ack, "udp", "time.vendor.example", dns.TypeA)
	b.resolve(ack, "tcp", "p2p.Vendor.example", dns.TypeA)
	b.resolve(ack, "udp", "time.vendor.example", dns.TypeAAAA)
	b.resolve(ack, "udp", "tracker.other.example", dns.TypeA)
	qs, unkept := box.Questions()
	want := []string{
		"udp time.vendor.example. A " + vendor.String() + " NOERROR",
		"tcp p2p.Vendor.example. A " + vendor.String() + " NOERROR",
		"udp time.vendor.example. AAAA invalid IP NOERROR",
		"udp tracker.other.example. A invalid IP NXDOMAIN",
	}
	if d := cmp.Diff(want, words(qs)); d != "" || unkept != 0 {
		t.Errorf("questions, %d not kept (-want +got):\n%s", unkept, d)
	}
	for _, q := range qs {
		if q.From.Addr() != addrOf(t, ack) || q.At.IsZero() {
			t.Errorf("%+v came from %v", q, addrOf(t, ack))
		}
	}
}

// Where the LAN is public its router's resolver is the box's all the same, and nobody's outside.
func TestResolverIsForTheBoxAlone(t *testing.T) {
	t.Parallel()
	f := startFabric(t)
	l := up(t, f, topology(t, lab.EngineNetfilter, "two-homes", "camera.nat", "open"))
	b := newBench(t)
	box := b.attach(l, "camera", plug.Options{})
	ack := b.boot()
	viewer, err := l.Host("viewer").ListenUDP(netip.AddrPort{})
	must(t, err)
	defer viewer.Close()
	seen(t, viewer, serveEcho(t, l, "camera", 7)) // packets do get there
	q, err := new(dns.Msg).SetQuestion("vendor.example.", dns.TypeA).Pack()
	must(t, err)
	_, err = viewer.WriteToUDPAddrPort(q, netip.AddrPortFrom(box.Outlet().Gateway, 53))
	must(t, err)
	must(t, viewer.SetReadDeadline(time.Now().Add(300*time.Millisecond)))
	if n, err := viewer.Read(make([]byte, 512)); err == nil {
		t.Errorf("the viewer got an answer of %d bytes from the box's resolver", n)
	}
	b.resolve(ack, "udp", "vendor.example", dns.TypeA)
	if qs, _ := box.Questions(); len(qs) != 1 {
		t.Errorf("questions %v, want the box's alone", words(qs))
	}
}

// A box renews its lease as a kernel's client does, by unicast; the router does not call the server's port unreachable.
func TestRenewal(t *testing.T) {
	t.Parallel()
	f := startFabric(t)
	l := up(t, f, topology(t, lab.EngineNetfilter, "two-homes"))
	b := newBench(t)
	box := b.attach(l, "camera", plug.Options{Lease: 20 * time.Second})
	ack := b.boot()
	if got := ack.IPAddressLeaseTime(0); got != 20*time.Second {
		t.Errorf("the lease is for %v, want 20s", got)
	}
	first := box.Leases()[0]
	renewal, err := dhcpv4.NewRenewFromAck(ack)
	must(t, err)
	var conn *net.UDPConn
	must(t, b.device.Do(func() (err error) { // connected: it hears of ICMP errors
		conn, err = net.DialUDP("udp4", udpAddr(netip.AddrPortFrom(addrOf(t, ack), 68)), udpAddr(netip.AddrPortFrom(box.Outlet().Gateway, 67)))
		return err
	}))
	defer conn.Close()
	must(t, conn.SetDeadline(time.Now().Add(patience)))
	_, err = conn.Write(renewal.ToBytes())
	must(t, err)
	reply := make([]byte, 2048)
	n, err := conn.Read(reply)
	must(t, err)
	m, err := dhcpv4.FromBytes(reply[:n])
	must(t, err)
	if m.MessageType() != dhcpv4.MessageTypeAck {
		t.Errorf("the renewal is answered by %v", m.Summary())
	}
	got := box.Leases()
	if len(got) != 1 || got[0].Renewals != 1 || !got[0].Expires.After(first.Expires) || got[0].Granted != first.Granted {
		t.Errorf("leases %+v after a renewal of %+v", got, first)
	}
}

// What a box broadcasts while it has no address takes no port of the NAT's: a sequential one goes on as if nothing had been.
func TestBroadcastsTakeNoPort(t *testing.T) {
	t.Parallel()
	f := startFabric(t)
	l := up(t, f, topology(t, lab.EngineNetfilter, "two-homes", "camera.nat", "symmetric-sequential"))
	b := newBench(t)
	b.attach(l, "camera", plug.Options{})
	server := serveEcho(t, l, "rendezvous", 7)
	first := func() uint16 {
		conn := b.listen(netip.AddrPort{})
		defer conn.Close()
		return seen(t, conn, server).Port()
	}
	b.boot()
	must(t, l.Reset(1))
	without := first()
	must(t, l.Reset(1))
	b.boot()
	if with := first(); with != without {
		t.Errorf("the first port is %d after a boot, %d without", with, without)
	}
}

// While the router boots nothing is answered on its LAN, and the box has its address again afterwards.
func TestRouterThatBoots(t *testing.T) {
	t.Parallel()
	f := startFabric(t)
	l := up(t, f, topology(t, lab.EngineNetfilter, "two-homes"))
	b := newBench(t)
	box := b.attach(l, "camera", plug.Options{})
	first := b.boot()
	before := box.DHCP().Discovers
	undo, err := l.Do(lab.Event{Do: lab.DoReboot, Site: "camera", For: time.Second})
	must(t, err)
	c := b.client()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if offer, err := c.DiscoverOffer(ctx); err == nil {
		t.Errorf("a router that boots offered %v", offer.YourIPAddr)
	}
	c.Close()
	if n := box.DHCP().Discovers; n != before {
		t.Errorf("the server took %d DISCOVERs, %d of them in its sleep", n, n-before)
	}
	must(t, undo())
	if again := b.boot(); addrOf(t, again) != addrOf(t, first) {
		t.Errorf("address %v after the reboot, %v before", again.YourIPAddr, first.YourIPAddr)
	}
}

// Closing the lab, or failing to attach, gives the interface back; the box's own Close is then of no harm.
func TestInterfaceComesBack(t *testing.T) {
	t.Parallel()
	f := startFabric(t)
	topo := topology(t, lab.EngineNetfilter, "two-homes")
	b := newBench(t)
	l, err := lab.Up(f, topo, 1)
	must(t, err)
	box := b.attach(l, "camera", plug.Options{})
	b.boot()
	must(t, l.Close())
	b.isHome()
	must(t, box.Close())

	l = up(t, f, topo)
	for range 3 {
		box := b.attach(l, "camera", plug.Options{})
		b.boot()
		must(t, box.Close())
		b.isHome()
	}
	other := b.attach(l, "viewer", plug.Options{}) // another site's
	b.boot()
	must(t, other.Close())
}

// The box is told of it each time that it comes to a lab, however soon after another one: it has to ask for an address anew.
func TestBoxNoticesThatItIsElsewhere(t *testing.T) {
	t.Parallel()
	f, b := startFabric(t), newBench(t)
	l := up(t, f, topology(t, lab.EngineNetfilter, "two-homes"))
	must(t, b.attach(l, "camera", plug.Options{}).Close()) // its link's number is from here on another than its peer's
	updates, done := make(chan netlink.LinkUpdate, 64), make(chan struct{})
	defer close(done)
	at := vns.NsHandle(b.device.FD())
	must(t, netlink.LinkSubscribeWithOptions(updates, done, netlink.LinkSubscribeOptions{Namespace: &at}))
	const rounds = 4
	out := make(chan time.Duration, 64) // for how long the cable was
	go func() {
		var pulled time.Time
		for u := range updates {
			switch down := u.Attrs().RawFlags&unix.IFF_LOWER_UP == 0; {
			case down:
				pulled = time.Now()
			case !pulled.IsZero():
				out <- time.Since(pulled)
				pulled = time.Time{}
			}
		}
	}()
	for range rounds {
		must(t, b.attach(l, "camera", plug.Options{}).Close())
	}
	// It is out for a quarter of a second. This test may hear of that late, and of both ends at once, but hardly each time.
	seen, long := 0, 0
	for late := time.After(patience); seen < rounds || long < rounds/2; {
		select {
		case d := <-out:
			if seen++; d > 50*time.Millisecond {
				long++
			}
		case <-late:
			t.Fatalf("of %d times that it was plugged in elsewhere the box saw a cable that was out %d times, %d times for a while", rounds, seen, long)
		}
	}
}

// Two boxes on one site have addresses of their own, and reach one another.
func TestTwoBoxes(t *testing.T) {
	t.Parallel()
	f := startFabric(t)
	l := up(t, f, topology(t, lab.EngineNetfilter, "two-homes"))
	a, b := newBench(t), newBench(t)
	first, second := a.attach(l, "camera", plug.Options{}), b.attach(l, "camera", plug.Options{})
	if first.Outlet().Name == second.Outlet().Name {
		t.Errorf("captures call both boxes %s", first.Outlet().Name)
	}
	one, other := addrOf(t, a.boot()), addrOf(t, b.boot())
	if one == other {
		t.Fatalf("both boxes have %v", one)
	}
	for _, way := range []struct {
		from, to *bench
		at       netip.Addr
	}{{a, b, other}, {b, a, one}} {
		server := way.to.listen(netip.AddrPortFrom(way.at, 7))
		echo(t, server)
		seen(t, way.from.listen(netip.AddrPort{}), netip.AddrPortFrom(way.at, 7))
		server.Close()
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	f := startFabric(t)
	l := up(t, f, topology(t, lab.EngineNetfilter, "two-homes"))
	b := newBench(t)
	used := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "eth8"}, PeerName: "far", PeerNamespace: netlink.NsFd(b.device.FD())}
	must(t, b.machine.Netlink().LinkAdd(used))
	must(t, b.machine.Netlink().AddrAdd(used, &netlink.Addr{IPNet: &net.IPNet{IP: net.IPv4(192, 0, 2, 1).To4(), Mask: net.CIDRMask(24, 32)}}))
	for name, tt := range map[string]struct {
		site string
		o    plug.Options
		want string
	}{
		"no interface":      {"camera", plug.Options{}, "no interface is named"},
		"unknown interface": {"camera", plug.Options{Interface: "eth9"}, "there is no interface eth9: give one of [eth7]"},
		"loopback":          {"camera", plug.Options{Interface: "lo"}, "loopback"},
		"in use":            {"camera", plug.Options{Interface: "eth8"}, "it has address 192.0.2.1/24"},
		"unknown site":      {"camra", plug.Options{Interface: "eth7"}, "camera"},
		"short lease":       {"camera", plug.Options{Interface: "eth7", Lease: time.Second}, "lease of 1s"},
		"address of nobody": {"camera", plug.Options{Interface: "eth7", Names: map[string]netip.Addr{"a.example": netip.MustParseAddr("8.8.8.8")}},
			`name "a.example" is at 8.8.8.8, which nothing in the lab has`},
	} {
		t.Run(name, func(t *testing.T) {
			tt.o.From = b.machine
			box, err := plug.Attach(t.Context(), l, tt.site, tt.o)
			if err == nil {
				box.Close()
				t.Fatal("it was attached")
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %q does not say %q", err, tt.want)
			}
		})
	}
	must(t, b.machine.Netlink().LinkDel(used))
	b.isHome()

	table := up(t, f, topology(t, lab.EngineTable, "two-homes"))
	_, err := plug.Attach(t.Context(), table, "camera", plug.Options{Interface: "eth7", From: b.machine})
	if err == nil || !strings.Contains(err.Error(), "engine: netfilter") {
		t.Errorf("a router of engine table: %v, want what to do instead", err)
	}
	b.isHome()
}

// Await says how far a box has come that gets no lease.
func TestAwaitSaysWhatIsMissing(t *testing.T) {
	t.Parallel()
	f := startFabric(t)
	l := up(t, f, topology(t, lab.EngineNetfilter, "two-homes"))
	b := newBench(t)
	must(t, b.device.Netlink().LinkSetDown(b.link(b.device, "eth0")))
	box := b.attach(l, "camera", plug.Options{})
	fails := func(want string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if _, err := box.Await(ctx); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	fails("cable")
	must(t, b.device.Netlink().LinkSetUp(b.link(b.device, "eth0")))
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		up, err := box.Outlet().Carrier()
		must(t, err)
		if up {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the link does not come up")
		}
	}
	fails("has not asked")
	c := b.client()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	linked(t, ctx, func() (*dhcpv4.DHCPv4, error) { return c.DiscoverOffer(ctx) })
	fails("did not take it")
}

// An interface that vanishes while it is in the lab is said to have.
func TestUnpluggedCard(t *testing.T) {
	t.Parallel()
	f := startFabric(t)
	l := up(t, f, topology(t, lab.EngineNetfilter, "two-homes"))
	b := newBench(t)
	box, err := plug.Attach(t.Context(), l, "camera", plug.Options{Interface: "eth7", From: b.machine})
	must(t, err)
	must(t, b.device.Netlink().LinkDel(b.link(b.device, "eth0"))) // takes its peer along
	if err := box.Close(); err == nil || !strings.Contains(err.Error(), "eth7 is gone") {
		t.Errorf("Close says %v", err)
	}
}

// Nothing stays open.
func TestNoDescriptorIsLeft(t *testing.T) {
	f := startFabric(t)
	l := up(t, f, topology(t, lab.EngineNetfilter, "two-homes"))
	b := newBench(t)
	cycle := func() {
		box, err := plug.Attach(t.Context(), l, "camera", plug.Options{Interface: "eth7", From: b.machine})
		must(t, err)
		must(t, box.Close())
	}
	count := func() int {
		d, err := os.ReadDir("/proc/self/fd")
		must(t, err)
		return len(d)
	}
	cycle() // what opens once stays open
	before := count()
	for range 5 {
		cycle()
	}
	if after := count(); after > before {
		t.Errorf("%d descriptors before, %d after five boxes", before, after)
	}
}
