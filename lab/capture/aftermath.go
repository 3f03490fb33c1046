package capture

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/punchlab/punchlab/lab/nat"
)

// aftermath says what was dropped most, at one place and for one reason, since the lab did the first thing to the trial:
// what such a thing may be the reason of before what is congestion or chance.
func (e *explainer) aftermath() string {
	if len(e.v.Events) == 0 {
		return ""
	}
	begin := e.first()
	var order []fate
	counts, firsts := map[fate]int{}, map[fate]time.Duration{}
	for i := range e.l.Journeys {
		k, at, ok := e.fate(&e.l.Journeys[i])
		if !ok || at < begin.At {
			continue
		}
		if counts[k] == 0 {
			order = append(order, k)
			firsts[k] = at
		}
		counts[k]++
		firsts[k] = min(firsts[k], at)
	}
	if len(order) == 0 {
		return ""
	}
	most := slices.MaxFunc(order, func(a, b fate) int {
		return cmp.Or(-cmp.Compare(rank(a.drop), rank(b.drop)), cmp.Compare(counts[a], counts[b]))
	})
	event, _ := e.eventBefore(firsts[most])
	return fmt.Sprintf("after %s at %s ms, %s", event.What, ms(event.At-e.l.Requested), e.tell(most, counts[most]))
}

// first is the first thing that the lab did.
func (e *explainer) first() Event {
	return slices.MinFunc(e.v.Events, func(a, b Event) int { return cmp.Compare(a.At, b.At) })
}

// fate is what becomes of packets that do not serve: they are dropped at a node, on the way where that is empty, or an
// error is sent back.
type fate struct {
	from, node, drop string
	refused          bool // by from, which sent the error
}

func (e *explainer) fate(j *Journey) (f fate, at time.Duration, ok bool) {
	switch last := j.lastDrop(); {
	case e.l.lane(j.sender()) < 0:
	case j.Drop != "":
		return fate{from: j.sender(), node: last.Node, drop: j.Drop}, last.T, true
	case j.Kind == ICMPError && j.Detail == "port unreachable":
		return fate{from: j.sender(), drop: j.Detail, refused: true}, j.Start(), true
	}
	return f, 0, false
}

// tell says what became of n packets.
func (e *explainer) tell(f fate, n int) string {
	what, from := count(n, "packet"), e.v.name(f.from)
	switch {
	case f.refused:
		return fmt.Sprintf("%s answered %s: %s", from, what, f.drop)
	case f.node == "":
		return fmt.Sprintf("%s from %s got lost on the way: %s", what, from, f.drop)
	case f.node == f.from:
		return fmt.Sprintf("%s did not get out of %s: %s", what, from, f.drop)
	}
	return fmt.Sprintf("%s dropped %s from %s: %s", e.v.name(f.node), what, from, f.drop)
}

// eventBefore is the last thing that the lab did until t.
func (e *explainer) eventBefore(t time.Duration) (last Event, ok bool) {
	for _, ev := range e.v.Events {
		if ev.At <= t && (!ok || ev.At >= last.At) {
			last, ok = ev, true
		}
	}
	return last, ok
}

// rank is 0 for the ends of packets that something the lab did may be the reason of.
func rank(drop string) int {
	switch drop {
	case nat.Filtered.String(), nat.NoMapping.String(), nat.Expired.String(), "link down", "blackhole", "no route", "not forwarded", "device", "port unreachable":
		return 0
	}
	return 1
}
