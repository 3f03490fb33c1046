package cases

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/punchlab/punchlab/lab/attack"
	"github.com/punchlab/punchlab/lab/certify"
	"github.com/punchlab/punchlab/lab/certify/stage"
	"github.com/punchlab/punchlab/lab/certify/tape"
	"github.com/punchlab/punchlab/lab/packet"
)

// Of SEC-11's connections: how many are opened a second, and are open at once, so that a small server still has room for a right client.
const (
	garbleRate = 100
	garbleOpen = 16
)

// gate is where connections are taken, and from where it can be reached.
type gate struct {
	whose string // "the camera", "the rendezvous"
	host  string // at which what is said arrives
	from  string // a host that reaches it
	at    netip.AddrPort
	said  [][]byte // what right clients begin with there
}

// gates are the TCP ports at which the camera and its vendor's servers have taken connections, and those that the camera declares, in its
// own network.
func gates(s *stage.Stage, x *stage.Set, camera *stage.Camera) []gate {
	ps := x.Tape().Packets(0, tape.TCP, tape.Not(tape.IPv6))
	routes := x.Routes()
	var found []gate
	add := func(d gate) {
		if !slices.ContainsFunc(found, func(o gate) bool { return o.host == d.host && o.at.Port() == d.at.Port() }) {
			found = append(found, d)
		}
	}
	viewers := tape.Select(ps, tape.From("viewer"))
	taken := func(at netip.AddrPort) bool {
		return tape.Count(ps, tape.Flags(packet.SYN|packet.ACK, 0), func(p *tape.Packet) bool { return p.Src == at }) > 0
	}
	for _, p := range tape.Select(viewers, routes.By(tape.Direct), tape.Flags(packet.SYN, packet.ACK)) {
		if taken(p.Dst) {
			add(gate{whose: "the camera", host: camera.Host(), from: farHost, at: p.Dst, said: opening(viewers, p.Dst)})
		}
	}
	for role, program := range servers(x) {
		for _, p := range tape.Select(ps, tape.CameTo(program.Host), tape.Flags(packet.SYN, packet.ACK)) {
			if program.Vendors && taken(p.Dst) {
				add(gate{whose: "the " + role, host: program.Host, from: farHost, at: p.Dst, said: opening(tape.Select(ps, tape.CameTo(program.Host)), p.Dst)})
			}
		}
	}
	for _, port := range s.Decl().Bounds.Ports {
		addrs := camera.Addrs()
		if i := slices.IndexFunc(addrs, netip.Addr.Is4); port.Protocol == "tcp" && i >= 0 {
			at := netip.AddrPortFrom(addrs[i], port.Number)
			add(gate{whose: "the camera", host: camera.Host(), from: nearHost, at: at, said: opening(tape.Select(ps, tape.CameTo(camera.Host())), at)})
		}
	}
	return found
}

// opening is what clients said first on their connections to an endpoint, each once. What they said later may be of their session alone,
// and to say that again is a replay.
func opening(ps []tape.Packet, to netip.AddrPort) (said [][]byte) {
	begun := map[netip.AddrPort]bool{}
	for _, p := range ps {
		if p.Dst != to || len(p.Payload) == 0 || begun[p.Src] {
			continue
		}
		begun[p.Src] = true
		if !slices.ContainsFunc(said, func(b []byte) bool { return string(b) == string(p.Payload) }) {
			said = append(said, p.Payload)
		}
	}
	return said
}

// servers are those that run, by their roles.
func servers(x *stage.Set) map[string]*stage.Program {
	running := map[string]*stage.Program{}
	for _, role := range []certify.Role{certify.RoleRendezvous, certify.RoleRelay} {
		if p := x.Program(role); p != nil {
			running[string(role)] = p
		}
	}
	return running
}

// garble says what is broken on n connections to whoever takes them, and counts what of it arrived.
func garble(ctx context.Context, s *stage.Stage, x *stage.Set, camera *stage.Camera, n int) error {
	all := gates(s, x, camera)
	for i, d := range all {
		from := x.Tape().Mark()
		g := &attack.Garbler{Target: d.at, Said: d.said, Rate: garbleRate, Open: garbleOpen, Seed: s.Seed(20 + i)}
		each := max(1, n/len(all))
		patience := time.Duration(each)*time.Second/garbleRate*4 + 20*time.Second // a server that is slow to answer holds it up
		r, err := g.Run(ctx, x.Host(d.from), attack.Budget{Packets: each, Duration: patience})
		if err != nil {
			return err
		}
		if err := s.Pause(ctx, 200*time.Millisecond); err != nil { // for the last ones to arrive
			return err
		}
		routes := x.Routes()
		theirs := slices.Concat(x.Host(d.from).Addrs, routes.External(d.from))
		arrived := spokenTo(x.Tape().Packets(from, tape.CameTo(d.host), tape.TCP), d.at.Port(), theirs)
		s.Saw("malformed", arrived)
		s.Note("%s at %v: on %d TCP connections from host %s nothing right was said, %d of them arrived: %v", d.whose, d.at, r.Counts["connections"], d.from,
			arrived, counted(r.Counts))
		s.Record(map[string]any{"connections to": fmt.Sprintf("%s at %v", d.whose, d.at), "by what was said": r.Counts, "arrived": arrived})
	}
	return ctx.Err()
}

// spokenTo counts the connections to a port, from some addresses, on which something was said.
func spokenTo(ps []tape.Packet, port uint16, from []netip.Addr) (n int) {
	opened := map[netip.AddrPort]uint32{}
	for _, p := range ps {
		begun, open := opened[p.Src]
		switch {
		case p.Dst.Port() != port || !slices.Contains(from, p.Src.Addr()):
		case p.Flags&packet.SYN != 0:
			opened[p.Src] = p.Seq
		case open && len(p.Payload) > 0 && p.Seq-begun < 1<<31: // not of a connection before, sent again
			n++
			delete(opened, p.Src)
		}
	}
	return n
}

// counted are counts in a fixed order, in words.
func counted(counts map[string]int64) (words []string) {
	for _, k := range slices.Sorted(maps.Keys(counts)) {
		words = append(words, fmt.Sprintf("%s: %d", k, counts[k]))
	}
	return words
}
