package stack

import (
	"net/netip"
	"testing"
	"time"

	"github.com/punchlab/punchlab/lab"
	"github.com/punchlab/punchlab/lab/packet"
	"github.com/punchlab/punchlab/topologies"
)

// scene feeds made-up packets to externalFlows. Ends are hosts, or routers by "SITE's".
type scene struct {
	t     *testing.T
	flows *externalFlows
	topo  *lab.Topology
}

var sceneStart = time.Unix(1000, 0)

func newScene(t *testing.T, topology string) *scene {
	t.Helper()
	topo, _, err := topologies.Load(topology)
	if err != nil {
		t.Fatal(err)
	}
	s := &scene{t: t, flows: newExternalFlows(topo), topo: topo}
	s.flows.begin(sceneStart)
	return s
}

func (s *scene) outside(host string) netip.Addr {
	if site := s.topo.SiteOf(host); site != nil {
		return s.topo.Outermost(site).WAN[0]
	}
	return s.topo.HostAddr(host)[0]
}

// send has a host send a UDP packet with n bytes of payload, ms after the request; it comes to the other where arrives.
func (s *scene) send(ms int, from, to string, n int, arrives bool) {
	at := sceneStart.Add(time.Duration(ms) * time.Millisecond)
	udp := func(src, dst netip.Addr) []byte {
		return packet.AppendUDP(nil, netip.AddrPortFrom(src, 1), netip.AddrPortFrom(dst, 2), make([]byte, n))
	}
	s.flows.add(at, roleOf(from), true, udp(s.topo.HostAddr(from)[0], s.outside(to)))
	if arrives {
		s.flows.add(at.Add(10*time.Millisecond), roleOf(to), false, udp(s.outside(from), s.topo.HostAddr(to)[0]))
	}
}

// relay has something go from one to the other through the rendezvous.
func (s *scene) relay(ms int, from, to string, n int) {
	s.send(ms, from, "rendezvous", n, true)
	s.send(ms+10, "rendezvous", to, n, true)
}

func TestJudge(t *testing.T) {
	every := func(from, to int, do func(ms int)) {
		for ms := from; ms < to; ms += 20 {
			do(ms)
		}
	}
	for _, tt := range []struct {
		name          string
		run           func(s *scene)
		success, ends int // ms
		want          path
	}{
		{"nothing", func(*scene) {}, 100, 1000, pathNone},
		{"direct both ways", func(s *scene) {
			every(0, 1000, func(ms int) {
				s.send(ms, "camera", "viewer", 500, true)
				s.send(ms, "viewer", "camera", 20, true)
			})
		}, 100, 1000, pathDirect},
		{"direct one way only is none", func(s *scene) {
			every(0, 1000, func(ms int) {
				s.send(ms, "camera", "viewer", 500, true)
				s.send(ms, "viewer", "camera", 500, false)
			})
		}, 100, 1000, pathNone},
		{"one way directly, and all by the relay", func(s *scene) {
			every(0, 1000, func(ms int) {
				s.send(ms, "camera", "viewer", 500, true)
				s.relay(ms, "camera", "viewer", 100)
			})
		}, 100, 1000, pathRelayed},
		{"relayed at first, then direct", func(s *scene) {
			every(0, 600, func(ms int) { s.relay(ms, "camera", "viewer", 900) })
			every(600, 1000, func(ms int) {
				s.send(ms, "camera", "viewer", 900, true)
				s.send(ms, "viewer", "camera", 20, true)
			})
		}, 50, 1000, pathDirect},
		{"relayed for long, then direct at low rate", func(s *scene) {
			s.send(100, "camera", "viewer", 10, true)
			s.send(100, "viewer", "camera", 10, true)
			every(0, 660, func(ms int) { s.relay(ms, "camera", "viewer", 9000) })
			every(720, 1000, func(ms int) {
				s.send(ms, "camera", "viewer", 20, true)
				s.send(ms, "viewer", "camera", 20, true)
			})
		}, 50, 1000, pathDirect},
		{"direct at first, then relayed", func(s *scene) {
			every(0, 400, func(ms int) {
				s.send(ms, "camera", "viewer", 900, true)
				s.send(ms, "viewer", "camera", 20, true)
			})
			every(400, 1000, func(ms int) { s.relay(ms, "camera", "viewer", 900) })
		}, 50, 1000, pathRelayed},
		{"relayed, while a direct path is kept for nothing", func(s *scene) {
			every(0, 1000, func(ms int) {
				s.relay(ms, "camera", "viewer", 900)
				s.send(ms, "camera", "viewer", 10, true)
				s.send(ms, "viewer", "camera", 10, true)
			})
		}, 100, 1000, pathRelayed},
		{"relayed, while the camera alone sends much directly", func(s *scene) {
			every(0, 1000, func(ms int) {
				s.relay(ms, "camera", "viewer", 100)
				s.relay(ms, "viewer", "camera", 100)
				s.send(ms, "camera", "viewer", 900, true)
				s.send(ms, "viewer", "camera", 10, true)
			})
		}, 100, 1000, pathRelayed},
		{"direct, and silent in the end", func(s *scene) {
			s.send(0, "camera", "viewer", 900, true)
			s.send(0, "viewer", "camera", 900, true)
		}, 5, 2000, pathDirect},
		{"direct before its success was told", func(s *scene) {
			s.send(0, "camera", "viewer", 900, true)
			s.send(0, "viewer", "camera", 900, true)
		}, 100, 2000, pathDirect},
	} {
		s := newScene(t, "two-homes")
		tt.run(s)
		ms := func(n int) time.Time { return sceneStart.Add(time.Duration(n) * time.Millisecond) }
		if got := s.flows.judge(ms(tt.success), ms(tt.ends)); got != tt.want {
			t.Errorf("%s: path %d, want %d", tt.name, got, tt.want)
		}
	}
}

