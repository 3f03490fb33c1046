package lab

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
)

// The IPv4 address plan. Site number k is the k-th on the fabric, i the i-th of all, both from 0.
//
//	public host p            198.51.100.(2p+1) and (2p+2)         RFC 5737
//	WAN of a site on the     203.0.113.(32k)/27 for k < 8, then    RFC 5737; router from .1 up
//	fabric                   192.0.2.(32(k−8))/27 for k < 16
//	LAN of such a NoNAT      the upper half of that /27            12 hosts
//	  or, being too many,    198.18.i.0/24                         RFC 2544
//	LAN behind a NAT         192.168.(i+1).0/24                    RFC 1918
//	  with sites behind it   100.(64+i).0.0/16                     RFC 6598
//	LAN of a NoNAT behind    a part of the outer site's LAN: of a /16 the (c+1)-th /24, of a smaller one the (8+c)-th
//	another                  sixteenth, for its c-th site
//
// On a LAN the router has the first address; the hosts follow in order, then the routers behind it. An address that the
// document gives is used as it is, and automatic ones keep clear of it.
var (
	publicHosts = netip.MustParseAddr("198.51.100.0")
	siteBlocks  = [...]netip.Addr{netip.MustParseAddr("203.0.113.0"), netip.MustParseAddr("192.0.2.0")}
	bigPublic   = netip.MustParseAddr("198.18.0.0")
	homes       = netip.MustParseAddr("192.168.0.0")
	carriers    = netip.MustParseAddr("100.64.0.0")
)

const (
	blockSize    = 32 // addresses in the block of a site on the fabric
	blocksPer    = 256 / blockSize
	smallLANSize = 12 // hosts that fit into half a block
)

// forget drops what an earlier Resolve gave.
func (t *Topology) forget() {
	for i := range t.Sites {
		s := &t.Sites[i]
		if s.autoWAN.IsValid() && slices.Equal(s.WAN, []netip.Addr{s.autoWAN}) {
			s.WAN = nil
		}
		if s.LAN == s.autoLAN {
			s.LAN = netip.Prefix{}
		}
		if s.autoWAN6.IsValid() && slices.Equal(s.WAN6, []netip.Addr{s.autoWAN6}) {
			s.WAN6 = nil
		}
		if s.LAN6 == s.autoLAN6 {
			s.LAN6 = netip.Prefix{}
		}
		s.Net6, s.Inside6 = netip.Prefix{}, netip.Prefix{}
		for j := range s.Hosts {
			if h := &s.Hosts[j]; h.Addr == h.auto {
				h.Addr = netip.Addr{}
			}
			if h := &s.Hosts[j]; h.Addr6 == h.auto6 {
				h.Addr6 = netip.Addr{}
			}
		}
	}
	for i := range t.Public {
		if p := &t.Public[i]; slices.Equal(p.Addrs, p.auto) {
			p.Addrs = nil
		}
	}
}

// assign fills in what is missing, outer sites before those behind them. Where it finds no room it says so; sites that
// nothing connects stay as they are.
func (t *Topology) assign(ps *Problems) {
	taken := t.given()
	t.assignPublic(ps, taken)
	for depth := 1; depth <= len(t.Sites); depth++ {
		for i := range t.Sites {
			s := &t.Sites[i]
			if !t.stranded(s) && len(t.route(s)) == depth {
				t.assignSite(i, s, ps, taken)
				t.assignSite6(i, s, ps, taken)
			}
		}
	}
}

// given is the set of global addresses that the document names.
func (t *Topology) given() map[netip.Addr]bool {
	taken := map[netip.Addr]bool{}
	for _, p := range t.Public {
		for _, a := range p.Addrs {
			taken[a] = true
		}
	}
	for _, s := range t.Sites {
		for _, a := range slices.Concat(s.WAN, s.WAN6) {
			taken[a] = true
		}
	}
	return taken
}

func (t *Topology) assignPublic(ps *Problems, taken map[netip.Addr]bool) {
	for i := range t.Public {
		p := &t.Public[i]
		if len(p.Addrs) > 0 {
			continue
		}
		pool := netip.PrefixFrom(publicHosts, 24)
		for n := 2*i + 1; len(p.Addrs) < 2; n++ {
			a := offset(publicHosts, n)
			if !pool.Contains(a) {
				ps.add(publicPath(i, "addrs"), "no address is left in "+pool.String()+": name some")
				break
			}
			if !taken[a] {
				taken[a] = true
				p.Addrs = append(p.Addrs, a)
			}
		}
		if t.anyIPv6() {
			t.assignPublic6(i, p, taken)
		}
		p.auto = slices.Clone(p.Addrs)
	}
}

