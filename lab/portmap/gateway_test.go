package portmap_test

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"github.com/punchlab/punchlab/lab/nat"
	"github.com/punchlab/punchlab/lab/portmap"
)

// fakeGateway is a NAT's port mappings and nothing else, on a clock that a test moves.
type fakeGateway struct {
	now      time.Duration
	external netip.Addr
	maps     []fakeMap
	fail     error // of every call
}

type fakeMap struct {
	nat.PortMap
	ends time.Duration // zero: never
}

// router is one that has this NAT.
func (g *fakeGateway) router() portmap.Router {
	return portmap.Router{Address: gateway, LAN: lan, External: func() netip.Addr { return g.external }, Gateway: g}
}

func (g *fakeGateway) expire() {
	g.maps = slices.DeleteFunc(g.maps, func(m fakeMap) bool { return m.ends != 0 && m.ends <= g.now })
}

func (g *fakeGateway) Map(m nat.PortMap) (netip.AddrPort, error) {
	g.expire()
	if g.fail != nil {
		return netip.AddrPort{}, g.fail
	}
	if !g.external.IsValid() {
		return netip.AddrPort{}, nat.ErrNoAddress
	}
	own := slices.IndexFunc(g.maps, func(o fakeMap) bool { return o.Protocol == m.Protocol && o.Internal == m.Internal })
	taken := func(port uint16) bool {
		return slices.ContainsFunc(g.maps, func(o fakeMap) bool { return o.Protocol == m.Protocol && o.External == port })
	}
	switch {
	case own >= 0:
		m.External = g.maps[own].External
		g.maps = slices.Delete(g.maps, own, own+1)
	case m.External != 0 && taken(m.External):
		return netip.AddrPort{}, nat.ErrPortTaken
	case m.External == 0:
		for m.External = m.Internal.Port(); taken(m.External); m.External++ {
		}
	}
	f := fakeMap{PortMap: m}
	if m.Lifetime != 0 {
		f.ends = g.now + m.Lifetime
	}
	g.maps = append(g.maps, f)
	return netip.AddrPortFrom(g.external, m.External), nil
}

func (g *fakeGateway) Unmap(m nat.PortMap) error {
	g.expire()
	if g.fail != nil {
		return g.fail
	}
	before := len(g.maps)
	g.maps = slices.DeleteFunc(g.maps, func(o fakeMap) bool { return o.Protocol == m.Protocol && o.Internal == m.Internal })
	if len(g.maps) == before {
		return nat.ErrNotMapped
	}
	return nil
}

func (g *fakeGateway) PortMaps() ([]nat.PortMap, error) {
	g.expire()
	if g.fail != nil {
		return nil, g.fail
	}
	var all []nat.PortMap
	for _, m := range g.maps {
		if m.ends != 0 {
			m.Lifetime = m.ends - g.now
		}
		all = append(all, m.PortMap)
	}
	slices.SortFunc(all, func(a, b nat.PortMap) int {
		return cmp.Or(cmp.Compare(a.Protocol, b.Protocol), cmp.Compare(a.External, b.External))
	})
	return all, nil
}
