package link

import (
	"strings"
	"time"
)

// Cause says why a packet was dropped.
type Cause uint8

// The causes. A Queue gives those up to AQMDropped, in the order in which it tests them; the others are lab/fabric's.
const (
	Passed     Cause = iota
	Down             // the link is down
	TooBig           // larger than the MTU
	Blackhole        // larger than the MTU, and nobody is told
	Lost             // Bernoulli loss
	BurstLost        // Gilbert–Elliott loss
	Full             // the queue before the rate is full
	AQMDropped       // CoDel: the queue has been long for too long
	NoRoute          // no uplink has the destination address
	Expired          // TTL or hop limit used up
	Malformed        // not an IP packet, or of impossible length
	Device           // the receiving device did not take it
	Overload         // the fabric holds as many packets as it may
	Causes           // how many there are
)

var causeNames = [Causes]string{"passed", "link down", "too big", "blackhole", "lost", "burst lost", "queue full", "codel",
	"no route", "ttl expired", "malformed", "device", "overload"}

func (c Cause) String() string {
	if c < Causes {
		return causeNames[c]
	}
	return "unknown cause"
}

// Drops counts packets by the cause of their end. The count of Passed stays zero.
type Drops [Causes]uint64

// Total is the number of all dropped packets.
func (d Drops) Total() (n uint64) {
	for _, k := range d {
		n += k
	}
	return n
}

// String lists the causes that occurred: "3 lost, 1 no route".
func (d Drops) String() string {
	var parts []string
	for c, n := range d {
		if n > 0 {
			parts = append(parts, uitoa(n)+" "+Cause(c).String())
		}
	}
	if parts == nil {
		return "none"
	}
	return strings.Join(parts, ", ")
}

func uitoa(n uint64) string {
	var b [20]byte
	i := len(b)
	for {
		i--
		b[i] = byte('0' + n%10)
		if n /= 10; n == 0 {
			return string(b[i:])
		}
	}
}

// Verdict is the decision on one packet.
type Verdict struct {
	Cause        Cause         // Passed, or why there is no Due
	Due          time.Duration // when it reaches the other end, on the clock of Next's now
	Duplicated   bool          // a second copy arrives at DuplicateDue
	DuplicateDue time.Duration
	Corrupted    bool   // one bit behind the IP header flips:
	CorruptBit   uint64 // take it modulo the number of bits there
}

// Queue is one direction of an access link. See the package's documentation for its order of decisions.
type Queue struct {
	imp    Impairment // with its defaults filled in
	seed   uint64
	full   time.Duration // how long what waits may take to send
	flows  flows
	freeAt time.Duration // when the rate has sent everything accepted so far
	last   time.Duration // latest due given out under KeepOrder
	trace  schedule
	codel  codel
}

// NewQueue returns a direction of a link. The impairment must be valid.
func NewQueue(i Impairment, seed uint64) *Queue {
	q := &Queue{}
	q.Set(i)
	q.Reset(seed)
	return q
}

// Set changes the impairment for the packets to come. The backlog, the flows' places in their random sequences and
// the place in the trace stay; another trace begins with the next packet.
func (q *Queue) Set(i Impairment) {
	q.imp = i.defaults()
	q.trace.follow(i.Trace)
	q.codel.target, q.codel.interval = q.imp.Target, q.imp.Interval
	q.full = 0
	if q.imp.Rate > 0 {
		q.full = transmission(q.imp.QueueBytes, q.imp.Rate)
	}
}

// Reset forgets backlog and flows and starts the decisions over from the seed. A trace begins with the next packet.
func (q *Queue) Reset(seed uint64) {
	q.seed = Mix(seed)
	q.flows.reset()
	q.freeAt, q.last = 0, 0
	q.trace.begun = false
	q.codel.reset()
}

// MTU is the largest packet that passes, in bytes.
func (q *Queue) MTU() int { return q.imp.MTU }

// Next decides on a packet of size bytes, IP header included, that arrives at now as the next one of its flow.
func (q *Queue) Next(now time.Duration, flowID uint64, size int) (v Verdict) {
	i := &q.imp
	switch {
	case i.Down:
		return Verdict{Cause: Down}
	case size > i.MTU && i.MTUBlackhole:
		return Verdict{Cause: Blackhole}
	case size > i.MTU:
		return Verdict{Cause: TooBig}
	}
	f := q.flows.get(flowID)
	d := newDraw(q.seed, flowID, f.n)
	f.n++
	if i.Loss > 0 && d.uniform(forLoss) < i.Loss {
		return Verdict{Cause: Lost}
	}
	if i.Burst != nil && f.burst(i.Burst, d) {
		return Verdict{Cause: BurstLost}
	}
	sent, c := q.pass(now, size)
	if c != Passed {
		return Verdict{Cause: c}
	}
	v.Due = q.arrival(sent, d, forJitter)
	if i.Duplicate > 0 && d.uniform(forDuplicate) < i.Duplicate {
		v.Duplicated, v.DuplicateDue = true, q.arrival(sent, d, forDuplicateJitter)
	}
	if i.Corrupt > 0 && d.uniform(forCorrupt) < i.Corrupt {
		v.Corrupted, v.CorruptBit = true, d.bits(forCorruptBit)
	}
	return v
}

// pass takes the packet through the queue and returns when its last byte has been sent.
func (q *Queue) pass(now time.Duration, size int) (sent time.Duration, c Cause) {
	i := &q.imp
	var start, took time.Duration
	switch {
	case i.Trace != nil:
		if waiting := q.trace.arrive(now, q.freeAt, q.seed); waiting > 0 && waiting+size > i.QueueBytes {
			return 0, Full
		}
		start = q.trace.time()
	case i.Rate > 0:
		start, took = max(now, q.freeAt), transmission(size, i.Rate)
		if start > now && start-now+took > q.full {
			return 0, Full
		}
	default:
		return now, Passed
	}
	if i.AQM == CoDel && q.codel.drops(now, start) {
		return 0, AQMDropped
	}
	if i.Trace != nil {
		q.freeAt = q.trace.send(size)
	} else {
		q.freeAt = start + took
	}
	return q.freeAt, Passed
}

// transmission is how long size bytes take at the rate. With the largest size and 1 bit/s it stays below 2⁶³ ns.
func transmission(size int, rate int64) time.Duration {
	const bit = int64(8 * time.Second)
	return time.Duration(int64(size) * bit / rate)
}

// arrival adds the way to the time at which the packet has been sent.
func (q *Queue) arrival(sent time.Duration, d draw, jitter purpose) time.Duration {
	i := &q.imp
	travel := i.Delay
	if i.Jitter > 0 {
		travel += time.Duration((2*d.uniform(jitter) - 1) * float64(i.Jitter))
	}
	due := sent + max(travel, 0)
	if i.Reorder > 0 && jitter == forJitter && d.uniform(forReorder) < i.Reorder {
		return due + i.ReorderBy
	}
	if i.KeepOrder {
		due = max(due, q.last)
		q.last = due
	}
	return due
}

// burst moves the flow's state and tells whether it loses the packet.
func (f *flow) burst(g *GilbertElliott, d draw) bool {
	flip := g.GoodToBad
	if f.bad {
		flip = g.BadToGood
	}
	if d.uniform(forBurstState) < flip {
		f.bad = !f.bad
	}
	loss := g.LossGood
	if f.bad {
		loss = g.LossBad
	}
	return d.uniform(forBurstLoss) < loss
}
