package nat

import "slices"

// Prospect is what is possible between two paths of routers.
type Prospect int

// Prospects, from the best to the worst.
const (
	Direct      Prospect = iota + 1 // the endpoints that a server sees are enough
	Predictable                     // a port must be told beforehand, and its allocator can be
	Portmap                         // a router's port mapping protocol opens the way (no Behavior speaks of it: lab.Topology.Chance)
	Birthday                        // a port that is drawn at random must be guessed
	RelayOnly                       // nothing from one host to the other, or less likely than not
)

// String returns "direct", "predictable", "portmap", "birthday" or "relay-only".
func (p Prospect) String() string {
	return name(int(p), "none", "direct", "predictable", "portmap", "birthday", "relay-only")
}

// Oracle says what is possible between a host behind the routers a and one behind the routers b, each path innermost
// router first, by UDP. The paths share no router. Estimate says the same with cost and probability, and knows TCP.
//
// Direct is exact, for a fresh network and hosts that send to the endpoint that a server sees of the other, repeat it,
// and answer to whatever endpoint a packet came from. It means that some order works: both at once, or one of them
// silent until it hears the other. For all cells but those of an endpoint-independent filter behind a dependent
// mapping, both at once does; there an early punch makes a second mapping, and the answer leaves by that one instead
// of the one that let the packet in. Quirks that punish who is late do not count
// (Behavior.InboundFirstRemap, InboundFirstBlock).
func Oracle(a, b []Behavior) Prospect { return OracleShared(a, b, 0) }

// OracleShared is Oracle for paths whose last (outermost) shared routers are the same ones: two homes behind one
// carrier's NAT, or, if the whole paths are shared, two hosts in one LAN. The hosts then know each other's own
// addresses too.
func OracleShared(a, b []Behavior, shared int) Prospect {
	return estimateUDP(a, b, min(max(shared, 0), len(a), len(b))).Prospect
}

// meeting is two hosts that a server introduces to each other.
type meeting struct {
	lan    [2]*network
	local  [2]point
	server point
	world  *world
	shared bool
}

func newMeeting(a, b []Behavior, shared int) *meeting {
	w := newWorld()
	m := &meeting{world: w, server: point{w.host(w.internet), 1}, shared: shared > 0}
	common := w.internet
	for i := range shared {
		common = w.behind(common, a[len(a)-1-i])
	}
	for i, path := range [][]Behavior{a, b} {
		m.lan[i] = common
		for j := len(path) - shared - 1; j >= 0; j-- {
			m.lan[i] = w.behind(m.lan[i], path[j])
		}
		m.local[i] = point{w.host(m.lan[i]), peerPort + i}
	}
	return m
}

// login returns the endpoints that the server sees.
func (m *meeting) login() (seen [2]point, ok bool) {
	for i := range seen {
		p, ok := rise(m.lan[i], m.local[i], m.server)
		if !ok {
			return seen, false
		}
		if _, seen[i], ok = fall(p); !ok {
			return seen, false
		}
	}
	return seen, true
}

// next returns the endpoint that host i's next mapping would get.
func (m *meeting) next(i int) []point {
	if _, ok := m.login(); !ok {
		return nil
	}
	elsewhere := point{m.world.host(m.world.internet), peerPort}
	p, ok := rise(m.lan[i], m.local[i], elsewhere)
	if !ok {
		return nil
	}
	return []point{p.src}
}

// schedule says who sends before it has heard anything.
type schedule [2]bool

var (
	atOnce     = schedule{true, true}
	firstOnly  = schedule{true, false}
	secondOnly = schedule{false, true}
)

// meet plays the exchange until nothing changes and reports whether both hosts have heard the other. The guesses are
// endpoints of either host that the other tries before the one that the server saw.
func (m *meeting) meet(order schedule, guessA, guessB []point) bool {
	seen, ok := m.login()
	if !ok {
		return false
	}
	known := [2][]point{append(slices.Clone(guessB), seen[1]), append(slices.Clone(guessA), seen[0])}
	if m.shared {
		known[0], known[1] = append(known[0], m.local[1]), append(known[1], m.local[0])
	}
	var heard [2]bool
	// Every round that teaches nothing is the last; mappings per reply could go on teaching for ever.
	const rounds = 8
	for range rounds {
		learned := m.round(order, &known, &heard)
		if heard[0] && heard[1] {
			return true
		}
		if !learned {
			return false
		}
	}
	return false
}

// round has both hosts send to all endpoints that they know, before any packet arrives: what goes out opens what comes
// in. It reports whether anyone learned a new endpoint.
func (m *meeting) round(order schedule, known *[2][]point, heard *[2]bool) (learned bool) {
	type flight struct {
		trip
		to int // the host that it is meant for
	}
	var flights []flight
	for i := range known {
		if !order[i] && !heard[i] {
			continue
		}
		for _, dst := range known[i] {
			if p, ok := rise(m.lan[i], m.local[i], dst); ok {
				flights = append(flights, flight{p, 1 - i})
			}
		}
	}
	for _, f := range flights {
		to, from, ok := fall(f.trip)
		if !ok || to != m.local[f.to] {
			continue
		}
		if !heard[f.to] {
			heard[f.to], learned = true, true
		}
		if !slices.Contains(known[f.to], from) {
			known[f.to] = append(known[f.to], from)
			learned = true
		}
	}
	return learned
}
