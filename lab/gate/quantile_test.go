package gate

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/punchlab/punchlab/lab/stats"
	"pgregory.net/rapid"
)

func strata(rng *rand.Rand, cells, n1, n2 int, factor float64) []stratum {
	var out []stratum
	for i := range cells {
		s := stratum{}
		for range n1 {
			s.a = append(s.a, float64(i+1)*(1+0.1*rng.ExpFloat64()))
		}
		for range n2 {
			s.b = append(s.b, factor*float64(i+1)*(1+0.1*rng.ExpFloat64()))
		}
		slices.Sort(s.a)
		slices.Sort(s.b)
		for j := range min(n1, n2) {
			s.pairs = append(s.pairs, [2]float64{s.a[j], s.b[j]})
		}
		out = append(out, s)
	}
	return out
}

// TestThresholdIsBlind: threshold and units do not know which side a value is of, or the test would not be exact.
func TestThresholdIsBlind(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		few := rapid.SliceOfN(rapid.Float64Range(0, 3), 1, 12)
		n := rapid.IntRange(1, 4).Draw(t, "cells")
		var one, other []stratum
		for range n {
			a, b := few.Draw(t, "a"), few.Draw(t, "b")
			if rapid.Bool().Draw(t, "round") { // ties
				for _, xs := range [][]float64{a, b} {
					for i := range xs {
						xs[i] = math.Round(xs[i])
					}
				}
			}
			slices.Sort(a)
			slices.Sort(b)
			one, other = append(one, stratum{a: a, b: b}), append(other, stratum{a: b, b: a})
		}
		p := rapid.SampledFrom([]float64{0, 0.5, 0.95, 1}).Draw(t, "p")
		x, y := thresholdAt(one, unitsOf(one, 1, p), 1, p), thresholdAt(other, unitsOf(other, 1, p), 1, p)
		if x != y {
			t.Fatalf("%v, swapped %v", x, y)
		}
		u, v := exceedTails(one, 1, p), exceedTails(other, 1, p)
		if math.Abs(u.less-v.greater) > 1e-9 || math.Abs(u.leastLess-v.leastGreater) > 1e-9*(1+u.leastLess) {
			t.Fatalf("%+v, swapped %+v", u, v)
		}
		if u.less < u.leastLess*(1-1e-9) || u.greater < u.leastGreater*(1-1e-9) {
			t.Fatalf("p under its least: %+v", u)
		}
	})
}

// TestTiesTell: where every trial of a side takes the same time, the test still sees that the sides differ.
func TestTiesTell(t *testing.T) {
	same := func(v float64) []float64 { return slices.Repeat([]float64{v}, 20) }
	for _, p := range []float64{0.5, 0.95} {
		if at := exceedTails([]stratum{{a: same(1), b: same(1.01)}}, 1, p); at.greater > 1e-9 {
			t.Errorf("p%v: higher by 1 %%: %+v", 100*p, at)
		}
		if at := exceedTails([]stratum{{a: same(1), b: same(1)}}, 1, p); at.greater != 1 || at.less != 1 {
			t.Errorf("p%v: the same: %+v", 100*p, at)
		}
	}
}

// TestTiesArePartedFairly: of two places beside a tie, the one that leaves a share nearer to what was asked for.
func TestTiesArePartedFairly(t *testing.T) {
	a := append(slices.Repeat([]float64{1}, 18), 3, 3)
	b := slices.Repeat([]float64{2}, 20)
	if at := exceedTails([]stratum{{a: a, b: b}}, 1, 0.5); at.greater > 1e-6 {
		t.Errorf("22 of 40 are 2 or more, 2 are above: %+v", at)
	}
}

// TestRatio: the factor between two draws is found, and its interval holds it as often as it says.
func TestRatio(t *testing.T) {
	const runs = 40
	o, err := Options{}.rules()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		cells, n1, n2 int
		metric        string
		factor        float64
		within        float64
	}{
		{10, 20, 20, "first_frame_ratio.p50", 1.1, 0.03}, {10, 20, 30, "first_frame_ratio.p95", 0.8, 0.1}, {1, 60, 60, "connect_s.p50", 2, 0.2},
	} {
		m, err := ParseMetric(c.metric)
		if err != nil {
			t.Fatal(err)
		}
		held := 0
		for n := range uint64(runs) {
			ss := strata(seeded(n), c.cells, c.n1, c.n2, c.factor)
			against := func(rho float64) tails { return exceedTails(ss, rho, m.P()) }
			r := 1 + o.ratio(m, ss, against)
			l := limits{against, r}
			low, high := l.low(0.025), l.high(0.025)
			if low == nil || high == nil || math.Abs(r-c.factor) > c.within*c.factor {
				t.Fatalf("%s: ratio %.3f of %.3f, %v to %v", c.metric, r, c.factor, low, high)
			}
			if 1+*low <= c.factor+finest && c.factor-finest <= 1+*high {
				held++
			}
		}
		if held < runs*90/100 {
			t.Errorf("%s: the 95 %% interval holds the factor %d times of %d", c.metric, held, runs)
		}
	}
}

