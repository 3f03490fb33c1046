package link

import (
	"math"
	"testing"
	"time"

	_ "github.com/punchlab/punchlab/lab/internal/steady"
	"pgregory.net/rapid"
)

// referenceQueue is RFC 8289 §5's pseudo-code over a queue that really holds its packets and is asked when the line
// is free, with this package's one change: the condition on the bytes that wait is a matter of the target.
type referenceQueue struct {
	target, interval     time.Duration
	waiting              []int // indices of packets
	arrived              []time.Duration
	firstAbove, dropNext time.Duration
	count, lastCount     uint32
	dropping             bool
	dropped              map[int]bool
}

func (q *referenceQueue) dodequeue(now time.Duration) (p int, okToDrop bool) {
	if len(q.waiting) == 0 {
		q.firstAbove = 0
		return -1, false
	}
	p, q.waiting = q.waiting[0], q.waiting[1:]
	if sojourn := now - q.arrived[p]; sojourn < q.target {
		q.firstAbove = 0
	} else if q.firstAbove == 0 {
		q.firstAbove = now + q.interval
	} else if now >= q.firstAbove {
		okToDrop = true
	}
	return p, okToDrop
}

func (q *referenceQueue) controlLaw(t time.Duration, count uint32) time.Duration {
	return t + time.Duration(float64(q.interval)/math.Sqrt(float64(count)))
}

func (q *referenceQueue) dequeue(now time.Duration) int {
	p, ok := q.dodequeue(now)
	if q.dropping {
		if !ok {
			q.dropping = false
		}
		for now >= q.dropNext && q.dropping {
			q.dropped[p] = true
			q.count++
			p, ok = q.dodequeue(now)
			if !ok {
				q.dropping = false
			} else {
				q.dropNext = q.controlLaw(q.dropNext, q.count)
			}
		}
	} else if ok {
		q.dropped[p] = true
		p, _ = q.dodequeue(now)
		q.dropping = true
		delta := q.count - q.lastCount
		q.count = 1
		if delta > 1 && now-q.dropNext < 16*q.interval {
			q.count = delta
		}
		q.dropNext = q.controlLaw(now, q.count)
		q.lastCount = q.count
	}
	return p
}

// reference sends packets through the reference and returns when each has been sent, or -1.
func reference(i Impairment, arrived []time.Duration, sizes []int) []time.Duration {
	i = i.defaults()
	q := &referenceQueue{target: i.Target, interval: i.Interval, arrived: arrived, dropped: map[int]bool{}}
	sent := make([]time.Duration, len(arrived))
	for k := range sent {
		sent[k] = -1
	}
	const forever = time.Duration(math.MaxInt64)
	free, idle, next := time.Duration(0), true, 0
	for {
		arrival, ready := forever, forever
		if next < len(arrived) {
			arrival = arrived[next]
		}
		if !idle || len(q.waiting) > 0 {
			ready = free
		}
		switch {
		case arrival == forever && ready == forever:
			return sent
		case arrival <= ready: // what arrives at the moment at which the line falls free is there
			q.waiting = append(q.waiting, next)
			next++
			if idle {
				free, idle = arrival, false
			}
		default:
			p := q.dequeue(ready)
			if idle = p < 0; !idle {
				free = ready + transmission(sizes[p], i.Rate)
				sent[p] = free
			}
		}
	}
}

// drawLoad draws arrivals that come and go around the rate.
func drawLoad(t *rapid.T, rate int64) (arrived []time.Duration, sizes []int) {
	var now time.Duration
	for range rapid.IntRange(1, 12).Draw(t, "phases") {
		load := rapid.Float64Range(0.2, 4).Draw(t, "load")
		size := rapid.IntRange(40, 1500).Draw(t, "size")
		gap := time.Duration(float64(transmission(size, rate)) / load)
		for range rapid.IntRange(1, 400).Draw(t, "packets") {
			arrived, sizes = append(arrived, now), append(sizes, size)
			now += gap
		}
		now += time.Duration(rapid.IntRange(0, 300).Draw(t, "pause")) * time.Millisecond
	}
	return arrived, sizes
}

