package stats

import (
	"math"
	"math/bits"
	"math/rand/v2"
	"slices"
	"testing"

	"golang.org/x/perf/benchmath"
	"pgregory.net/rapid"
)

// The permeability of the human chorioamnion, Hollander and Wolfe, Nonparametric Statistical Methods, p. 69.
var term, early = []float64{0.80, 0.83, 1.89, 1.04, 1.45, 1.38, 1.91, 1.64, 0.73, 1.46}, []float64{1.15, 0.88, 0.90, 0.74, 1.21}

// TestMannWhitneyPublished: permeability is R's example of wilcox.test (W = 35, p = 0.2544); ties were recomputed in Python over all
// ways to choose a side.
func TestMannWhitneyPublished(t *testing.T) {
	tiedA, tiedB := []float64{1, 1, 1, 2, 5}, []float64{1, 2, 2, 3, 3, 4, 5, 5}
	for _, c := range []struct {
		a, b []float64
		u, p float64
	}{
		{term, early, 35, 0.2544122544122544},
		{early, term, 15, 0.2544122544122544},
		{tiedA, tiedB, 10.5, 0.20823620823620823},
		{tiedB, tiedA, 29.5, 0.20823620823620823},
		{[]float64{1, 1}, []float64{1, 1, 1}, 3, 1},
		{nil, early, 0, 1}, {early, nil, 0, 1},
	} {
		if u, p := MannWhitney(c.a, c.b); u != c.u || !near(p, c.p, 1e-12) {
			t.Errorf("%v and %v: U = %v, p = %v, want %v, %v", c.a, c.b, u, p, c.u, c.p)
		}
	}
	mustPanic(t, "NaN", func() { MannWhitney(early, []float64{math.NaN()}) })
}

// smallSamples are two samples with ties.
func smallSamples(t *rapid.T) (a, b []float64) {
	value := rapid.Custom(func(t *rapid.T) float64 { return float64(rapid.IntRange(0, 6).Draw(t, "x")) })
	return rapid.SliceOfN(value, 1, 5).Draw(t, "a"), rapid.SliceOfN(value, 1, 6).Draw(t, "b")
}

// relabelled calls f with each way to choose len(a) of the values, and its share of them as p where f is true.
func relabelled(a, b []float64, f func(a, b []float64) bool) (p float64) {
	all, ways, hits := slices.Concat(a, b), 0, 0
	for set := range uint(1) << len(all) {
		if bits.OnesCount(set) != len(a) {
			continue
		}
		var in, out []float64
		for i, x := range all {
			if set>>i&1 == 1 {
				in = append(in, x)
			} else {
				out = append(out, x)
			}
		}
		ways++
		if f(in, out) {
			hits++
		}
	}
	return float64(hits) / float64(ways)
}

// TestMannWhitneyDefinition: the exact p-value with ties is the share of relabellings that are as far from the mean.
func TestMannWhitneyDefinition(t *testing.T) {
	pairs := func(a, b []float64) (u float64) {
		for _, x := range a {
			for _, y := range b {
				if x > y {
					u++
				} else if x == y {
					u += 0.5
				}
			}
		}
		return u
	}
	rapid.Check(t, func(t *rapid.T) {
		a, b := smallSamples(t)
		mean, seen := float64(len(a)*len(b))/2, pairs(a, b)
		want := relabelled(a, b, func(x, y []float64) bool { return math.Abs(pairs(x, y)-mean) >= math.Abs(seen-mean) })
		if u, p := MannWhitney(a, b); u != seen || !near(p, want, 1e-12) {
			t.Fatalf("U = %v, p = %v, want %v, %v", u, p, seen, want)
		}
	})
}

// TestMannWhitneyBenchstat: without ties, and for large samples, p is what benchstat prints.
func TestMannWhitneyBenchstat(t *testing.T) {
	rng := rand.New(rand.NewPCG(8, 8))
	for _, n := range []int{3, 20, 60, 200} {
		a, b := make([]float64, n), make([]float64, n+2)
		for i := range a {
			a[i] = rng.NormFloat64()
		}
		for i := range b {
			b[i] = rng.NormFloat64() + 0.3
		}
		_, p := MannWhitney(a, b)
		sample := func(xs []float64) *benchmath.Sample {
			return benchmath.NewSample(slices.Clone(xs), &benchmath.DefaultThresholds)
		}
		if want := benchmath.AssumeNothing.Compare(sample(a), sample(b)).P; p != want {
			t.Errorf("n = %d: p = %v, benchmath's %v", n, p, want)
		}
		if slices.IsSorted(a) && n > 3 {
			t.Error("the sample was sorted")
		}
	}
}

// TestKolmogorovSmirnovDefinition: D from its definition and p the share of relabellings with as large a one, ties and all.
func TestKolmogorovSmirnovDefinition(t *testing.T) {
	distance := func(a, b []float64) (d int) {
		for _, x := range slices.Concat(a, b) {
			f, g := len(a)-above(a, x), len(b)-above(b, x)
			d = max(d, f*len(b)-g*len(a), g*len(a)-f*len(b))
		}
		return d
	}
	rapid.Check(t, func(t *rapid.T) {
		a, b := smallSamples(t)
		seen := distance(a, b)
		want := relabelled(a, b, func(x, y []float64) bool { return distance(x, y) >= seen })
		if d, p := KolmogorovSmirnov(a, b); !near(d, float64(seen)/float64(len(a)*len(b)), 1e-15) || !near(p, want, 1e-12) {
			t.Fatalf("D = %v, p = %v, want %v/nm, %v", d, p, seen, want)
		}
	})
}

