package stats

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	_ "github.com/punchlab/punchlab/lab/internal/steady"
	"gonum.org/v1/gonum/stat/distuv"
	"pgregory.net/rapid"
)

func near(a, b, tolerance float64) bool { return math.Abs(a-b) <= tolerance }

// TestProportionNewcombe checks both intervals against table I of Newcombe, "Two-sided confidence intervals for the
// single proportion", Statistics in Medicine 17 (1998): methods 3 (score) and 5 (exact). The figures were recomputed
// without this package's formulas or libraries; TestProportionRecomputed has them to six digits.
func TestProportionNewcombe(t *testing.T) {
	for _, c := range []struct {
		k, n                             int
		scoreLow, scoreHigh, low5, high5 float64
	}{
		{81, 263, 0.2553, 0.3662, 0.2527, 0.3676},
		{15, 148, 0.0624, 0.1605, 0.0578, 0.1617},
		{0, 20, 0.0000, 0.1611, 0.0000, 0.1684},
		{1, 29, 0.0061, 0.1718, 0.0009, 0.1776},
	} {
		if low, high := Wilson(c.k, c.n, 0.95); !near(low, c.scoreLow, 5e-5) || !near(high, c.scoreHigh, 5e-5) {
			t.Errorf("Wilson(%d, %d) = %.4f–%.4f, want %.4f–%.4f", c.k, c.n, low, high, c.scoreLow, c.scoreHigh)
		}
		if low, high := ClopperPearson(c.k, c.n, 0.95); !near(low, c.low5, 5e-5) || !near(high, c.high5, 5e-5) {
			t.Errorf("ClopperPearson(%d, %d) = %.4f–%.4f, want %.4f–%.4f", c.k, c.n, low, high, c.low5, c.high5)
		}
	}
}

// TestProportionRecomputed checks both intervals against values found from their definitions alone, in plain Python:
// Wilson's ends by bisection of the score test |k/n−p| = z·√(p(1−p)/n), with z bisected from math.erf;
// Clopper and Pearson's by bisection of binomial tails summed term by term. No closed form, no beta function.
func TestProportionRecomputed(t *testing.T) {
	for _, c := range []struct {
		k, n                    int
		wilsonLow, wilsonHigh   float64
		clopperLow, clopperHigh float64
	}{
		{81, 263, 0.255289, 0.366210, 0.252737, 0.367622},
		{15, 148, 0.062386, 0.160487, 0.057844, 0.161650},
		{1, 29, 0.006113, 0.171755, 0.000873, 0.177644},
		{20, 20, 0.838875, 1, 0.831567, 1},
		{620, 720, 0.833928, 0.884461, 0.833676, 0.885545},
	} {
		if low, high := Wilson(c.k, c.n, 0.95); !near(low, c.wilsonLow, 6e-7) || !near(high, c.wilsonHigh, 6e-7) {
			t.Errorf("Wilson(%d, %d) = %.6f–%.6f, want %.6f–%.6f", c.k, c.n, low, high, c.wilsonLow, c.wilsonHigh)
		}
		if low, high := ClopperPearson(c.k, c.n, 0.95); !near(low, c.clopperLow, 6e-7) || !near(high, c.clopperHigh, 6e-7) {
			t.Errorf("ClopperPearson(%d, %d) = %.6f–%.6f, want %.6f–%.6f", c.k, c.n, low, high, c.clopperLow, c.clopperHigh)
		}
	}
}

func TestProportionEdges(t *testing.T) {
	for _, f := range []struct {
		name     string
		interval func(k, n int, confidence float64) (float64, float64)
	}{{"Wilson", Wilson}, {"ClopperPearson", ClopperPearson}} {
		if low, high := f.interval(0, 0, 0.95); low != 0 || high != 1 {
			t.Errorf("%s of nothing = %v–%v, want 0–1", f.name, low, high)
		}
		if low, _ := f.interval(0, 7, 0.95); low != 0 {
			t.Errorf("%s of none begins at %v", f.name, low)
		}
		if _, high := f.interval(7, 7, 0.95); high != 1 {
			t.Errorf("%s of all ends at %v", f.name, high)
		}
		for _, bad := range [][2]int{{-1, 5}, {6, 5}, {1, -1}} {
			mustPanic(t, fmt.Sprint(f.name, bad), func() { f.interval(bad[0], bad[1], 0.95) })
		}
		mustPanic(t, f.name+" confidence 1", func() { f.interval(1, 2, 1) })
	}
	// The number in DESIGN §5's example: 50 of 50 is at least 0.93.
	if low, _ := Wilson(50, 50, 0.95); !near(low, 0.9287, 5e-5) {
		t.Errorf("Wilson(50, 50) begins at %v", low)
	}
}

