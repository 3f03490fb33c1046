package nat

import "math/bits"

// portUse is which ports of one external address a protocol uses.
type portUse [1 << 16 / 64]uint64

// ports tells which external ports are taken, by mappings that do not share theirs and by port mappings.
type ports struct {
	external []uint32
	number   map[uint32]int // of an external address
	use      [2][]*portUse  // UDP, TCP; by the address's number
}

func (p *ports) reset(external []uint32) {
	*p = ports{external: external, number: make(map[uint32]int, len(external))}
	for i := range p.use {
		p.use[i] = make([]*portUse, len(external))
	}
	for i, a := range external {
		p.number[a] = i
	}
}

// numberOf finds an external address. A pool is mostly one range in order, where its number can be seen.
func (p *ports) numberOf(addr uint32) (n int, ok bool) {
	if len(p.external) == 0 {
		return 0, false
	}
	if d := addr - p.external[0]; d < uint32(len(p.external)) && p.external[d] == addr {
		return int(d), true
	}
	n, ok = p.number[addr]
	return n, ok
}

// of returns an address's ports, or nil for what is not tracked.
func (p *ports) of(proto uint8, addr uint32) *portUse {
	which := 0
	switch proto {
	case protoUDP:
	case protoTCP:
		which = 1
	default:
		return nil
	}
	n, ok := p.numberOf(addr)
	if !ok {
		return nil
	}
	u := p.use[which][n]
	if u == nil {
		u = new(portUse)
		p.use[which][n] = u
	}
	return u
}

func (u *portUse) taken(port uint16) bool { return u[port/64]>>(port%64)&1 != 0 }

func (p *ports) taken(proto uint8, e endpoint) bool {
	u := p.of(proto, e.addr)
	return u != nil && u.taken(e.port)
}

func (p *ports) take(proto uint8, e endpoint) {
	if u := p.of(proto, e.addr); u != nil {
		u[e.port/64] |= 1 << (e.port % 64)
	}
}

func (p *ports) give(proto uint8, e endpoint) {
	if u := p.of(proto, e.addr); u != nil {
		u[e.port/64] &^= 1 << (e.port % 64)
	}
}

// nextFree returns the first free port in [from, to] whose bit within a word is in mask.
func (u *portUse) nextFree(from, to int, mask uint64) (int, bool) {
	for p := from; p <= to; p = p&^63 + 64 {
		free := ^u[p/64] & mask & (^uint64(0) << (p % 64))
		if free == 0 {
			continue
		}
		p = p&^63 + bits.TrailingZeros64(free)
		return p, p <= to
	}
	return 0, false
}

// parityMask selects the ports that a mapping of an internal port may have.
func (t *Table) parityMask(internal uint16) uint64 {
	switch {
	case !t.b.PortParity:
		return ^uint64(0)
	case internal%2 == 0:
		return 0x5555555555555555
	default:
		return 0xaaaaaaaaaaaaaaaa
	}
}

// draw is the next number of a protocol's random order.
func (t *Table) draw(proto uint8) uint64 {
	n := &t.draws[proto&31]
	*n++
	return scramble(t.cfg.Seed ^ scramble(uint64(proto)<<56|*n))
}

// drawTries is how often a port is drawn before the next free one is looked for.
const drawTries = 8

// assign chooses the external endpoint of a new mapping (RFC 4787 §4.2). Owns tells that it is taken from the others.
func (t *Table) assign(f flow, h *host) (ext endpoint, owns, ok bool) {
	if t.connectionKeyed(f.proto) {
		ext, ok = t.assignConnection(f, h)
		return ext, false, ok
	}
	ext.addr = t.poolAddr(f.proto, h)
	if t.b.PortContiguity {
		if ext, ok := t.besides(f); ok {
			return ext, true, true
		}
	}
	if t.b.PortAssignment == PortPreservation && f.local.port != 0 {
		ext.port = f.local.port
		if t.overloads(f.proto) && !t.ports.taken(f.proto, ext) {
			return ext, false, true
		}
		if t.free(f, ext) {
			return ext, true, true
		}
	}
	if t.b.PortAssignment == PortSequential {
		ext, ok = t.assignNext(f, ext.addr)
	} else {
		ext, ok = t.assignRandom(f, h, ext.addr)
	}
	return ext, true, ok
}

func (t *Table) overloads(proto uint8) bool { return t.b.PortOverloading && proto == protoUDP }

// free tells whether a mapping may take an external endpoint.
func (t *Table) free(f flow, ext endpoint) bool {
	return !t.ports.taken(f.proto, ext) && !t.claimed(f.proto, ext, f.remote)
}

// claimed tells whether the router itself took an external endpoint for a remote one (Behavior.InboundFirstRemap).
func (t *Table) claimed(proto uint8, ext, remote endpoint) bool {
	return t.b.InboundFirstRemap && t.findPin(claimPin, proto, ext, remote) != none
}

// poolAddr is the external address of a host's next mapping (RFC 4787 REQ-2).
func (t *Table) poolAddr(proto uint8, h *host) uint32 {
	n := len(t.external)
	switch {
	case n == 1:
		return t.external[0]
	case t.b.Pooling == Paired:
		return t.external[int(h.pool)%n]
	default:
		return t.external[t.draw(proto)>>32%uint64(n)]
	}
}

