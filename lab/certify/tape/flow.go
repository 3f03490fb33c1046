package tape

import (
	"net/netip"
	"slices"
	"time"
)

// Flow is what one host exchanged between two endpoints, as it saw them.
type Flow struct {
	Host          string
	Protocol      uint8
	Local, Remote netip.AddrPort
	First, Last   time.Time
	Out, In       Amount
}

// flowKey is what the packets of a flow have in common.
type flowKey struct {
	host          string
	protocol      uint8
	local, remote netip.AddrPort
}

func keyOf(p *Packet) flowKey { return flowKey{p.Host, p.Protocol, p.Local(), p.Remote()} }

// Flows are those of all hosts, by the times of their beginnings.
func Flows(ps []Packet) (flows []Flow) {
	known := map[flowKey]int{}
	for _, p := range byTime(ps) {
		k := keyOf(&p)
		i, ok := known[k]
		if !ok {
			i = len(flows)
			known[k] = i
			flows = append(flows, Flow{Host: k.host, Protocol: k.protocol, Local: k.local, Remote: k.remote, First: p.At})
		}
		f := &flows[i]
		f.Last = p.At
		if p.Out {
			f.Out.add(&p)
		} else {
			f.In.add(&p)
		}
	}
	return flows
}

// Rebind is a change of the other end in a flow: what one local endpoint gets comes from another remote one than before.
type Rebind struct {
	At       time.Time
	Host     string // at which it was seen
	Local    netip.AddrPort
	Old, New netip.AddrPort
}

// Rebinds are the changes of remote endpoints that the packets show that came to hosts: a packet to a local endpoint from a remote one
// that it never had any from, after packets from others of the same protocol. Give it the packets of one peer, such as Media
// by the addresses of the camera's router: two peers of one socket are not told from one with two endpoints.
func Rebinds(ps []Packet) (changes []Rebind) {
	type end struct {
		host     string
		protocol uint8
		local    netip.AddrPort
	}
	remotes := map[end][]netip.AddrPort{} // those seen, the last one last
	for _, p := range byTime(ps) {
		if p.Out || p.Fragment && p.Src.Port() == 0 {
			continue
		}
		e := end{p.Host, p.Protocol, p.Dst}
		seen := remotes[e]
		i := slices.Index(seen, p.Src)
		if i < 0 && len(seen) > 0 {
			changes = append(changes, Rebind{p.At, p.Host, p.Dst, seen[len(seen)-1], p.Src})
		}
		if i >= 0 {
			seen = slices.Delete(seen, i, i+1)
		}
		remotes[e] = append(seen, p.Src)
	}
	return changes
}