// TestCoDelIsRFC8289: deciding on arrival drops the packets that the RFC's queue drops when they leave, and sends the
// others at the same times.
func TestCoDelIsRFC8289(t *testing.T) {
	var drops, again int
	rapid.Check(t, func(t *rapid.T) {
		rate := rapid.Int64Range(300_000, 100_000_000).Draw(t, "rate")
		i := Impairment{Rate: rate, QueueBytes: MaxQueue, AQM: CoDel}
		if rapid.Bool().Draw(t, "quick") {
			i.Target, i.Interval = time.Millisecond, 20*time.Millisecond
		}
		arrived, sizes := drawLoad(t, rate)
		want := reference(i, arrived, sizes)
		q := NewQueue(i, 1)
		for k := range arrived {
			v := q.Next(arrived[k], 1, sizes[k])
			got := v.Due
			if v.Cause == AQMDropped {
				got = -1
				drops++
			} else if v.Cause != Passed {
				t.Fatalf("packet %d: %v", k, v.Cause)
			}
			if got != want[k] {
				t.Fatalf("packet %d, arrived at %v: sent at %v, want %v", k, arrived[k], got, want[k])
			}
		}
		if q.codel.count > 5 {
			again++
		}
	})
	if drops < 1000 || again == 0 {
		t.Errorf("%d drops, %d runs that dropped more than five in a row: the loads test too little", drops, again)
	}
}

// TestCoDelHoldsTheDelay: a sender that answers each drop by halving its window keeps the line busy and the queue
// short, where drop-tail fills the whole queue.
func TestCoDelHoldsTheDelay(t *testing.T) {
	const rate, size = 10_000_000, 1500
	measure := func(aqm AQM) (wait time.Duration, busy float64) {
		q := NewQueue(Impairment{Rate: rate, QueueBytes: 1_250_000, AQM: aqm}, 1)
		const rtt, runs = 50 * time.Millisecond, 2000
		window, sent := 2.0, 0
		var now, sum time.Duration
		for range runs { // a window a round trip
			lost := false
			var last time.Duration
			for k := range int(window) {
				at := now + time.Duration(k)*rtt/time.Duration(window)
				v := q.Next(at, 1, size)
				if v.Cause != Passed {
					lost = true
					continue
				}
				sent++
				last = v.Due - at
				sum += last
			}
			if lost {
				window = max(window/2, 2)
			} else {
				window++
			}
			now += rtt + last
		}
		return sum / time.Duration(sent), float64(sent) * 8 * size / (rate * now.Seconds())
	}
	tail, _ := measure(DropTail)
	managed, busy := measure(CoDel)
	if managed > 25*time.Millisecond || tail < 4*managed || busy < 0.7 {
		t.Errorf("mean wait %v with CoDel at %.2f of the rate, %v with drop-tail", managed, busy, tail)
	}
}

func TestCoDelTargetIsAtLeastAPacket(t *testing.T) {
	i := Impairment{Rate: 1_000_000, AQM: CoDel}.defaults()
	if i.Target != 12*time.Millisecond || i.Interval != DefaultInterval {
		t.Errorf("target %v, interval %v: a packet takes 12ms", i.Target, i.Interval)
	}
	if i := (Impairment{Rate: 1e9, AQM: CoDel}).defaults(); i.Target != DefaultTarget {
		t.Errorf("target %v", i.Target)
	}
	if i := (Impairment{Rate: 1e9}).defaults(); i.Target != 0 {
		t.Errorf("target %v without CoDel", i.Target)
	}
}

// TestCoDelOnATrace: the same management over opportunities: a standing queue is cut down.
func TestCoDelOnATrace(t *testing.T) {
	tr := &Trace{Times: []uint32{1}} // 12 Mbit/s
	q := NewQueue(Impairment{Trace: tr, QueueBytes: MaxQueue, AQM: CoDel}, 1)
	var dropped int
	for k := range 20_000 { // twice the rate
		if v := q.Next(time.Duration(k)*time.Millisecond/2, 1, 1500); v.Cause == AQMDropped {
			dropped++
		}
	}
	if dropped < 500 {
		t.Errorf("%d dropped of 20000 at twice the rate", dropped)
	}
}
