package nat_test

import (
	"maps"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/punchlab/punchlab/lab/nat"
)

// gamble is two hosts behind routers of few ports, who try to guess each other's with packets.
type gamble struct {
	*world
	rng    *rand.Rand
	at     [2]*lan
	host   [2]netip.Addr
	b      [2]nat.Behavior
	server netip.AddrPort
	ports  int // drawn last, of the hosts' own
}

func newGamble(t *testing.T, a, b nat.Behavior, seed uint64) *gamble {
	g := &gamble{world: newWorld(t), rng: rand.New(rand.NewPCG(seed, 1)), b: [2]nat.Behavior{a, b}}
	g.seed = seed
	g.server = netip.AddrPortFrom(g.internet.host(g.world), 3478)
	for i, b := range g.b {
		one := []nat.Behavior{b}
		g.at[i] = g.behind(g.internet, one, g.plan(one), nil)
		g.host[i] = g.at[i].host(g.world)
	}
	return g
}

// socket is a fresh one of host i.
func (g *gamble) socket(i int) netip.AddrPort {
	g.ports++
	return netip.AddrPortFrom(g.host[i], uint16(45000+g.ports))
}

// seen is what the server sees of a socket.
func (g *gamble) seen(i int, s netip.AddrPort) netip.AddrPort {
	g.send(g.at[i], s, g.server)
	return g.internet.takes(g.server)[0]
}

// foretold is where host i's packets to its peer will come from, as far as that can be told: the socket and its endpoint.
func (g *gamble) foretold(i int) (socket, from netip.AddrPort, ok bool) {
	socket = g.socket(i)
	from = g.seen(i, socket)
	switch {
	case g.b[i].Mapping == nat.EndpointIndependent:
	case g.b[i].PortAssignment == nat.PortSequential:
		from = netip.AddrPortFrom(from.Addr(), from.Port()+1)
	case g.b[i].PortAssignment == nat.PortPreservation:
		socket = g.socket(i)
		from = netip.AddrPortFrom(from.Addr(), socket.Port())
	default:
		return socket, from, false
	}
	return socket, from, true
}

// anyPort is a guess at host i's.
func (g *gamble) anyPort(i int) netip.AddrPort {
	d := g.b[i].WithDefaults()
	return netip.AddrPortFrom(g.at[i].own[0], d.PortMin+uint16(g.rng.IntN(int(d.PortMax-d.PortMin)+1)))
}

// shot is a packet to be sent.
type shot struct {
	by       int
	from, to netip.AddrPort
}

// meets has all packets leave before any arrives, and every host answer what it hears; then both have heard the other.
func (g *gamble) meets(shots []shot) bool {
	var flights []flight
	for _, s := range shots {
		if f, ok := g.rise(g.at[s.by], s.from, s.to); ok {
			flights = append(flights, f)
		}
	}
	for _, f := range flights {
		g.fall(f)
	}
	for i := range g.at {
		for _, at := range slices.SortedFunc(maps.Keys(g.at[i].inboxes), netip.AddrPort.Compare) { // answers make mappings: their order tells
			for _, from := range g.at[i].takes(at) {
				g.send(g.at[i], at, from)
			}
			if len(g.at[1-i].inboxes) > 0 {
				return true
			}
		}
	}
	return false
}

// Ways to play; each says false if it can't be played.
var gambles = map[string]func(g *gamble, c nat.Chance) (shots []shot, ok bool){
	"foretell both":           (*gamble).foretellBoth,
	"first opens sockets":     func(g *gamble, c nat.Chance) ([]shot, bool) { return g.sockets(0, c) },
	"second opens sockets":    func(g *gamble, c nat.Chance) ([]shot, bool) { return g.sockets(1, c) },
	"first follows a moving":  func(g *gamble, c nat.Chance) ([]shot, bool) { return g.follow(0, c) },
	"second follows a moving": func(g *gamble, c nat.Chance) ([]shot, bool) { return g.follow(1, c) },
	"both guess":              (*gamble).bothGuess,
}

func (g *gamble) foretellBoth(nat.Chance) ([]shot, bool) {
	a, fromA, okA := g.foretold(0)
	b, fromB, okB := g.foretold(1)
	return []shot{{0, a, fromB}, {1, b, fromA}}, okA && okB
}

