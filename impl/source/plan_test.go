package source

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestLadder(t *testing.T) {
	for _, tt := range []struct {
		most, least int
		want        []int
	}{
		{2_000_000, 500_000, []int{2_000_000, 1_500_000, 1_125_000, 843_750, 632_812, 500_000}},
		{400_000, 350_000, []int{400_000, 350_000}},
		{200_000, 200_000, []int{200_000}},
	} {
		if got := ladder(tt.most, tt.least); !cmp.Equal(got, tt.want) {
			t.Errorf("ladder(%d, %d) = %v, want %v", tt.most, tt.least, got, tt.want)
		}
	}
}

// A reader of a stream that is passed on as it is, while its path changes.
func TestChoose(t *testing.T) {
	o := offer{asIs: true, rate: 3_000_000, ladder: ladder(2_000_000, 500_000), first: 843_750}
	var a appetite
	now := time.Unix(1000, 0)
	for i, step := range []struct {
		after  time.Duration
		target int
		want   int
	}{
		{0, 0, 0},                                      // nothing is known of the path
		{time.Second, 4_000_000, 0},                    // it fits
		{time.Second, 2_500_000, 2_000_000},            // it does not: down at once
		{200 * time.Millisecond, 1_700_000, 2_000_000}, // a little less, too soon
		{200 * time.Millisecond, 1_000_000, 843_750},   // half, which is not too soon
		{2 * time.Second, 100_000, 500_000},            // the floor
		{time.Second, 1_300_000, 500_000},              // more: not yet
		{time.Second, 100_000, 500_000},                // it was not for long
		{time.Second, 1_300_000, 500_000},
		{time.Second, 1_300_000, 500_000},
		{1001 * time.Millisecond, 1_300_000, 632_812}, // up a little, after two seconds
		{time.Second, 9_000_000, 632_812},
		{2 * time.Second, 9_000_000, 843_750},
		{time.Second, 9_000_000, 843_750},
		{2 * time.Second, 9_000_000, 1_125_000},
		{time.Second, 9_000_000, 1_125_000},
		{2 * time.Second, 9_000_000, 1_500_000},
		{time.Second, 9_000_000, 1_500_000},
		{2 * time.Second, 9_000_000, 2_000_000},
		{time.Second, 9_000_000, 2_000_000},
		{2 * time.Second, 9_000_000, 0}, // as it is again
	} {
		now = now.Add(step.after)
		a.target = step.target
		if got := a.choose(now, o); got != step.want {
			t.Errorf("step %d: %d, want %d", i, got, step.want)
		}
	}
}

func TestChooseWithoutEncoder(t *testing.T) {
	a := appetite{target: 100_000}
	if got := a.choose(time.Unix(1, 0), offer{asIs: true, rate: 3_000_000}); got != 0 {
		t.Errorf("with no encoder a reader gets %d", got)
	}
	a = appetite{}
	o := offer{ladder: []int{5, 4, 3}, first: 4}
	if got := a.choose(time.Unix(1, 0), o); got != 4 {
		t.Errorf("of uncompressed pictures a reader whose path is not known gets %d", got)
	}
	a = appetite{target: 100}
	if got := a.choose(time.Unix(1, 0), o); got != 4 {
		t.Errorf("a reader that begins with a guess gets %d", got)
	}
	// What is passed on as it is and small is gone to at once.
	a = appetite{target: 9_000_000, rate: 500_000, set: true, raise: time.Unix(1, 0)}
	if got := a.choose(time.Unix(4, 0), offer{asIs: true, rate: 700_000, ladder: []int{2_000_000, 500_000}}); got != 0 {
		t.Errorf("a reader is kept from the input's 0.7 Mbit/s at %d", got)
	}
}

func TestAssign(t *testing.T) {
	for _, tt := range []struct {
		wanted, want []int
	}{
		{nil, nil},
		{[]int{0, 0}, []int{0, 0}},
		{[]int{500, 0, 300}, []int{500, 0, 300}},
		{[]int{500, 300, 400, 0, 300}, []int{500, 300, 300, 0, 300}},
		{[]int{1, 2, 3, 4}, []int{1, 1, 1, 4}},
	} {
		if got := assign(tt.wanted, 2); !cmp.Equal(got, tt.want) {
			t.Errorf("assign(%v) = %v, want %v", tt.wanted, got, tt.want)
		}
	}
}

