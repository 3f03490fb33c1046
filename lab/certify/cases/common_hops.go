package cases

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/punchlab/punchlab/lab/certify/tape"
	"github.com/punchlab/punchlab/lab/packet"
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

// connection is what a host said on a connection that it opened to somebody.
type connection struct {
	host string
	to   netip.AddrPort
	said [][]byte // by segments, each once, in their order
}

// connectionsOf are those to some addresses, in the order in which they were opened.
func connectionsOf(ps []tape.Packet, to []netip.Addr) (all []connection) {
	type key struct {
		host        string
		local, them netip.AddrPort
	}
	at, seen := map[key]int{}, map[key]map[uint32]bool{}
	for _, p := range ps {
		k := key{p.Host, p.Src, p.Dst}
		if !p.Out || !slices.Contains(to, p.Dst.Addr()) {
			continue
		}
		i, open := at[k]
		switch {
		case p.Flags&packet.SYN != 0 && !open:
			at[k], seen[k] = len(all), map[uint32]bool{}
			all = append(all, connection{host: p.Host, to: p.Dst})
		case open && len(p.Payload) > 0 && !seen[k][p.Seq]:
			seen[k][p.Seq] = true
			all[i].said = append(all[i].said, p.Payload)
		}
	}
	return slices.DeleteFunc(all, func(t connection) bool { return len(t.said) == 0 })
}

func compareHops(a, b hop) int {
	return cmp.Or(cmp.Compare(a.A, b.A), cmp.Compare(a.B, b.B), a.From.Compare(b.From), a.To.Compare(b.To))
}
