package nat

// The model is a NAT reduced to what decides who can reach whom: who has sent to whom, which filter that opened, and
// which mapping it used. Nothing expires and nothing is lost; ports are numbers that nobody can guess. Oracle and
// Promise play an exchange on it instead of consulting a table.
//
//	internet (S) ── box ── LAN ── box ── LAN ── host
//
// Addresses are small numbers, unique in the whole model.

// point is an endpoint of the model. A zero field stands for any.
type point struct{ addr, port int }

// network is the internet, or the LAN behind a box.
type network struct {
	gateway *box // nil for the internet
	hosts   []int
	boxes   []*box
}

// box is a router.
type box struct {
	b      Behavior
	outer  *network
	lan    *network
	addrs  []int // external addresses
	fresh  int   // ports drawn so far
	fwd    map[pair]point
	rev    map[point]point // external → internal endpoint
	opened map[pair]bool
}

// pair is an endpoint and as much of a remote one as something depends on.
type pair struct{ local, remote point }

// narrow blanks what a dependency ignores, so that one map serves all three.
func (d Dependency) narrow(p point) point {
	switch d {
	case AddressAndPortDependent:
		return p
	case AddressDependent:
		return point{addr: p.addr}
	default:
		return point{}
	}
}

// world is a model and its counter of addresses.
type world struct {
	internet *network
	addrs    int
}

func newWorld() *world { return &world{internet: &network{}} }

func (w *world) address() int {
	w.addrs++
	return w.addrs
}

// behind hangs a router on a network and returns its LAN.
func (w *world) behind(outer *network, b Behavior) *network {
	x := &box{b: b, outer: outer, lan: &network{}, fwd: map[pair]point{}, rev: map[point]point{}, opened: map[pair]bool{}}
	x.lan.gateway = x
	x.addrs = []int{w.address()}
	if b.Pooling == Arbitrary { // the worst case: never the same address twice
		for range 15 {
			x.addrs = append(x.addrs, w.address())
		}
	}
	outer.boxes = append(outer.boxes, x)
	return x.lan
}

// host puts a host into a network and returns its address.
func (w *world) host(n *network) int {
	a := w.address()
	n.hosts = append(n.hosts, a)
	return a
}

// trip is a packet on its way; at is where it turns from rising to falling.
type trip struct {
	src, dst point
	at       *network
	hairpin  *box  // it turned inside this box instead
	inside   point // its source before an internal-source hairpin
}

// rise takes a packet from a host in n to where its destination is known. It opens mappings and filters on the way.
func rise(n *network, src, dst point) (trip, bool) {
	p := trip{src: src, dst: dst}
	for {
		if n.knows(dst.addr) {
			p.at = n
			return p, true
		}
		x := n.gateway
		if x == nil {
			return p, false
		}
		own := x.owns(dst.addr)
		if own && x.b.Hairpinning == HairpinNone {
			return p, false
		}
		before := p.src
		var ok bool
		if p.src, ok = x.out(p.src, dst); !ok {
			return p, false
		}
		if own {
			p.hairpin = x
			if x.b.Hairpinning == HairpinInternalSource {
				p.inside = before
			}
			return p, true
		}
		n = x.outer
	}
}

// fall delivers a packet that has risen: to which endpoint, and from which source.
func fall(p trip) (to, from point, ok bool) {
	n := p.at
	if x := p.hairpin; x != nil {
		if p.dst, ok = x.in(p.src, p.dst); !ok {
			return to, from, false
		}
		if p.inside != (point{}) {
			p.src = p.inside
		}
		n = x.lan
	}
	for {
		if n.hasHost(p.dst.addr) {
			return p.dst, p.src, true
		}
		x := n.route(p.dst.addr)
		if x == nil {
			return to, from, false
		}
		if p.dst, ok = x.in(p.src, p.dst); !ok {
			return to, from, false
		}
		n = x.lan
	}
}

func (n *network) hasHost(addr int) bool {
	for _, h := range n.hosts {
		if h == addr {
			return true
		}
	}
	return false
}

// knows reports whether an address is in this network, or behind a router of it that does not translate.
func (n *network) knows(addr int) bool { return n.hasHost(addr) || n.route(addr) != nil }

func (n *network) route(addr int) *box {
	for _, x := range n.boxes {
		if x.owns(addr) || x.b.Kind == NoNAT && x.lan.knows(addr) {
			return x
		}
	}
	return nil
}

func (x *box) owns(addr int) bool {
	if x.b.Kind == NoNAT {
		return false
	}
	for _, a := range x.addrs {
		if a == addr {
			return true
		}
	}
	return false
}

// out passes a packet outwards and returns its source from there on.
func (x *box) out(src, dst point) (point, bool) {
	if x.b.UDPBlocked {
		return point{}, false
	}
	if x.b.Kind == NoNAT {
		x.opened[pair{src, x.b.Filtering.narrow(dst)}] = true
		return src, true
	}
	key := pair{src, x.b.mappingFor(dst).narrow(dst)}
	ext, ok := x.fwd[key]
	if !ok {
		ext = x.draw(src)
		x.fwd[key] = ext
	}
	x.rev[ext] = src // with overloading, the last sender owns the port
	x.opened[pair{x.owner(src, ext), x.b.filteringFor(dst).narrow(dst)}] = true
	return ext, true
}

// lenient tells whether a remote endpoint is one of those that the router is lenient towards: a server's.
func (b Behavior) lenient(p point) bool { return len(b.LenientPorts) > 0 && p.port < peerPort }

func (b Behavior) mappingFor(p point) Dependency {
	if b.lenient(p) {
		return EndpointIndependent
	}
	return b.Mapping
}

func (b Behavior) filteringFor(p point) Dependency {
	if b.lenient(p) {
		return EndpointIndependent
	}
	return b.Filtering
}

// owner is what a filter entry belongs to.
func (x *box) owner(internal, external point) point {
	if x.b.FilterPerMapping {
		return external
	}
	return internal
}

// in passes a packet inwards and returns its destination from there on.
func (x *box) in(src, dst point) (point, bool) {
	if x.b.UDPBlocked {
		return point{}, false
	}
	if x.b.Kind == NoNAT {
		return dst, x.b.Filtering == 0 || x.opened[pair{dst, x.b.Filtering.narrow(src)}]
	}
	internal, ok := x.rev[dst]
	filtering := x.b.filteringFor(src)
	if !ok || !x.opened[pair{x.owner(internal, dst), filtering.narrow(src)}] && filtering != EndpointIndependent {
		return point{}, false
	}
	key := pair{internal, x.b.mappingFor(src).narrow(src)}
	if _, has := x.fwd[key]; !has && !x.b.ReplyByNewMapping {
		x.fwd[key] = dst // the reply leaves by the mapping that let this in
	}
	return internal, true
}

// draw assigns an external endpoint to a new mapping.
func (x *box) draw(src point) point {
	addr := x.addrs[x.fresh%len(x.addrs)]
	if x.b.PortAssignment == PortPreservation {
		if _, taken := x.rev[point{addr, src.port}]; !taken || x.b.PortOverloading {
			return point{addr, src.port}
		}
	}
	x.fresh++
	const unguessable = 1 << 20 // beyond any port that a host has, and another router draws others
	return point{x.addrs[x.fresh%len(x.addrs)], x.addrs[0]*unguessable + x.fresh}
}
