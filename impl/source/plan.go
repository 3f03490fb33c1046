package source

import (
	"slices"
	"time"
)

// Which rendition a reader gets. 0 stands for the input as it is; a rate for an encoder's.
//
//	target ──× share──► budget ──► as it is, if that fits; else the highest step of the ladder that does
//
// Steps make readers of similar paths share an encoder. Down goes at once, up only after a while and not by much: an estimate that
// wavers would begin an encoder at each turn, and one of a path that has carried little so far is a guess. So a path that is not known
// begins with less than it may carry, for the first picture not to be lost in the queue that too much would make.

const (
	// share of a target is asked of an encoder, which hits it roughly.
	shareNum, shareDen = 95, 100
	// stepNum / stepDen is from a step of the ladder to the next.
	stepNum, stepDen = 3, 4
	raiseAfter       = 2 * time.Second // more has been possible for so long
	raiseNum         = 3               // by raiseNum / raiseDen at most
	raiseDen         = 2
	changeAfter      = time.Second // since the last change, unless half is too much
)

// ladder lists the rates that encoders may have, the highest first.
func ladder(most, least int) (steps []int) {
	for r := most; r > least*5/4; r = r * stepNum / stepDen {
		steps = append(steps, r)
	}
	if len(steps) == 0 && most > least {
		steps = append(steps, most)
	}
	return append(steps, least)
}

// step is the highest of a ladder within a budget, or the least.
func step(ladder []int, budget int) int {
	for _, r := range ladder {
		if r <= budget {
			return r
		}
	}
	return ladder[len(ladder)-1]
}

// appetite is what one reader gets and could have.
type appetite struct {
	target  int // bits a second; 0: not known
	rate    int // what it gets
	set     bool
	changed time.Time // when it got that
	raise   time.Time // since when more is possible; zero: it is not
}

// offer is what there is to choose from.
type offer struct {
	asIs   bool  // the input's H.264 can be passed on
	rate   int   // its bits a second; 0: not known yet
	ladder []int // empty: there is no encoder
	first  int   // of the ladder, for a path that is not known
}

// choose decides what a reader gets from now on.
func (a *appetite) choose(now time.Time, o offer) int {
	best := a.best(o)
	switch {
	case !a.set || a.rate == 0 && !o.asIs:
		a.take(now, best)
	case best == a.rate:
		a.raise = time.Time{}
	case o.size(best) < o.size(a.rate):
		a.raise = time.Time{}
		if now.Sub(a.changed) >= changeAfter || o.size(best) <= o.size(a.rate)/2 {
			a.take(now, best)
		}
	case a.raise.IsZero():
		a.raise = now
	case now.Sub(a.raise) >= raiseAfter:
		a.take(now, o.towards(a.rate, best))
	}
	return a.rate
}

func (a *appetite) take(now time.Time, rate int) {
	a.rate, a.set, a.changed, a.raise = rate, true, now, time.Time{}
}

// best is what fits now.
func (a *appetite) best(o offer) int {
	budget := a.target * shareNum / shareDen
	switch {
	case len(o.ladder) == 0, o.asIs && (a.target == 0 || o.rate == 0 || budget >= o.rate):
		return 0
	case a.target == 0:
		return o.first
	case !a.set:
		return step(o.ladder, min(budget, o.first))
	}
	return step(o.ladder, budget)
}

// towards is the next rate on the way up.
func (o offer) towards(from, best int) int {
	most := from * raiseNum / raiseDen
	if o.size(best) <= most || from >= o.ladder[0] {
		return best
	}
	for _, r := range o.ladder {
		if r > from && r <= max(most, from*stepDen/stepNum+1) {
			return r
		}
	}
	return best
}

// size is a rendition's rate.
func (o offer) size(rate int) int {
	if rate == 0 {
		return o.rate
	}
	return rate
}

// assign brings what readers want to at most n encoders: what is in between goes to the next lower one.
func assign(wanted []int, n int) []int {
	rates := slices.Clone(wanted)
	rates = slices.DeleteFunc(rates, func(r int) bool { return r == 0 })
	slices.Sort(rates)
	rates = slices.Compact(rates)
	if len(rates) <= n {
		return wanted
	}
	kept := append(rates[:n-1:n-1], rates[len(rates)-1]) // the lowest ones, and the highest
	got := slices.Clone(wanted)
	for i, r := range got {
		if at, found := slices.BinarySearch(kept, r); r != 0 && !found {
			got[i] = kept[max(at-1, 0)]
		}
	}
	return got
}

// backoff is the pause before the n-th try, from 1.
func backoff(n int) time.Duration {
	return min(backoffFirst<<min(n-1, 10), backoffMost)
}

const (
	backoffFirst = 250 * time.Millisecond
	backoffMost  = 15 * time.Second
	// healthy is how long a capture lasts that counts as one: the pauses begin anew.
	healthy = 5 * time.Second
)
