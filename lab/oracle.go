package lab

import (
	"slices"

	"github.com/punchlab/punchlab/lab/nat"
)

// Oracle says what is possible between two hosts, from the behaviours of the routers between them: by IPv4 or by IPv6, whichever
// leads further. Hosts on one LAN need no hole.
func (t *Topology) Oracle(a, b string) nat.Prospect {
	sa, sb := t.SiteOf(a), t.SiteOf(b)
	if sa != nil && sa == sb {
		return nat.Direct
	}
	best := nat.RelayOnly
	for _, family := range t.Families(a) {
		if !slices.Contains(t.Families(b), family) {
			continue
		}
		nats := t.NATs
		if family == 6 {
			nats = t.NATs6
		}
		best = min(best, nat.OracleShared(nats(a), nats(b), t.shared(sa, sb)))
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