// TestKolmogorovSmirnovValues: recomputed in Python over all relabellings; critical values of Kolmogorov's limit are in every table
// (Smirnov, Annals of Mathematical Statistics 19 (1948)): 1.3581 at 5 %, 1.6276 at 1 %; its median is 0.82757.
func TestKolmogorovSmirnovValues(t *testing.T) {
	for _, c := range []struct {
		a, b []float64
		d, p float64
	}{
		{term, early, 0.6, 0.16583416583416583},
		{[]float64{1, 1, 1, 2, 5}, []float64{1, 2, 2, 3, 3, 4}, 0.43333333333333335, 0.4199134199134199},
		{[]float64{1, 2, 3, 4}, []float64{5, 6, 7, 8, 9}, 1, 2.0 / 126},
		{[]float64{1, 1}, []float64{1, 1, 1}, 0, 1},
		{nil, early, 0, 1},
	} {
		if d, p := KolmogorovSmirnov(c.a, c.b); !near(d, c.d, 1e-15) || !near(p, c.p, 1e-12) {
			t.Errorf("%v and %v: D = %v, p = %v, want %v, %v", c.a, c.b, d, p, c.d, c.p)
		}
	}
	for x, want := range map[float64]float64{0.82757: 0.5, 1.3581: 0.05, 1.6276: 0.01} {
		if p := kolmogorov(x); math.Abs(p-want) > 5e-4*want {
			t.Errorf("Kolmogorov's limit at %v: %v, want %v", x, p, want)
		}
	}
	// Beyond 2²⁰ paths the limit takes over without a step.
	shifted := func(n int) []float64 {
		xs := upTo(n)
		for i := range xs {
			xs[i] += 70.5
		}
		return xs
	}
	_, exact := KolmogorovSmirnov(upTo(1024), shifted(1024))
	_, limit := KolmogorovSmirnov(upTo(1025), shifted(1025))
	if math.Abs(exact-limit) > 0.05*exact {
		t.Errorf("exactly %v, in the limit %v", exact, limit)
	}
	mustPanic(t, "NaN", func() { KolmogorovSmirnov(early, []float64{math.NaN()}) })
}

// TestRankErrors: false alarms of the rank tests are at most α, and a shift of one standard deviation is found.
func TestRankErrors(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 9))
	n := rounds(600)
	found := func(shift float64) (mw, ks float64) {
		for range n {
			a, b := make([]float64, 24), make([]float64, 20)
			for i := range a {
				a[i] = math.Round(4 * rng.ExpFloat64())
			}
			for i := range b {
				b[i] = math.Round(4 * (rng.ExpFloat64() + shift))
			}
			if _, p := MannWhitney(a, b); p <= 0.05 {
				mw++
			}
			if _, p := KolmogorovSmirnov(a, b); p <= 0.05 {
				ks++
			}
		}
		return mw / float64(n), ks / float64(n)
	}
	slack := 3 * math.Sqrt(0.05*0.95/float64(n))
	if mw, ks := found(0); mw > 0.05+slack || mw < 0.03 || ks > 0.05+slack || ks < 0.01 {
		t.Errorf("false alarms: Mann–Whitney %v, Kolmogorov–Smirnov %v", mw, ks)
	}
	if mw, ks := found(1); mw < 0.95 || ks < 0.95 {
		t.Errorf("found: Mann–Whitney %v, Kolmogorov–Smirnov %v", mw, ks)
	}
}

// TestExceedStrata: the threshold is the quantile of all values, those equal to it are not above, and an empty stratum stays.
func TestExceedStrata(t *testing.T) {
	a := [][]float64{{1, 2, 3, 4}, nil, {0, 0, 9}}
	b := [][]float64{{5, 6, 7}, {8}, {0, 4}}
	// 0 0 0 1 2 3 4 4 5 6 7 8 9: the median is 4.
	want := []Stratum{{0, 4, 3, 3}, {0, 0, 1, 1}, {1, 3, 0, 2}}
	if got := ExceedStrata(a, b, 0.5); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if got := ExceedStrata([][]float64{nil}, [][]float64{nil}, 0.5); !slices.Equal(got, []Stratum{{}}) {
		t.Errorf("of nothing: %v", got)
	}
	mustPanic(t, "strata", func() { ExceedStrata(a, b[:1], 0.5) })
	mustPanic(t, "p", func() { ExceedStrata(a, b, 1.1) })
	mustPanic(t, "NaN", func() { ExceedStrata([][]float64{{math.NaN()}}, [][]float64{nil}, 0.5) })
}

// TestExceedStrataExact: with values of any distribution the test of a quantile has at most α false alarms, and it finds p95
// 10 % longer in 2,000 trials a side where trials vary by a few percent.
func TestExceedStrataExact(t *testing.T) {
	rng := rand.New(rand.NewPCG(10, 10))
	found := func(cells, trials int, factor, alpha float64, n int, draw func(cell int) float64) float64 {
		hits := 0
		for range n {
			a, b := make([][]float64, cells), make([][]float64, cells)
			for i := range a {
				for range trials {
					a[i], b[i] = append(a[i], draw(i)), append(b[i], factor*draw(i))
				}
			}
			if _, greater := ExactStrata(ExceedStrata(a, b, 0.95)); greater <= alpha {
				hits++
			}
		}
		return float64(hits) / float64(n)
	}
	n := rounds(1000)
	heavy := func(cell int) float64 { return float64(cell) + math.Round(math.Exp(2*rng.NormFloat64())) }
	if got := found(10, 12, 1, 0.05, n, heavy); got > 0.05+3*math.Sqrt(0.05*0.95/float64(n)) || got < 0.01 {
		t.Errorf("false alarms: %v", got)
	}
	if got := found(100, 20, 1.1, 0.001, n/20, func(int) float64 { return 1 + 0.05*rng.ExpFloat64() }); got < 0.95 {
		t.Errorf("found: %v", got)
	}
}
