package stats

import (
	"math/rand/v2"
	"testing"
)

// TestDetectableDropRecomputed: against Python, with every pair of counts and exact tails.
func TestDetectableDropRecomputed(t *testing.T) {
	for _, c := range []struct {
		n1, n2                   int
		base, alpha, power, want float64
	}{
		{20, 20, 0.95, 0.05, 0.8, 0.346062}, {15, 25, 1, 0.01, 0.9, 0.467341}, {10, 10, 0.9, 0.025, 0.5, 0.513615},
		{3, 3, 1, 0.001, 0.8, 1}, {50, 50, 0.05, 0.01, 0.8, 1}, {0, 10, 0.9, 0.05, 0.8, 1}, {10, 0, 0.9, 0.05, 0.8, 1}, {9, 9, 0, 0.05, 0.8, 1},
	} {
		if got := DetectableDrop(c.n1, c.n2, c.base, c.alpha, c.power); !near(got, c.want, 2e-6) {
			t.Errorf("%d and %d trials from %v: %v, want %v", c.n1, c.n2, c.base, got, c.want)
		}
	}
	if got := newCritical(20, 20, 0.95, 0.05).power(0.7); !near(got, 0.543948, 1e-6) {
		t.Errorf("power from 0.95 to 0.70 in 20 trials a side: %v", got)
	}
	for _, bad := range []func(){
		func() { DetectableDrop(-1, 2, 0.5, 0.05, 0.8) }, func() { DetectableDrop(2, 2, 1.5, 0.05, 0.8) },
		func() { DetectableDrop(2, 2, 0.5, 0, 0.8) }, func() { DetectableDrop(2, 2, 0.5, 0.05, 1) },
		func() { DetectableRatio(upTo(3), 2, 2, 1, 0.05, 0.8) },
	} {
		mustPanic(t, "argument", bad)
	}
}

// TestDetectableDropIsFound: more trials detect less, and a drop drawn as large as said is found as often as said.
func TestDetectableDropIsFound(t *testing.T) {
	rng := rand.New(rand.NewPCG(15, 15))
	before := 1.0
	for _, trials := range []int{20, 100, 400, 2000} {
		drop := DetectableDrop(trials, trials, 0.95, 0.01, 0.9)
		if drop >= before {
			t.Errorf("%d trials a side detect %v, fewer %v", trials, drop, before)
		}
		before = drop
		found, n := 0, rounds(500)
		for range n {
			if less, _, _ := Fisher(count(trials, 0.95, rng), trials, count(trials, 0.95-drop, rng), trials); less <= 0.01 {
				found++
			}
		}
		if got := float64(found) / float64(n); got < 0.86 || got > 0.94 {
			t.Errorf("a drop of %v in %d trials is found %v of the time", drop, trials, got)
		}
	}
}

// TestDetectableRatio: a factor as large as said is found about as often as said, and one too small for the numbers is none.
func TestDetectableRatio(t *testing.T) {
	rng := rand.New(rand.NewPCG(16, 16))
	xs := make([]float64, 4000)
	for i := range xs {
		xs[i] = 1 + rng.ExpFloat64()
	}
	draw := func(n int, factor float64) (out []float64) {
		for range n {
			out = append(out, factor*xs[rng.IntN(len(xs))])
		}
		return out
	}
	for _, c := range []struct {
		trials int
		p      float64
	}{{60, 0.5}, {400, 0.95}} {
		ratio, ok := DetectableRatio(xs, c.trials, c.trials, c.p, 0.01, 0.9)
		if !ok || ratio <= 1 {
			t.Fatalf("%+v: %v, %v", c, ratio, ok)
		}
		found, n := 0, rounds(300)
		for range n {
			s := ExceedStrata([][]float64{draw(c.trials, 1)}, [][]float64{draw(c.trials, ratio)}, c.p)
			if _, greater := ExactStrata(s); greater <= 0.01 {
				found++
			}
		}
		got := float64(found) / float64(n)
		t.Logf("%+v: a factor of %.3f is found %.3f of the time", c, ratio, got)
		if got < 0.83 || got > 0.96 {
			t.Errorf("%+v: a factor of %v is found %v of the time", c, ratio, got)
		}
	}
	for name, f := range map[string]func() (float64, bool){
		"too few":   func() (float64, bool) { return DetectableRatio(xs, 20, 20, 0.95, 0.001, 0.9) },
		"no values": func() (float64, bool) { return DetectableRatio(nil, 20, 20, 0.5, 0.05, 0.9) },
		"zeros":     func() (float64, bool) { return DetectableRatio(append(upTo(99), 0), 200, 200, 0.5, 0.05, 0.9) },
		"no trials": func() (float64, bool) { return DetectableRatio(xs, 0, 20, 0.5, 0.05, 0.9) },
	} {
		if ratio, ok := f(); ok {
			t.Errorf("%s: %v", name, ratio)
		}
	}
}
