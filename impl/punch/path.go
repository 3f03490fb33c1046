package punch

import "net/netip"

// Route is the sort of a path.
type Route uint8

// The routes. The zero value is no path.
const (
	Direct Route = iota + 1
	Relay
)

// String names the route.
func (r Route) String() string { return [...]string{"none", "direct", "relay"}[r] }

// Path is where packets to the peer go. It is comparable; the zero value is no path.
type Path struct {
	Route Route
	Addr  netip.AddrPort // of the peer, where the route is Direct; a stream's: core.Over(protocol, address)
	Local netip.AddrPort // own socket, where the route is Direct; zero: the main one
}

// To is the direct path from the main socket to an address.
func To(addr netip.AddrPort) Path { return Path{Route: Direct, Addr: addr} }

// Between is the direct path from a socket (zero: the main one) to an address.
func Between(local, addr netip.AddrPort) Path { return Path{Direct, addr, local} }

// ViaRelay is the path through the relay.
var ViaRelay = Path{Route: Relay}
