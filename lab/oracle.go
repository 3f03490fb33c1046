package lab

import (
	"slices"

	"github.com/punchlab/punchlab/lab/nat"
)

// Oracle says what is possible between two hosts: the Prospect of their Chance.
func (t *Topology) Oracle(a, b string) nat.Prospect { return t.Chance(a, b).Prospect }

// Chance says what is possible between two hosts, from the behaviours of the routers between them: by IPv4 or by IPv6, by a port
// mapping that a router grants, or by TCP where UDP does not pass, whichever leads furthest. Hosts on one LAN need no hole.
func (t *Topology) Chance(a, b string) nat.Chance {
	sa, sb := t.SiteOf(a), t.SiteOf(b)
	if sa != nil && sa == sb {
		return nat.Chance{Prospect: nat.Direct, Sockets: 1, Probes: 1, P: 1, Via: nat.ViaLAN}
	}
	best := nat.Chance{Prospect: nat.RelayOnly}
	for _, family := range t.Families(a) {
		if !slices.Contains(t.Families(b), family) {
			continue
		}
		nats := t.NATs
		if family == 6 {
			nats = t.NATs6
		}
		if c := nat.Estimate(nats(a), nats(b), t.shared(sa, sb)); c.Prospect < best.Prospect {
			best = c
		}
	}
	return best
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
