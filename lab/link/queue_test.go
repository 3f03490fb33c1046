package link

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// fate is what a test keeps of a verdict.
type fate struct {
	cause      Cause
	due        time.Duration
	duplicated bool
	corrupted  bool
}

// run sends n packets of size bytes, one every gap, over the given number of flows in turn.
func run(i Impairment, seed uint64, n, flows, size int, gap time.Duration) []fate {
	q := NewQueue(i, seed)
	out := make([]fate, n)
	for k := range out {
		v := q.Next(time.Duration(k)*gap, uint64(k%flows), size)
		out[k] = fate{v.Cause, v.Due, v.Duplicated, v.Corrupted}
	}
	return out
}

// inRange tells whether k of n is within 6 standard deviations of the probability, and 6: one false alarm in 10⁹, also of what is so rare
// that it is no normal distribution's (where 0.02 are to come, two do in one of 5,000 runs).
func inRange(k, n int, p float64) bool {
	return math.Abs(float64(k)-p*float64(n)) <= 6*math.Sqrt(p*(1-p)*float64(n))+6
}

func count(fates []fate, is func(fate) bool) (n int) {
	for _, f := range fates {
		if is(f) {
			n++
		}
	}
	return n
}

func TestFrequencies(t *testing.T) {
	const n = 20_000
	rapid.Check(t, func(t *rapid.T) {
		seed := rapid.Uint64().Draw(t, "seed")
		p := rapid.Float64Range(0, 1).Draw(t, "p")
		flows := rapid.IntRange(1, 50).Draw(t, "flows")
		for _, c := range []struct {
			name string
			imp  Impairment
			is   func(fate) bool
		}{
			{"loss", Impairment{Loss: p}, func(f fate) bool { return f.cause == Lost }},
			{"duplicate", Impairment{Duplicate: p}, func(f fate) bool { return f.duplicated }},
			{"corrupt", Impairment{Corrupt: p}, func(f fate) bool { return f.corrupted }},
			{"reorder", Impairment{Reorder: p, ReorderBy: time.Hour}, func(f fate) bool { return f.due >= time.Hour }},
		} {
			if k := count(run(c.imp, seed, n, flows, 100, 0), c.is); !inRange(k, n, p) {
				t.Errorf("%s: %d of %d at %v", c.name, k, n, p)
			}
		}
	})
}

// TestGilbertElliott compares with the chain's stationary loss, r/(p+r) of the time in the good state, and with the
// mean length of a burst, 1/r.
func TestGilbertElliott(t *testing.T) {
	const n = 400_000
	g := &GilbertElliott{GoodToBad: 0.01, BadToGood: 0.2, LossBad: 1}
	fates := run(Impairment{Burst: g}, 1, n, 1, 100, 0)
	lost := count(fates, func(f fate) bool { return f.cause == BurstLost })
	if want := 0.01 / 0.21; math.Abs(float64(lost)/n-want) > 0.004 {
		t.Errorf("loss %v, want %v", float64(lost)/n, want)
	}
	bursts := 0
	for i := 1; i < n; i++ {
		if fates[i].cause == BurstLost && fates[i-1].cause == Passed {
			bursts++
		}
	}
	if mean := float64(lost) / float64(bursts); math.Abs(mean-5) > 0.2 {
		t.Errorf("mean burst %v packets, want 5", mean)
	}
}

// TestPurposesAreIndependent: what is switched on beside it moves no decision.
func TestPurposesAreIndependent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		seed := rapid.Uint64().Draw(t, "seed")
		base := Impairment{Loss: 0.1, Burst: &GilbertElliott{GoodToBad: 0.1, BadToGood: 0.3, LossBad: 0.5}}
		more := base
		more.Jitter, more.Duplicate, more.Corrupt = time.Millisecond, 0.2, 0.2
		more.Reorder, more.ReorderBy, more.Delay = 0.2, time.Millisecond, time.Millisecond
		a, b := run(base, seed, 500, 3, 100, time.Microsecond), run(more, seed, 500, 3, 100, time.Microsecond)
		for i := range a {
			if a[i].cause != b[i].cause {
				t.Fatalf("packet %d: %v, with other impairments on %v", i, a[i].cause, b[i].cause)
			}
		}
	})
}

