package capture

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/punchlab/punchlab/lab/nat"
	"github.com/punchlab/punchlab/lab/record"
)

// Explain says in a sentence why the trial came out as the record says, from what the taps saw of the direct path:
//
//	the viewer's probe reached the camera's router 12.0 ms before the camera had opened it; dropped: filtered (3 of 7 probes)
//
// A probe is whatever one side sent the other directly. Where nothing in the capture explains the outcome, the
// record's own cause stands.
func (l *Timeline) Explain(t record.Trial) string {
	switch t.Outcome {
	case record.HarnessError, record.Unsupported:
		return firstOf(t.Error, t.Cause, "the trial was not judged")
	}
	e := explainer{l: l, v: &l.view}
	s := e.outcome(t)
	if t.Outcome != record.Failed {
		if after := e.aftermath(); after != "" {
			s += "; " + after
		} else if len(l.view.Events) > 0 {
			s += "; nothing was dropped after " + e.first().What
		}
	}
	if m := t.Media; m != nil && m.GapS != nil && *m.GapS >= standstill {
		s += fmt.Sprintf("; the picture stood still for %.1f s", *m.GapS)
	}
	return s
}

// standstill is how many seconds without a frame anybody sees.
const standstill = 0.3

// outcome is why the trial went direct, or not.
func (e *explainer) outcome(t record.Trial) string {
	l := e.l
	there, back := e.probes(l.view.Viewer, l.view.Camera), e.probes(l.view.Camera, l.view.Viewer)
	if t.Outcome == record.Direct {
		return e.direct(there, back, t)
	}
	if s := e.signaling(); s != "" {
		return s
	}
	if s := e.aftermath(); s != "" && t.Outcome == record.Failed {
		return firstOf(t.Cause, "the trial failed") + "; " + s
	}
	switch {
	case len(there.all) == 0 && len(back.all) == 0:
		s := "neither side sent the other anything directly"
		if t.Params["strategy"] == "relay" {
			s += ", as the strategy is relay"
		}
		return s
	case there.came > 0 && back.came > 0:
		return fmt.Sprintf("packets passed in both directions from %s ms on, yet the trial was %s: %s",
			ms(max(there.first, back.first)), t.Outcome, firstOf(t.Cause, "no tap says why"))
	}
	var clauses []string
	for _, p := range []*probes{&there, &back} {
		switch {
		case len(p.all) == 0:
			clauses = append(clauses, fmt.Sprintf("%s sent %s nothing directly", e.v.name(p.from), e.v.name(p.to)))
		case p.came == 0:
			clauses = append(clauses, e.why(p))
		}
	}
	return strings.Join(clauses, "; and ")
}

func firstOf(texts ...string) string {
	for _, s := range texts {
		if s != "" {
			return s
		}
	}
	return ""
}

type explainer struct {
	l *Timeline
	v *View
}

// probes are what one side sent the other directly since the request.
type probes struct {
	from, to string
	all      []*Journey
	dropped  []*Journey
	came     int
	first    time.Duration // when the first one came, since the request
}

func (e *explainer) probes(from, to string) probes {
	p := probes{from: from, to: to}
	for i := range e.l.Journeys {
		j := &e.l.Journeys[i]
		if j.sender() != from || j.Start() < e.l.Requested || j.Relayed || j.Kind == ICMPError || !e.isSide(e.l.to(j), to) {
			continue
		}
		p.all = append(p.all, j)
		at, ok := j.Delivered()
		switch {
		case ok && j.receiver() == to:
			if p.came == 0 || at-e.l.Requested < p.first {
				p.first = at - e.l.Requested
			}
			p.came++
		case j.Drop != "":
			p.dropped = append(p.dropped, j)
		}
	}
	return p
}

// isSide reports whether a node is the host or a router of its side alone.
func (e *explainer) isSide(node, host string) bool {
	return node == host || node != "" && e.v.isOnWay(host, node)
}

