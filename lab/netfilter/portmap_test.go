package netfilter_test

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/punchlab/punchlab/lab/nat"
	"github.com/punchlab/punchlab/lab/netfilter"
	"golang.org/x/sys/unix"
)

func udpMap(internal string, external uint16) nat.PortMap {
	return nat.PortMap{Protocol: unix.IPPROTO_UDP, Internal: netip.MustParseAddrPort(internal), External: external, Lifetime: time.Hour}
}

func (r *raw) mapPort(m nat.PortMap, want string) {
	r.t.Helper()
	got, err := r.Router.Map(m)
	must(r.t, err)
	if got.String() != want {
		r.t.Fatalf("map %+v: %v, want %s", m, got, want)
	}
}

// maps demands the port mappings that the router lists, without their lifetimes.
func (r *raw) maps(want ...nat.PortMap) {
	r.t.Helper()
	got, err := r.Router.PortMaps()
	must(r.t, err)
	for i := range got {
		got[i].Lifetime = 0
	}
	for i := range want {
		want[i].Lifetime = 0
	}
	if d := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b }), cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); d != "" {
		r.t.Fatalf("port mappings (-want +got):\n%s", d)
	}
}

var translators = []string{"full-cone", "port-restricted-cone", "symmetric", "adm-eif", "cgn-port-block", "linux", "linux-no-firewall"}

// TestPortMap lets a stranger call a mapped port, before and after its owner has sent anything.
func TestPortMap(t *testing.T) {
	for _, name := range translators {
		t.Run(name, func(t *testing.T) {
			r := newRawRouter(t, preset(t, name))
			const ext, stranger = "203.0.113.2:8000", "198.51.100.9:99"
			r.in("udp "+stranger+" > "+ext, "")
			r.drain() // without a firewall the router itself refuses
			r.mapPort(udpMap("192.168.1.2:5000", 8000), ext)
			r.mapPort(udpMap("192.168.1.3:5000", 8001), "203.0.113.2:8001")
			r.in("udp "+stranger+" > "+ext, "udp "+stranger+" > 192.168.1.2:5000")
			r.out("udp 192.168.1.2:5000 > "+stranger, "udp "+ext+" > "+stranger)
			if b := preset(t, name); b.Mapping == nat.EndpointIndependent { // otherwise only answers leave by it
				r.out("udp 192.168.1.2:5000 > 198.51.100.1:1", "udp "+ext+" > 198.51.100.1:1")
			}
			r.in("udp 198.51.100.7:7 > 203.0.113.2:8001 nocsum", "udp 198.51.100.7:7 > 192.168.1.3:5000 nocsum")
			r.in("udp 198.51.100.7:7 > 203.0.113.2:8002", "")
			r.maps(udpMap("192.168.1.2:5000", 8000), udpMap("192.168.1.3:5000", 8001))
			must(t, r.Router.Unmap(udpMap("192.168.1.2:5000", 0)))
			must(t, r.Router.Unmap(nat.PortMap{Protocol: unix.IPPROTO_UDP, External: 8001}))
			r.maps()
			r.in("udp 198.51.100.8:1 > "+ext, "")
			if err := r.Router.Unmap(udpMap("192.168.1.2:5000", 0)); !errors.Is(err, nat.ErrNotMapped) {
				t.Errorf("unmap again: %v", err)
			}
		})
	}
}

// TestPortMapTCP has a stranger open a connection to a mapped port, which lives on both its directions.
func TestPortMapTCP(t *testing.T) {
	for _, name := range translators {
		t.Run(name, func(t *testing.T) {
			r := newRawRouter(t, preset(t, name))
			const inner, ext, stranger = "192.168.1.2:80", "203.0.113.2:8080", "198.51.100.9:99"
			m := nat.PortMap{Protocol: unix.IPPROTO_TCP, Internal: netip.MustParseAddrPort(inner), External: 8080, Lifetime: time.Hour}
			r.mapPort(m, ext)
			r.pass(r.WAN, r.LAN, true, "tcp "+stranger+" > "+ext+" syn", "tcp "+stranger+" > "+inner+" syn")
			r.pass(r.LAN, r.WAN, false, "tcp "+inner+" > "+stranger+" syn+ack", "tcp "+ext+" > "+stranger+" syn+ack")
			r.pass(r.WAN, r.LAN, true, "tcp "+stranger+" > "+ext+" ack", "tcp "+stranger+" > "+inner+" ack")
			if b := preset(t, name); b.Mapping == nat.EndpointIndependent {
				r.out("tcp "+inner+" > 198.51.100.1:443 syn", "tcp "+ext+" > 198.51.100.1:443 syn")
			}
			r.maps(m)
		})
	}
}