func mustPanic(t *testing.T, name string, f func()) {
	t.Helper()
	defer func() {
		if recover() == nil {
			t.Errorf("%s: no panic", name)
		}
	}()
	f()
}

// TestProportionProperties: both intervals hold the rate, mirror under failure, and the exact one covers.
func TestProportionProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 400).Draw(t, "n")
		k := rapid.IntRange(0, n).Draw(t, "k")
		p := float64(k) / float64(n)
		for _, f := range []func(int, int, float64) (float64, float64){Wilson, ClopperPearson} {
			low, high := f(k, n, 0.95)
			if low > p || high < p || low < 0 || high > 1 {
				t.Fatalf("%d of %d: %v–%v", k, n, low, high)
			}
			mlow, mhigh := f(n-k, n, 0.95)
			if !near(mlow, 1-high, 1e-9) || !near(mhigh, 1-low, 1e-9) {
				t.Fatalf("%d of %d: %v–%v, mirrored %v–%v", k, n, low, high, mlow, mhigh)
			}
		}
		low, high := ClopperPearson(k, n, 0.95)
		if k > 0 && !near(1-distuv.Binomial{N: float64(n), P: low}.CDF(float64(k-1)), 0.025, 1e-6) {
			t.Fatalf("lower end %v is not where k or more has 2.5 %%", low)
		}
		if k < n && !near(distuv.Binomial{N: float64(n), P: high}.CDF(float64(k)), 0.025, 1e-6) {
			t.Fatalf("upper end %v is not where k or less has 2.5 %%", high)
		}
	})
}

// TestQuantileR checks Quantile against R's quantile(1:10), and against samples worked by hand from the definition:
// the value at position 1+(n−1)p.
func TestQuantileR(t *testing.T) {
	ten := []float64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}
	for _, c := range []struct {
		xs      []float64
		p, want float64
	}{
		{ten, 0.25, 3.25}, {ten, 0.5, 5.5}, {ten, 0.75, 7.75}, {ten, 0.95, 9.55}, {ten, 0, 1}, {ten, 1, 10},
		{[]float64{6, 7, 15, 36, 39, 40, 41, 42, 43, 47, 49}, 0.25, 25.5}, // position 3.5
		{[]float64{6, 7, 15, 36, 39, 40, 41, 42, 43, 47, 49}, 0.75, 42.5},
		{[]float64{7, 15, 36, 39, 40, 41}, 0.25, 20.25},
		{[]float64{3}, 0.99, 3},
	} {
		if got := Quantile(c.xs, c.p); !near(got, c.want, 1e-12) {
			t.Errorf("Quantile(%v, %v) = %v, want %v", c.xs, c.p, got, c.want)
		}
	}
	mustPanic(t, "empty", func() { Quantile(nil, 0.5) })
	mustPanic(t, "p > 1", func() { Quantile(ten, 1.01) })
	mustPanic(t, "p NaN", func() { Quantile(ten, math.NaN()) })
}

func TestDescribe(t *testing.T) {
	xs := []float64{5, 1, 4, 2, 3}
	want := Dist{N: 5, Min: 1, P50: 3, P95: 4.8, P99: 4.96, Max: 5}
	if got := Describe(xs); got.N != 5 || got.Min != 1 || got.Max != 5 || got.P50 != 3 ||
		!near(got.P95, want.P95, 1e-12) || !near(got.P99, want.P99, 1e-12) {
		t.Errorf("Describe = %+v, want %+v", got, want)
	}
	if !slices.Equal(xs, []float64{5, 1, 4, 2, 3}) {
		t.Error("Describe sorted its argument")
	}
	if got := Describe(nil); got != (Dist{}) {
		t.Errorf("Describe(nil) = %+v", got)
	}
}

