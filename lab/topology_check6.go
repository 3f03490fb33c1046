package lab

import (
	"fmt"
	"net/netip"

	"github.com/punchlab/punchlab/lab/nat"
)

var (
	global6 = netip.MustParsePrefix("2000::/3")
	unique6 = netip.MustParsePrefix("fc00::/7")
)

// checkAddr6 holds an address of the document to what hosts can have.
func checkAddr6(ps *Problems, path string, a netip.Addr) bool {
	switch {
	case !a.Is6() || a.Is4In6() || a.Zone() != "":
		ps.add(path, fmt.Sprintf("%v is not an IPv6 address", a))
	case !global6.Contains(a) && !unique6.Contains(a):
		ps.add(path, fmt.Sprintf("impossible address: no host on a network can have %v; take one of 2001:db8::/32", a))
	default:
		return true
	}
	return false
}

// checkGiven6 drops the IPv6 addresses of the document that cannot be any host's, each with a problem.
func (t *Topology) checkGiven6(ps *Problems) {
	for i := range t.Sites {
		s := &t.Sites[i]
		for n, a := range s.WAN6 {
			path := fmt.Sprintf("sites[%d].wan6[%d]", i, n)
			if !s.native6() {
				ps.add(path, "the WAN side has no IPv6: give the site another ipv6 mode, or leave it out")
			} else {
				checkAddr6(ps, path, a)
			}
		}
		if path := sitePath(i, "lan6"); s.LAN6 != (netip.Prefix{}) && !s.checkLAN6(ps, path) {
			s.LAN6 = netip.Prefix{}
		}
		for j := range s.Hosts {
			h := &s.Hosts[j]
			path := hostPath(i, j, "addr6")
			if h.Addr6.IsValid() && !s.HasIPv6() {
				ps.add(path, "the LAN has no IPv6: give the site an ipv6 mode, or leave it out")
			}
			if h.Addr6.IsValid() && !checkAddr6(ps, path, h.Addr6) {
				h.Addr6 = netip.Addr{}
			}
		}
	}
}

func (s *Site) checkLAN6(ps *Problems, path string) bool {
	p := s.LAN6
	switch {
	case !p.IsValid() || !p.Addr().Is6() || p.Addr().Is4In6():
		ps.add(path, fmt.Sprintf("%v is not an IPv6 network", p))
	case p != p.Masked():
		ps.add(path, fmt.Sprintf("%v has host bits set: the network is %v", p, p.Masked()))
	case p.Bits() != lanBits6:
		ps.add(path, fmt.Sprintf("%v is no size for a LAN: /64 (RFC 4291 §2.5.1)", p))
	case !s.HasIPv6():
		ps.add(path, "the LAN has no IPv6: give the site an ipv6 mode, or leave it out")
	case s.Behavior.IPv6 == nat.NPTv6 && !unique6.Contains(p.Addr()):
		ps.add(path, fmt.Sprintf("%v is public, but behind nptv6 hosts have local addresses: take one of fd00::/8", p))
	case s.Behavior.IPv6 != nat.NPTv6 && s.Behind == "" && !global6.Contains(p.Addr()):
		ps.add(path, fmt.Sprintf("%v is not public, and nothing translates here: take one of 2001:db8::/32, or leave it out", p))
	default:
		return true
	}
	return false
}

// checkAddresses6 holds the finished plan to what routers can do.
func (t *Topology) checkAddresses6(ps *Problems) {
	owners := map[netip.Addr]string{} // on the internet
	claim := func(path string, a netip.Addr) {
		if first, ok := owners[a]; ok {
			ps.add(path, fmt.Sprintf("address %v is taken by %s", a, first))
			return
		}
		owners[a] = path
		for i := range t.Sites {
			if s := &t.Sites[i]; s.Behind == "" && s.Net6.IsValid() && s.Net6.Contains(a) {
				ps.add(path, fmt.Sprintf("address %v belongs to %v, which is routed to %s", a, s.Net6, quote(s.Name)))
			}
		}
	}
	for i, p := range t.Public {
		for n, a := range p.Addrs {
			if a.Is6() && global6.Contains(a) {
				claim(fmt.Sprintf("public[%d].addrs[%d]", i, n), a)
			}
		}
	}
	for i := range t.Sites {
		s := &t.Sites[i]
		if !s.HasIPv6() || t.stranded(s) {
			continue
		}
		for n, a := range s.WAN6 {
			path := fmt.Sprintf("sites[%d].wan6[%d]", i, n)
			if outer := t.Site(s.Behind); outer != nil {
				checkOnLAN6(ps, path, outer, a)
			} else {
				claim(path, a)
			}
		}
		t.checkStations6(ps, i, s)
		t.checkNet6(ps, i, s)
	}
}

func checkOnLAN6(ps *Problems, path string, s *Site, a netip.Addr) {
	if s.LAN6.IsValid() && (!s.LAN6.Contains(a) || a == s.LAN6.Addr()) {
		ps.add(path, fmt.Sprintf("impossible address: %v is no host's address in %v, the LAN of %s", a, s.LAN6, quote(s.Name)))
	}
}

// checkStations6 checks everything that has an address on a site's LAN.
func (t *Topology) checkStations6(ps *Problems, i int, s *Site) {
	of := map[netip.Addr]string{s.Gateway6(): "the site's router"}
	claim := func(path string, a netip.Addr) {
		if first, ok := of[a]; ok {
			ps.add(path, fmt.Sprintf("address %v is taken by %s", a, first))
			return
		}
		of[a] = path
	}
	for j, h := range s.Hosts {
		if h.Addr6.IsValid() {
			checkOnLAN6(ps, hostPath(i, j, "addr6"), s, h.Addr6)
			claim(hostPath(i, j, "addr6"), h.Addr6)
		}
	}
	for _, c := range t.children(s) {
		for n, a := range c.WAN6 {
			claim(fmt.Sprintf("sites[%d].wan6[%d]", t.index(c), n), a)
		}
	}
}

// checkNet6: a network exists once, and what is behind another router is a part of what is inside that one.
func (t *Topology) checkNet6(ps *Problems, i int, s *Site) {
	path := sitePath(i, "lan6")
	outer := t.Site(s.Behind)
	switch {
	case outer == nil || !outer.Inside6.IsValid() || !s.Inside6.IsValid() || s.Behavior.IPv6 == nat.NAT64:
	case s.Behavior.IPv6 == nat.NPTv6:
		if outer.Inside6.Overlaps(s.Inside6) {
			ps.add(path, fmt.Sprintf("%v overlaps %v on the router's other side", s.Inside6, outer.Inside6))
		}
	case !outer.Inside6.Contains(s.Inside6.Addr()) || s.Inside6.Overlaps(outer.LAN6):
		ps.add(path, fmt.Sprintf("%v is not a part of %v inside %s, apart from its LAN %v, and nothing translates between them", s.LAN6, outer.Inside6,
			quote(outer.Name), outer.LAN6))
	}
	for k := range i {
		if o := &t.Sites[k]; o.Behind == s.Behind && o.Net6.IsValid() && s.Net6.IsValid() && o.Net6.Overlaps(s.Net6) {
			ps.add(path, fmt.Sprintf("%v overlaps %v of %s", s.Net6, o.Net6, quote(o.Name)))
		}
	}
}
