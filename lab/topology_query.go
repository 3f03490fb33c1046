package lab

import (
	"net/netip"
	"slices"

	"github.com/punchlab/punchlab/lab/link"
)

// Site returns the site of that name, or nil.
func (t *Topology) Site(name string) *Site {
	for i := range t.Sites {
		if t.Sites[i].Name == name {
			return &t.Sites[i]
		}
	}
	return nil
}

// SiteOf returns the site on whose LAN the host is, or nil for a public host and for an unknown one. Where a host is only on
// standby does not count.
func (t *Topology) SiteOf(host string) *Site {
	for i := range t.Sites {
		for _, h := range t.Sites[i].Hosts {
			if h.Name == host && !h.Standby {
				return &t.Sites[i]
			}
		}
	}
	return nil
}

// StandbyOf lists the names of the sites that a host of another can move to.
func (t *Topology) StandbyOf(host string) (sites []string) {
	for _, s := range t.Sites {
		for _, h := range s.Hosts {
			if h.Name == host && h.Standby {
				sites = append(sites, s.Name)
			}
		}
	}
	return sites
}

// host returns a host on the site's LAN, or nil.
func (s *Site) host(name string) *Host {
	for j := range s.Hosts {
		if s.Hosts[j].Name == name {
			return &s.Hosts[j]
		}
	}
	return nil
}

// Outermost returns the site that connects s to the fabric: s itself, unless it is Behind another.
func (t *Topology) Outermost(s *Site) *Site {
	route := t.route(s)
	return route[len(route)-1]
}

// route lists the sites from s to the fabric, innermost first. It ends at a loop or at an unknown name.
func (t *Topology) route(s *Site) []*Site {
	route := []*Site{s}
	for s.Behind != "" {
		s = t.Site(s.Behind)
		if s == nil || slices.Contains(route, s) {
			break
		}
		route = append(route, s)
	}
	return route
}

// Hosts lists the names of all hosts: those of the sites, then the public ones, in the document's order.
func (t *Topology) Hosts() []string {
	var names []string
	for i := range t.Sites {
		for _, h := range t.Sites[i].Hosts {
			if !h.Standby {
				names = append(names, h.Name)
			}
		}
	}
	for _, p := range t.Public {
		names = append(names, p.Name)
	}
	return names
}

// HostAddr returns a host's addresses, IPv4 first, or nil for an unknown host. Those of an interface on standby do not count.
func (t *Topology) HostAddr(host string) []netip.Addr {
	for _, p := range t.Public {
		if p.Name == host {
			return slices.Clone(p.Addrs)
		}
	}
	if s := t.SiteOf(host); s != nil {
		return s.host(host).addrs()
	}
	return nil
}

func (h *Host) addrs() []netip.Addr {
	return slices.DeleteFunc([]netip.Addr{h.Addr, h.Addr6}, func(a netip.Addr) bool { return !a.IsValid() })
}

// Path returns what a packet between two hosts meets. Hosts under the same outermost router meet nothing. The path of a
// host that the topology has not is zero.
func (t *Topology) Path(from, to string) Path {
	a, okA := t.access(from)
	b, okB := t.access(to)
	if !okA || !okB {
		return Path{}
	}
	if a.name == b.name {
		return Path{MTU: defaultMTU}
	}
	return Path{
		Delay: a.profile.Up.Delay + b.profile.Down.Delay,
		Rate:  slower(rate(a.profile.Up), rate(b.profile.Down)),
		MTU:   min(mtu(a.profile.Up), mtu(b.profile.Down)),
	}
}

// access is a host's way onto the fabric.
type access struct {
	name    string // of the site or public host that owns the link; unique in a topology
	profile link.Profile
}

func (t *Topology) access(host string) (access, bool) {
	for _, p := range t.Public {
		if p.Name == host {
			return access{p.Name, p.Profile}, true
		}
	}
	s := t.SiteOf(host)
	if s == nil {
		return access{}, false
	}
	outer := t.Outermost(s)
	return access{outer.Name, outer.Profile}, true
}

// slower returns the lower of two rates, where 0 means unlimited.
func slower(a, b int64) int64 {
	if a == 0 || (b != 0 && b < a) {
		return b
	}
	return a
}

// rate is a link's, or the mean of its trace; 0 means unlimited.
func rate(i link.Impairment) int64 {
	if i.Trace != nil {
		return i.Trace.Rate()
	}
	return i.Rate
}

func mtu(i link.Impairment) int {
	if i.MTU == 0 {
		return defaultMTU
	}
	return i.MTU
}

// Subnets returns the networks of the sites directly behind this one that its hosts see: the public LANs, one for each that is
// nat.NoNAT, and what is inside those with IPv6.
func (t *Topology) Subnets(site string) []Subnet {
	var out []Subnet
	for i := range t.Sites {
		s := &t.Sites[i]
		if s.Behind != site || t.stranded(s) {
			continue
		}
		if s.Public() && len(s.WAN) > 0 {
			out = append(out, Subnet{Prefix: s.LAN, Via: s.WAN[0]})
		}
		if s.Net6.IsValid() && len(s.WAN6) > 0 {
			out = append(out, Subnet{Prefix: s.Net6, Via: s.WAN6[0]})
		}
	}
	return out
}

// stranded says whether following Behind from s never reaches the fabric: there is a loop, or a site that does not exist.
func (t *Topology) stranded(s *Site) bool {
	return t.Outermost(s).Behind != ""
}
