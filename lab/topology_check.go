package lab

import (
	"fmt"
	"net/netip"
)

// Sizes of a LAN, in bits of the prefix.
const (
	smallestLAN = 29
	largestLAN  = 8
)

// Networks that mean something else than a host on the internet.
var (
	private = []netip.Prefix{
		netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("172.16.0.0/12"), netip.MustParsePrefix("192.168.0.0/16"),
		netip.MustParsePrefix("100.64.0.0/10"),
	}
	nobody = []netip.Prefix{
		netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("169.254.0.0/16"),
		netip.MustParsePrefix("224.0.0.0/3"),
	}
)

func overlapsAny(list []netip.Prefix, p netip.Prefix) bool {
	for _, n := range list {
		if n.Overlaps(p) {
			return true
		}
	}
	return false
}

func within(list []netip.Prefix, p netip.Prefix) bool {
	for _, n := range list {
		if n.Bits() <= p.Bits() && n.Contains(p.Addr()) {
			return true
		}
	}
	return false
}

func containsAny(list []netip.Prefix, a netip.Addr) bool {
	return within(list, netip.PrefixFrom(a, a.BitLen()))
}

// checkGiven drops the addresses of the document that cannot be any host's, each with a problem, so that what follows meets
// sound IPv4 addresses only.
func (t *Topology) checkGiven(ps *Problems) {
	for i := range t.Sites {
		s := &t.Sites[i]
		for n, a := range s.WAN {
			path := fmt.Sprintf("sites[%d].wan[%d]", i, n)
			if checkAddr(ps, path, a) && !s.hasWAN4() {
				ps.add(path, "the WAN side has no IPv4: leave it out")
			}
		}
		if s.NoIPv4 && s.LAN != (netip.Prefix{}) {
			ps.add(sitePath(i, "lan"), "the LAN has no IPv4: leave it out")
			s.LAN = netip.Prefix{}
		}
		if s.LAN != (netip.Prefix{}) && !checkPrefix(ps, sitePath(i, "lan"), s.LAN) {
			s.LAN = netip.Prefix{}
		}
		for j := range s.Hosts {
			h := &s.Hosts[j]
			if h.Addr.IsValid() && !checkAddr(ps, hostPath(i, j, "addr"), h.Addr) {
				h.Addr = netip.Addr{}
			}
			if s.NoIPv4 && h.Addr.IsValid() {
				ps.add(hostPath(i, j, "addr"), "the LAN has no IPv4: leave it out")
			}
		}
	}
	for i := range t.Public {
		for n, a := range t.Public[i].Addrs {
			path := fmt.Sprintf("public[%d].addrs[%d]", i, n)
			switch {
			case !a.Is6() || a.Is4In6():
				checkAddr(ps, path, a)
			case checkAddr6(ps, path, a) && unique6.Contains(a):
				ps.add(path, fmt.Sprintf("impossible address: %v is local, and the internet does not route it; take one of 2001:db8::/32", a))
			}
		}
	}
	t.checkGiven6(ps)
}

func checkAddr(ps *Problems, path string, a netip.Addr) bool {
	switch {
	case !a.Is4():
		ps.add(path, fmt.Sprintf("%v is not an IPv4 address", a))
	case containsAny(nobody, a):
		ps.add(path, fmt.Sprintf("impossible address: no host on a network can have %v", a))
	default:
		return true
	}
	return false
}

func checkPrefix(ps *Problems, path string, p netip.Prefix) bool {
	switch {
	case !p.IsValid() || !p.Addr().Is4():
		ps.add(path, fmt.Sprintf("%v is not an IPv4 network", p))
	case p != p.Masked():
		ps.add(path, fmt.Sprintf("%v has host bits set: the network is %v", p, p.Masked()))
	case p.Bits() < largestLAN || p.Bits() > smallestLAN:
		ps.add(path, fmt.Sprintf("%v is no size for a LAN: /%d to /%d", p, largestLAN, smallestLAN))
	case overlapsAny(nobody, p):
		ps.add(path, fmt.Sprintf("impossible network: no host can have an address in %v", p))
	default:
		return true
	}
	return false
}

// checkAddresses holds the finished plan to what routers can do.
func (t *Topology) checkAddresses(ps *Problems) {
	global := &owners{ps: ps, of: map[netip.Addr]string{}}
	for i := range t.Public {
		for n, a := range t.Public[i].Addrs {
			global.claim(fmt.Sprintf("public[%d].addrs[%d]", i, n), a)
		}
	}
	for i := range t.Sites {
		s := &t.Sites[i]
		if t.stranded(s) {
			continue
		}
		outer := t.Site(s.Behind)
		for n, a := range s.WAN {
			path := fmt.Sprintf("sites[%d].wan[%d]", i, n)
			if s.Behind == "" {
				global.claim(path, a)
			} else if outer != nil {
				checkOnLAN(ps, path, outer, a)
			}
		}
		t.checkLAN(ps, i, s)
		t.checkStations(ps, i, s)
	}
	t.checkPublicLANs(ps, global)
	t.checkAddresses6(ps)
}

// owners finds addresses that two claim.
type owners struct {
	ps *Problems
	of map[netip.Addr]string
}