// besides is the port next to the one that the neighboring internal port has, where that fits.
func (t *Table) besides(f flow) (endpoint, bool) {
	sibling, step := f.local, uint16(1)
	if f.local.port%2 == 0 {
		sibling.port, step = sibling.port+1, ^uint16(0)
	} else {
		sibling.port--
	}
	i := t.findFwd(f.proto, sibling, f.remote.narrowed(t.mappingFor(f.remote)))
	if i == none {
		return endpoint{}, false
	}
	ext := t.maps.at(i).external()
	if ext.port%2 != sibling.port%2 { // the pair would straddle an even boundary
		return endpoint{}, false
	}
	ext.port += step
	return ext, t.free(f, ext)
}

// assignNext takes the next port of the sequence that is free.
func (t *Table) assignNext(f flow, addr uint32) (endpoint, bool) {
	steps := uint64((t.span() + t.b.PortStep - 1) / t.b.PortStep)
	n := &t.draws[f.proto&31]
	if t.b.Pooling == Arbitrary {
		n = &t.sequence[f.proto&31]
	}
	for range steps {
		ext := endpoint{addr, uint16(uint64(t.b.PortMin) + *n%steps*uint64(t.b.PortStep))}
		*n++
		if t.b.PortParity && (ext.port^f.local.port)&1 != 0 {
			continue
		}
		if t.free(f, ext) {
			return ext, true
		}
	}
	return endpoint{}, false
}

func (t *Table) span() int { return int(t.b.PortMax) - int(t.b.PortMin) + 1 }

// blocks is how many port blocks there are (RFC 6888 §2; a host beyond them shares one).
func (t *Table) blocks() int {
	if t.b.PortAssignment != PortBlock {
		return 1
	}
	return t.span() / t.b.PortBlockSize
}

// assignRandom draws a port, and after some misses looks for the next free one.
func (t *Table) assignRandom(f flow, h *host, addr uint32) (endpoint, bool) {
	low, high := int(t.b.PortMin), int(t.b.PortMax)
	if t.b.PortAssignment == PortBlock {
		low += int(h.block) * t.b.PortBlockSize
		high = low + t.b.PortBlockSize - 1
	}
	ext := endpoint{addr: addr}
	for range drawTries {
		ext.port = uint16(low + int(t.draw(f.proto)%uint64(high-low+1)))
		if t.b.PortParity && (ext.port^f.local.port)&1 != 0 {
			ext.port ^= 1
			if int(ext.port) < low || int(ext.port) > high {
				continue
			}
		}
		if t.free(f, ext) {
			return ext, true
		}
		if t.b.Pooling == Arbitrary {
			ext.addr = t.poolAddr(f.proto, h)
		}
	}
	return t.scan(f, ext, low, high)
}

// scan finds the next free port from ext on, and with arbitrary pooling on another address.
func (t *Table) scan(f flow, ext endpoint, low, high int) (endpoint, bool) {
	mask := t.parityMask(f.local.port)
	start := 0
	for i, a := range t.external {
		if a == ext.addr {
			start = i
		}
	}
	for i := range t.external {
		ext.addr = t.external[(start+i)%len(t.external)]
		u := t.ports.of(f.proto, ext.addr)
		for _, part := range [2][2]int{{int(ext.port), high}, {low, int(ext.port) - 1}} {
			for from := part[0]; ; from++ {
				p, ok := u.nextFree(from, part[1], mask)
				if !ok {
					break
				}
				from = p
				if e := (endpoint{ext.addr, uint16(p)}); !t.claimed(f.proto, e, f.remote) {
					return e, true
				}
			}
		}
		if t.b.Pooling == Paired {
			break
		}
	}
	return endpoint{}, false
}

// assignConnection chooses as Linux's conntrack does: with masquerade the port of the internal endpoint's newest
// connection, else the internal port, where no other connection of this external endpoint has this remote one; else a
// drawn one of the same class (find_appropriate_src and get_unique_tuple of nf_nat_core.c).
func (t *Table) assignConnection(f flow, h *host) (endpoint, bool) {
	ext := endpoint{t.external[0], f.local.port}
	if t.b.Pooling == Paired {
		ext.addr = t.external[int(h.pool)%len(t.external)]
	}
	if i, ok := t.latest[source{f.proto, f.local}]; ok {
		if e := t.maps.at(i).external(); t.freeConnection(f, e) {
			return e, true
		}
	}
	low, high := 1024, 65535
	switch {
	case f.proto == protoICMP:
		low = 0
	case f.local.port < 512:
		low, high = 1, 511
	case f.local.port < 1024:
		low, high = 600, 1023
	}
	if f.local.port != 0 || f.proto == protoICMP {
		if t.freeConnection(f, ext) {
			return ext, true
		}
	}
	const tries = 128 // as conntrack's
	span := high - low + 1
	at := int(t.draw(f.proto) % uint64(span))
	for i := range min(tries, span) {
		ext.port = uint16(low + (at+i)%span)
		if t.freeConnection(f, ext) {
			return ext, true
		}
	}
	return endpoint{}, false
}

// freeConnection tells whether a connection may have an external endpoint. As with Linux a port mapping's may be used
// towards a remote that has not called it: it serves new connections from outside.
func (t *Table) freeConnection(f flow, ext endpoint) bool {
	return !t.claimed(f.proto, ext, f.remote) && t.findRev(f.proto, ext, f.remote) == none
}
