package lab

import (
	"cmp"
	"slices"

	"github.com/punchlab/punchlab/lab/nat"
	"github.com/punchlab/punchlab/lab/portmap"
)

// Oracle says what is possible between two hosts: the Prospect of their Chance.
func (t *Topology) Oracle(a, b string) nat.Prospect { return t.Chance(a, b).Prospect }

// Chance says what is possible between two hosts, from the behaviours of the routers between them: by IPv4 or by IPv6, by a port
// mapping that a router grants, or by TCP where UDP does not pass, whichever leads furthest. Hosts on one LAN need no hole.
func (t *Topology) Chance(a, b string) nat.Chance {
	if s := t.SiteOf(a); s != nil && s == t.SiteOf(b) {
		return nat.Chance{Prospect: nat.Direct, Sockets: 1, Probes: 1, P: 1, Via: nat.ViaLAN}
	}
	best := relayOnly
	for _, c := range []nat.Chance{t.chance4(a, b), t.chance6(a, b), t.mappedChance(a, b)} {
		if cmp.Or(cmp.Compare(c.Prospect, best.Prospect), cmp.Compare(best.P, c.P)) < 0 {
			best = c
		}
	}
	return best
}

var relayOnly = nat.Chance{Prospect: nat.RelayOnly}

// reach says whether both hosts reach the internet by a version of IP.
func (t *Topology) reach(family int, a, b string) bool {
	return slices.Contains(t.Families(a), family) && slices.Contains(t.Families(b), family)
}

func (t *Topology) chance4(a, b string) nat.Chance {
	if !t.reach(4, a, b) {
		return relayOnly
	}
	return nat.Estimate(t.pooled(a), t.pooled(b), t.shared(t.SiteOf(a), t.SiteOf(b)))
}

func (t *Topology) chance6(a, b string) nat.Chance {
	if !t.reach(6, a, b) {
		return relayOnly
	}
	c := nat.Estimate(t.NATs6(a), t.NATs6(b), t.shared(t.SiteOf(a), t.SiteOf(b)))
	switch c.Via {
	case nat.ViaUDP:
		c.Via = nat.ViaUDP6
	case nat.ViaTCP:
		c.Via = nat.ViaTCP6
	}
	return c
}

// mappedChance is what a port mapping makes of what is not direct already: of either host's, or of both.
func (t *Topology) mappedChance(a, b string) nat.Chance {
	if !t.reach(4, a, b) || t.shared(t.SiteOf(a), t.SiteOf(b)) > 0 {
		return relayOnly
	}
	for _, who := range [][2]bool{{true, false}, {false, true}, {true, true}} {
		paths := [2][]nat.Behavior{t.pooled(a), t.pooled(b)}
		able := true
		for i, host := range []string{a, b} {
			if who[i] {
				able = able && t.grants(host)
				paths[i] = mapped(paths[i])
			}
		}
		if !able {
			continue
		}
		if c := nat.Estimate(paths[0], paths[1], 0); c.Prospect == nat.Direct {
			c.Prospect, c.Via = nat.Portmap, nat.ViaPortmap
			return c
		}
	}
	return relayOnly
}

// grants says whether a host's own router maps a port on request, keeps it, and tells the truth about it. A router behind
// another does not count: that one's filter stays shut.
func (t *Topology) grants(host string) bool {
	s := t.SiteOf(host)
	if s == nil || s.Behind != "" || s.NoIPv4 {
		return false
	}
	c, ok := portmap.Lookup(s.PortMap)
	if !ok || c.Claim.IsValid() || c.ForgetAfter > 0 {
		return false
	}
	return slices.ContainsFunc([]portmap.Mode{c.UPnP, c.NATPMP, c.PCP}, func(m portmap.Mode) bool {
		return m == portmap.Granted || m == portmap.OtherPort
	})
}

// mapped is a path as a socket with a port mapping sees it: anyone reaches its external endpoint, and answers leave by that.
// What it sends first leaves as ever (nat.PortMap).
func mapped(path []nat.Behavior) []nat.Behavior {
	path = slices.Clone(path)
	b := &path[0]
	switch b.Kind {
	case nat.NoNAT:
		b.Filtering = 0
	case nat.Masquerade:
		*b = nat.Behavior{Mapping: nat.EndpointIndependent, PortAssignment: nat.PortPreservation, UDPBlocked: b.UDPBlocked, TCPPorts: b.TCPPorts}
		fallthrough
	default:
		b.Filtering, b.ReplyByNewMapping = nat.EndpointIndependent, false
	}
	return path
}

// pooled are the routers of a host's way by IPv4, of which those with one external address have no pool.
func (t *Topology) pooled(host string) []nat.Behavior {
	path := slices.Clone(t.NATs(host))
	if s := t.SiteOf(host); s != nil {
		for i, r := range t.route(s) {
			if len(r.WAN) == 1 {
				path[i].Pooling = nat.Paired
			}
		}
	}
	return path
}

// shared counts the outermost routers that two sites have in common.
func (t *Topology) shared(a, b *Site) (n int) {
	if a == nil || b == nil {
		return 0
	}
	ra, rb := t.route(a), t.route(b)
	for n < len(ra) && n < len(rb) && ra[len(ra)-1-n] == rb[len(rb)-1-n] {
		n++
	}
	return n
}