func TestPortMapChoosesPort(t *testing.T) {
	r := newRawRouter(t, preset(t, "full-cone"))
	r.out("udp 192.168.1.2:5000 > 198.51.100.1:1", "udp 203.0.113.2:5000 > 198.51.100.1:1")
	_, err := r.Router.Map(udpMap("192.168.1.3:6000", 5000))
	if !errors.Is(err, nat.ErrPortTaken) {
		t.Errorf("a port that another host's flow has: %v", err)
	}
	r.mapPort(udpMap("192.168.1.2:5000", 0), "203.0.113.2:5000") // its own
	r.mapPort(udpMap("192.168.1.2:5000", 7000), "203.0.113.2:5000")
	r.mapPort(udpMap("192.168.1.3:6000", 0), "203.0.113.2:6000")
	got, err := r.Router.Map(udpMap("192.168.1.4:6000", 0))
	must(t, err)
	if p := got.Port(); p < nat.DefaultPortMin || p > nat.DefaultPortMax {
		t.Errorf("the internal port is taken, and the external one becomes %d", p)
	}
	// A mapped port is not drawn for a flow.
	r.mapPort(udpMap("192.168.1.5:1", 7777), "203.0.113.2:7777")
	r.out("udp 192.168.1.6:7777 > 198.51.100.1:1 nocsum", r.drawn("udp 203.0.113.2:", " > 198.51.100.1:1 nocsum"))
	for name, m := range map[string]nat.PortMap{
		"ICMP":            {Protocol: unix.IPPROTO_ICMP, Internal: netip.MustParseAddrPort("192.168.1.2:5")},
		"outside the LAN": udpMap("10.0.0.1:5", 5),
		"no port":         udpMap("192.168.1.2:0", 5),
		"past":            {Protocol: unix.IPPROTO_UDP, Internal: netip.MustParseAddrPort("192.168.1.2:5"), Lifetime: -1},
		"IPv6 remote":     {Protocol: unix.IPPROTO_UDP, Internal: netip.MustParseAddrPort("192.168.1.2:5"), Remote: netip.MustParseAddr("::1")},
	} {
		if _, err := r.Router.Map(m); !errors.Is(err, nat.ErrPortMap) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// drawn is the words of a packet whose port the router draws first with seed 1.
func (r *raw) drawn(before, after string) string {
	r.t.Helper()
	twin := newRawRouter(r.t, preset(r.t, "full-cone"))
	twin.out("udp 192.168.1.5:7777 > 198.51.100.1:1", "udp 203.0.113.2:7777 > 198.51.100.1:1")
	must(r.t, twin.LAN.Send(mustParse(r.t, "udp 192.168.1.6:7777 > 198.51.100.1:1").Bytes(true)))
	b, err := twin.WAN.Receive(comes)
	must(r.t, err)
	return before + mustRead(r.t, b).Src.String()[len("203.0.113.2:"):] + after
}

// Only the remote that a mapping names gets in, and whom its owner calls.
func TestPortMapForOneRemote(t *testing.T) {
	for _, name := range []string{"port-restricted-cone", "symmetric", "linux", "firewall"} {
		t.Run(name, func(t *testing.T) {
			r := newRawRouter(t, preset(t, name))
			m := udpMap("192.168.1.2:5000", 5000)
			m.Remote = netip.MustParseAddr("198.51.100.1")
			ext := "203.0.113.2:5000"
			if name == "firewall" {
				ext = "192.168.1.2:5000"
			}
			r.mapPort(m, ext)
			r.maps(m)
			r.in("udp 198.51.100.1:1 > "+ext, "udp 198.51.100.1:1 > 192.168.1.2:5000")
			r.in("udp 198.51.100.2:1 > "+ext, "")
			if name == "symmetric" {
				return
			}
			r.out("udp 192.168.1.2:5000 > 198.51.100.2:2", "udp "+ext+" > 198.51.100.2:2")
			r.in("udp 198.51.100.2:2 > "+ext, "udp 198.51.100.2:2 > 192.168.1.2:5000")
		})
	}
}

func TestPortMapHairpin(t *testing.T) {
	for _, mode := range []nat.Hairpinning{nat.HairpinInternalSource, nat.HairpinExternalSource} {
		for _, f := range dependencies {
			b := sequential(pair(nat.EndpointIndependent, f))
			b.Hairpinning = mode
			r := newRawRouter(t, b)
			r.mapPort(udpMap("192.168.1.2:5000", 8000), "203.0.113.2:8000")
			r.mapPort(udpMap("192.168.1.4:5000", 8001), "203.0.113.2:8001")
			from, mapped := "203.0.113.2:20000", "203.0.113.2:8001"
			if mode == nat.HairpinInternalSource {
				from, mapped = "192.168.1.3:6000", "192.168.1.4:5000"
			}
			r.hairpin("udp 192.168.1.3:6000 > 203.0.113.2:8000", "udp "+from+" > 192.168.1.2:5000")
			r.hairpin("udp 192.168.1.4:5000 > 203.0.113.2:8000", "udp "+mapped+" > 192.168.1.2:5000")
		}
	}
}

func TestPortMapEnds(t *testing.T) {
	r := newRawRouter(t, preset(t, "port-restricted-cone"))
	m := udpMap("192.168.1.2:5000", 8000)
	hurried(func(life time.Duration) (time.Duration, func()) {
		must(t, r.Router.Reset(1))
		r.drain()
		m.Lifetime = life
		began := time.Now()
		r.mapPort(m, "203.0.113.2:8000")
		const out = "udp 192.168.1.2:5000 > 198.51.100.1:1" // a packet extends nothing
		must(t, r.LAN.Send(mustParse(t, out).Bytes(true)))
		took := time.Since(began)
		return took, func() {
			r.expect(r.WAN, out, "udp 203.0.113.2:8000 > 198.51.100.1:1")
			r.eventually("udp 198.51.100.9:9 > 203.0.113.2:8000")
		}
	})
	r.maps()
	m.Lifetime = 0
	r.mapPort(m, "203.0.113.2:8000")
	list, err := r.Router.PortMaps()
	must(t, err)
	if len(list) != 1 || list[0].Lifetime != 0 {
		t.Errorf("a mapping without end is listed as %+v", list)
	}
	m.Lifetime = time.Hour
	r.mapPort(m, "203.0.113.2:8000")
	list, err = r.Router.PortMaps()
	must(t, err)
	if len(list) != 1 || list[0].Lifetime < 59*time.Minute || list[0].Lifetime > time.Hour {
		t.Errorf("renewed for an hour, it is listed as %+v", list)
	}
}

// TestNothingStale looks for flows and port mappings after each event that must end them all.
func TestNothingStale(t *testing.T) {
	other := []netip.Addr{netip.MustParseAddr("203.0.113.77")}
	for name, event := range map[string]func(r *netfilter.Router) error{
		"reboot":         func(r *netfilter.Router) error { return r.Reset(2) },
		"another preset": func(r *netfilter.Router) error { return r.Apply(preset(t, "symmetric"), 2) },
		"masquerade":     func(r *netfilter.Router) error { return r.Apply(preset(t, "linux"), 2) },
		"readdress":      func(r *netfilter.Router) error { return r.SetExternal(other) },
	} {
		for _, before := range []string{"full-cone", "linux"} {
			t.Run(name+" of "+before, func(t *testing.T) {
				r := newRawRouter(t, preset(t, before))
				r.mapPort(udpMap("192.168.1.2:5000", 8000), "203.0.113.2:8000")
				r.mapPort(nat.PortMap{Protocol: unix.IPPROTO_TCP, Internal: netip.MustParseAddrPort("192.168.1.2:80"), External: 80}, "203.0.113.2:80")
				r.out("udp 192.168.1.2:6000 > 198.51.100.1:1", "udp 203.0.113.2:6000 > 198.51.100.1:1")
				r.out("tcp 192.168.1.2:6000 > 198.51.100.1:1 syn", "tcp 203.0.113.2:6000 > 198.51.100.1:1 syn")
				r.out("icmp 192.168.1.2 > 198.51.100.1 echo 6", "icmp 203.0.113.2 > 198.51.100.1 echo 6")
				must(t, event(r.Router))
				r.maps()
				for _, a := range []string{"203.0.113.2", "203.0.113.77"} {
					r.in("udp 198.51.100.1:1 > "+a+":8000", "")
					r.in("udp 198.51.100.1:1 > "+a+":6000", "")
					r.in("tcp 198.51.100.1:1 > "+a+":6000 syn+ack", "")
					r.in("tcp 198.51.100.1:1 > "+a+":80 syn", "")
					r.in("icmp 198.51.100.1 > "+a+" reply 6", "")
				}
			})
		}
	}
}

// TestSetExternal follows a flow to the new address, by every kind of router.
func TestSetExternal(t *testing.T) {
	for _, name := range []string{"full-cone", "linux"} {
		r := newRawRouter(t, preset(t, name))
		r.out("udp 192.168.1.2:6000 > 198.51.100.1:1", "udp 203.0.113.2:6000 > 198.51.100.1:1")
		must(t, r.Router.SetExternal([]netip.Addr{netip.MustParseAddr("203.0.113.77")}))
		r.out("udp 192.168.1.2:6000 > 198.51.100.1:1", "udp 203.0.113.77:6000 > 198.51.100.1:1")
		r.in("udp 198.51.100.1:1 > 203.0.113.77:6000", "udp 198.51.100.1:1 > 192.168.1.2:6000")
		r.mapPort(udpMap("192.168.1.3:6000", 99), "203.0.113.77:99")
		if err := r.Router.SetExternal(nil); name == "full-cone" && err == nil {
			t.Error("a translator goes on without an address")
		}
	}
	// On a device with a subnet, whose routes stay.
	b := newBench(t, 1)
	b.install(preset(t, "full-cone"))
	must(t, b.router.SetExternal([]netip.Addr{netip.MustParseAddr(wanA + ".9")}))
	c, srv := b.host(0, 0), b.server[0][0]
	m := c.reaches(srv.addr, srv)
	if m.Addr().String() != wanA+".9" {
		t.Errorf("mapped to %v", m)
	}
	srv.reaches(m, c)
}
