package lab_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/punchlab/punchlab/lab"
	"github.com/punchlab/punchlab/lab/nat"
)

// Any tree of routers with any NATs has an address plan that routers can follow, always the same one.
func TestTopologyPlanIsSound(t *testing.T) {
	var nats []string
	for _, p := range nat.Presets() {
		nats = append(nats, p.Name)
	}
	rapid.Check(t, func(t *rapid.T) {
		topo := &lab.Topology{Name: "x"}
		n := rapid.IntRange(1, 12).Draw(t, "sites")
		for i := range n {
			s := lab.Site{Name: fmt.Sprintf("s%d", i), NAT: rapid.SampledFrom(nats).Draw(t, "nat"), Link: "lan"}
			if i > 0 && rapid.Bool().Draw(t, "nested") {
				s.Behind, s.Link = fmt.Sprintf("s%d", rapid.IntRange(0, i-1).Draw(t, "behind")), ""
			}
			for j := range rapid.IntRange(0, 20).Draw(t, "hosts") {
				s.Hosts = append(s.Hosts, lab.Host{Name: fmt.Sprintf("h%d-%d", i, j)})
			}
			topo.Sites = append(topo.Sites, s)
		}
		topo.Public = []lab.PublicHost{{Name: "p", Link: "lan"}, {Name: "q", Link: "lan"}}
		slices.Reverse(topo.Sites) // inner before outer, so that the document's order is not the plan's
		if err := topo.Resolve(); err != nil {
			// Public LANs within public LANs can run out of room; nothing else may fail.
			if !strings.Contains(err.Error(), "no room in the LAN") && !strings.Contains(err.Error(), "no address is left in") {
				t.Fatal(err)
			}
			return
		}
		checkPlan(t, topo)
		again := topo.Clone()
		if err := again.Resolve(); err != nil || again.Digest() != topo.Digest() {
			t.Fatalf("resolving again gives another topology: %v", err)
		}
	})
}

func checkPlan(t *rapid.T, topo *lab.Topology) {
	visible := map[string]map[netip.Addr]string{} // network ("" is the internet) → address → owner
	claim := func(network string, a netip.Addr, owner string) {
		if visible[network] == nil {
			visible[network] = map[netip.Addr]string{}
		}
		if other, ok := visible[network][a]; ok {
			t.Fatalf("%s and %s both have %v\n%v", owner, other, a, topo)
		}
		visible[network][a] = owner
	}
	for i := range topo.Sites {
		s := &topo.Sites[i]
		for _, a := range s.WAN {
			claim(s.Behind, a, "router "+s.Name)
			if outer := topo.Site(s.Behind); outer != nil && !outer.LAN.Contains(a) {
				t.Fatalf("router %s has %v outside %v\n%v", s.Name, a, outer.LAN, topo)
			}
		}
		claim(s.Name, s.Gateway(), "gateway "+s.Name)
		for _, h := range s.Hosts {
			if !s.LAN.Contains(h.Addr) {
				t.Fatalf("%s has %v outside %v\n%v", h.Name, h.Addr, s.LAN, topo)
			}
			claim(s.Name, h.Addr, h.Name)
			for network := s; network.Public(); network = topo.Site(network.Behind) {
				claim(network.Behind, h.Addr, h.Name)
				if network.Behind == "" {
					break
				}
			}
		}
		if outer := topo.Site(s.Behind); outer != nil && !s.Public() && outer.LAN.Overlaps(s.LAN) {
			t.Fatalf("router %s has %v on both sides\n%v", s.Name, s.LAN, topo)
		}
	}
	for _, p := range topo.Public {
		for _, a := range p.Addrs {
			claim("", a, p.Name)
		}
	}
}