// direct tells how soon, and what went wrong before.
func (e *explainer) direct(there, back probes, t record.Trial) string {
	if back.came == 0 {
		return firstOf(t.Cause, "the trial was direct, but no tap saw a direct packet reach the viewer")
	}
	s := fmt.Sprintf("%s's first direct packet reached %s %s ms after the request", e.v.name(back.from), e.v.name(back.to), ms(back.first))
	for _, p := range []*probes{&there, &back} {
		if len(p.dropped) > 0 && len(p.all) > 0 && p.all[0] == p.dropped[0] {
			return s + ", although " + e.why(p)
		}
	}
	return s
}

// signaling says where the way over the rendezvous is broken, if it is.
func (e *explainer) signaling() string {
	for _, way := range [][2]string{{e.v.Viewer, e.v.Rendezvous}, {e.v.Rendezvous, e.v.Camera}, {e.v.Camera, e.v.Rendezvous}, {e.v.Rendezvous, e.v.Viewer}} {
		p := e.probes(way[0], way[1])
		if len(p.all) > 0 && p.came == 0 && len(p.dropped) > 0 {
			first := p.dropped[0]
			return fmt.Sprintf("nothing that %s sent reached %s: %s%s", e.v.name(p.from), e.v.name(p.to), e.place(first), e.since(first)+p.tally(first))
		}
	}
	return ""
}

// place is where and why a packet ended.
func (e *explainer) place(j *Journey) string {
	last := j.lastDrop()
	if last.Node == "" {
		return "dropped on its way: " + j.Drop
	}
	return fmt.Sprintf("dropped at %s: %s", e.v.name(last.Node), j.Drop)
}

// lastDrop is the step at which a dropped packet ended.
func (j *Journey) lastDrop() Step {
	last := j.Last()
	for _, s := range j.Steps {
		if s.Drop == j.Drop && s.Drop != "" {
			last = s
		}
	}
	return last
}

// tally is how many met the same end.
func (p *probes) tally(like *Journey) string {
	n := 0
	for _, j := range p.dropped {
		if j.Drop == like.Drop && j.lastDrop().Node == like.lastDrop().Node {
			n++
		}
	}
	if len(p.all) == 1 {
		return ""
	}
	return fmt.Sprintf(" (%d of %d packets)", n, len(p.all))
}

// since names what the lab did before a packet was dropped, where that may be the reason.
func (e *explainer) since(j *Journey) string {
	if rank(j.Drop) > 0 {
		return ""
	}
	last, ok := e.eventBefore(j.lastDrop().T)
	if !ok {
		return ""
	}
	return fmt.Sprintf(", after %s at %s ms", last.What, ms(last.At-e.l.Requested))
}

// why says what became of one direction's probes, none of which came, or not the first ones. What the far router did
// says more than what a link lost.
func (e *explainer) why(p *probes) string {
	if len(p.dropped) == 0 {
		return fmt.Sprintf("what %s sent %s had not arrived when the capture ended", e.v.name(p.from), e.v.name(p.to))
	}
	for _, j := range p.dropped {
		if at := j.lastDrop().Node; at != "" && e.v.isOnWay(p.to, at) && !e.v.isOnWay(p.from, at) {
			return e.refused(p, j)
		}
	}
	j := p.dropped[0]
	at := j.lastDrop().Node
	switch {
	case at == "":
		return fmt.Sprintf("%s's probe did not reach %s; dropped: %s%s%s", e.v.name(p.from), e.v.name(e.far(p.to)), j.Drop, e.since(j), p.tally(j))
	case e.v.isOnWay(p.from, at):
		return fmt.Sprintf("%s did not let %s's probe out; dropped: %s%s%s", e.v.name(at), e.v.name(p.from), j.Drop, e.since(j), p.tally(j))
	}
	return fmt.Sprintf("%s's probe ended at %s; dropped: %s%s%s", e.v.name(p.from), e.v.name(at), j.Drop, e.since(j), p.tally(j))
}

// far is the outermost router of a host, or the host itself.
func (e *explainer) far(host string) string {
	if way := e.v.routers(host); len(way) > 0 {
		return way[len(way)-1].node()
	}
	return host
}

