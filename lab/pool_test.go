package lab_test

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/punchlab/punchlab/lab"
)

// A lab is used again for a topology with other NATs and links, and for no other.
func TestPoolReusesLabsOfOneShape(t *testing.T) {
	t.Parallel()
	f := startFabric(t)
	for _, tt := range []struct {
		name, topology string
		first, second  []string
		reused         bool
	}{
		{"another NAT", "two-homes", nil, []string{"camera.nat", "full-cone"}, true},
		{"another link", "two-homes", nil, []string{"link", "lte"}, true},
		{"another filter by IPv6", "dual-stack", nil, []string{"camera.ipv6", "firewall-eif"}, true},
		{"a public LAN", "two-homes", nil, []string{"camera.nat", "open"}, false},
		{"another engine", "two-homes", nil, []string{"camera.engine", "table"}, false},
		{"the usual engine by its name", "two-homes", nil, []string{"camera.engine", "netfilter"}, true},
		{"port mapping", "two-homes", nil, []string{"camera.portmap", "all"}, false},
		{"no port mapping", "two-homes", []string{"camera.portmap", "all"}, nil, false},
		{"another port mapping", "two-homes", []string{"camera.portmap", "upnp"}, []string{"camera.portmap", "refused"}, false},
		{"IPv6 too", "two-homes", nil, []string{"camera.ipv6", "firewall", "viewer.ipv6", "firewall"}, false},
		{"IPv6 translated", "dual-stack", nil, []string{"camera.ipv6", "nptv6"}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := &lab.Pool{Fabric: f}
			defer p.Close()
			one, err := p.Get(t.Context(), topology(t, tt.topology, tt.first...), 1)
			if err != nil {
				t.Fatal(err)
			}
			if err := p.Put(one); err != nil {
				t.Fatal(err)
			}
			topo := topology(t, tt.topology, tt.second...)
			two, err := p.Get(t.Context(), topo, 1) // proved
			if err != nil {
				t.Fatal(err)
			}
			defer two.Close()
			if (one == two) != tt.reused {
				t.Errorf("reused: %v, want %v", one == two, tt.reused)
			}
			if two.Topology().Digest() != topo.Digest() {
				t.Error("the lab is of another topology")
			}
			if !topo.Site("camera").Public() {
				reaches(t, two, "camera")
			}
		})
	}
}

// What events broke is mended before a lab becomes another topology, and what was asked of its port mapping servers is gone.
func TestConfigureMends(t *testing.T) {
	f := startFabric(t)
	for _, engine := range lab.RouterEngines() {
		t.Run(engine, func(t *testing.T) {
			l := up(t, f, on(t, engine, "two-homes", "camera.portmap", "all"))
			gateway := l.Topology().Site("camera").Gateway()
			mapped := mapPort(t, l, "camera", gateway, 4000)
			do(t, l, lab.Event{Do: lab.DoNAT, Site: "camera", NAT: "full-cone"})
			do(t, l, lab.Event{Do: lab.DoReaddress, Site: "camera"})
			late := do(t, l, lab.Event{Do: lab.DoReboot, Site: "camera", For: time.Second})
			other := on(t, engine, "two-homes", "camera.portmap", "all", "camera.nat", "symmetric")
			if err := l.Configure(other, 2); err != nil {
				t.Fatal(err)
			}
			late()
			if err := l.Prove(t.Context()); err != nil {
				t.Error(err)
			}
			seen, err := ask(t, l, "camera", "rendezvous")
			if err != nil || seen.Addr() != other.Site("camera").WAN[0] {
				t.Errorf("the camera was seen as %v (%v), want %v", seen, err, other.Site("camera").WAN)
			}
			if again := mapPort(t, l, "camera", gateway, 4001); again != mapped {
				t.Errorf("the camera's other port got external port %d, want %d, which nothing has any more", again, mapped)
			}
		})
	}
}

// mapPort asks a gateway by NAT-PMP for external port 7000 and returns what it gave (RFC 6886 §3.3).
func mapPort(t *testing.T, l *lab.Lab, host string, gateway netip.Addr, internal uint16) (external uint16) {
	t.Helper()
	const wanted = 7000
	b, err := natPMP(t, l, host, gateway, patience, 0, 1, 0, 0, byte(internal>>8), byte(internal), wanted>>8, wanted&255, 0, 0, 2, 0)
	if err != nil || len(b) != 16 || b[3] != 0 {
		t.Fatalf("NAT-PMP answer % x, %v", b, err)
	}
	return uint16(b[10])<<8 | uint16(b[11])
}

// Events, captures and port mapping leave no descriptor, whatever they were doing when the lab closed.
func TestNoDescriptorIsLeftByEvents(t *testing.T) {
	f := startFabric(t)
	for _, engine := range lab.RouterEngines() {
		t.Run(engine, func(t *testing.T) {
			topo := twoWays(t, engine)
			topo.Site("wifi").PortMap = "all"
			if err := topo.Resolve(); err != nil {
				t.Fatal(err)
			}
			cycle := func() {
				l, err := lab.Up(f, topo, 1)
				if err != nil {
					t.Fatal(err)
				}
				captured(t, l, func() {
					for _, e := range []lab.Event{
						{Do: lab.DoReboot, Site: "wifi", For: 1}, {Do: lab.DoReaddress, Site: "wifi"}, {Do: lab.DoMove, Host: "viewer", To: "lte"},
						{Do: lab.DoNAT, Site: "wifi", NAT: "full-cone"}, {Do: lab.DoKill, Host: "rendezvous"},
					} {
						do(t, l, e)
					}
				})
				if err := errors.Join(l.Reset(2), l.Close()); err != nil {
					t.Fatal(err)
				}
			}
			leavesNothing(t, cycle)
		})
	}
}
