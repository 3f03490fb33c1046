package stats

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func exponential(n int, rng *rand.Rand) []float64 {
	xs := make([]float64, n)
	for i := range xs {
		xs[i] = rng.ExpFloat64()
	}
	return xs
}

// TestBootstrapNeedsEnough: the bootstrap gives an interval where QuantileInterval does, and nowhere else.
func TestBootstrapNeedsEnough(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for _, p := range []float64{0.05, 0.5, 0.95, 0.99} {
		for n := range 400 {
			_, _, want := QuantileInterval(upTo(n), p, 0.95)
			if _, _, ok := BootstrapQuantile(upTo(n), p, 0.95, 2, rng); ok != want {
				t.Fatalf("n = %d, p = %v: bootstrap %v, order statistics %v", n, p, ok, want)
			}
		}
	}
	one := [][2][]float64{{upTo(6), upTo(6)}, {upTo(6), nil}}
	if _, _, _, ok := QuantileRatioStrata(one, 0.5, 0.95, 2, rng); !ok {
		t.Error("no ratio of six values a side")
	}
	one[0][0] = upTo(5)
	if _, _, _, ok := QuantileRatioStrata(one, 0.5, 0.95, 2, rng); ok {
		t.Error("a ratio of five values, with a stratum that is empty on one side")
	}
	if _, _, _, ok := QuantileRatio(upTo(5), upTo(60), 0.5, 0.95, 2, rng); ok {
		t.Error("a ratio of five values")
	}
	if _, _, _, ok := QuantileRatio([]float64{0, 0, 0, 0, 0, 1, 1, 1, 1}, upTo(9), 0.5, 0.95, 2, rng); ok {
		t.Error("a ratio to zero")
	}
	if _, _, _, ok := QuantileRatio([]float64{0, 0, 0, 0, 1, 1, 1, 1, 1}, upTo(9), 0.5, 0.95, 100, rng); ok {
		t.Error("a ratio to what is zero in some resamples")
	}
	mustPanic(t, "NaN", func() { BootstrapQuantile([]float64{math.NaN()}, 0.5, 0.95, 2, rng) })
	mustPanic(t, "p", func() { BootstrapQuantile(upTo(9), 1, 0.95, 2, rng) })
	mustPanic(t, "confidence", func() { QuantileRatio(upTo(9), upTo(9), 0.5, 1, 2, rng) })
}

// TestResamplerIsABootstrap: the quantile drawn by its order statistics has the distribution of that of values drawn one by
// one, here that of a sample so small that all of it shows.
func TestResamplerIsABootstrap(t *testing.T) {
	rng := rand.New(rand.NewPCG(11, 11))
	xs := []float64{1, 2, 4, 8, 16, 32, 64}
	for _, p := range []float64{0.5, 0.6, 0.1, 0.95} {
		var short, long []float64
		r := newResampler(xs, p, rng)
		for range 4000 {
			draw := make([]float64, len(xs))
			for i := range draw {
				draw[i] = xs[rng.IntN(len(xs))]
			}
			slices.Sort(draw)
			short, long = append(short, r.draw()), append(long, Quantile(draw, p))
		}
		if d, p95 := KolmogorovSmirnov(short, long); p95 < 0.001 {
			t.Errorf("p = %v: distributions are %v apart", p, d)
		}
	}
}

// TestStrataResamplerIsABootstrap: so has the quantile that is drawn by how each stratum's values fall around a window. Strata are of
// unequal numbers and places, and some lie on one side of the window only.
func TestStrataResamplerIsABootstrap(t *testing.T) {
	rng := rand.New(rand.NewPCG(12, 12))
	strata := make([][2][]float64, 30)
	for i := range strata {
		for range 10 + i%7 {
			strata[i][0] = append(strata[i][0], float64(i%3)+math.Round(20*rng.ExpFloat64())/20)
		}
		strata[i][1] = exponential(5+i%11, rng)
	}
	strata[4][0], strata[5][0] = []float64{100, 101}, []float64{-3, -2, -1}
	for _, p := range []float64{0.5, 0.95} {
		values := sideOf(strata, 0)
		draw := values.resampler(p, rng)
		if from, to := values.window(values.position(p)); to-from > len(values)*9/10 {
			t.Errorf("p = %v: the window is everything", p)
		}
		var short, long []float64
		for range 1500 {
			short = append(short, draw())
			times := make([]int, len(values))
			for stratum := range strata {
				var at []int
				for i, v := range values {
					if v.stratum == stratum {
						at = append(at, i)
					}
				}
				for range at {
					times[at[rng.IntN(len(at))]]++
				}
			}
			long = append(long, values.walk(times, 0, values.position(p)))
		}
		if d, p95 := KolmogorovSmirnov(short, long); p95 < 0.001 {
			t.Errorf("p = %v: distributions are %v apart", p, d)
		}
	}
}

