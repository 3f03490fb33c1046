package cases

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/punchlab/punchlab/lab/certify/tape"
)

// hop is a way that datagrams take from one host to another, as it looks between their routers: whoever sends from From (forged) to To
// is taken by the host B for the host A.
//
//	A ── 192.168.1.2:4477 ─► router ── From ───────► To ── router ─► 192.168.2.2:40000 ── B
type hop struct {
	A, B     string
	From, To netip.AddrPort
}

// passage is what passed a hop.
type passage struct {
	hop
	said []tape.Packet // as they came to B, in their order
}

// crossing is the longest time that a datagram is looked for at its other end.
const crossing = 2 * time.Second

// passages tells by payloads which datagrams that came to hosts had left which others, and so who speaks to whom, whatever is between.
// Of IPv6 and of what no host was seen to send it says nothing.
func passages(ps []tape.Packet) []passage {
	left := map[string][]*tape.Packet{}
	for i, p := range ps {
		if p.Out && len(p.Payload) > 0 && tape.UDP(&p) && !p.Fragment && p.Dst.Addr().Is4() && !p.Dst.Addr().IsMulticast() {
			left[string(p.Payload)] = append(left[string(p.Payload)], &ps[i])
		}
	}
	found := map[hop][]tape.Packet{}
	for _, p := range ps {
		if p.Out || len(p.Payload) == 0 || !tape.UDP(&p) || p.Fragment {
			continue
		}
		for _, o := range slices.Backward(left[string(p.Payload)]) { // the newest: what is relayed comes from the relay
			if o.Host != p.Host && !o.At.After(p.At) && p.At.Sub(o.At) < crossing {
				h := hop{A: o.Host, B: p.Host, From: p.Src, To: o.Dst}
				found[h] = append(found[h], p)
				break
			}
		}
	}
	var all []passage
	for _, h := range slices.SortedFunc(maps.Keys(found), compareHops) {
		all = append(all, passage{h, found[h]})
	}
	return all
}

func compareHops(a, b hop) int {
	return cmp.Or(cmp.Compare(a.A, b.A), cmp.Compare(a.B, b.B), a.From.Compare(b.From), a.To.Compare(b.To))
}
