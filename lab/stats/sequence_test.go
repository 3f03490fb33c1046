package stats

import (
	"testing"

	"pgregory.net/rapid"
)

// TestConfidenceSequenceRecomputed: against the mixture integrated numerically in Python (q = sin²t is uniform in t) and the
// ends found by bisection.
func TestConfidenceSequenceRecomputed(t *testing.T) {
	for _, c := range []struct {
		k, n             int
		alpha, low, high float64
	}{
		{20, 20, 0.05, 0.775994, 1}, {0, 7, 0.05, 0, 0.478617}, {45, 50, 0.05, 0.713462, 0.984153},
		{95, 100, 0.001, 0.799452, 0.996978}, {0, 0, 0.05, 0, 1},
	} {
		if low, high := ConfidenceSequence(c.k, c.n, c.alpha); !near(low, c.low, 1e-6) || !near(high, c.high, 1e-6) {
			t.Errorf("%d of %d at %v: %.6f–%.6f, want %.6f–%.6f", c.k, c.n, c.alpha, low, high, c.low, c.high)
		}
	}
	mustPanic(t, "k > n", func() { ConfidenceSequence(2, 1, 0.05) })
	mustPanic(t, "alpha", func() { ConfidenceSequence(1, 1, 1) })
}

// TestConfidenceSequenceHolds: the exact probability that the interval, looked at after each of 150 trials, ever leaves the true rate
// out is at most alpha; Wilson's, looked at as often, leaves it out several times as often.
func TestConfidenceSequenceHolds(t *testing.T) {
	const trials, alpha = 150, 0.1
	ever := func(interval func(k, n int) (float64, float64), p float64) (missed float64) {
		still := []float64{1}
		for n := 1; n <= trials; n++ {
			next := make([]float64, n+1)
			for k, q := range still {
				next[k] += q * (1 - p)
				next[k+1] += q * p
			}
			for k := range next {
				if next[k] == 0 {
					continue
				}
				if low, high := interval(k, n); p < low || p > high {
					missed += next[k]
					next[k] = 0
				}
			}
			still = next
		}
		return missed
	}
	for _, p := range []float64{0.02, 0.3, 0.5, 0.9, 0.99} {
		got := ever(func(k, n int) (float64, float64) { return ConfidenceSequence(k, n, alpha) }, p)
		fixed := ever(func(k, n int) (float64, float64) { return Wilson(k, n, 1-alpha) }, p)
		t.Logf("p = %v: ever missed with probability %.4f; Wilson's %.4f", p, got, fixed)
		if got > alpha || got < alpha/20 {
			t.Errorf("p = %v: ever missed with probability %v", p, got)
		}
		if fixed < 2*alpha {
			t.Errorf("p = %v: the test finds no fault with an interval for one look: %v", p, fixed)
		}
	}
}

func TestConfidenceSequenceProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 2000).Draw(t, "n")
		k := rapid.IntRange(0, n).Draw(t, "k")
		low, high := ConfidenceSequence(k, n, 0.05)
		rate := float64(k) / float64(n)
		if !(0 <= low && low <= rate && rate <= high && high <= 1) {
			t.Fatalf("%d of %d: %v–%v", k, n, low, high)
		}
		if l, h := ConfidenceSequence(n-k, n, 0.05); !near(l, 1-high, 1e-8) || !near(h, 1-low, 1e-8) {
			t.Fatalf("%d of %d: %v–%v, mirrored %v–%v", k, n, low, high, l, h)
		}
		if l, h := ConfidenceSequence(k, n, 0.01); l > low || h < high {
			t.Fatalf("%d of %d: more certain and narrower: %v–%v, %v–%v", k, n, low, high, l, h)
		}
		if l, h := ClopperPearson(k, n, 0.95); l < low-1e-9 || h > high+1e-9 {
			t.Fatalf("%d of %d: %v–%v is narrower than the exact interval for one look, %v–%v", k, n, low, high, l, h)
		}
	})
}
