package lab_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/punchlab/punchlab/lab"
	"github.com/punchlab/punchlab/lab/nat"
)

// What leads furthest counts: the family, a port mapping, or TCP.
func TestTopologyChance(t *testing.T) {
	sure := func(p nat.Prospect, via string, silent int) nat.Chance {
		return nat.Chance{Prospect: p, Sockets: 1, Probes: 1, P: 1, Via: via, Silent: silent}
	}
	birthday := nat.Chance{Prospect: nat.Birthday, Sockets: 256, Probes: 718, Ports: 40001, P: nat.Collision(256, 718, 40001), Via: nat.ViaUDP}
	site := func(preset, portmap string) lab.Site { return lab.Site{NAT: preset, PortMap: portmap} }
	six := func(preset string) lab.Site { return lab.Site{NAT: preset, IPv6: "firewall"} }
	noUDP := func(s lab.Site) lab.Site {
		s.Override = map[string]string{"udp-blocked": "true"}
		return s
	}
	pool := lab.Site{NAT: "symmetric", Override: map[string]string{"pooling": "arbitrary"}}
	for _, test := range []struct {
		name string
		a, b lab.Site
		want nat.Chance
	}{
		{"IPv4", site("full-cone", ""), site("symmetric", ""), sure(nat.Direct, nat.ViaUDP, 0)},
		{"IPv6 where IPv4 is no use", six("symmetric"), six("symmetric"), sure(nat.Direct, nat.ViaUDP6, 0)},
		{"IPv4 where both are", six("full-cone"), six("full-cone"), sure(nat.Direct, nat.ViaUDP, 0)},
		{"guessing", site("port-restricted-cone", ""), site("symmetric", ""), birthday},
		{"a mapping is better than guessing", site("port-restricted-cone", "pcp"), site("symmetric", ""), sure(nat.Portmap, nat.ViaPortmap, 0)},
		{"of the viewer", site("symmetric", ""), site("symmetric", "upnp-other-port"), sure(nat.Portmap, nat.ViaPortmap, 0)},
		{"who has it must wait for a strict filter", site("symmetric", "nat-pmp"), site("port-restricted-cone", ""), sure(nat.Portmap, nat.ViaPortmap, 1)},
		{"of both", site("symmetric", "all"), site("symmetric", "all"), sure(nat.Portmap, nat.ViaPortmap, 0)},
		{"of a firewall", site("firewall", "pcp"), site("symmetric", ""), sure(nat.Portmap, nat.ViaPortmap, 0)},
		{"of Linux", site("linux", "pcp"), site("symmetric", ""), sure(nat.Portmap, nat.ViaPortmap, 0)},
		{"what needs no mapping", site("full-cone", "all"), site("symmetric", ""), sure(nat.Direct, nat.ViaUDP, 0)},
		{"refused", site("port-restricted-cone", "refused"), site("symmetric", ""), birthday},
		{"silent", site("port-restricted-cone", "silent"), site("symmetric", ""), birthday},
		{"lying", site("port-restricted-cone", "lying"), site("symmetric", ""), birthday},
		{"forgotten", site("port-restricted-cone", "expired"), site("symmetric", ""), birthday},
		{"TCP", noUDP(site("firewall", "")), site("linux", ""), sure(nat.Direct, nat.ViaTCP, 0)},
		{"TCP by IPv6", noUDP(six("symmetric")), six("symmetric"), sure(nat.Direct, nat.ViaTCP6, 0)},
		{"TCP to a mapped port", noUDP(site("symmetric", "upnp")), site("symmetric", ""), sure(nat.Portmap, nat.ViaPortmap, 0)},
		{"a pool of one address", pool, site("port-restricted-cone", ""), birthday},
	} {
		topo := meet(t, test.a, test.b)
		if d := cmp.Diff(test.want, topo.Chance("camera", "viewer")); d != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, d)
		}
		if got := topo.Oracle("camera", "viewer"); got != test.want.Prospect {
			t.Errorf("%s: the oracle says %v, want %v", test.name, got, test.want.Prospect)
		}
	}
}

func TestTopologyChanceOfNeighbours(t *testing.T) {
	topo := carrierAndHome()
	topo.Sites[0].Hosts = append(topo.Sites[0].Hosts, lab.Host{Name: "neighbour"})
	topo.Sites[0].PortMap = "all" // behind a carrier's NAT
	if err := topo.Resolve(); err != nil {
		t.Fatal(err)
	}
	if got := topo.Chance("camera", "neighbour"); got.Prospect != nat.Direct || got.Via != nat.ViaLAN {
		t.Errorf("hosts on one LAN: %+v", got)
	}
	for _, s := range []string{"home", "viewer"} {
		if err := topo.Set(s+".nat", "symmetric"); err != nil {
			t.Fatal(err)
		}
	}
	if got := topo.Chance("camera", "viewer"); got.Prospect != nat.RelayOnly {
		t.Errorf("a mapping in the inner of two routers: %+v", got)
	}
}
