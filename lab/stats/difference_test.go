package stats

import (
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// rounds is how often a simulation is repeated: many times that with PUNCHLAB_SOAK.
func rounds(n int) int {
	if os.Getenv("PUNCHLAB_SOAK") != "" {
		return 20 * n
	}
	return n
}

// TestNewcombeTable checks method 10 against table II of Newcombe, Statistics in Medicine 17 (1998) 873–890, all eight of its
// examples, recomputed in plain Python from two score intervals found by bisection.
func TestNewcombeTable(t *testing.T) {
	for _, c := range []struct {
		k1, n1, k2, n2 int
		low, high      float64
	}{
		{48, 80, 56, 70, 0.0524, 0.3339},
		{3, 10, 9, 10, 0.1705, 0.8090},
		{2, 7, 6, 7, 0.0582, 0.8062},
		{0, 29, 5, 56, -0.0381, 0.1926},
		{0, 20, 0, 10, -0.1611, 0.2775},
		{0, 10, 0, 10, -0.2775, 0.2775},
		{0, 20, 10, 10, 0.6791, 1},
		{0, 10, 10, 10, 0.6075, 1},
	} {
		if low, high := Newcombe(c.k1, c.n1, c.k2, c.n2, 0.95); !near(low, c.low, 5e-5) || !near(high, c.high, 5e-5) {
			t.Errorf("%d of %d, %d of %d: %.4f–%.4f, want %.4f–%.4f", c.k1, c.n1, c.k2, c.n2, low, high, c.low, c.high)
		}
	}
	if low, high := Newcombe(3, 5, 0, 0, 0.95); low != -1 || high != 1 {
		t.Errorf("without trials on one side: %v–%v", low, high)
	}
	mustPanic(t, "k > n", func() { Newcombe(1, 0, 0, 1, 0.95) })
}

// TestStrataDiffRecomputed: one stratum is Miettinen and Nurminen's interval, method 6 of the same table; the others and
// more digits were found in plain Python by searching the likelihood for the likeliest rates, with no cubic.
func TestStrataDiffRecomputed(t *testing.T) {
	full, worse := Stratum{20, 20, 20, 20}, Stratum{20, 20, 17, 20}
	for _, c := range []struct {
		s               []Stratum
		diff, low, high float64
	}{
		{[]Stratum{{48, 80, 56, 70}}, 0.2, 0.052830, 0.338173},
		{[]Stratum{{3, 10, 9, 10}}, 0.6, 0.170025, 0.840650},
		{[]Stratum{{2, 7, 6, 7}}, 0.571429, 0.034176, 0.853405},
		{[]Stratum{{0, 29, 5, 56}}, 0.089286, -0.032597, 0.193331},
		{[]Stratum{{0, 10, 10, 10}}, 1, 0.663642, 1},
		{berkeley, 0.018425, -0.010890, 0.047456},
		{mixedStrata, -0.070184, -0.160762, 0.002732},
		{slices.Repeat([]Stratum{full}, 10), 0, -0.019319, 0.019319},
		{[]Stratum{worse, {0, 9, 0, 11}, worse, worse}, -0.128755, -0.229498, -0.059417},
		{[]Stratum{{3, 4, 0, 0}}, 0, -1, 1},
		{nil, 0, -1, 1},
	} {
		diff, low, high := StrataDiff(c.s, 0.95)
		if !near(diff, c.diff, 6e-7) || !near(low, c.low, 1e-6) || !near(high, c.high, 1e-6) {
			t.Errorf("%v: %.6f, %.6f–%.6f, want %.6f, %.6f–%.6f", c.s, diff, low, high, c.diff, c.low, c.high)
		}
	}
	mustPanic(t, "k > n", func() { StrataDiff([]Stratum{{1, 0, 0, 1}}, 0.95) })
	mustPanic(t, "confidence", func() { StrataDiff(nil, 0) })
}

// TestStrataDiffProperties: the interval holds the difference, mirrors when the sides are exchanged, does not care for the order
// of strata, and lies within −1 to 1.
func TestStrataDiffProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.SliceOfN(anyStratum, 1, 8).Draw(t, "strata")
		diff, low, high := StrataDiff(s, 0.95)
		if !(-1 <= low && low <= diff && diff <= high && high <= 1) {
			t.Fatalf("%v: %v, %v–%v", s, diff, low, high)
		}
		mirrored := slices.Clone(s)
		for i, a := range s {
			mirrored[len(s)-1-i] = Stratum{a.K2, a.N2, a.K1, a.N1}
		}
		d, l, h := StrataDiff(mirrored, 0.95)
		if !near(d, -diff, 1e-9) || !near(l, -high, 1e-6) || !near(h, -low, 1e-6) {
			t.Fatalf("%v: %v, %v–%v; mirrored %v, %v–%v", s, diff, low, high, d, l, h)
		}
	})
}

var anyStratum = rapid.Custom(func(t *rapid.T) Stratum {
	n1, n2 := rapid.IntRange(0, 25).Draw(t, "n1"), rapid.IntRange(0, 25).Draw(t, "n2")
	return Stratum{rapid.IntRange(0, n1).Draw(t, "k1"), n1, rapid.IntRange(0, n2).Draw(t, "k2"), n2}
})

// TestDifferencesCover: both intervals hold the true difference in about 95 of 100 samples, also where almost nothing fails.
// Newcombe's is enumerated. StrataDiff's is drawn: 50 cells of 20 trials a side whose rates differ, where the difference is the
// same everywhere, and where half of the cells have all of it.
func TestDifferencesCover(t *testing.T) {
	for _, c := range []struct{ p1, p2 float64 }{{0.5, 0.6}, {0.9, 0.95}, {0.98, 0.89}, {0.99, 0.99}} {
		if got := DifferenceCoverage(Newcombe, 50, c.p1, 50, c.p2, 0.95); got < 0.94 {
			t.Errorf("Newcombe at %v and %v covers %.4f", c.p1, c.p2, got)
		}
	}
	rng := rand.New(rand.NewPCG(3, 1))
	for _, c := range []struct {
		name      string
		rate      func(i int) (p1, p2 float64)
		low, high float64 // bounds of coverage
	}{
		{"same rates", func(i int) (float64, float64) { return 0.9 + 0.002*float64(i), 0.9 + 0.002*float64(i) }, 0.93, 0.97},
		{"9 points less", func(i int) (float64, float64) { return 0.99, 0.90 }, 0.93, 0.97},
		{"18 points in half", func(i int) (float64, float64) { return 0.99, 0.99 - 0.18*float64(i%2) }, 0.93, 1},
		{"anywhere", func(i int) (float64, float64) { return float64(i) / 50, float64(i) / 50 }, 0.93, 0.97},
		{"almost all", func(i int) (float64, float64) { return 0.9995, 0.9995 }, 0.93, 1},
	} {
		covered, n := 0, rounds(600)
		for range n {
			s, truth := make([]Stratum, 50), 0.0
			for i := range s {
				p1, p2 := c.rate(i)
				s[i] = Stratum{count(20, p1, rng), 20, count(20, p2, rng), 20}
				truth += (p2 - p1) / 50
			}
			if _, low, high := StrataDiff(s, 0.95); low <= truth && truth <= high {
				covered++
			}
		}
		got := float64(covered) / float64(n)
		t.Logf("StrataDiff, %s: covers %.4f of %d", c.name, got, n)
		if got < c.low || got > c.high {
			t.Errorf("StrataDiff, %s: covers %.4f, want %v–%v", c.name, got, c.low, c.high)
		}
	}
}