// TestPurposesAreUncorrelated: what one impairment decides says nothing about what another does.
func TestPurposesAreUncorrelated(t *testing.T) {
	const n = 40_000
	i := Impairment{Loss: 0.5, Duplicate: 0.5, Corrupt: 0.5, Reorder: 0.5, ReorderBy: time.Hour, Jitter: time.Second, Delay: time.Second}
	var passed []fate
	for _, f := range run(i, 3, n, 1, 100, 0) {
		if f.cause == Passed {
			passed = append(passed, f)
		}
	}
	bits := map[string]func(fate) bool{
		"duplicated": func(f fate) bool { return f.duplicated },
		"corrupted":  func(f fate) bool { return f.corrupted },
		"reordered":  func(f fate) bool { return f.due >= time.Hour },
		"jittered":   func(f fate) bool { return f.due%time.Hour > time.Second },
	}
	for a, isA := range bits {
		if k := count(passed, isA); !inRange(k, len(passed), 0.5) {
			t.Errorf("of %d packets that passed %d are %s", len(passed), k, a)
		}
		for b, isB := range bits {
			if k := count(passed, func(f fate) bool { return isA(f) && isB(f) }); a != b && !inRange(k, len(passed), 0.25) {
				t.Errorf("of %d packets that passed %d are %s and %s", len(passed), k, a, b)
			}
		}
	}
	// In the bad state for a third of the packets, with half lost there: what moves the state must not decide on the loss.
	g := &GilbertElliott{GoodToBad: 0.5, BadToGood: 1, LossBad: 0.5}
	if k := count(run(Impairment{Burst: g}, 3, n, 1, 100, 0), func(f fate) bool { return f.cause == BurstLost }); !inRange(k, n, 1./6) {
		t.Errorf("%d of %d lost in bursts, want a sixth", k, n)
	}
}

// TestFlowsDoNotRace: each flow's packets share their fate, in whatever order the flows' packets arrive.
func TestFlowsDoNotRace(t *testing.T) {
	imp := Impairment{Loss: 0.2, Burst: &GilbertElliott{GoodToBad: 0.1, BadToGood: 0.3, LossBad: 0.5}, Duplicate: 0.2, Jitter: time.Millisecond}
	rapid.Check(t, func(t *rapid.T) {
		seed := rapid.Uint64().Draw(t, "seed")
		order := rapid.SliceOfN(rapid.IntRange(0, 3), 0, 300).Draw(t, "order")
		alone := map[int][]Verdict{}
		for flow := range 4 {
			q := NewQueue(imp, seed)
			for range order {
				alone[flow] = append(alone[flow], q.Next(0, uint64(flow), 100))
			}
		}
		q := NewQueue(imp, seed)
		var n [4]int
		for _, flow := range order {
			if got, want := q.Next(0, uint64(flow), 100), alone[flow][n[flow]]; got != want {
				t.Fatalf("packet %d of flow %d: %+v, alone %+v", n[flow], flow, got, want)
			}
			n[flow]++
		}
	})
}

// TestKeepOrder: jitter, changes of the link and the queue reorder nothing.
func TestKeepOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		imp := Impairment{Delay: 5 * time.Millisecond, Jitter: 5 * time.Millisecond, KeepOrder: true,
			Rate: rapid.Int64Range(0, 1e9).Draw(t, "rate"), QueueBytes: 1 << 20}
		q := NewQueue(imp, rapid.Uint64().Draw(t, "seed"))
		var now, last time.Duration
		for range 200 {
			now += time.Duration(rapid.IntRange(0, 2_000_000).Draw(t, "gap"))
			v := q.Next(now, 1, rapid.IntRange(20, 1500).Draw(t, "size"))
			if v.Cause != Passed {
				continue
			}
			if v.Due < last || v.Due < now {
				t.Fatalf("due %v, now %v, the one before %v", v.Due, now, last)
			}
			last = v.Due
		}
	})
}

