package link

import (
	"math"
	"time"
)

// AQM is what drops packets before the queue is full. The zero value is drop-tail.
type AQM uint8

// The queue managements.
const (
	DropTail AQM = iota // none: the queue drops what it has no room for
	CoDel               // controlled delay (RFC 8289)
)

func (a AQM) String() string {
	switch a {
	case DropTail:
		return "drop-tail"
	case CoDel:
		return "codel"
	}
	return "unknown queue management"
}

// What zero stands for in an Impairment with CoDel (RFC 8289 §4.3 and §4.4).
const (
	DefaultTarget   = 5 * time.Millisecond
	DefaultInterval = 100 * time.Millisecond
)

// codel is CoDel's state (RFC 8289 §5). It is asked about each packet when that arrives instead of when it leaves:
// the queue is first in, first out, so the time at which the packet will leave, and so its sojourn time, is known
// then, and no later packet has a say. RFC 8289's other condition, that at least an MTU waits, would need later
// packets; a target not below the transmission time of an MTU stands in for it (see Impairment.Target).
type codel struct {
	target, interval time.Duration
	above            bool          // the sojourn time is above the target, and
	dropAfter        time.Duration // still is at this time: then drop (first_above_time_)
	dropping         bool
	dropNext         time.Duration
	count, lastCount uint32
	again            bool // the packet before was dropped in the dropping state: the same dequeue goes on
}

func (c *codel) reset() { *c = codel{target: c.target, interval: c.interval} }

// drops tells whether the packet that arrives at arrival and would leave at now is dropped instead.
func (c *codel) drops(arrival, now time.Duration) bool {
	ok := c.mayDrop(now-arrival, now)
	if !c.dropping {
		if ok {
			c.enter(now)
		}
		return ok
	}
	switch {
	case !ok:
		c.dropping, c.again = false, false
		return false
	case c.again:
		c.dropNext, c.again = c.law(c.dropNext), false
	}
	if now < c.dropNext {
		return false
	}
	c.count++
	c.again = true
	return true
}

// mayDrop is RFC 8289 §5.6's judgement: above the target for an interval.
func (c *codel) mayDrop(sojourn, now time.Duration) bool {
	switch {
	case sojourn < c.target:
		c.above = false
	case !c.above:
		c.above, c.dropAfter = true, now+c.interval
	default:
		return now >= c.dropAfter
	}
	return false
}

// enter begins the dropping state, at the rate that was right before if that was not long ago.
func (c *codel) enter(now time.Duration) {
	delta := c.count - c.lastCount
	c.dropping, c.count = true, 1
	if delta > 1 && now-c.dropNext < 16*c.interval {
		c.count = delta
	}
	c.dropNext = c.law(now)
	c.lastCount = c.count
}

// law is the control law: drops at intervals that shrink with the root of their number.
func (c *codel) law(t time.Duration) time.Duration {
	return t + time.Duration(float64(c.interval)/math.Sqrt(float64(c.count)))
}