// TestQuantileRatioStrataOfOne: with one stratum, or many of the same numbers, the ratio is that of the plain quantiles, and it
// does not move when one side has more trials in some strata.
func TestQuantileRatioStrataOfOne(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		positive := rapid.Custom(func(t *rapid.T) float64 { return float64(rapid.IntRange(1, 40).Draw(t, "x")) })
		p := rapid.SampledFrom([]float64{0.3, 0.5, 0.7}).Draw(t, "p")
		n, m := rapid.IntRange(10, 14).Draw(t, "n"), rapid.IntRange(10, 14).Draw(t, "m")
		var strata [][2][]float64
		var a, b []float64
		for range rapid.IntRange(1, 3).Draw(t, "strata") {
			s := [2][]float64{rapid.SliceOfN(positive, n, n).Draw(t, "a"), rapid.SliceOfN(positive, m, m).Draw(t, "b")}
			strata, a, b = append(strata, s), append(a, s[0]...), append(b, s[1]...)
		}
		slices.Sort(a)
		slices.Sort(b)
		rng := rand.New(rand.NewPCG(1, 1))
		ratio, low, high, ok := QuantileRatioStrata(strata, p, 0.9, 50, rng)
		if want := Quantile(b, p) / Quantile(a, p); !ok || !near(ratio, want, 1e-7) || low > high {
			t.Fatalf("ratio %v (%v–%v, %v), want %v", ratio, low, high, ok, want)
		}
	})
	a, b := exponential(400, rand.New(rand.NewPCG(1, 1))), exponential(300, rand.New(rand.NewPCG(1, 2)))
	for i := range b {
		b[i] *= 3
	}
	ratio, low, high, ok := QuantileRatio(a, b, 0.5, 0.95, 200, rand.New(rand.NewPCG(1, 1)))
	if !ok || low < 2 || low > ratio || ratio > high || high > 4.5 {
		t.Errorf("three times as much: %v (%v–%v)", ratio, low, high)
	}
	slow, quick := upTo(100), upTo(100)
	for i := range slow {
		slow[i] += 1000
	}
	strata := [][2][]float64{{slow, slice(slow, 5)}, {slice(quick, 5), quick}}
	rng := rand.New(rand.NewPCG(1, 1))
	if ratio, _, _, ok := QuantileRatioStrata(strata, 0.75, 0.95, 50, rng); !ok || !near(ratio, 1, 0.01) {
		t.Errorf("other numbers of trials make a ratio of %v", ratio)
	}
}

// slice returns every nth value.
func slice(xs []float64, n int) (out []float64) {
	for i := n / 2; i < len(xs); i += n {
		out = append(out, xs[i])
	}
	return out
}

// TestBootstrapCovers: the intervals hold what they are of in about 95 of 100 samples, that of p95 alone in somewhat fewer.
func TestBootstrapCovers(t *testing.T) {
	rng := rand.New(rand.NewPCG(13, 13))
	n := rounds(300)
	for _, p := range []float64{0.5, 0.95} {
		truth := -math.Log(1 - p)
		quantile, ratio, strata := 0, 0, 0
		for range n {
			a, b := exponential(200, rng), exponential(300, rng)
			if low, high, ok := BootstrapQuantile(a, p, 0.95, 200, rng); ok && low <= truth && truth <= high {
				quantile++
			}
			if _, low, high, ok := QuantileRatio(a, b, p, 0.95, 200, rng); ok && low <= 1 && 1 <= high {
				ratio++
			}
			var cells [][2][]float64
			for i := range 10 {
				cells = append(cells, [2][]float64{a[i*20 : i*20+20], b[i*30 : i*30+30]})
			}
			if _, low, high, ok := QuantileRatioStrata(cells, p, 0.95, 200, rng); ok && low <= 1 && 1 <= high {
				strata++
			}
		}
		for name, covered := range map[string]int{"BootstrapQuantile": quantile, "QuantileRatio": ratio, "QuantileRatioStrata": strata} {
			got := float64(covered) / float64(n)
			t.Logf("%s, p = %v: covers %.3f of %d", name, p, got, n)
			if got < map[bool]float64{true: 0.92, false: 0.89}[name != "BootstrapQuantile"] || got > 0.99 {
				t.Errorf("%s, p = %v: covers %v", name, p, got)
			}
		}
	}
}

// TestBootstrapSeeded: the same seed gives the same interval, and the sample stays as it is.
func TestBootstrapSeeded(t *testing.T) {
	xs := exponential(80, rand.New(rand.NewPCG(1, 2)))
	before := slices.Clone(xs)
	strata := [][2][]float64{{xs[:40], xs[40:]}, {xs[10:30], xs[:10]}}
	run := func(seed uint64) [6]float64 {
		rng := rand.New(rand.NewPCG(seed, 7))
		a, b, _ := BootstrapQuantile(xs, 0.95, 0.95, 100, rng)
		_, c, d, _ := QuantileRatio(xs, xs, 0.5, 0.95, 100, rng)
		_, e, f, _ := QuantileRatioStrata(strata, 0.5, 0.95, 100, rng)
		return [6]float64{a, b, c, d, e, f}
	}
	if run(1) != run(1) || run(1) == run(2) || !slices.Equal(xs, before) {
		t.Errorf("%v, again %v, of another seed %v", run(1), run(1), run(2))
	}
}
