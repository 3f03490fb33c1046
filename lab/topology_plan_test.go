package lab_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	_ "github.com/punchlab/punchlab/lab/internal/steady"
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
		families := rapid.SampledFrom([]string{"4", "46", "6", "any"}).Draw(t, "families")
		modes := lab.IPv6Modes()
		if families != "any" { // so that most trees make sense
			modes = slices.DeleteFunc(modes, func(m string) bool { return m == lab.IPv6None || m == lab.IPv6NAT64 })
		}
		for i := range n {
			s := lab.Site{Name: fmt.Sprintf("s%d", i), NAT: rapid.SampledFrom(nats).Draw(t, "nat"), Link: "lan"}
			if families != "4" {
				s.IPv6 = rapid.SampledFrom(modes).Draw(t, "ipv6")
				s.NoIPv4 = families == "6" || families == "any" && rapid.Bool().Draw(t, "ipv4")
			}
			if i > 0 && rapid.Bool().Draw(t, "nested") {
				s.Behind, s.Link = fmt.Sprintf("s%d", rapid.IntRange(0, i-1).Draw(t, "behind")), ""
			}
			for j := range rapid.IntRange(0, 20).Draw(t, "hosts") {
				s.Hosts = append(s.Hosts, lab.Host{Name: fmt.Sprintf("h%d-%d", i, j)})
			}
			if i > 0 && len(topo.Sites[0].Hosts) > 0 && rapid.Bool().Draw(t, "standby") {
				s.Hosts = append(s.Hosts, lab.Host{Name: "h0-0", Standby: true})
			}
			topo.Sites = append(topo.Sites, s)
		}
		topo.Public = []lab.PublicHost{{Name: "p", Link: "lan"}, {Name: "q", Link: "lan"}}
		slices.Reverse(topo.Sites) // inner before outer, so that the document's order is not the plan's
		if err := topo.Resolve(); err != nil {
			// Networks within networks can run out of room, and modes can contradict each other; nothing else may fail.
			for _, line := range strings.Split(err.Error(), "\n") {
				if !slices.ContainsFunc(excuses, func(e string) bool { return strings.Contains(line, e) }) {
					t.Fatal(line)
				}
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

var excuses = []string{
	"no room in the LAN", "no address is left in", "no network is left", "has neither IPv4 nor IPv6", "has no IPv6: give that one",
	"has no IPv4: set ipv4: false", "nat64 translates", "NAT64 needs kind translate", "does not count the flows of NAT64",
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
		for _, a := range slices.Concat(s.WAN, s.WAN6) {
			claim(s.Behind, a, "router "+s.Name)
			if outer := topo.Site(s.Behind); outer != nil && !outer.LAN.Contains(a) && !outer.LAN6.Contains(a) {
				t.Fatalf("router %s has %v outside %v\n%v", s.Name, a, outer.LAN, topo)
			}
		}
		checkPlan6(t, topo, s, claim)
		if s.NoIPv4 {
			if s.LAN.IsValid() || s.Gateway().IsValid() {
				t.Fatalf("%s has LAN %v without IPv4", s.Name, s.LAN)
			}
			continue
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
			for i := range topo.Sites {
				if s := &topo.Sites[i]; s.Behind == "" && s.Net6.Contains(a) {
					t.Fatalf("%s has %v, which is routed to %s", p.Name, a, s.Name)
				}
			}
			claim("", a, p.Name)
		}
	}
}

// checkPlan6: what is inside a router is routed to it, to it alone, and stations on its LAN have addresses there.
func checkPlan6(t *rapid.T, topo *lab.Topology, s *lab.Site, claim func(string, netip.Addr, string)) {
	if !s.HasIPv6() {
		if s.LAN6.IsValid() || s.Net6.IsValid() || s.Inside6.IsValid() || len(s.WAN6) > 0 {
			t.Fatalf("%s has addresses of IPv6 without IPv6: %+v", s.Name, s)
		}
		return
	}
	claim(s.Name, s.Gateway6(), "gateway "+s.Name)
	for _, h := range s.Hosts {
		if !s.LAN6.Contains(h.Addr6) {
			t.Fatalf("%s has %v outside %v\n%v", h.Name, h.Addr6, s.LAN6, topo)
		}
		claim(s.Name, h.Addr6, h.Name)
	}
	within := func(outer, inner netip.Prefix) bool {
		return outer.Contains(inner.Addr()) && outer.Bits() <= inner.Bits()
	}
	if !within(s.Inside6, s.LAN6) || s.LAN6.Bits() != 64 {
		t.Fatalf("%s has LAN %v outside %v", s.Name, s.LAN6, s.Inside6)
	}
	if translates := s.Behavior.IPv6 == nat.NPTv6; s.Net6.IsValid() && (s.Net6 == s.Inside6) == translates || s.Net6.Bits() > 0 && s.Net6.Bits() != s.Inside6.Bits() {
		t.Fatalf("%s, %v: %v inside, %v outside", s.Name, s.Behavior.IPv6, s.Inside6, s.Net6)
	}
	if (s.Behavior.IPv6 == nat.NAT64) != (len(s.WAN6) == 0) || s.Net6.IsValid() == (len(s.WAN6) == 0) {
		t.Fatalf("%s, %v: WAN %v, routed to it %v", s.Name, s.Behavior.IPv6, s.WAN6, s.Net6)
	}
	if outer := topo.Site(s.Behind); outer != nil && s.Net6.IsValid() && (!within(outer.Inside6, s.Net6) || s.Net6.Overlaps(outer.LAN6)) {
		t.Fatalf("%s: %v is no part of %v apart from %v", s.Name, s.Net6, outer.Inside6, outer.LAN6)
	}
	for i := range topo.Sites {
		o := &topo.Sites[i]
		if o.Name != s.Name && o.Behind == s.Behind && s.Net6.IsValid() && o.Net6.IsValid() && o.Net6.Overlaps(s.Net6) {
			t.Fatalf("%s and %s both have %v", s.Name, o.Name, s.Net6)
		}
	}
}