// refused is about a probe that the far side's router did not let in.
func (e *explainer) refused(p *probes, j *Journey) string {
	at := j.lastDrop()
	src, dst := e.ends(j, at)
	who, gate, owner := e.v.name(p.from)+"'s probe", e.v.name(at.Node), e.v.name(p.to)
	end := fmt.Sprintf("; dropped: %s%s%s", j.Drop, e.since(j), p.tally(j))
	opened := e.openings(at.Node, p)
	switch j.Drop {
	case nat.Expired.String():
		if last, ok := e.lastUse(at.Node, dst, at.T); ok {
			return fmt.Sprintf("%s reached %s %.1f s after %v was last used%s", who, gate, (at.T - last).Seconds(), dst, end)
		}
		return fmt.Sprintf("%s reached %s when the mapping of %v had timed out%s", who, gate, dst, end)
	case nat.Filtered.String(), nat.NoMapping.String():
	default:
		return fmt.Sprintf("%s reached %s%s", who, gate, end)
	}
	if len(opened) == 0 {
		return fmt.Sprintf("%s reached %s, which %s had not opened by sending anything to %v%s", who, gate, owner, src.Addr(), end)
	}
	for _, o := range opened {
		if o.from == dst && (o.to == src || o.to.Addr() == src.Addr() && e.byAddress(at.Node)) {
			if o.t > at.T {
				return fmt.Sprintf("%s reached %s %s ms before %s had opened it%s", who, gate, ms(o.t-at.T), owner, end)
			}
			return fmt.Sprintf("%s reached %s %s ms after %s had opened it%s", who, gate, ms(at.T-o.t), owner, end)
		}
	}
	last := inUse(opened, src.Addr(), at.T)
	if last.from == dst {
		return fmt.Sprintf("%s came from %v, but %s is open for %v%s", who, src, gate, last.to, end)
	}
	return fmt.Sprintf("%s went to %v, but towards %s %s uses %v%s", who, dst, e.v.name(p.from), gate, last.from, end)
}

// byAddress reports whether a router's filter ignores ports.
func (e *explainer) byAddress(node string) bool {
	k := e.v.routerAt(node)
	return k != nil && k.Behavior.Filtering == nat.AddressDependent
}

// ends are a packet's endpoints as they came to a step.
func (e *explainer) ends(j *Journey, s Step) (src, dst netip.AddrPort) {
	src, dst = j.Src, j.Dst
	for _, k := range j.Steps {
		if k == s {
			break
		}
		if k.Src.New.IsValid() {
			src = k.Src.New
		}
		if k.Dst.New.IsValid() {
			dst = k.Dst.New
		}
	}
	return src, dst
}

// opening is a packet that went out through a router and may have opened it.
type opening struct {
	from, to netip.AddrPort // as outside sees them
	t        time.Duration
}

// inUse is the opening that a probe from an address meets at t: what was sent to that address before what was sent
// elsewhere, then what was sent until t, and of that the newest.
func inUse(opened []opening, from netip.Addr, t time.Duration) opening {
	rank := func(o opening) (n int) {
		if o.to.Addr() == from {
			n += 2
		}
		if o.t <= t {
			n++
		}
		return n
	}
	return slices.MaxFunc(opened, func(a, b opening) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a.t, b.t))
	})
}

// openings are what p's receiver sent out through a router to p's sender.
func (e *explainer) openings(node string, p *probes) (all []opening) {
	back := e.probes(p.to, p.from)
	for _, j := range back.all {
		for _, s := range j.Steps {
			if s.Node != node || s.At != atOutbound || s.Drop != "" {
				continue
			}
			o := opening{t: s.T}
			o.from, o.to = e.ends(j, s)
			if s.Src.New.IsValid() {
				o.from = s.Src.New
			}
			all = append(all, o)
			break
		}
	}
	return all
}

// lastUse is when an external endpoint of a router was last sent from before t.
func (e *explainer) lastUse(node string, external netip.AddrPort, t time.Duration) (last time.Duration, ok bool) {
	for i := range e.l.Journeys {
		for _, s := range e.l.Journeys[i].Steps {
			if s.Node == node && s.At == atOutbound && s.Drop == "" && s.Src.New == external && s.T < t && (!ok || s.T > last) {
				last, ok = s.T, true
			}
		}
	}
	return last, ok
}