// TestRateAndQueue: whatever is offered, no window gets more than the rate plus a packet, and no accepted packet
// waits longer than the queue's bytes take to send.
func TestRateAndQueue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rate := rapid.Int64Range(100_000, 1_000_000_000).Draw(t, "rate")
		queue := rapid.IntRange(1500, 100_000).Draw(t, "queue")
		q := NewQueue(Impairment{Rate: rate, QueueBytes: queue}, 1)
		var now, first, last time.Duration
		var bytes int
		for i := range 500 {
			now += time.Duration(rapid.IntRange(0, 200_000).Draw(t, "gap"))
			size := rapid.IntRange(20, 1500).Draw(t, "size")
			v := q.Next(now, 1, size)
			if v.Cause == Full {
				continue
			}
			took := transmission(size, rate)
			if wait := v.Due - now; wait > max(transmission(queue, rate), took)+1 {
				t.Fatalf("packet %d waits %v, the queue takes %v", i, wait, transmission(queue, rate))
			}
			if v.Due < last+took {
				t.Fatalf("packet %d is sent at %v, %v after the one before, and takes %v", i, v.Due, v.Due-last, took)
			}
			if bytes == 0 {
				first = v.Due - took
			}
			bytes, last = bytes+size, v.Due
		}
		if least := transmission(bytes, rate); last-first < least-500 { // a nanosecond is cut off for each
			t.Errorf("%d bytes passed in %v, the rate needs %v", bytes, last-first, least)
		}
	})
}

// TestSaturation: an overloaded link gives exactly its rate.
func TestSaturation(t *testing.T) {
	const rate, size = 8_000_000, 1000 // a packet a millisecond
	q := NewQueue(Impairment{Rate: rate, QueueBytes: 10 * size}, 1)
	var passed int
	for k := range 100_000 {
		if v := q.Next(time.Duration(k)*100*time.Microsecond, 1, size); v.Cause == Passed {
			passed++
		}
	}
	if want := 10_000 + 9; passed != want { // ten seconds, and what still waits
		t.Errorf("%d packets passed, want %d", passed, want)
	}
}

func TestIdleLinkTakesAPacketLargerThanItsQueue(t *testing.T) {
	q := NewQueue(Impairment{Rate: 1000, QueueBytes: 10}, 1)
	if v := q.Next(0, 1, 1500); v.Cause != Passed || v.Due != 12*time.Second {
		t.Errorf("first packet: %+v, want it sent within 12s", v)
	}
	if v := q.Next(time.Second, 1, 1500); v.Cause != Full {
		t.Errorf("second packet: %v, want %v", v.Cause, Full)
	}
}

func TestMTU(t *testing.T) {
	for _, c := range []struct{ mtu, size int }{{0, DefaultMTU}, {600, 600}, {MaxMTU, MaxMTU}} {
		q := NewQueue(Impairment{MTU: c.mtu}, 1)
		if v := q.Next(0, 1, c.size); v.Cause != Passed {
			t.Errorf("MTU %d, %d bytes: %v", c.mtu, c.size, v.Cause)
		}
		if v := q.Next(0, 1, c.size+1); v.Cause != TooBig {
			t.Errorf("MTU %d, %d bytes: %v, want %v", c.mtu, c.size+1, v.Cause, TooBig)
		}
	}
}

func TestResetStartsOver(t *testing.T) {
	imp := Impairment{Loss: 0.3, Jitter: time.Millisecond, Rate: 1e6, Burst: &GilbertElliott{GoodToBad: 0.1, BadToGood: 0.3, LossBad: 1}}
	q := NewQueue(imp, 5)
	var first []Verdict
	for i := range 100 {
		first = append(first, q.Next(time.Duration(i)*time.Millisecond, uint64(i%3), 100))
	}
	q.Reset(5)
	for i := range 100 {
		if got := q.Next(time.Duration(i)*time.Millisecond, uint64(i%3), 100); got != first[i] {
			t.Fatalf("packet %d after Reset: %+v, want %+v", i, got, first[i])
		}
	}
}