// sockets has host i open sockets towards its peer, who tries ports from one of its own.
func (g *gamble) sockets(i int, c nat.Chance) (shots []shot, ok bool) {
	s, target, ok := g.foretold(1 - i)
	if g.b[i].Filtering == nat.AddressDependent {
		ok = true // any port of that address opens it
	}
	for range c.Sockets {
		shots = append(shots, shot{i, g.socket(i), target})
	}
	for range c.Probes {
		shots = append(shots, shot{1 - i, s, g.anyPort(i)})
	}
	return shots, ok && g.b[i].Mapping != nat.EndpointIndependent
}

// follow has host i send, from as many sockets as it may, to each endpoint that its peer's probes will come from.
func (g *gamble) follow(i int, c nat.Chance) (shots []shot, ok bool) {
	s, next, ok := g.foretold(1 - i)
	var probes []shot
	for k := range c.Probes {
		target := netip.AddrPortFrom(next.Addr(), next.Port()+uint16(k))
		if g.b[1-i].PortAssignment == nat.PortPreservation {
			s, target, ok = g.foretold(1 - i)
		}
		for range c.Sockets {
			shots = append(shots, shot{i, g.socket(i), target})
		}
		probes = append(probes, shot{1 - i, s, g.anyPort(i)})
	}
	return append(shots, probes...), ok && g.b[1-i].Mapping != nat.EndpointIndependent
}

func (g *gamble) bothGuess(c nat.Chance) (shots []shot, ok bool) {
	for i := range g.at {
		for range c.Probes {
			shots = append(shots, shot{i, g.socket(i), g.anyPort(1 - i)})
		}
	}
	return shots, true
}

// smallNATs differ in all that decides about guesses, and have 64 ports.
func smallNATs() (all []nat.Behavior) {
	small := func(m, f nat.Dependency, p nat.PortAssignment) nat.Behavior {
		return nat.Behavior{Mapping: m, Filtering: f, PortAssignment: p, PortMin: 30000, PortMax: 30063, FilterPerMapping: true}
	}
	all = append(all, small(nat.EndpointIndependent, nat.AddressAndPortDependent, nat.PortRandom))
	all = append(all, small(nat.AddressAndPortDependent, nat.AddressAndPortDependent, nat.PortPreservation))
	for _, m := range dependencies[1:] {
		for _, f := range dependencies[1:] {
			all = append(all, small(m, f, nat.PortRandom), small(m, f, nat.PortSequential))
		}
	}
	return all
}

// What a chance promises some way of playing keeps, on tables and packet by packet; and none does better.
func TestTablesAgreeWithChance(t *testing.T) {
	const trials = 60
	seed := uint64(0)
	for i, a := range smallNATs() {
		for _, b := range smallNATs()[i:] {
			c := nat.Estimate([]nat.Behavior{a}, []nat.Behavior{b}, 0)
			if c.Prospect == nat.Direct {
				continue
			}
			best, how := 0.0, ""
			for _, name := range slices.Sorted(maps.Keys(gambles)) { // in one order, so that each game has the same seeds in every run
				play, won, played := gambles[name], 0, false
				for range trials {
					seed++
					g := newGamble(t, a, b, seed)
					shots, ok := play(g, c)
					if !ok {
						break
					}
					played = true
					if g.meets(shots) {
						won++
					}
				}
				if rate := float64(won) / trials; played && rate >= best {
					best, how = rate, name
				}
			}
			// The formula is for independent draws; without repetition one does a little better.
			slack := 4*math.Sqrt(max(c.P*(1-c.P), 0.01)/trials) + 0.02
			if best < c.P-slack || best > c.P+slack+0.05 {
				t.Errorf("%v × %v: %s meets in %.2f of %d trials, want %.2f of %+v", a, b, how, best, trials, c.P, c)
			}
			if c.Prospect == nat.Predictable && how != "foretell both" && best < 1 {
				t.Errorf("%v × %v: %v, but %s is best (%.2f)", a, b, c.Prospect, how, best)
			}
		}
	}
}
