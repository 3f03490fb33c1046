package stats

import (
	"testing"

	"pgregory.net/rapid"
)

// TestCoverageRecomputed: against Python, which sums the binomial terms of the counts whose interval holds p.
func TestCoverageRecomputed(t *testing.T) {
	for _, c := range []struct {
		n       int
		p, want float64
	}{{10, 0.5, 0.978516}, {20, 0.95, 0.924516}, {50, 0.98, 0.921572}, {30, 0.02, 0.978282}, {0, 0.3, 1}, {5, 1, 1}, {5, 0, 1}} {
		if got := Coverage(Wilson, c.n, c.p, 0.95); !near(got, c.want, 6e-7) {
			t.Errorf("Wilson's coverage at n = %d, p = %v: %v, want %v", c.n, c.p, got, c.want)
		}
	}
	if got := DifferenceCoverage(Newcombe, 0, 0.5, 3, 0.5, 0.95); !near(got, 1, 1e-11) {
		t.Errorf("Newcombe's coverage without trials on one side: %v", got)
	}
	narrow := func(k1, n1, k2, n2 int, _ float64) (float64, float64) {
		d := float64(k2)/float64(n2) - float64(k1)/float64(n1)
		return d - 0.1, d + 0.1
	}
	if got := DifferenceCoverage(narrow, 2, 0.5, 2, 0.5, 0.95); !near(got, 6.0/16, 1e-11) {
		t.Errorf("coverage of equal counts of two pairs of coins: %v, want 6/16", got)
	}
	mustPanic(t, "p", func() { Coverage(Wilson, 3, 1.1, 0.95) })
	mustPanic(t, "n", func() { Coverage(Wilson, -1, 0.5, 0.95) })
}

// TestCoverageOfIntervals: Clopper and Pearson's never covers less than it says; Wilson's does on the average, and
// nowhere but near 0 and 1 much less (Brown, Cai and DasGupta, Statistical Science 16 (2001), §3.1.1): where n − 1 of n end, and of
// fewer than five trials the least, z²/(1+z²) of one.
func TestCoverageOfIntervals(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n, p := rapid.IntRange(1, 150).Draw(t, "n"), rapid.Float64Range(0, 1).Draw(t, "p")
		if got := Coverage(ClopperPearson, n, p, 0.95); got < 0.95-1e-9 {
			t.Fatalf("n = %d, p = %v: %v", n, p, got)
		}
		least := 0.83
		if n < 5 {
			least = 0.793
		}
		if got := Coverage(Wilson, n, p, 0.95); got < least {
			t.Fatalf("n = %d, p = %v: %v", n, p, got)
		}
	})
	mean := 0.0
	for i := range 500 {
		mean += Coverage(Wilson, 40, (float64(i)+0.5)/500, 0.95) / 500
	}
	if !near(mean, 0.953, 0.004) {
		t.Errorf("Wilson's mean coverage at n = 40: %v", mean)
	}
}

// TestBinomialTerms: the probabilities are the field's, at the ends too.
func TestBinomialTerms(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n, p := rapid.IntRange(0, 60).Draw(t, "n"), rapid.SampledFrom([]float64{0, 1e-9, 0.1, 0.5, 0.93, 1 - 1e-9, 1}).Draw(t, "p")
		for k, got := range binomial(n, p) {
			c, _ := choose(n, k).Float64()
			want := c * power(p, k) * power(1-p, n-k)
			if !near(got, want, 1e-12) {
				t.Fatalf("%d of %d at %v: %v, want %v", k, n, p, got, want)
			}
		}
	})
}

func power(x float64, n int) float64 {
	y := 1.0
	for range n {
		y *= x
	}
	return y
}
