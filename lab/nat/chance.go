package nat

import (
	"cmp"
	"math"
	"slices"
)

// Chance is what is possible between two paths of routers, at what cost and how surely.
//
//	Prospect      Sockets               Probes                              P
//	direct        1                     1                                   1
//	predictable   1, fresh              1: the port that comes next         1, if nobody else draws one meanwhile
//	portmap       1                     1                                   1
//	birthday      N behind the dice     M from the other side, all unlike   at least 1−(1−N/Ports)^M
//	relay-only    0                     what Confidence would cost, or 0    what Budget buys, under one half
//
// Of the ways that are as good as each other it says the first one: the LAN, UDP, UDP by IPv6, a port mapping, TCP.
type Chance struct {
	Prospect Prospect
	Sockets  int     // of the side whose port is unknown; where both are, of either
	Probes   int     // packets of the other side; where both ports are unknown, of either, shared out among its sockets
	Ports    int     // endpoints among which the unknown one is drawn; 0: there is no guess
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
	Sockets    = 256  // that a side may open for guesses, and a quarter of the ports at most
	Confidence = 0.99 // a Birthday has as many Probes as this takes, if the Budget allows
	PoolSize   = 16   // external addresses of a router with arbitrary pooling
)

// Collision is the probability that at least one of so many probes, each at a random one of so many ports, meets one of
// the sockets' mappings: 1−(1−N/P)^M. Probes that never try a port twice do a little better.
func Collision(sockets, probes, ports int) float64 {
	if ports <= 0 || sockets >= ports {
		return 1
	}
	return -math.Expm1(float64(probes) * math.Log1p(-float64(sockets)/float64(ports)))
}

// probesFor is how many probes a confidence takes.
func probesFor(confidence float64, sockets int, ports float64) int {
	return int(math.Ceil(math.Log1p(-confidence) / math.Log1p(-float64(sockets)/ports)))
}

// Estimate says what is possible between a host behind the routers a and one behind the routers b, each path innermost
// router first, of which the last (outermost) shared ones are the same: two homes behind one carrier's NAT, or, if the
// whole paths are shared, two hosts in one LAN. The hosts then know each other's own addresses too.
//
// By UDP it says what Oracle does. Where UDP does not pass, the hosts open TCP connections simultaneously (RFC 5128 §3.4):
// TCP is mapped and filtered as UDP is, so that this is direct or nothing. A router that lets only some TCP ports out
// leads to servers, never to a peer, whose port nobody chooses.
func Estimate(a, b []Behavior, shared int) Chance {
	shared = min(max(shared, 0), len(a), len(b))
	c := estimateUDP(a, b, shared)
	if c.Prospect != RelayOnly || !blocksUDP(a) && !blocksUDP(b) {
		return c
	}
	if !opensTCP(a) || !opensTCP(b) {
		return c
	}
	if tcp := directly(asTCP(a), asTCP(b), shared); tcp.Prospect == Direct {
		tcp.Via = ViaTCP
		return tcp
	}
	return c
}

func blocksUDP(path []Behavior) bool {
	return slices.ContainsFunc(path, func(b Behavior) bool { return b.UDPBlocked })
}

func opensTCP(path []Behavior) bool {
	return !slices.ContainsFunc(path, func(b Behavior) bool { return len(b.TCPPorts) > 0 })
}

// asTCP is a path as it would treat UDP if it treated it as it does TCP.
func asTCP(path []Behavior) []Behavior {
	path = slices.Clone(path)
	for i := range path {
		path[i].UDPBlocked = false
		if path[i].PortOverloading { // RFC 5382 REQ-7 forbids it, and no engine does
			path[i].PortOverloading = false
		}
	}
	return path
}

// estimateUDP is Estimate by UDP alone.
func estimateUDP(a, b []Behavior, shared int) Chance {
	if c := directly(a, b, shared); c.Prospect == Direct {
		return c
	}
	best := Chance{Prospect: RelayOnly}
	next := [2][]point{newMeeting(a, b, shared).next(0), newMeeting(a, b, shared).next(1)}
	if !newMeeting(a, b, shared).meet(atOnce, next[0], next[1]) {
		return best // even who knows every port does not get through
	}
	x, y := sideOf(a), sideOf(b)
	for _, c := range []Chance{x.admit(y), y.admit(x)} {
		if better(c, best) < 0 || best.P == 0 {
			best = c
		}
	}
	return best
}

// directly finds who must be silent, if anyone, for the endpoints that a server sees to be enough.
func directly(a, b []Behavior, shared int) Chance {
	for _, try := range []struct {
		order  schedule
		silent int
	}{{atOnce, 0}, {firstOnly, 2}, {secondOnly, 1}} {
		if newMeeting(a, b, shared).meet(try.order, nil, nil) {
			return Chance{Prospect: Direct, Sockets: 1, Probes: 1, P: 1, Via: ViaUDP, Silent: try.silent}
		}
	}
	return Chance{Prospect: RelayOnly}
}

// better compares two chances: negative if c is the better one.
func better(c, d Chance) int {
	return cmp.Or(cmp.Compare(c.Prospect, d.Prospect), cmp.Compare(d.P, c.P), cmp.Compare(c.Probes, d.Probes))
}