func (o *owners) claim(path string, a netip.Addr) {
	if !a.Is4() || containsAny(nobody, a) {
		return // reported already
	}
	if containsAny(private, a) {
		o.ps.add(path, fmt.Sprintf("impossible address: %v is private, and the internet does not route it; take one of 203.0.113.0/24", a))
		return
	}
	if first, ok := o.of[a]; ok {
		o.ps.add(path, fmt.Sprintf("address %v is taken by %s", a, first))
		return
	}
	o.of[a] = path
}

// checkLAN: private behind a NAT and apart from the network on the router's other side; public, or a part of the outer LAN,
// without one.
func (t *Topology) checkLAN(ps *Problems, i int, s *Site) {
	if !s.LAN.IsValid() {
		return
	}
	path := sitePath(i, "lan")
	outer := t.Site(s.Behind)
	switch {
	case !s.Public() && !within(private, s.LAN):
		ps.add(path, fmt.Sprintf("%v is public, but behind a NAT hosts have private addresses: take one of 192.168.0.0/16", s.LAN))
	case s.Public() && s.Behind == "" && overlapsAny(private, s.LAN):
		ps.add(path, fmt.Sprintf("%v is private, but nothing translates here (%s): take one of 203.0.113.0/24, or leave it out", s.LAN, s.NAT))
	case outer == nil || !outer.LAN.IsValid():
	case !s.Public() && outer.LAN.Overlaps(s.LAN):
		ps.add(path, fmt.Sprintf("%v overlaps %v on the router's other side (the LAN of %s)", s.LAN, outer.LAN, quote(outer.Name)))
	case s.Public() && (!outer.LAN.Contains(s.LAN.Addr()) || s.LAN.Bits() <= outer.LAN.Bits()):
		ps.add(path, fmt.Sprintf("%v is not a part of %v, the LAN of %s, and nothing translates between them (%s)", s.LAN, outer.LAN,
			quote(outer.Name), s.NAT))
	}
}

// checkStations checks everything that has an address on a site's LAN: hosts, routers behind it, and their public LANs.
func (t *Topology) checkStations(ps *Problems, i int, s *Site) {
	if !s.LAN.IsValid() {
		return
	}
	of := map[netip.Addr]string{s.Gateway(): "the site's router"}
	type station struct {
		path string
		addr netip.Addr
	}
	var all []station
	for j, h := range s.Hosts {
		if h.Addr.IsValid() {
			checkOnLAN(ps, hostPath(i, j, "addr"), s, h.Addr)
			all = append(all, station{hostPath(i, j, "addr"), h.Addr})
		}
	}
	children := t.children(s)
	for _, c := range children {
		for n, a := range c.WAN {
			all = append(all, station{fmt.Sprintf("sites[%d].wan[%d]", t.index(c), n), a})
		}
	}
	for _, st := range all {
		if first, ok := of[st.addr]; ok {
			ps.add(st.path, fmt.Sprintf("address %v is taken by %s", st.addr, first))
			continue
		}
		of[st.addr] = st.path
		for _, c := range children {
			if c.Public() && c.LAN.IsValid() && c.LAN.Contains(st.addr) {
				ps.add(st.path, fmt.Sprintf("address %v belongs to %v, the LAN of %s", st.addr, c.LAN, quote(c.Name)))
			}
		}
	}
	for a, c := range children {
		for _, d := range children[:a] {
			if c.Public() && d.Public() && c.LAN.IsValid() && c.LAN.Overlaps(d.LAN) {
				ps.add(sitePath(t.index(c), "lan"), fmt.Sprintf("%v overlaps %v of %s", c.LAN, d.LAN, quote(d.Name)))
			}
		}
	}
}

func checkOnLAN(ps *Problems, path string, s *Site, a netip.Addr) {
	if s.LAN.IsValid() && a.Is4() && !containsAny(nobody, a) && !usable(s.LAN, a) {
		ps.add(path, fmt.Sprintf("impossible address: %v is no host's address in %v, the LAN of %s", a, s.LAN, quote(s.Name)))
	}
}

// checkPublicLANs: on the internet a network exists once.
func (t *Topology) checkPublicLANs(ps *Problems, global *owners) {
	var seen []*Site
	for i := range t.Sites {
		s := &t.Sites[i]
		if s.Behind != "" || !s.Public() || !s.LAN.IsValid() {
			continue
		}
		for _, other := range seen {
			if other.LAN.Overlaps(s.LAN) {
				ps.add(sitePath(i, "lan"), fmt.Sprintf("%v overlaps %v of %s", s.LAN, other.LAN, quote(other.Name)))
			}
		}
		seen = append(seen, s)
		t.eachGlobal(func(path string, a netip.Addr) {
			if global.of[a] == path && s.LAN.Contains(a) {
				ps.add(path, fmt.Sprintf("address %v belongs to %v, the LAN of %s", a, s.LAN, quote(s.Name)))
			}
		})
	}
}

// eachGlobal visits the addresses on the fabric in the document's order.
func (t *Topology) eachGlobal(visit func(path string, a netip.Addr)) {
	for i := range t.Sites {
		if t.Sites[i].Behind != "" {
			continue
		}
		for n, a := range t.Sites[i].WAN {
			visit(fmt.Sprintf("sites[%d].wan[%d]", i, n), a)
		}
	}
	for i := range t.Public {
		for n, a := range t.Public[i].Addrs {
			visit(fmt.Sprintf("public[%d].addrs[%d]", i, n), a)
		}
	}
}
