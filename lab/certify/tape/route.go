package tape

import (
	"net/netip"
	"slices"

	"github.com/punchlab/punchlab/lab"
)

// Route is which way a packet goes, by the address of its other end as the host sees it.
type Route uint8

// The routes.
const (
	Other   Route = iota // to or from a server, a router itself, or an address that is nobody's
	Local                // within the LAN, groups and broadcast among it
	Hairpin              // by an external address of a router that the host itself is behind
	Direct               // to or from an address of another site, or of a public host that is neither server nor relay
	Relayed              // to or from a relay
)

func (r Route) String() string {
	return [...]string{"other", "local", "hairpin", "direct", "relayed"}[min(r, Relayed)]
}

// Routes knows whose an address is. It is not to be changed while others ask it.
//
//	the other end is     a relay   a server   on the LAN   own router's outside   another site's, public   else
//	                     Relayed   Other      Local        Hairpin                Direct                   Other
//
// The first that fits counts. An IPv4 address that NAT64 shows to hosts of IPv6 alone is the IPv4 one.
type Routes struct {
	Relays  []netip.Addr // hosts that relay, of all families
	Servers []netip.Addr // other servers; an address that is a relay's too is a relay's
	Sites   map[string]*Site
	Hosts   map[string][]string // names of the sites on whose LANs a host may be; public hosts have none
	Public  []netip.Addr        // of public hosts
}

// Site is a router with its LAN.
type Site struct {
	Behind   string         // the site on whose LAN its router is; empty: none
	LAN      []netip.Prefix // inside
	Gateways []netip.Addr   // the router's addresses on it
	WAN      []netip.Addr   // the router's external addresses, and those that it may get later
	Net      []netip.Prefix // networks of its own that are seen from outside
}

// RoutesOf makes routes of a topology that was resolved. relays and servers are names of hosts.
func RoutesOf(t *lab.Topology, relays, servers []string) Routes {
	r := Routes{Sites: map[string]*Site{}, Hosts: map[string][]string{}}
	for i := range t.Sites {
		s := &t.Sites[i]
		r.Sites[s.Name] = siteOf(t, s)
		for _, h := range s.Hosts {
			r.Hosts[h.Name] = append(r.Hosts[h.Name], s.Name)
		}
	}
	for _, p := range t.Public {
		r.Public = append(r.Public, p.Addrs...)
	}
	for _, host := range relays {
		r.Relays = append(r.Relays, t.HostAddr(host)...)
	}
	for _, host := range servers {
		r.Servers = append(r.Servers, t.HostAddr(host)...)
	}
	return r
}

func siteOf(t *lab.Topology, s *lab.Site) *Site {
	site := &Site{Behind: s.Behind, WAN: slices.Concat(s.WAN, s.WAN6, t.OtherWAN(s.Name))}
	if s.LAN.IsValid() && !s.NoIPv4 {
		site.LAN, site.Gateways = append(site.LAN, s.LAN.Masked()), append(site.Gateways, s.Gateway())
		if s.Public() {
			site.Net = append(site.Net, s.LAN.Masked())
		}
	}
	if s.HasIPv6() {
		site.LAN, site.Gateways = append(site.LAN, s.LAN6.Masked()), append(site.Gateways, s.Gateway6())
	}
	if s.Net6.IsValid() {
		site.Net = append(site.Net, s.Net6.Masked())
	}
	return site
}

// Plug says that a box hangs on a site's LAN as a host.
func (r *Routes) Plug(host, site string) {
	if !slices.Contains(r.Hosts[host], site) {
		r.Hosts[host] = append(r.Hosts[host], site)
	}
}

// Add says that a site's router has, or will have, other external addresses.
func (r *Routes) Add(site string, wan ...netip.Addr) {
	if s := r.Sites[site]; s != nil {
		s.WAN = append(s.WAN, wan...)
	}
}

// External are the external addresses, those that they may get later too, of all routers that a host is behind: what the host's packets
// come from, as others see them. It is nil for a public host.
func (r *Routes) External(host string) (addrs []netip.Addr) {
	for _, name := range r.Hosts[host] {
		for s := range r.way(name) {
			addrs = append(addrs, s.WAN...)
		}
	}
	return addrs
}

// Of is the packet's route.
func (r *Routes) Of(p *Packet) Route {
	a, own := plain(p.Remote().Addr()), plain(p.Local().Addr())
	switch {
	case slices.Contains(r.Relays, a), slices.Contains(r.Relays, own):
		return Relayed
	case slices.Contains(r.Servers, a), slices.Contains(r.Servers, own):
		return Other
	case a.IsMulticast(), a.IsLinkLocalUnicast(), a == broadcast:
		return Local
	}
	sites := r.Hosts[p.Host]
	for _, name := range sites {
		if s := r.Sites[name]; len(sites) > 1 && s != nil && !covers(s.LAN, own) {
			continue // it is elsewhere now
		}
		if route := r.within(name, a); route != Direct {
			return route
		}
	}
	if r.known(a) {
		return Direct
	}
	return Other
}

var broadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})

// nat64 is the prefix under which hosts of IPv6 alone see IPv4 addresses (RFC 6052 §2.1).
var nat64 = netip.MustParsePrefix("64:ff9b::/96")

// plain is the IPv4 address that an address of NAT64 stands for; others are themselves.
func plain(a netip.Addr) netip.Addr {
	if !nat64.Contains(a) {
		return a.Unmap()
	}
	b := a.As16()
	return netip.AddrFrom4([4]byte(b[12:]))
}

// within tells the route to an address from a site's LAN, as far as its routers decide it; else Direct.
func (r *Routes) within(site string, a netip.Addr) Route {
	s := r.Sites[site]
	switch {
	case s == nil:
		return Direct
	case slices.Contains(s.Gateways, a):
		return Other
	case covers(s.LAN, a):
		return Local
	}
	for s := range r.way(site) {
		if slices.Contains(s.WAN, a) {
			return Hairpin
		}
		if outer := r.Sites[s.Behind]; outer != nil && slices.Contains(outer.Gateways, a) {
			return Other
		}
	}
	return Direct
}

// way are the sites from one outwards.
func (r *Routes) way(site string) func(yield func(*Site) bool) {
	return func(yield func(*Site) bool) {
		for n, s := 0, r.Sites[site]; s != nil && n <= len(r.Sites) && yield(s); n++ {
			s = r.Sites[s.Behind]
		}
	}
}

// known tells whether an address is a public host's or of some site: seen from outside, or on a LAN that has routers of others on it.
func (r *Routes) known(a netip.Addr) bool {
	if slices.Contains(r.Public, a) {
		return true
	}
	for _, s := range r.Sites {
		outer := r.Sites[s.Behind]
		if slices.Contains(s.WAN, a) || covers(s.Net, a) || outer != nil && covers(outer.LAN, a) {
			return true
		}
	}
	return false
}

func covers(ps []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(ps, func(p netip.Prefix) bool { return p.Contains(a) })
}

// By matches packets that go by one of the routes.
func (r *Routes) By(routes ...Route) Match {
	return func(p *Packet) bool { return slices.Contains(routes, r.Of(p)) }
}