// TestRatioOfZero: nothing is divided by 0.
func TestRatioOfZero(t *testing.T) {
	zero, one := make([]float64, 40), slices.Repeat([]float64{1}, 40)
	for _, c := range []struct {
		a, b []float64
		want Decision
	}{{zero, zero, Pass}, {zero, one, Fail}, {one, zero, Pass}, {zero[:3], zero[:3], Undecided}} {
		a, b := small.sample(seeded(1)), small.sample(seeded(1))
		a.Cells, b.Cells = a.Cells[:1], b.Cells[:1]
		a.Manifest.Cells, b.Manifest.Cells = 1, 1
		for _, s := range []struct {
			s  *Sample
			xs []float64
		}{{&a, c.a}, {&b, c.b}} {
			cell := &s.s.Cells[0]
			cell.Numbers, cell.Outcomes, cell.Intact, cell.Values = nil, nil, nil, map[string]Column{"loss": s.xs}
			for i := range s.xs {
				cell.Numbers, cell.Outcomes = append(cell.Numbers, i), append(cell.Outcomes, "direct")
			}
		}
		v := compared(t, a, b, Options{Metrics: []string{"loss.p50"}})
		if f := v.Overall[0]; f.Decision != c.want {
			t.Errorf("%v against %v: %s: %s", c.b[0], c.a[0], f.Decision, f.Why)
		}
	}
}

// TestPaired checks Newcombe's interval of paired rates against his own example and one of Fagerland, Lydersen and Laake, Statistical
// Analysis of Contingency Tables (2017), ch. 8 (Bentur et al.), and the least p-value against the p-values that are there.
func TestPaired(t *testing.T) {
	for _, c := range []struct {
		q         quad
		low, high float64 // of A less B, as printed
	}{{quad{36, 12, 2, 0}, 0.0569, 0.3404}, {quad{1, 1, 7, 12}, -0.5069, -0.0256}} {
		low, high := c.q.interval(0.95)
		if math.Abs(low+c.high) > 6e-5 || math.Abs(high+c.low) > 6e-5 {
			t.Errorf("%+v: %.4f to %.4f, want %.4f to %.4f", c.q, low, high, -c.high, -c.low)
		}
	}
	ss := strata(seeded(1), 3, 10, 10, 1.5)
	for _, p := range []float64{0.5, 0.95} {
		at := pairedTails(ss, 1, p)
		if at.greater > 0.2 || at.greater < at.leastGreater*(1-1e-9) || at.less < 0.9 {
			t.Errorf("p%v: %+v", 100*p, at)
		}
	}
	if r := pairedRatio([]stratum{{pairs: [][2]float64{{1, 2}, {0, 0}, {0, 1}}}}); r != 1 {
		t.Errorf("median of 2, 1 and ∞ is %v", 1+r)
	}
}

// TestPairsAreOfOneTrial: a trial that only one side has is no pair.
func TestPairsAreOfOneTrial(t *testing.T) {
	m := match{a: &CellSample{Numbers: []int{0, 2, 3, 5, 7}}, b: &CellSample{Numbers: []int{1, 2, 4, 5, 6, 7}}}
	if got := m.rows(); !slices.Equal(got, [][2]int{{1, 1}, {3, 3}, {4, 5}}) {
		t.Error(got)
	}
}

// TestLeastStrata: the least p-value is the one of the most extreme table.
func TestLeastStrata(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var seen, low, high []stats.Stratum
		for range rapid.IntRange(1, 4).Draw(t, "strata") {
			n1, n2 := rapid.IntRange(0, 9).Draw(t, "n1"), rapid.IntRange(0, 9).Draw(t, "n2")
			k1, k2 := rapid.IntRange(0, n1).Draw(t, "k1"), rapid.IntRange(0, n2).Draw(t, "k2")
			k := k1 + k2
			seen = append(seen, stats.Stratum{K1: k1, N1: n1, K2: k2, N2: n2})
			x := max(0, k-n1)
			low = append(low, stats.Stratum{K1: k - x, N1: n1, K2: x, N2: n2})
			x = min(k, n2)
			high = append(high, stats.Stratum{K1: k - x, N1: n1, K2: x, N2: n2})
		}
		less, greater := leastStrata(seen)
		wantLess, _ := stats.ExactStrata(low)
		_, wantGreater := stats.ExactStrata(high)
		if math.Abs(less-wantLess) > 1e-9 || math.Abs(greater-wantGreater) > 1e-9 {
			t.Fatalf("%v: %v and %v, want %v and %v", seen, less, greater, wantLess, wantGreater)
		}
	})
}

// TestFamily: Tarone leaves out of the correction what could reject nothing, and nothing else.
func TestFamily(t *testing.T) {
	of := func(p, least float64) *test { return &test{tested: true, p: p, least: least} }
	able := []*test{of(0.002, 1e-6), of(0.02, 1e-4)}
	f := family{alpha: 0.05, tests: slices.Clone(able)}
	for range 100 {
		f.tests = append(f.tests, of(0.5, 0.4))
	}
	f.adjust()
	if *able[0].AdjustedP != 0.004 || *able[1].AdjustedP != 0.02 || *f.tests[50].AdjustedP != 1 {
		t.Errorf("%v %v %v", *able[0].AdjustedP, *able[1].AdjustedP, *f.tests[50].AdjustedP)
	}
	f = family{alpha: 0.05, tests: []*test{of(0.002, 1e-6)}}
	for range 100 {
		f.tests = append(f.tests, of(0.5, 0.01)) // each could reject alone, and none beside the others
	}
	f.adjust()
	if p := *f.tests[0].AdjustedP; p != 0.002 {
		t.Errorf("beside 100 that are able alone, 0.002 is adjusted to %v", p)
	}
	r := rules{Options: Options{Alpha: 0.001}}
	if fs := r.families(); fs.required.alpha+fs.watched.alpha+fs.cellRates.alpha+fs.cellValues.alpha > 0.001+1e-12 {
		t.Errorf("the families share %v", fs)
	}
	f = family{alpha: 0.05}
	for range 100 {
		f.tests = append(f.tests, of(0.001, 1e-9))
	}
	f.adjust()
	if p := *f.tests[0].AdjustedP; math.Abs(p-0.1) > 1e-12 {
		t.Errorf("of 100 that are able, 0.001 is adjusted to %v", p)
	}
}
