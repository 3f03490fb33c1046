package tape

import (
	"net/netip"

	"github.com/punchlab/punchlab/lab"
)

// Route is which way a packet goes, by the address of its other end as the host sees it.
type Route uint8

// The routes.
const (
	Other   Route = iota // to or from a server, the host's gateway, or an address that is nobody's
	Local                // within the LAN, groups and broadcast among it
	Hairpin              // by an external address of a router that the host itself is behind
	Direct               // to or from an address of another site, or of a public host that is neither server nor relay
	Relayed              // to or from a relay
)

func (r Route) String() string {
	return [...]string{"other", "local", "hairpin", "direct", "relayed"}[min(r, Relayed)]
}

// Routes knows whose an address is. It is not to be changed while others ask it.
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
func RoutesOf(t *lab.Topology, relays, servers []string) Routes { return Routes{} }

// Plug says that a box hangs on a site's LAN as a host.
func (r *Routes) Plug(host, site string) {}

// Add says that a site's router has, or will have, another external address.
func (r *Routes) Add(site string, wan ...netip.Addr) {}

// Of is the packet's route.
func (r *Routes) Of(p *Packet) Route { return Other }

// By matches packets that go by one of the routes.
func (r *Routes) By(routes ...Route) Match {
	return func(p *Packet) bool { return false }
}
