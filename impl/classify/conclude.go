package classify

import (
	"net/netip"
	"slices"

	"github.com/punchlab/punchlab/impl/wire"
)

// conclude says what all the answers mean, and ends.
func (c *Classifier) conclude() {
	if c.rtt == 0 {
		c.end(ErrNoAnswer)
		return
	}
	r := &c.result
	r.Mapping, r.Filtering, r.NoNAT, r.Hairpin = c.mapping(), c.filtering(), c.noNAT(), c.pin.passed
	m := model(c.samples())
	r.Ports, r.Step, r.BlockStart, r.BlockSize = m.ports, m.step, m.start, m.size
	c.end(nil)
}

// mapping compares the map socket's reflexive endpoints (RFC 5780 §4.3); 0: too few are known.
func (c *Classifier) mapping() wire.Dependency {
	seen := func(a netip.Addr, port uint16) netip.AddrPort {
		for _, x := range c.exchanges {
			if x.socket == mapSocket && x.to == netip.AddrPortFrom(a, port) {
				return x.mapped
			}
		}
		return netip.AddrPort{}
	}
	s, o := c.cfg.Server, c.other
	if !o.IsValid() {
		return c.mappingByOthers()
	}
	s00, s01 := seen(s.Addr(), s.Port()), seen(s.Addr(), o.Port())
	s10, s11 := seen(o.Addr(), s.Port()), seen(o.Addr(), o.Port())
	// A pair of endpoints of one server address, and one of two.
	same, known := pairs([2]netip.AddrPort{s00, s01}, [2]netip.AddrPort{s10, s11})
	across, both := pairs([2]netip.AddrPort{s00, s10}, [2]netip.AddrPort{s00, s11},
		[2]netip.AddrPort{s01, s10}, [2]netip.AddrPort{s01, s11})
	switch {
	case known && !same:
		return wire.AddressAndPortDependent
	case both && across:
		return wire.EndpointIndependent
	case known && both:
		return wire.AddressDependent
	}
	return 0
}

// mappingByOthers says what a second address of the rendezvous tells that is no RFC 5780 server: equal endpoints, or nothing.
func (c *Classifier) mappingByOthers() wire.Dependency {
	first := c.exchanges[0].mapped
	for _, x := range c.exchanges[1:] {
		if x.socket == mapSocket && first.IsValid() && x.mapped == first {
			return wire.EndpointIndependent
		}
	}
	return 0
}

// pairs says whether all pairs of known endpoints are equal, and whether there is one.
func pairs(ps ...[2]netip.AddrPort) (equal, known bool) {
	equal = true
	for _, p := range ps {
		if p[0].IsValid() && p[1].IsValid() {
			known = true
			equal = equal && p[0] == p[1]
		}
	}
	return equal, known
}

func (c *Classifier) filtering() wire.Dependency {
	a, p := &c.filters[0], &c.filters[1]
	switch {
	case !c.other.IsValid():
		return 0
	case a.passed:
		return wire.EndpointIndependent
	case a.silent < silence:
		return 0
	case p.passed:
		return wire.AddressDependent
	case p.silent < silence:
		return 0
	}
	return wire.AddressAndPortDependent
}

// noNAT says whether sockets appear from this host's own address, by their own ports.
func (c *Classifier) noNAT() bool {
	known := 0
	for i, l := range c.local {
		e := c.endpointOf(i)
		if !e.IsValid() {
			continue
		}
		known++
		own := e.Addr() == l.Addr().Unmap() || slices.Contains(c.cfg.Host, e.Addr())
		if !own || e.Port() != l.Port() {
			return false
		}
	}
	return known > 0
}

// samples lists the mappings seen, each once.
func (c *Classifier) samples() (out []sample) {
	seen := map[[2]netip.AddrPort]bool{}
	sent := map[int]bool{}
	add := func(socket int, mapped netip.AddrPort, from, to int) {
		k := [2]netip.AddrPort{c.local[socket], mapped}
		if mapped.IsValid() && !seen[k] {
			seen[k] = true
			out = append(out, sample{c.local[socket].Port(), mapped.Port(), !sent[socket], from, to})
		}
		sent[socket] = true
	}
	for i := range c.filters {
		f := &c.filters[i]
		add(f.socket, f.mapped, f.begun, f.until)
	}
	for _, x := range c.exchanges {
		add(x.socket, x.mapped, x.begun(), x.until)
	}
	return out
}
