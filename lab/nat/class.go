package nat

// Class is what an RFC 5780 classification sees of a path of routers.
type Class struct {
	Mapping       Dependency
	Filtering     Dependency // EndpointIndependent too where nothing filters
	Translated    bool
	PortPreserved bool // as long as the port is free
	Hairpin       bool // two sockets of one host reach each other through their reflexive endpoints
	NoUDP         bool // the other fields are then zero
}

// Promise returns what a classification of a path of routers, innermost first, must find. It plays the tests of
// RFC 5780 §4.3, §4.4 and §4.5 on a model of the path, so nested routers compose without a rule of their own.
func Promise(path []Behavior) Class { return classify(path, serverPort) }

// The model's ports: those of servers, and from peerPort on those of hosts, which no server has.
const (
	serverPort = 1
	peerPort   = 1 << 16
)

// classify plays against a server whose ports begin at base.
func classify(path []Behavior, base int) Class {
	t := newTest(path)
	t.base = base
	var seen [3]point
	local := t.socket()
	for i, s := range []point{t.server(0, 0), t.server(1, 0), t.server(1, 1)} {
		var ok bool
		if seen[i], ok = t.ask(local, s); !ok {
			return Class{NoUDP: true}
		}
	}
	c := Class{
		Mapping:    AddressAndPortDependent,
		Filtering:  AddressAndPortDependent,
		Translated: seen[0] != local, PortPreserved: seen[0].port == local.port,
		Hairpin: t.hairpins(),
	}
	switch {
	case seen[0] == seen[1] && seen[1] == seen[2]:
		c.Mapping = EndpointIndependent
	case seen[1] == seen[2]:
		c.Mapping = AddressDependent
	}
	switch {
	case t.passes(t.server(1, 1)):
		c.Filtering = EndpointIndependent
	case t.passes(t.server(0, 1)):
		c.Filtering = AddressDependent
	}
	return c
}

// test is a host behind a path, and a server with two addresses and two ports.
type test struct {
	lan     *network
	host    int
	ports   int
	servers [2]int
	base    int // the servers' first port
	world   *world
}

func newTest(path []Behavior) *test {
	w := newWorld()
	t := &test{world: w, lan: w.internet, servers: [2]int{w.host(w.internet), w.host(w.internet)}}
	for i := len(path) - 1; i >= 0; i-- {
		t.lan = w.behind(t.lan, path[i])
	}
	t.host = w.host(t.lan)
	return t
}

func (t *test) server(addr, port int) point { return point{t.servers[addr], t.base + port} }

// socket is a fresh one.
func (t *test) socket() point {
	t.ports++
	return point{t.host, peerPort + 100 + t.ports}
}

// ask sends from a socket and returns the source that the server sees.
func (t *test) ask(from, to point) (point, bool) {
	p, ok := rise(t.lan, from, to)
	if !ok {
		return point{}, false
	}
	_, seen, ok := fall(p)
	return seen, ok
}

// passes reports whether a server socket reaches a fresh socket that has only sent to the first one.
func (t *test) passes(server point) bool {
	local := t.socket()
	seen, _ := t.ask(local, t.server(0, 0))
	p, ok := rise(t.world.internet, server, seen)
	if !ok {
		return false
	}
	to, _, ok := fall(p)
	return ok && to == local
}

// hairpins has two sockets send to each other's reflexive endpoint, over and over.
func (t *test) hairpins() bool {
	x, y := t.socket(), t.socket()
	atX, _ := t.ask(x, t.server(0, 0))
	atY, _ := t.ask(y, t.server(0, 0))
	for range 3 {
		for _, try := range []struct{ from, to, at point }{{x, atY, y}, {y, atX, x}} {
			p, ok := rise(t.lan, try.from, try.to)
			if !ok {
				continue
			}
			if to, _, ok := fall(p); ok && to == try.at {
				return true
			}
		}
	}
	return false
}