// TestMedianIntervalRanks checks the ranks against Campbell and Gardner, "Calculating confidence intervals for some
// non-parametric analyses", BMJ 296 (1988), and the binomial tables of Conover. The ranks were recomputed from
// Σ C(n, i)/2ⁿ in plain Python.
func TestMedianIntervalRanks(t *testing.T) {
	for _, c := range []struct{ n, low, high int }{
		{6, 1, 6}, {7, 1, 7}, {8, 1, 8}, {9, 2, 8}, {10, 2, 9}, {15, 4, 12}, {20, 6, 15}, {25, 8, 18}, {30, 10, 21},
	} {
		low, high, ok := QuantileInterval(upTo(c.n), 0.5, 0.95)
		if !ok || int(low) != c.low || int(high) != c.high {
			t.Errorf("n = %d: ranks %v–%v (%v), want %d–%d", c.n, low, high, ok, c.low, c.high)
		}
	}
	if _, _, ok := QuantileInterval(upTo(5), 0.5, 0.95); ok {
		t.Error("5 values gave a 95 % interval of the median")
	}
	if _, _, ok := QuantileInterval(upTo(71), 0.95, 0.95); ok {
		t.Error("71 values gave a 95 % interval of p95")
	}
	if _, high, ok := QuantileInterval(upTo(72), 0.95, 0.95); !ok || high != 72 {
		t.Errorf("72 values: p95's interval ends at %v, %v", high, ok)
	}
	if _, _, ok := QuantileInterval(nil, 0.5, 0.95); ok {
		t.Error("no values gave an interval")
	}
}

func upTo(n int) []float64 {
	xs := make([]float64, n)
	for i := range xs {
		xs[i] = float64(i + 1)
	}
	return xs
}

// TestIntervalsCover draws samples from a known distribution and counts how often the intervals hold its median.
func TestIntervalsCover(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	const rounds, n = 400, 40
	truth := math.Ln2 // of the exponential distribution
	order, boot := 0, 0
	for range rounds {
		xs := make([]float64, n)
		for i := range xs {
			xs[i] = rng.ExpFloat64()
		}
		if low, high, ok := MedianBootstrap(xs, 0.95, 300, rng); ok && low <= truth && truth <= high {
			boot++
		}
		slices.Sort(xs)
		if low, high, ok := QuantileInterval(xs, 0.5, 0.95); ok && low <= truth && truth <= high {
			order++
		}
	}
	if got := float64(order) / rounds; got < 0.93 {
		t.Errorf("order statistics cover %v", got)
	}
	if got := float64(boot) / rounds; got < 0.90 || got == 1 {
		t.Errorf("bootstrap covers %v", got)
	}
	if _, _, ok := MedianBootstrap(upTo(5), 0.95, 100, rng); ok {
		t.Error("bootstrap of 5 values")
	}
}

// TestMedianBootstrapSeeded: the same seed gives the same interval.
func TestMedianBootstrapSeeded(t *testing.T) {
	a, b, _ := MedianBootstrap(upTo(50), 0.95, 200, rand.New(rand.NewPCG(7, 7)))
	c, d, _ := MedianBootstrap(upTo(50), 0.95, 200, rand.New(rand.NewPCG(7, 7)))
	if a != c || b != d || a >= b {
		t.Errorf("%v–%v and %v–%v", a, b, c, d)
	}
}

func TestDKW(t *testing.T) {
	// Wasserman, All of Nonparametric Statistics, §2.1: ε = √(ln(2/α)/2n); 0.136 for n = 100 and α = 0.05.
	if got := DKW(100, 0.95); !near(got, 0.1358, 5e-5) {
		t.Errorf("DKW(100) = %v", got)
	}
	if DKW(0, 0.95) != 1 || DKW(1, 0.95) != 1 {
		t.Error("a tiny sample must know nothing")
	}
}