func TestBackoff(t *testing.T) {
	last := time.Duration(0)
	for n := 1; n < 100; n++ {
		d := backoff(n)
		if d < last || d < backoffFirst || d > backoffMost {
			t.Fatalf("pause %d is %v after %v", n, d, last)
		}
		last = d
	}
	if last != backoffMost {
		t.Errorf("the longest pause is %v", last)
	}
}

// A rendition holds the running group and the one before, and says where readers begin.
func TestRendition(t *testing.T) {
	r := newRendition(0)
	at := time.Unix(1000, 0)
	for i := range 30 {
		r.add(unit{number: int64(i), data: make([]byte, 1000), key: i%10 == 2, captured: at.Add(time.Duration(i) * 40 * time.Millisecond)})
	}
	if r.first != 12 || r.key != 22 || r.end() != 30 || r.bytes != 18_000 {
		t.Errorf("it holds %d to %d, %d bytes, key frame %d", r.first, r.end(), r.bytes, r.key)
	}
	if n, ok := r.keyAfter(12); !ok || n != 22 {
		t.Errorf("the key frame after picture 12 is %d, %v", n, ok)
	}
	if _, ok := r.keyAfter(22); ok {
		t.Error("there is a key frame after the last")
	}
	for range maxUnits {
		r.add(unit{data: make([]byte, 1), captured: at})
	}
	if len(r.units) != maxUnits || r.key != -1 {
		t.Errorf("without key frames it holds %d units, key frame %d", len(r.units), r.key)
	}
	r.add(unit{data: make([]byte, maxBytes+1), key: true, captured: at})
	if r.bytes > maxBytes {
		t.Errorf("it holds %d bytes", r.bytes)
	}
}

func TestMeter(t *testing.T) {
	var m meter
	at := time.Hour
	for i := range 100 {
		if i < 50 && m.rate() != 0 {
			t.Fatalf("after %d pictures the rate is %d", i, m.rate())
		}
		m.add(at+time.Duration(i)*40*time.Millisecond, 5000)
	}
	if got := m.rate(); got != 1_000_000 {
		t.Errorf("the rate is %d", got)
	}
	m.add(2*at, 5000)
	if got := m.rate(); got != 0 {
		t.Errorf("after an hour without pictures the rate is %d", got)
	}
	m.add(0, 5000)
	if m.begun != 0 || m.rate() != 0 {
		t.Errorf("when the times begin anew the rate is %d", m.rate())
	}
}

// Times follow the input's, unless those are broken; arrivals are smoothed; none comes twice.
func TestClock(t *testing.T) {
	begun := time.Unix(1000, 0)
	at := func(ms int) time.Time { return begun.Add(time.Duration(ms) * time.Millisecond) }
	c := clock{begun: begun}
	for i, p := range []struct{ arrival, input, want int }{
		{1000, 0, 1000}, {1055, 40, 1040}, {1081, 80, 1080}, {1121, 80, 1081}, {1160, 9000, 1160}, {1201, 9040, 1200},
		{5000, 9080, 5000}, {5040, 9120, 5040},
	} {
		if got := c.at(at(p.arrival), time.Duration(p.input)*time.Millisecond, true); got != time.Duration(p.want)*time.Millisecond {
			t.Errorf("picture %d is at %v, want %d ms", i, got, p.want)
		}
	}
	c = clock{begun: begun}
	c.at(at(0), 0, false)
	was := c.at(at(40), 0, false)
	for i := 2; i < 200; i++ {
		jitter := []int{0, 9, -8, 5}[i%4]
		got := c.at(at(40*i+jitter), 0, false)
		if gap := got - was; gap < 35*time.Millisecond || gap > 45*time.Millisecond {
			t.Fatalf("picture %d comes %v after the one before", i, gap)
		}
		was = got
	}
	if got := c.at(at(20_000), 0, false); got != 20*time.Second {
		t.Errorf("after a pause the time is %v", got)
	}
}