func TestFlowsCount(t *testing.T) {
	s := newScene(t, "two-homes")
	const head = packet.IPv4HeaderLen + packet.UDPHeaderLen
	s.send(-5, "camera", "rendezvous", 100, false) // before the request
	s.send(0, "camera", "viewer", 10, false)       // two probes, of which one arrives
	s.send(1, "viewer", "camera", 10, true)
	s.relay(2, "camera", "viewer", 300)
	s.send(20, "camera", "viewer", 10, true) // one more; now the path works
	s.send(40, "camera", "viewer", 1000, true)
	s.send(50, "rendezvous", "viewer", 200, true) // its own word
	f := s.flows
	if f.idle != 100+head {
		t.Errorf("idle: %d bytes", f.idle)
	}
	if f.probes.packets != 3 || f.probes.bytes != 3*(10+head) {
		t.Errorf("probes: %+v", f.probes)
	}
	if want := int64(10 + 300 + 10 + 1000 + 4*head); f.sent[roleCamera] != want {
		t.Errorf("the camera sent %d bytes, want %d", f.sent[roleCamera], want)
	}
	if got := f.relayedBytes(); got != 300+head {
		t.Errorf("relayed: %d bytes, want %d", got, 300+head)
	}
	if want := sceneStart.Add(30 * time.Millisecond); !f.works.Equal(want) {
		t.Errorf("the direct path worked at %v, want %v", f.works, want)
	}
	if f.both() != 1 {
		t.Errorf("%d packets each way, want 1", f.both())
	}
}

// Hosts behind one router, behind several, and of IPv6 alone know each other by the right addresses.
func TestFlowsKnowTheirAddresses(t *testing.T) {
	for _, tt := range []struct {
		topology string
		remote   func(t *lab.Topology) netip.Addr
		direct   bool
	}{
		{"same-lan", func(t *lab.Topology) netip.Addr { return t.HostAddr("camera")[0] }, true},
		{"same-lan", func(t *lab.Topology) netip.Addr { return t.SiteOf("camera").WAN[0] }, true},
		{"same-lan", func(t *lab.Topology) netip.Addr { return t.SiteOf("camera").Gateway() }, false},
		{"double-nat", func(t *lab.Topology) netip.Addr { return t.SiteOf("camera").WAN[0] }, true},
		{"double-nat", func(t *lab.Topology) netip.Addr { return t.Outermost(t.SiteOf("camera")).WAN[0] }, true},
		{"two-homes", func(t *lab.Topology) netip.Addr { return t.FreeWAN("camera", 1)[0] }, true},
		{"two-homes", func(t *lab.Topology) netip.Addr { return t.HostAddr("rendezvous")[1] }, false},
		{"two-homes", func(t *lab.Topology) netip.Addr { return netip.MustParseAddr("192.0.2.99") }, false},
		{"handover", func(t *lab.Topology) netip.Addr { return t.Site(t.StandbyOf("viewer")[0]).WAN[0] }, true},
		{"ipv6-only", func(t *lab.Topology) netip.Addr { return t.SiteOf("camera").Net6.Addr().Next() }, true},
		{"two-homes", func(t *lab.Topology) netip.Addr { // as behind a NAT64
			v4 := t.SiteOf("camera").WAN[0].As4()
			b := wellKnownNAT64.Addr().As16()
			copy(b[12:], v4[:])
			return netip.AddrFrom16(b)
		}, true},
	} {
		topo, _, err := topologies.Load(tt.topology)
		if err != nil {
			t.Fatal(err)
		}
		at := roleViewer
		if tt.topology == "handover" { // where it is the viewer that moves
			at = roleCamera
		}
		f := newExternalFlows(topo)
		f.begin(sceneStart)
		remote := tt.remote(topo)
		own := netip.MustParseAddr("192.168.99.99")
		if remote.Is6() {
			own = netip.MustParseAddr("2001:db8:99::1")
		}
		f.add(sceneStart, at, false, packet.AppendUDP(nil, netip.AddrPortFrom(remote, 1), netip.AddrPortFrom(own, 2), nil))
		if got := f.count[at] == 1; got != tt.direct {
			t.Errorf("%s: %v is an address of the other's: %v, want %v", tt.topology, remote, got, tt.direct)
		}
	}
}

// An error of ICMP is a router's, and says nothing of a path.
func TestFlowsLeaveErrorsOut(t *testing.T) {
	s := newScene(t, "two-homes")
	camera, viewer := s.outside("camera"), s.topo.HostAddr("viewer")[0]
	about := packet.AppendUDP(nil, netip.AddrPortFrom(viewer, 1), netip.AddrPortFrom(camera, 2), make([]byte, 8))
	b := packet.AppendError(nil, packet.TimeExceeded, camera, 0, about)
	if len(b) == 0 {
		t.Fatal("no error was made")
	}
	s.flows.add(sceneStart, roleViewer, false, b)
	s.flows.add(sceneStart, roleViewer, false, []byte{0x45})
	s.flows.add(sceneStart, roleViewer, false, nil)
	if s.flows.count[roleViewer] != 0 {
		t.Error("an error counts as a packet of the camera's")
	}
}
