package capture

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/punchlab/punchlab/lab/nat"
	"github.com/punchlab/punchlab/lab/record"
)

// Flow is what one host sent from one endpoint to another, as the host itself sees them.
type Flow struct {
	From     string         `json:"from"` // the host's or router's name
	Protocol uint8          `json:"protocol"`
	Src      netip.AddrPort `json:"src"`
	Dst      netip.AddrPort `json:"dst"`
	Packets  int            `json:"packets"`
	Bytes    int64          `json:"bytes"` // from the IP header on
	Came     int            `json:"came"`  // packets that a host got
	Drops    map[string]int `json:"drops"`
}

// Flows lists the flows of all hosts in the order of their beginnings.
func (l *Timeline) Flows() []Flow {
	type key struct {
		from     string
		protocol uint8
		src, dst netip.AddrPort
	}
	var flows []Flow
	index := map[key]int{}
	for i := range l.Journeys {
		j := &l.Journeys[i]
		k := key{j.sender(), j.Protocol, j.Src, j.Dst}
		n, ok := index[k]
		if !ok {
			n = len(flows)
			index[k] = n
			flows = append(flows, Flow{From: k.from, Protocol: k.protocol, Src: k.src, Dst: k.dst, Drops: map[string]int{}})
		}
		f := &flows[n]
		f.Packets++
		f.Bytes += int64(j.Size)
		if _, came := j.Delivered(); came {
			f.Came++
		} else if j.Drop != "" {
			f.Drops[j.Drop]++
		}
	}
	return flows
}

// Paths counts the media that reached the viewer.
type Paths struct {
	Direct       int   `json:"direct"` // packets
	Relayed      int   `json:"relayed"`
	DirectBytes  int64 `json:"direct_bytes"` // from the IP header on
	RelayedBytes int64 `json:"relayed_bytes"`
}

// Media tells by which paths the viewer got its media.
func (l *Timeline) Media() (p Paths) {
	for i := range l.Journeys {
		j := &l.Journeys[i]
		if _, came := j.Delivered(); !came || j.Kind != Media || j.receiver() != l.view.Viewer {
			continue
		}
		if j.Relayed || j.sender() == l.view.Rendezvous {
			p.Relayed++
			p.RelayedBytes += int64(j.Size)
		} else {
			p.Direct++
			p.DirectBytes += int64(j.Size)
		}
	}
	return p
}

// blindBudget is how much media a camera may send before it has heard the viewer (PROTOCOL.md §13): so much may come
// directly although the path works in one direction only.
const blindBudget = 262144

// maxLeaks bounds a list that one broken router can make as long as the capture.
const maxLeaks = 20

// Leaks lists what cannot be, were the lab's routers tight and the record right: a private address on the core, media by
// a path that the record or the strategy denies. An empty list is a good one.
func (l *Timeline) Leaks(t record.Trial) []string {
	leaks := l.addressLeaks()
	m := l.Media()
	strategy := t.Params["strategy"]
	direct := l.directPackets()
	switch {
	case t.Outcome == record.Direct && m.Direct == 0 && direct == 0:
		leaks = append(leaks, "the record says direct, but nothing reached the viewer directly")
	case t.Outcome == record.Relayed && t.PathChanges == 0 && len(t.Events) == 0 && m.DirectBytes > blindBudget:
		leaks = append(leaks, fmt.Sprintf("the record says %s, but %d bytes of media reached the viewer directly", t.Outcome, m.DirectBytes))
	}
	if strategy == "relay" && direct > 0 {
		leaks = append(leaks, fmt.Sprintf("the strategy is relay, but %s reached the viewer directly", count(direct, "packet")))
	}
	if strategy == "direct" && m.Relayed > 0 {
		leaks = append(leaks, fmt.Sprintf("the strategy is direct, but %s of media came through the relay", count(m.Relayed, "packet")))
	}
	return leaks
}

// directPackets is how many packets reached the viewer from the camera itself.
func (l *Timeline) directPackets() (n int) {
	for i := range l.Journeys {
		j := &l.Journeys[i]
		if _, came := j.Delivered(); came && j.sender() == l.view.Camera && j.receiver() == l.view.Viewer {
			n++
		}
	}
	return n
}

// addressLeaks lists the private addresses that crossed the core: as a source, or as a destination that was reached.
func (l *Timeline) addressLeaks() (leaks []string) {
	seen, more := map[string]bool{}, 0
	for i := range l.trace.Packets {
		p := &l.trace.Packets[i]
		where := l.trace.where(p)
		if where.Kind != uplink || p.Comment.Drop != "" || p.Comment.At != atSent && p.Comment.At != atArrived {
			continue
		}
		var s string
		switch {
		case l.isPrivate(p.Src.Addr()):
			s = fmt.Sprintf("private address %v of a %s to %v is on the core, at %v", p.Src.Addr(), p.Kind, p.Dst, where)
		case p.Comment.At == atArrived && l.isPrivate(p.Dst.Addr()):
			s = fmt.Sprintf("a %s from %v crossed the core to the private address %v, at %v", p.Kind, p.Src, p.Dst.Addr(), where)
		default:
			continue
		}
		switch {
		case seen[s]:
		case len(leaks) == maxLeaks:
			more++
		default:
			leaks = append(leaks, s)
		}
		seen[s] = true
	}
	if more > 0 {
		leaks = append(leaks, "and "+count(more, "more leak"))
	}
	return leaks
}

var shared = netip.MustParsePrefix("100.64.0.0/10") // RFC 6598

// isPrivate reports whether an address means nothing on the core: by its kind (RFC 1918, RFC 6598, RFC 4193), or as one of
// a LAN behind a router that translates.
func (l *Timeline) isPrivate(a netip.Addr) bool {
	if a.IsPrivate() || a.IsLinkLocalUnicast() || shared.Contains(a) {
		return true
	}
	return slices.ContainsFunc(l.view.Routers, func(r Router) bool {
		return a.Is4() && r.Behavior.Kind != nat.NoNAT && slices.ContainsFunc(r.LAN, func(p netip.Prefix) bool { return p.Contains(a) })
	})
}
