package stats

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// nile is the river's flow at Aswan, 1871–1970, in 10⁸ m³ a year (Cobb, "The problem of the Nile", Biometrika 65 (1978), table 1).
var nile = []float64{
	1120, 1160, 963, 1210, 1160, 1160, 813, 1230, 1370, 1140, 995, 935, 1110, 994, 1020, 960, 1180, 799, 958, 1140, 1100, 1210, 1150, 1250, 1260,
	1220, 1030, 1100, 774, 840, 874, 694, 940, 833, 701, 916, 692, 1020, 1050, 969, 831, 726, 456, 824, 702, 1120, 1100, 832, 764, 821,
	768, 845, 864, 862, 698, 845, 744, 796, 1040, 759, 781, 865, 845, 944, 984, 897, 822, 1010, 771, 676, 649, 846, 812, 742, 801,
	1040, 860, 874, 848, 890, 744, 749, 838, 1050, 918, 986, 797, 923, 975, 815, 1020, 906, 901, 1170, 912, 746, 919, 718, 714, 740,
}

// TestChangePointsNile: one change, after 1898, from a mean of 1098 to one of 850, as Cobb found by likelihood and others since.
func TestChangePointsNile(t *testing.T) {
	got := ChangePoints(nile, 0.01, 199, rand.New(rand.NewPCG(1, 1)))
	if len(got) != 1 || got[0].At != 1899-1871 || !near(got[0].Before, 1097.75, 1e-9) || !near(got[0].After, 849.9722222222222, 1e-9) ||
		got[0].P != 1.0/200 {
		t.Errorf("%+v", got)
	}
	if _, q := cut(nile); !near(q, 4807.521314553991, 1e-6) { // recomputed in Python from the definition
		t.Errorf("the cut's energy is %v", q)
	}
}

// TestCutDefinition: the running sums give the energy distance of equations 5 and 7, summed pair by pair.
func TestCutDefinition(t *testing.T) {
	within := func(xs []float64) (sum float64) {
		for i, x := range xs {
			for _, y := range xs[:i] {
				sum += math.Abs(x - y)
			}
		}
		return sum / float64(len(xs)*(len(xs)-1)/2)
	}
	rapid.Check(t, func(t *rapid.T) {
		xs := rapid.SliceOfN(rapid.Float64Range(-5, 5), 4, 14).Draw(t, "xs")
		at, best := 0, 0.0
		for i := 2; i <= len(xs)-2; i++ {
			left, right, between := xs[:i], xs[i:], 0.0
			for _, x := range left {
				for _, y := range right {
					between += math.Abs(x - y)
				}
			}
			n, m := float64(len(left)), float64(len(right))
			if q := n * m / (n + m) * (2*between/(n*m) - within(left) - within(right)); q > best {
				at, best = i, q
			}
		}
		if gotAt, got := cut(xs); !near(got, best, 1e-9) || gotAt != at && !near(got, best, 1e-12) {
			t.Fatalf("cut at %d by %v, want %d by %v", gotAt, got, at, best)
		}
	})
}

// TestChangePointsOfSteps: three steps, one of them of the spread alone, in order, with the means between them.
func TestChangePointsOfSteps(t *testing.T) {
	rng := rand.New(rand.NewPCG(17, 17))
	var xs []float64
	for i := range 160 {
		mean, spread := []float64{1, 1.3, 1.3, 0.9}[i/40], []float64{0.02, 0.02, 0.2, 0.02}[i/40]
		xs = append(xs, mean+spread*rng.NormFloat64())
	}
	got := ChangePoints(xs, 0.01, 199, rng)
	if len(got) != 3 {
		t.Fatalf("%+v", got)
	}
	for i, c := range got {
		if want := 40 * (i + 1); c.At < want-2 || c.At > want+2 {
			t.Errorf("change %d at %d, want %d", i, c.At, want)
		}
		if i > 0 && c.Before != got[i-1].After {
			t.Errorf("change %d goes from %v, the one before to %v", i, c.Before, got[i-1].After)
		}
	}
	if !near(got[0].Before, 1, 0.02) || !near(got[0].After, 1.3, 0.02) || !near(got[2].After, 0.9, 0.02) {
		t.Errorf("means: %+v", got)
	}
}

// TestChangePointsErrors: a series without a change has one found in at most α of the cases; two runs after a step of five
// standard deviations it is there.
func TestChangePointsErrors(t *testing.T) {
	rng := rand.New(rand.NewPCG(18, 18))
	n, wrong, found := rounds(300), 0, 0
	for range n {
		xs := make([]float64, 20)
		for i := range xs {
			xs[i] = rng.NormFloat64()
		}
		if len(ChangePoints(xs, 0.05, 99, rng)) > 0 {
			wrong++
		}
		xs = append(xs, 5+rng.NormFloat64(), 5+rng.NormFloat64())
		if slices.ContainsFunc(ChangePoints(xs, 0.05, 99, rng), func(c ChangePoint) bool { return c.At == 20 }) {
			found++
		}
	}
	if got := float64(wrong) / float64(n); got > 0.05+3*math.Sqrt(0.05*0.95/float64(n)) || got == 0 {
		t.Errorf("false alarms: %v", got)
	}
	if got := float64(found) / float64(n); got < 0.8 {
		t.Errorf("found: %v", got)
	}
}

func TestChangePointsEdges(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for _, xs := range [][]float64{nil, {1}, {1, 2, 3}, {4, 4, 4, 4, 4, 4, 4, 4}} {
		if got := ChangePoints(xs, 0.5, 19, rng); len(got) != 0 {
			t.Errorf("%v: %+v", xs, got)
		}
	}
	if got := ChangePoints([]float64{1, 1, 1, 1, 9, 9, 9, 9}, 0.01, 50, rng); len(got) != 0 {
		t.Errorf("50 permutations found something at 1 %%: %+v", got)
	}
	mustPanic(t, "NaN", func() { ChangePoints([]float64{1, math.NaN()}, 0.05, 9, rng) })
	mustPanic(t, "infinity", func() { ChangePoints([]float64{1, math.Inf(1)}, 0.05, 9, rng) })
	mustPanic(t, "alpha", func() { ChangePoints(nil, 0, 9, rng) })
	mustPanic(t, "permutations", func() { ChangePoints(nil, 0.05, 0, rng) })
}