// side is a path taken as one router, as it treats a peer.
type side struct {
	mapping, filtering Dependency
	ports              int  // among which a new mapping's external endpoint is drawn; 0: it can be told beforehand
	most               int  // mappings that the host may have besides the one that the server sees
	flows              int  // mappings and remotes that the host may have besides
	newReply           bool // Behavior.ReplyByNewMapping
}

func sideOf(path []Behavior) side {
	c := classify(path, peerPort)
	s := side{mapping: c.Mapping, filtering: c.Filtering, most: math.MaxInt, flows: math.MaxInt}
	drawing := false // from the first router on that maps each remote anew, the others see new internal endpoints
	for _, b := range path {
		if b.Kind == NoNAT {
			continue
		}
		b = b.WithDefaults()
		if b.Quota > 0 {
			s.most = min(s.most, b.Quota-1)
		}
		if b.FlowLimit > 0 {
			s.most, s.flows = min(s.most, b.FlowLimit-1), min(s.flows, b.FlowLimit-2)
		}
		if drawing = drawing || b.redraws(); !drawing {
			continue
		}
		s.newReply = s.newReply || b.ReplyByNewMapping
		switch b.PortAssignment {
		case PortSequential:
			s.ports = 0
		case PortRandom:
			s.ports = int(b.PortMax) - int(b.PortMin) + 1
		case PortBlock:
			s.ports = b.PortBlockSize
		case PortPreservation: // of a fresh socket, or of the mapping inside
		}
		if b.Pooling == Arbitrary {
			s.ports = PoolSize * max(s.ports, 1)
		}
	}
	if s.ports > 0 {
		s.most = min(s.most, s.ports-1)
	}
	return s
}

// redraws tells whether another remote endpoint may meet another external port.
func (b Behavior) redraws() bool {
	return b.Kind == Translate && b.Mapping != EndpointIndependent && !(b.PortAssignment == PortPreservation && b.PortOverloading)
}

// admit is the chance that x lets a packet of y in, after which the answer takes the way back:
//
//	y ── s_y ─────────────► s_x ── x      y must know s_x: it is seen, told beforehand, or guessed;
//	                                      x must know s_y too, if its filter is for s_y alone
func (x side) admit(y side) Chance {
	strict := x.filtering == AddressAndPortDependent ||
		x.newReply && x.mapping == AddressAndPortDependent && y.filtering == AddressAndPortDependent // else the answer leaves by another
	diceX := x.mapping != EndpointIndependent && x.ports > 0
	diceY := y.mapping != EndpointIndependent && y.ports > 0 && strict
	switch {
	case diceX && diceY:
		return bothGuess(x, y)
	case diceX:
		return x.guessedBy(y, strict)
	case diceY:
		return y.guessedBy(x, true)
	default:
		return Chance{Prospect: Predictable, Sockets: 1, Probes: 1, P: 1, Via: ViaUDP}
	}
}

// guessedBy has the host behind x open sockets, and the one behind y try ports. If bound, each of x's mappings admits or
// reaches only those endpoints of y that x has sent to: y must then have one endpoint for all its probes.
func (x side) guessedBy(y side, bound bool) Chance {
	n := max(min(Sockets, x.most, x.ports/4), 1)
	if bound && y.mapping == AddressAndPortDependent {
		// Each probe leaves by an endpoint of its own, which can be told, and only those of x's mappings count that were
		// made for it: every socket sends to each. That uses up the budget, and the ports.
		m := max(min(min(Budget, x.most)/n, y.flows), 1)
		return luck(n, m, x.ports, Collision(n, m, x.ports), n*probesFor(Confidence, n, float64(x.ports)))
	}
	need := probesFor(Confidence, n, float64(x.ports))
	m := max(min(need, Budget, y.flows), 1)
	if y.mapping == AddressAndPortDependent {
		m = max(min(m, y.most), 1)
	}
	return luck(n, m, x.ports, Collision(n, m, x.ports), need)
}

// bothGuess has both hosts send from many endpoints to many: of all pairs of packets, one from either side, each must
// hit upon the other's source.
func bothGuess(x, y side) Chance {
	pairs := float64(x.ports) * float64(y.ports)
	tx, ty := min(Budget, x.most, x.flows), min(Budget, y.most, y.flows)
	p := -math.Expm1(float64(tx) * float64(ty) * math.Log1p(-1/pairs))
	need := int(math.Ceil(math.Sqrt(math.Log1p(-Confidence) / math.Log1p(-1/pairs))))
	t := min(tx, ty)
	return luck(min(t, Sockets), t, max(x.ports, y.ports), p, need)
}

// luck is a Birthday if it is worth the try.
func luck(sockets, probes, ports int, p float64, need int) Chance {
	const worth = 0.5
	if p < worth {
		return Chance{Prospect: RelayOnly, Probes: need, Ports: ports, P: p}
	}
	return Chance{Prospect: Birthday, Sockets: sockets, Probes: probes, Ports: ports, P: p, Via: ViaUDP}
}