func (t *Topology) assignSite(i int, s *Site, ps *Problems, taken map[netip.Addr]bool) {
	if s.Behind == "" && len(s.WAN) == 0 && s.hasWAN4() {
		block, ok := t.block(s)
		for n := 1; ok && n < blockSize/2 && len(s.WAN) == 0; n++ {
			if a := offset(block, n); !taken[a] {
				taken[a] = true
				s.WAN, s.autoWAN = []netip.Addr{a}, a
			}
		}
		if len(s.WAN) == 0 {
			ps.add(sitePath(i, "wan"), fmt.Sprintf("no address is left for it (the plan has room for %d sites): name one",
				len(siteBlocks)*blocksPer))
		}
	}
	if !s.LAN.IsValid() && !s.NoIPv4 {
		switch {
		case s.Public() && s.Behind != "":
			s.LAN = t.nestedLAN(s)
			if !s.LAN.IsValid() {
				ps.add(sitePath(i, "lan"), "no room in the LAN of "+quote(s.Behind)+": name a part of it, or give that one a larger LAN")
			}
		case s.Public():
			s.LAN = t.publicLAN(s)
		default:
			s.LAN = t.privateLAN(i, s)
		}
		s.autoLAN = s.LAN
	}
	t.assignLAN(i, s, ps)
}

// block is the first address of the 32 that belong to a site on the fabric.
func (t *Topology) block(s *Site) (netip.Addr, bool) {
	k := t.uplinkNumber(s)
	if k >= len(siteBlocks)*blocksPer {
		return netip.Addr{}, false
	}
	return offset(siteBlocks[k/blocksPer], k%blocksPer*blockSize), true
}

func (t *Topology) publicLAN(s *Site) netip.Prefix {
	block, ok := t.block(s)
	if ok && len(t.children(s)) == 0 && len(s.Hosts) <= smallLANSize {
		return netip.PrefixFrom(offset(block, blockSize/2), 28)
	}
	return netip.PrefixFrom(offset(bigPublic, t.index(s)<<8), 24)
}

// privateLAN keeps clear of the LANs that the document gives: a router with one network on both sides routes nothing.
func (t *Topology) privateLAN(i int, s *Site) netip.Prefix {
	if len(t.children(s)) > 0 {
		return netip.PrefixFrom(offset(carriers, i<<16), 16)
	}
	for x := 0; x < 254; x++ {
		p := netip.PrefixFrom(offset(homes, ((i+x)%254+1)<<8), 24)
		if outer := t.Site(s.Behind); outer == nil || !outer.LAN.Overlaps(p) {
			return p
		}
	}
	return netip.Prefix{}
}

// nestedLAN is a part of the outer site's LAN; not valid if that has no room.
func (t *Topology) nestedLAN(s *Site) netip.Prefix {
	outer := t.Site(s.Behind).LAN
	c := 0
	for _, child := range t.children(t.Site(s.Behind)) {
		if child == s {
			break
		}
		c++
	}
	switch {
	case !outer.IsValid() || !outer.Addr().Is4():
		return netip.Prefix{}
	case outer.Bits() <= 16 && c+1 < 256:
		return netip.PrefixFrom(offset(outer.Masked().Addr(), (c+1)<<8), 24)
	case outer.Bits() <= 24 && c < 8:
		bits := outer.Bits() + 4
		return netip.PrefixFrom(offset(outer.Masked().Addr(), (8+c)<<(32-bits)), bits)
	}
	return netip.Prefix{}
}

// children lists the sites directly behind s.
func (t *Topology) children(s *Site) []*Site {
	var out []*Site
	for i := range t.Sites {
		if t.Sites[i].Behind == s.Name {
			out = append(out, &t.Sites[i])
		}
	}
	return out
}

// assignLAN gives the hosts and the routers on a LAN their addresses there.
func (t *Topology) assignLAN(i int, s *Site, ps *Problems) {
	if !s.LAN.IsValid() || !s.LAN.Addr().Is4() {
		return
	}
	children := t.children(s)
	taken := map[netip.Addr]bool{s.Gateway(): true}
	for _, h := range s.Hosts {
		taken[h.Addr] = true
	}
	for _, c := range children {
		for _, a := range c.WAN {
			taken[a] = true
		}
	}
	next := s.Gateway()
	free := func() (netip.Addr, bool) {
		for taken[next] {
			next = next.Next()
		}
		taken[next] = true
		return next, usable(s.LAN, next)
	}
	for j := range s.Hosts {
		h := &s.Hosts[j]
		if h.Addr.IsValid() {
			continue
		}
		a, ok := free()
		if !ok {
			ps.add(hostPath(i, j, "addr"), "no address is left in "+s.LAN.String())
			return
		}
		h.Addr, h.auto = a, a
	}
	for _, c := range children {
		if len(c.WAN) > 0 || !c.hasWAN4() {
			continue
		}
		a, ok := free()
		if !ok {
			ps.add(sitePath(t.index(c), "wan"), "no address is left in "+s.LAN.String()+" of "+quote(s.Name))
			return
		}
		c.WAN, c.autoWAN = []netip.Addr{a}, a
	}
}

func (t *Topology) index(s *Site) int {
	for i := range t.Sites {
		if &t.Sites[i] == s {
			return i
		}
	}
	return -1
}

// usable says whether a host can have the address: neither the network's own nor its broadcast address.
func usable(lan netip.Prefix, a netip.Addr) bool {
	return lan.Contains(a) && a != lan.Masked().Addr() && a != broadcast(lan)
}

func broadcast(p netip.Prefix) netip.Addr {
	return offset(p.Masked().Addr(), 1<<(32-p.Bits())-1)
}

// offset adds n to an IPv4 address.
func offset(a netip.Addr, n int) netip.Addr {
	b := a.As4()
	binary.BigEndian.PutUint32(b[:], binary.BigEndian.Uint32(b[:])+uint32(n))
	return netip.AddrFrom4(b)
}