func TestNextAllocatesNothing(t *testing.T) {
	q := NewQueue(Impairment{Loss: 0.1, Jitter: 1, Rate: 1e9, Duplicate: 0.1, Corrupt: 0.1, Burst: &GilbertElliott{0.1, 0.1, 0, 1}}, 1)
	flow := uint64(0)
	q.Next(0, flow, 100)
	tr := NewQueue(Impairment{Trace: Traces()[0], AQM: CoDel}, 1)
	if n := testing.AllocsPerRun(1000, func() { flow = (flow + 1) % 3; q.Next(0, flow, 100); tr.Next(0, flow, 100) }); n != 0 {
		t.Errorf("%v allocations for a packet", n)
	}
}

func TestManyFlowsShareBoundedMemory(t *testing.T) {
	q := NewQueue(Impairment{Loss: 0.5}, 1)
	for i := range uint64(10 * maxFlows) {
		q.Next(0, i, 100)
	}
	if len(q.flows.slots) > 2*maxFlows {
		t.Errorf("%d slots for %d flows, want at most %d", len(q.flows.slots), 10*maxFlows, 2*maxFlows)
	}
}

func TestDropsString(t *testing.T) {
	var d Drops
	if d.String() != "none" {
		t.Errorf("no drops: %q", d)
	}
	d[Lost], d[NoRoute] = 3, 12
	if got := d.String(); got != "3 lost, 12 no route" || d.Total() != 15 {
		t.Errorf("%q, %d in all", got, d.Total())
	}
}

func BenchmarkNext(b *testing.B) {
	for name, i := range map[string]Impairment{
		"rate":  {Delay: time.Millisecond, Jitter: time.Millisecond, KeepOrder: true, Loss: 0.01, Rate: 1e9},
		"codel": {Delay: time.Millisecond, Rate: 1e9, AQM: CoDel},
		"trace": {Delay: time.Millisecond, Trace: Traces()[1]},
	} {
		b.Run(name, func(b *testing.B) {
			q := NewQueue(i, 1)
			var now time.Duration
			for b.Loop() {
				now += 10 * time.Microsecond
				q.Next(now, 1, 1200)
			}
		})
	}
}

func TestDownAndBlackhole(t *testing.T) {
	q := NewQueue(Impairment{Down: true}, 1)
	if v := q.Next(0, 1, 9999); v.Cause != Down {
		t.Errorf("a link that is down: %v", v.Cause)
	}
	q.Set(Impairment{MTU: 1000, MTUBlackhole: true})
	if v := q.Next(0, 1, 1001); v.Cause != Blackhole {
		t.Errorf("above the MTU: %v", v.Cause)
	}
	if v := q.Next(0, 1, 1000); v.Cause != Passed {
		t.Errorf("at the MTU: %v", v.Cause)
	}
}

// TestDownMovesNoDecision: packets that meet a link that is down take no place in the random sequence.
func TestDownMovesNoDecision(t *testing.T) {
	imp := Impairment{Loss: 0.5}
	a, b := NewQueue(imp, 1), NewQueue(imp, 1)
	for k := range 100 {
		if k%10 == 0 {
			down := imp
			down.Down = true
			b.Set(down)
			b.Next(0, 1, 100)
			b.Set(imp)
		}
		if v, w := a.Next(0, 1, 100), b.Next(0, 1, 100); v != w {
			t.Fatalf("packet %d: %v, on a link that was down for a while %v", k, v.Cause, w.Cause)
		}
	}
}

func TestCauseNames(t *testing.T) {
	for c, want := range map[Cause]string{Passed: "passed", Down: "link down", Blackhole: "blackhole", AQMDropped: "codel", Full: "queue full", Overload: "overload", Causes: "unknown cause"} {
		if c.String() != want {
			t.Errorf("cause %d: %q, want %q", c, c, want)
		}
	}
}
