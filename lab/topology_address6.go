package lab

import (
	"encoding/binary"
	"net/netip"

	"github.com/punchlab/punchlab/lab/nat"
)

// The IPv6 address plan, of a topology in which some site has IPv6. Site number k is the k-th on the fabric, i the i-th of all,
// both from 0 and written in hexadecimal; all but the last lie in the documentation's 2001:db8::/32 (RFC 3849).
//
//	public host p            2001:db8::(2p+1) and (2p+2)
//	WAN6 of a site on the    2001:db8:1:k::1
//	fabric
//	Net6 of such a site      2001:db8:(100+i)::/48            delegated to it (RFC 8415 §6.3), routed to its WAN6
//	Net6 of the c-th site    the (c+1)-th /56 of the outer Inside6, or of a /56 the (c+1)-th /60, of a /60 the (c+1)-th /64
//	behind another
//	Inside6                  Net6, or with nptv6 a network of the same length in fd00:db8:i::/48     (RFC 4193, not drawn by lot)
//	LAN6                     the first /64 of Inside6
//
// On a LAN the router has the first address; the hosts follow in order, then the routers behind it. Nat64 lets no IPv6 out: its
// site has an Inside6, but neither WAN6 nor Net6.
var (
	publicHosts6 = netip.MustParseAddr("2001:db8::")
	uplinks6     = netip.MustParseAddr("2001:db8:1::")
	delegated6   = netip.MustParseAddr("2001:db8:100::")
	local6       = netip.MustParseAddr("fd00:db8::")
)

const (
	siteBits6 = 48 // of a network that is delegated to a site on the fabric
	lanBits6  = 64
)

// native6 says whether the router lets IPv6 through.
func (s *Site) native6() bool { return s.HasIPv6() && s.Behavior.IPv6 != nat.NAT64 }

// anyIPv6 says whether any site has IPv6.
func (t *Topology) anyIPv6() bool {
	for i := range t.Sites {
		if t.Sites[i].HasIPv6() {
			return true
		}
	}
	return false
}

// assignSite6 fills in a site's networks, outer sites before those behind them.
func (t *Topology) assignSite6(i int, s *Site, ps *Problems, taken map[netip.Addr]bool) {
	if !s.HasIPv6() {
		return
	}
	if s.native6() && s.Behind == "" && len(s.WAN6) == 0 {
		link := part6(uplinks6, 64, t.uplinkNumber(s))
		a := link.Addr().Next()
		for taken[a] {
			a = a.Next()
		}
		taken[a] = true
		s.WAN6, s.autoWAN6 = []netip.Addr{a}, a
	}
	net, ok := t.net6(i, s)
	if !ok {
		ps.add(sitePath(i, "ipv6"), "no network is left for its LAN in "+t.Site(s.Behind).Inside6.String()+" of "+quote(s.Behind)+
			": too many routers hang on each other")
		return
	}
	inside := net
	if s.Behavior.IPv6 == nat.NPTv6 {
		inside = netip.PrefixFrom(part6(local6, siteBits6, i).Addr(), net.Bits())
	}
	if s.LAN6.IsValid() {
		inside = netip.PrefixFrom(s.LAN6.Addr(), net.Bits()).Masked()
	} else {
		s.LAN6 = netip.PrefixFrom(inside.Addr(), lanBits6)
		s.autoLAN6 = s.LAN6
	}
	s.Inside6 = inside
	switch s.Behavior.IPv6 {
	case nat.NAT64: // nothing is routed to it
	case nat.NPTv6:
		s.Net6 = net
	default:
		s.Net6 = inside
	}
	t.assignLAN6(i, s)
}

// net6 is the network that the plan has for a site.
func (t *Topology) net6(i int, s *Site) (netip.Prefix, bool) {
	outer := t.Site(s.Behind)
	if outer == nil || !outer.Inside6.IsValid() {
		return part6(delegated6, siteBits6, i), true
	}
	c := 0
	for _, child := range t.children(outer) {
		if child == s {
			break
		}
		c++
	}
	bits := outer.Inside6.Bits() + 4
	if outer.Inside6.Bits() <= siteBits6 {
		bits = outer.Inside6.Bits() + 8
	}
	if bits > lanBits6 || c+1 >= 1<<(bits-outer.Inside6.Bits()) {
		return netip.Prefix{}, false
	}
	return part6(outer.Inside6.Addr(), bits, c+1), true
}

// uplinkNumber counts the sites on the fabric before this one.
func (t *Topology) uplinkNumber(s *Site) (k int) {
	for i := range t.Sites {
		if &t.Sites[i] == s {
			break
		}
		if t.Sites[i].Behind == "" {
			k++
		}
	}
	return k
}

// assignLAN6 gives the hosts and the routers on a LAN their addresses there. A /64 has room for all.
func (t *Topology) assignLAN6(i int, s *Site) {
	taken := map[netip.Addr]bool{s.Gateway6(): true}
	children := t.children(s)
	for _, h := range s.Hosts {
		taken[h.Addr6] = true
	}
	for _, c := range children {
		for _, a := range c.WAN6 {
			taken[a] = true
		}
	}
	next := s.Gateway6()
	free := func() netip.Addr {
		for taken[next] {
			next = next.Next()
		}
		taken[next] = true
		return next
	}
	for j := range s.Hosts {
		if h := &s.Hosts[j]; !h.Addr6.IsValid() {
			h.Addr6 = free()
			h.auto6 = h.Addr6
		}
	}
	for _, c := range children {
		if c.native6() && len(c.WAN6) == 0 {
			a := free()
			c.WAN6, c.autoWAN6 = []netip.Addr{a}, a
		}
	}
}

// assignPublic6 adds two IPv6 addresses to a public host to which Resolve gives addresses.
func (t *Topology) assignPublic6(i int, p *PublicHost, taken map[netip.Addr]bool) {
	a := publicHosts6
	for range 2*i + 1 {
		a = a.Next()
	}
	for n := 0; n < 2; a = a.Next() {
		if !taken[a] {
			taken[a] = true
			p.Addrs = append(p.Addrs, a)
			n++
		}
	}
}

// part6 is the n-th network of that length from an address on.
func part6(base netip.Addr, bits, n int) netip.Prefix {
	b := base.As16()
	high := binary.BigEndian.Uint64(b[:8])
	binary.BigEndian.PutUint64(b[:8], high+uint64(n)<<(64-bits))
	return netip.PrefixFrom(netip.AddrFrom16(b), bits)
}
