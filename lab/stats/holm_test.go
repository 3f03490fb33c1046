package stats

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestHolm: p-values 0.01, 0.04, 0.03 and 0.005 of four tests, of which Holm rejects the first and the last at 5 % (the example
// of Wikipedia's article), adjusted by hand: 4·0.005, 3·0.01, 2·0.03, and 0.04, raised to the one before.
func TestHolm(t *testing.T) {
	got := Holm([]float64{0.01, 0.04, 0.03, 0.005})
	for i, want := range []float64{0.03, 0.06, 0.06, 0.02} {
		if !near(got[i], want, 1e-15) {
			t.Errorf("Holm: %v", got)
		}
	}
	if got := Holm([]float64{0.9, 0.8}); got[0] != 1 || got[1] != 1 {
		t.Errorf("Holm: %v", got)
	}
	if len(Holm(nil)) != 0 {
		t.Error("of none")
	}
	mustPanic(t, "NaN", func() { Holm([]float64{0.5, math.NaN()}) })
	mustPanic(t, "above 1", func() { Holm([]float64{1.5}) })
}

// TestHolmStepsDown: at any alpha the adjusted p-values reject what the procedure as Holm wrote it does: in ascending order for
// as long as p ≤ α/(m − i).
func TestHolmStepsDown(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ps := rapid.SliceOfN(rapid.Float64Range(0, 0.2), 0, 12).Draw(t, "ps")
		alpha := rapid.Float64Range(0.001, 0.5).Draw(t, "alpha")
		order := make([]int, len(ps))
		for i := range order {
			order[i] = i
		}
		slices.SortFunc(order, func(i, j int) int { return cmp.Compare(ps[i], ps[j]) })
		rejected := make([]bool, len(ps))
		for rank, i := range order {
			if ps[i]*float64(len(ps)-rank) > alpha {
				break
			}
			rejected[i] = true
		}
		for i, p := range Holm(ps) {
			if (p <= alpha) != rejected[i] {
				t.Fatalf("%v at %v: %v of %v", ps, alpha, p, ps[i])
			}
		}
	})
}

// TestHolmFamily: of 50 true hypotheses one or more are rejected in at most α of the families, and a false one is found.
func TestHolmFamily(t *testing.T) {
	rng := rand.New(rand.NewPCG(14, 14))
	n, wrong, right := rounds(4000), 0, 0
	for range n {
		ps := make([]float64, 51)
		for i := range ps {
			ps[i] = rng.Float64()
		}
		ps[50] *= 1e-4
		adjusted := Holm(ps)
		if slices.Min(adjusted[:50]) <= 0.05 {
			wrong++
		}
		if adjusted[50] <= 0.05 {
			right++
		}
	}
	if got := float64(wrong) / float64(n); got > 0.05+3*math.Sqrt(0.05*0.95/float64(n)) || got < 0.03 || right != n {
		t.Errorf("rejected %v of families, and the false one in %d of %d", got, right, n)
	}
}
