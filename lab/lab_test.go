package lab_test

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/punchlab/punchlab/lab"
	"github.com/punchlab/punchlab/lab/live"
	"github.com/punchlab/punchlab/lab/nat"
	"github.com/punchlab/punchlab/lab/netns/netnstest"
	"github.com/punchlab/punchlab/topologies"
)

func TestMain(m *testing.M) {
	live.Main()
	netnstest.Main(m)
}

func startFabric(t testing.TB) *live.Fabric {
	t.Helper()
	netnstest.Require(t, "netns", "nftables")
	f, err := live.Start(live.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	return f
}

func topology(t testing.TB, name string, settings ...string) *lab.Topology {
	t.Helper()
	topo, _, err := topologies.Load(name)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(settings); i += 2 {
		if err := topo.Set(settings[i], settings[i+1]); err != nil {
			t.Fatal(err)
		}
	}
	if err := topo.Resolve(); err != nil {
		t.Fatal(err)
	}
	return topo
}

func up(t testing.TB, f *live.Fabric, topo *lab.Topology) *lab.Lab {
	t.Helper()
	l, err := lab.Up(f, topo, 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// ask sends a datagram from one host to another's port and returns the source that the other saw.
func ask(t testing.TB, l *lab.Lab, from, to string) (seen netip.AddrPort, err error) {
	t.Helper()
	return askWithin(t, l, patience, from, to)
}

func askWithin(t testing.TB, l *lab.Lab, patience time.Duration, from, to string) (seen netip.AddrPort, err error) {
	t.Helper()
	return askAt(t, l, patience, from, netip.AddrPort{}, to, netip.AddrPortFrom(l.Host(to).Addr(), 7))
}

func askAt(t testing.TB, l *lab.Lab, patience time.Duration, from string, local netip.AddrPort, to string, at netip.AddrPort) (seen netip.AddrPort, err error) {
	t.Helper()
	server, client := listen(t, l, to, at), listen(t, l, from, local)
	defer server.Close()
	defer client.Close()
	if _, err := client.WriteToUDPAddrPort([]byte("hello"), at); err != nil {
		t.Fatal(err)
	}
	server.SetReadDeadline(time.Now().Add(patience))
	_, seen, err = server.ReadFromUDPAddrPort(make([]byte, 100))
	return netip.AddrPortFrom(seen.Addr().Unmap(), seen.Port()), err
}

// listen opens a socket on a host until the test ends.
func listen(t testing.TB, l *lab.Lab, host string, at netip.AddrPort) *net.UDPConn {
	t.Helper()
	c, err := l.Host(host).ListenUDP(at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// Every topology comes up on both engines, proves itself, and has its hosts reach the rendezvous in every family that they have.
func TestEveryTopologyComesUp(t *testing.T) {
	t.Parallel()
	f := startFabric(t)
	for _, name := range topologies.Names() {
		for _, engine := range lab.RouterEngines() {
			t.Run(name+"/"+engine, func(t *testing.T) {
				topo := topology(t, name)
				if err := topo.CheckEngines(engine); err != nil {
					t.Skipf("not for this engine: %v", err)
				}
				l := up(t, f, on(t, engine, name))
				if err := l.Prove(t.Context()); err != nil {
					t.Error(err)
				}
				for _, host := range []string{"camera", "viewer"} {
					reaches(t, l, host)
				}
			})
		}
	}
}

// reaches has a host send to each address of the rendezvous and compares how it is seen.
func reaches(t *testing.T, l *lab.Lab, host string) {
	t.Helper()
	topo := l.Topology()
	if nat.Promise(topo.NATs(host)).NoUDP {
		return
	}
	for _, to := range l.Host("rendezvous").Addrs {
		i := slices.IndexFunc(l.Host(host).Addrs, func(a netip.Addr) bool { return a.Is4() == to.Is4() })
		if i < 0 {
			continue
		}
		seen, err := askAt(t, l, patience, host, netip.AddrPortFrom(l.Host(host).Addrs[i], 0), "rendezvous", netip.AddrPortFrom(to, 7))
		if err != nil {
			t.Errorf("%s does not reach %v: %v", host, to, err)
			continue
		}
		// By IPv4 it is its outermost router, by IPv6 itself, or with NPTv6 its router's network.
		if outer := topo.Outermost(topo.SiteOf(host)); to.Is4() && !slices.Contains(outer.WAN, seen.Addr()) || to.Is6() && !outer.Net6.Contains(seen.Addr()) {
			t.Errorf("%v saw %s as %v, want %v or one of %v", to, host, seen, outer.WAN, outer.Net6)
		}
	}
}

func TestHostsWithoutNATHaveTheirOwnAddresses(t *testing.T) {
	l := up(t, startFabric(t), topology(t, "two-homes", "camera.nat", "open", "viewer.nat", "firewall"))
	for _, host := range []string{"camera", "viewer"} {
		seen, err := ask(t, l, host, "rendezvous")
		if err != nil {
			t.Fatal(err)
		}
		if seen.Addr() != l.Host(host).Addr() {
			t.Errorf("%s was seen as %v, want its own address %v", host, seen, l.Host(host).Addr())
		}
	}
	if _, err := ask(t, l, "viewer", "camera"); err != nil {
		t.Errorf("nothing filters the open site, yet the viewer didn't reach the camera: %v", err)
	}
	if _, err := askWithin(t, l, 300*time.Millisecond, "camera", "viewer"); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the camera went through the viewer's firewall unasked: %v", err)
	}
}

func TestSameLANIsLocal(t *testing.T) {
	l := up(t, startFabric(t), topology(t, "same-lan"))
	seen, err := ask(t, l, "viewer", "camera")
	if err != nil {
		t.Fatal(err)
	}
	if seen.Addr() != l.Host("viewer").Addr() {
		t.Errorf("on one LAN the viewer was seen as %v, want %v untranslated", seen, l.Host("viewer").Addr())
	}
}

// TestLANsCarryTheFirstPacket brings many labs up at once: the kernel starts links, and makes IPv6 addresses its own, on a worker, which
// is late then.
func TestLANsCarryTheFirstPacket(t *testing.T) {
	f := startFabric(t)
	for i, mode := range []string{"none", "firewall"} {
		topo := topology(t, "same-lan", "home.ipv6", mode)
		var labs sync.WaitGroup
		for range 8 {
			labs.Go(func() {
				for range 6 {
					l, err := lab.Up(f, topo, 1)
					if err != nil {
						t.Error(err)
						return
					}
					from, to := l.Host("camera").Addrs[i], l.Host("viewer").Addrs[i]
					if _, err := askAt(t, l, patience, "camera", netip.AddrPortFrom(from, 0), "viewer", netip.AddrPortFrom(to, 7)); err != nil {
						t.Errorf("the first packet on a LAN was lost, from %v to %v: %v", from, to, err)
					}
					l.Close()
				}
			})
		}
		labs.Wait()
	}
}

func TestProveAcceptsEveryPresetAndRefusesTheWrongOne(t *testing.T) {
	f := startFabric(t)
	l := up(t, f, topology(t, "two-homes"))
	for _, nat := range []string{"full-cone", "restricted-cone", "port-restricted-cone", "symmetric", "linux", "symmetric-sequential"} {
		if err := l.Configure(topology(t, "two-homes", "camera.nat", nat, "link", "satellite"), 1); err != nil {
			t.Fatal(err)
		}
		if err := l.Prove(t.Context()); err != nil {
			t.Errorf("%s: %v", nat, err)
		}
	}
	wrong := topology(t, "two-homes", "camera.nat", "symmetric")
	lied := wrong.Site("camera")
	full := topology(t, "two-homes", "camera.nat", "full-cone")
	lied.Behavior = full.Site("camera").Behavior // says symmetric, is full cone
	liar := up(t, f, wrong)
	lied.Behavior = topology(t, "two-homes", "camera.nat", "symmetric").Site("camera").Behavior
	if err := liar.Prove(t.Context()); !errors.Is(err, lab.ErrMisclassified) {
		t.Errorf("a full cone where the topology says symmetric: Prove returned %v", err)
	}
}

func TestResetForgetsFlows(t *testing.T) {
	l := up(t, startFabric(t), topology(t, "two-homes", "camera.nat", "full-cone", "viewer.nat", "open"))
	client, err := l.Host("camera").ListenUDP(netip.AddrPort{})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	at := netip.AddrPortFrom(l.Host("rendezvous").Addr(), 7)
	server, err := l.Host("rendezvous").ListenUDP(at)
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	buf := make([]byte, 100)
	if _, err := client.WriteToUDPAddrPort([]byte("open"), at); err != nil {
		t.Fatal(err)
	}
	server.SetReadDeadline(time.Now().Add(patience))
	_, mapped, err := server.ReadFromUDPAddrPort(buf)
	if err != nil {
		t.Fatal(err)
	}
	reaches := func(within time.Duration) bool {
		if _, err := server.WriteToUDPAddrPort([]byte("in"), mapped); err != nil {
			t.Fatal(err)
		}
		client.SetReadDeadline(time.Now().Add(within))
		_, err := client.Read(buf)
		return err == nil
	}
	if !reaches(patience) {
		t.Fatal("the full cone's mapping doesn't let the answer in")
	}
	if err := l.Reset(2); err != nil {
		t.Fatal(err)
	}
	if reaches(300 * time.Millisecond) {
		t.Error("the mapping outlived Reset")
	}
}

func TestPoolReusesAndProves(t *testing.T) {
	p := &lab.Pool{Fabric: startFabric(t)}
	defer p.Close()
	first, err := p.Get(t.Context(), topology(t, "two-homes", "camera.nat", "symmetric"), 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Put(first); err != nil {
		t.Fatal(err)
	}
	other, err := p.Get(t.Context(), topology(t, "two-homes", "camera.nat", "full-cone"), 2)
	if err != nil {
		t.Fatal(err)
	}
	if other != first {
		t.Error("a lab of the same shape was made anew instead of configured")
	}
	for _, nat := range []string{"full-cone", "open"} { // the same topology, and one of another shape
		second, err := p.Get(t.Context(), topology(t, "two-homes", "camera.nat", nat), 3)
		if err != nil {
			t.Fatal(err)
		}
		if second == other {
			t.Fatal("one lab was handed out twice")
		}
		defer second.Close()
	}
	if err := p.Put(other); err != nil {
		t.Fatal(err)
	}
}

func TestPoolProvesWhatItHandsOut(t *testing.T) {
	f := startFabric(t)
	p := &lab.Pool{Fabric: f}
	defer p.Close()
	// A lab whose routers are full cones although its topology says symmetric, as after a bug in Configure.
	lying := topology(t, "two-homes", "camera.nat", "symmetric")
	truth := lying.Site("camera").Behavior
	lying.Site("camera").Behavior = topology(t, "two-homes", "camera.nat", "full-cone").Site("camera").Behavior
	l, err := lab.Up(f, lying, 1)
	if err != nil {
		t.Fatal(err)
	}
	lying.Site("camera").Behavior = truth
	if err := p.Put(l); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Get(t.Context(), topology(t, "two-homes", "camera.nat", "symmetric"), 2); !errors.Is(err, lab.ErrMisclassified) {
		t.Errorf("the pool handed out a lab whose NATs are not what the topology says: %v", err)
	}
}

func TestPoolKeepsShapesApart(t *testing.T) {
	p := &lab.Pool{Fabric: startFabric(t)}
	defer p.Close()
	two := topology(t, "two-homes")
	l, err := p.Get(t.Context(), two, 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Put(l); err != nil {
		t.Fatal(err)
	}
	more := topology(t, "two-homes")
	extra := more.Site("camera").Hosts[0]
	extra.Name, extra.Addr = "laptop", extra.Addr.Next()
	more.Site("camera").Hosts = append(more.Site("camera").Hosts, extra)
	other, err := p.Get(t.Context(), more, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if other.Host("laptop") == nil {
		t.Error("a lab without the host laptop was handed out for a topology with it")
	}
	if err := l.Configure(more, 1); err == nil {
		t.Error("a lab was configured as a topology with another host")
	}
}

// BenchmarkUp makes topologies one after another. They are closed at the end: the kernel frees namespaces behind our back
// and holds the network configuration's lock meanwhile.
func BenchmarkUp(b *testing.B) {
	f := startFabric(b)
	topo := topology(b, "two-homes")
	var labs []*lab.Lab
	for b.Loop() {
		l, err := lab.Up(f, topo, 1)
		if err != nil {
			b.Fatal(err)
		}
		labs = append(labs, l)
	}
	for _, l := range labs {
		l.Close()
	}
}

func BenchmarkReset(b *testing.B) {
	l := up(b, startFabric(b), topology(b, "two-homes"))
	for b.Loop() {
		if err := l.Reset(1); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkConfigureAndProve(b *testing.B) {
	l := up(b, startFabric(b), topology(b, "two-homes"))
	topos := []*lab.Topology{topology(b, "two-homes", "camera.nat", "symmetric"), topology(b, "two-homes", "camera.nat", "full-cone")}
	for i := 0; b.Loop(); i++ {
		if err := errors.Join(l.Configure(topos[i%2], 1), l.Prove(b.Context())); err != nil {
			b.Fatal(err)
		}
	}
}
