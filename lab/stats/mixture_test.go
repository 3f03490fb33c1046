package stats_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/punchlab/punchlab/lab/stats"
)

// A population of one kind is that kind's own rate and interval; one known from a huge sample adds nothing to it.
func TestMixtureOfOneKind(t *testing.T) {
	m := stats.Mixture{Rows: []float64{1}, Cols: []float64{1}, Size: 10, K: [][]int{{45}}, N: [][]int{{50}}}
	rate, low, high, ok := m.Rate(0.95, 4000, rand.New(rand.NewPCG(1, 1)))
	wl, wh := stats.Wilson(45, 50, 0.95)
	if !ok || rate != 0.9 || math.Abs(low-wl) > 0.02 || math.Abs(high-wh) > 0.02 {
		t.Errorf("rate %v, %v–%v, %v; Wilson's interval is %v–%v", rate, low, high, ok, wl, wh)
	}
}

// Where half of the population fails always, the interval is that of the shares: the variance of a Dirichlet share is
// p(1−p)/(size+1).
func TestMixtureIsAsSureAsItsShares(t *testing.T) {
	never, always := 0, 1_000_000
	m := stats.Mixture{
		Rows: []float64{0.5, 0.5}, Cols: []float64{1}, Size: 99,
		K: [][]int{{never}, {always}}, N: [][]int{{always}, {always}},
	}
	rate, low, high, ok := m.Rate(0.95, 20000, rand.New(rand.NewPCG(1, 1)))
	if half := 1.96 * 0.05; !ok || rate != 0.5 || math.Abs(low-0.5+half) > 0.006 || math.Abs(high-0.5-half) > 0.006 {
		t.Errorf("rate %v, %v–%v, want ± %v", rate, low, high, half)
	}
	m.Cols, m.Same = m.Rows, true
	m.K, m.N = [][]int{{always, never}, {never, never}}, [][]int{{always, always}, {always, always}}
	if rate, _, _, _ := m.Rate(0.95, 10, rand.New(rand.NewPCG(1, 1))); rate != 0.25 {
		t.Errorf("both sides of a kind in %v of pairs, want a quarter", rate)
	}
}

func TestMixtureNeedsEveryPairItHas(t *testing.T) {
	m := stats.Mixture{Rows: []float64{0.5, 0.5, 0}, Cols: []float64{1}, Size: 10, K: [][]int{{1}, {0}, {0}}, N: [][]int{{1}, {0}, {0}}}
	if _, _, _, ok := m.Rate(0.95, 10, rand.New(rand.NewPCG(1, 1))); ok {
		t.Error("a pair that was never tried has a rate")
	}
	m.N[1][0] = 3
	if _, _, _, ok := m.Rate(0.95, 10, rand.New(rand.NewPCG(1, 1))); !ok {
		t.Error("a pair that the population does not have is asked for")
	}
}
