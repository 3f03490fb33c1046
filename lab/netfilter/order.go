package netfilter

import (
	"math"

	"github.com/google/nftables"
	"github.com/punchlab/punchlab/lab/nat"
)

// drawTries is how often a new mapping draws a port before its packet is dropped.
const drawTries = 8

// order is how the ports of new mappings are drawn. A drawn number travels between rules in the packet's mark, since
// registers do not: the tick chain writes it, and all rules that need a number scatter it by a hash.
//
//	tick:  mark = hash(seed, counter)            random, port-block, and preservation when the port is taken
//	tick:  mark = PortMin + counter·PortStep     sequential
//
// A hash of a counter is a random order that a seed replays, and costs no table of ports; a port that is taken is
// drawn again.
type order struct {
	blocks *nftables.Set // internal address → number of its block
	bounds *nftables.Chain
	grant  *nftables.Chain
	steps  *nftables.Set // number → port, for steps above 1
}

// Salts keep the uses of one drawn number apart.
const (
	saltPort = 0x70756e63 + iota
	saltAddress
)

func (t *table) span() int { return spanOf(t.Behavior) }
func (p *plane) span() int { return spanOf(p.Behavior) }

func spanOf(b nat.Behavior) int { return int(b.PortMax) - int(b.PortMin) + 1 }

// newOrder declares what the planes share. Each plane has a tick chain of its own.
func (t *table) newOrder() (o order) {
	switch t.PortAssignment {
	case nat.PortBlock:
		o.blocks = t.forever("blocks", addrType, numType)
		blocks := t.span() / t.PortBlockSize
		o.grant = t.restarted("grant", func(uint64) []rule {
			return []rule{join(network(internal, ipSrc, 4), lacks(o.blocks, internal), count(1, uint32(blocks), 0), put(o.blocks, internal, 1))}
		})
		o.bounds = t.chain("bounds")
		for i := range blocks {
			t.rule(o.bounds, network(internal, ipSrc, 4), get(o.blocks, internal, 1), equal(1, numBytes(i)), mark(2),
				hash(2, 3, saltPort, uint32(t.PortBlockSize), uint32(int(t.PortMin)+i*t.PortBlockSize)), setMark(3))
		}
	case nat.PortSequential:
		if t.PortStep == 1 {
			break
		}
		var ports [][]byte
		for p := int(t.PortMin); p <= int(t.PortMax); p += t.PortStep {
			ports = append(ports, portBytes(p))
		}
		o.steps = t.numbered("steps", portType, ports)
	}
	return o
}

// tick makes the chain that draws a plane's next number.
func (p *plane) tick() *nftables.Chain {
	return p.restarted("tick_"+p.name, func(seed uint64) []rule {
		number := join(count(6, math.MaxUint32, 0), hash(6, 7, mix(seed, p.proto), math.MaxUint32, 0), setMark(7))
		if p.PortAssignment == nat.PortSequential {
			steps := (p.span() + p.PortStep - 1) / p.PortStep
			offset := uint32(0)
			if p.PortStep == 1 {
				offset = uint32(p.PortMin)
			}
			number = join(count(6, uint32(steps), offset), setMark(6))
		}
		return []rule{number}
	})
}

// drawRules try once to make the mapping that a packet lacks. Every attempt is one rule: it reads, checks and commits.
func (p *plane) drawRules(draw *nftables.Chain) {
	missing := join(p.mappingKey(), lacks(p.fwd, internal), p.farKey(p.farOut))
	commit := join(put(p.rev, external, internal), put(p.fwd, internal, external))
	free := lacks(p.rev, external)
	if p.fixed.in != nil {
		free = join(free, lacks(p.fixed.in, external))
	}
	attempt := func(port rule) { p.rule(draw, missing, p.address, port, free, commit) }
	preserved := transport(external+1, p.portOut, 2)
	tick := p.tick()
	if p.pair != nil {
		p.rule(draw, jump(p.pickChain))
	}
	if p.Pooling == nat.Arbitrary {
		p.rule(draw, missing, jump(tick))
	}
	switch p.PortAssignment {
	case nat.PortPreservation:
		if p.overloads() {
			p.rule(draw, missing, p.address, preserved, lacks(p.fixed.in, external), remove(p.rev, external, internal), commit)
		} else {
			attempt(preserved)
		}
		p.rule(draw, missing, jump(tick))
		attempt(p.scattered())
	case nat.PortRandom:
		p.rule(draw, missing, jump(tick))
		attempt(p.scattered())
	case nat.PortSequential:
		p.rule(draw, missing, jump(tick))
		if p.order.steps != nil {
			attempt(join(mark(7), get(p.order.steps, 7, external+1)))
		} else {
			attempt(join(mark(external+1), toPort(external+1)))
		}
	case nat.PortBlock:
		p.rule(draw, jump(p.order.grant))
		p.rule(draw, missing, jump(tick))
		p.rule(draw, missing, jump(p.order.bounds))
		attempt(join(mark(external+1), toPort(external+1)))
	}
}

// scattered is a port anywhere in the range.
func (p *plane) scattered() rule {
	return join(mark(7), hash(7, external+1, saltPort, uint32(p.span()), uint32(p.PortMin)), toPort(external+1))
}

// externals declares the external addresses and how mappings are spread over them.
func (t *table) externals() {
	var members []nftables.SetElement
	var addrs [][]byte
	for _, a := range t.cfg.External {
		members = append(members, nftables.SetElement{Key: a.AsSlice()})
		addrs = append(addrs, a.AsSlice())
	}
	t.ext = t.add(&nftables.Set{Name: "ext", KeyType: addrType}, members...)
	t.address = immediate(external, addrs[0])
	if len(addrs) == 1 {
		return
	}
	pool := t.numbered("pool", addrType, addrs)
	n := uint32(len(addrs))
	if t.Pooling == nat.Arbitrary {
		t.address = join(mark(6), hash(6, 7, saltAddress, n, 0), get(pool, 7, external))
		return
	}
	t.pair = t.forever("pair", addrType, addrType)
	t.address = get(t.pair, internal, external)
	t.pickChain = t.restarted("pick", func(uint64) []rule {
		return []rule{join(network(internal, ipSrc, 4), lacks(t.pair, internal), count(1, n, 0), get(pool, 1, 2), put(t.pair, internal, 2))}
	})
}

// mix turns a run's seed into a plane's (SplitMix64's finalizer).
func mix(seed uint64, salt byte) uint32 {
	z := seed + uint64(salt)*0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return uint32(z ^ z>>31)
}
