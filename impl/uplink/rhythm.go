package uplink

import "time"

// The bounds of the interval between pings, beside the configured ones.
const (
	leastEvery = 5 * time.Second // what a NAT that forgets sooner gets nevertheless
	leastIdle  = time.Second     // a mapping gone after less was not forgotten for being idle
	growAfter  = 10 * time.Minute
	lastGrow   = 8 * time.Hour
	nextGrow   = time.Minute
)

// rhythm is the interval between pings, adapted to the NAT: a mapping that was idle too long is forgotten, which the
// rendezvous sees as another endpoint although the device has not moved. Until its next ping nobody reaches it.
//
//	            forgotten: half the silence, or the longest that was survived; at least 5 s
//	usual ────────────────────────────────────────────────────────────────────────────────► shorter
//	  ▲ └──── × 5/4 up to longest, if it is more                                                 │
//	  └────── × 5/4 each minute, 10 min after it was forgotten, 20 min the next time … 8 h ──────┘
//
// A mapping gone after a shorter silence than one that was survived says nothing the first time: routers reboot.
type rhythm struct {
	usual, longest time.Duration
	every          time.Duration
	survived       time.Duration // the longest silence after which the mapping was there
	forgotten      time.Duration // the shortest after which it was gone; 0: never seen
	doubt          bool          // it was gone once after a silence that it had survived
	grow           time.Time     // no longer interval before
	wait           time.Duration // from the next time that it is forgotten
}

// reset forgets what is known: the NAT is another one.
func (r *rhythm) reset(usual, longest time.Duration) {
	*r = rhythm{usual: usual, longest: max(usual, longest), every: usual, wait: growAfter}
}

// bound changes the bounds.
func (r *rhythm) bound(usual, longest time.Duration) {
	if r.every == r.usual {
		r.every = usual
	}
	r.usual, r.longest = usual, max(usual, longest)
	r.every = min(r.every, r.longest)
}

// kept says that the mapping was there after a silence.
func (r *rhythm) kept(now time.Time, idle time.Duration) {
	r.doubt = false
	r.survived = max(r.survived, idle)
	if r.survived >= r.forgotten {
		r.forgotten = 0
	}
	if r.every >= r.longest || now.Before(r.grow) || r.survived < r.every*3/4 {
		return
	}
	r.every = min(r.every*5/4, r.longest)
	if r.grow = now.Add(nextGrow); r.forgotten > 0 && r.every >= r.forgotten {
		r.grow = now.Add(r.wait)
	}
}

// forgot says that the mapping was gone after a silence.
func (r *rhythm) forgot(now time.Time, idle time.Duration) {
	if idle < leastIdle {
		return
	}
	if r.survived >= idle {
		if r.doubt = !r.doubt; r.doubt {
			return
		}
		r.survived = 0
	}
	if r.forgotten == 0 || idle < r.forgotten {
		r.forgotten = idle
	}
	r.every = min(r.every, max(idle/2, r.survived, leastEvery))
	r.grow = now.Add(r.wait)
	r.wait = min(2*r.wait, lastGrow)
}
