package nat

import "math"

// Chance is what is possible between two paths of routers, at what cost and how surely.
//
//	Prospect      Sockets               Probes                              P
//	direct        1                     1                                   1
//	predictable   1, fresh              1: the port that comes next         1, if nobody else draws one meanwhile
//	portmap       1                     1                                   1
//	birthday      N behind the dice     M from the other side, all unlike   at least 1−(1−N/Ports)^M
//	relay-only    0                     0, or what Confidence would cost    what Budget buys
//
// Of the ways that are as good as each other it says the first one: the LAN, UDP, UDP by IPv6, a port mapping, TCP.
type Chance struct {
	Prospect Prospect
	Sockets  int     // of the side whose port is unknown
	Probes   int     // packets of the other side
	Ports    int     // ports among which the unknown one is drawn; 0: there is no guess
	P        float64 // probability that they meet
	Via      string  // ViaUDP and so on; empty: relay-only
	Silent   int     // the side that must not send before it has heard the other: 1 the first, 2 the second; 0: both may at once
}

// Ways that a Chance may be by.
const (
	ViaLAN     = "lan"     // the hosts' own addresses on the LAN that they share
	ViaUDP     = "udp"     // IPv4, also by way of NAT64
	ViaUDP6    = "udp6"    // IPv6
	ViaPortmap = "portmap" // a port mapping that a host asks its router for
	ViaTCP     = "tcp"     // simultaneous open (RFC 5382 REQ-2), where UDP does not pass
	ViaTCP6    = "tcp6"
)

// What a Chance takes for granted.
const (
	Budget     = 4096 // packets that a side may spend on guesses
	Sockets    = 256  // that a side may open for guesses
	Confidence = 0.99 // the Probes of a Birthday are as many as this takes, if the Budget has them
)

// Collision is the probability that at least one of so many probes, each at a random one of so many ports, meets one of
// the sockets' mappings: 1−(1−N/P)^M. Probes that never try a port twice do a little better.
func Collision(sockets, probes, ports int) float64 {
	if ports <= 0 || sockets >= ports {
		return 1
	}
	return -math.Expm1(float64(probes) * math.Log1p(-float64(sockets)/float64(ports)))
}

// Estimate says what is possible between a host behind the routers a and one behind the routers b, each path innermost
// router first, of which the last (outermost) shared ones are the same.
func Estimate(a, b []Behavior, shared int) Chance {
	c := Chance{Prospect: OracleShared(a, b, shared)}
	if c.Prospect != RelayOnly {
		c.Sockets, c.Probes, c.P, c.Via = 1, 1, 1, ViaUDP
	}
	return c
}
