package stats

import (
	"math/rand/v2"
	"slices"

	"gonum.org/v1/gonum/stat/distuv"
)

// Mixture is a population of pairs: one side drawn from Rows, the other from Cols, one without regard to the other, and how
// often each kind of pair succeeded.
//
// The rate is Σ rᵢ·cⱼ·kᵢⱼ/nᵢⱼ. What is not known is twofold: the shares, which a sample of Size told (posterior Dirichlet with
// the shares' own counts), and each pair's rate, of which n trials told k (posterior Beta, Jeffreys' prior).
type Mixture struct {
	Rows, Cols []float64 // shares, each summing to 1
	Size       float64   // of the sample behind Rows
	Same       bool      // Cols are Rows, known as well as those; otherwise Cols are exact
	K, N       [][]int   // [row][column]
}

// Rate returns the mixture's rate with an equal-tailed interval of that many draws; ok is false where a pair that the
// population has was not tried.
func (m Mixture) Rate(confidence float64, draws int, rng *rand.Rand) (rate, low, high float64, ok bool) {
	for i, r := range m.Rows {
		for j, c := range m.Cols {
			if r*c == 0 {
				continue
			}
			if m.N[i][j] == 0 {
				return 0, 0, 0, false
			}
			rate += r * c * float64(m.K[i][j]) / float64(m.N[i][j])
		}
	}
	xs := make([]float64, draws)
	for d := range xs {
		rows := m.draw(m.Rows, rng)
		cols := m.Cols
		if m.Same {
			cols = rows
		}
		for i, r := range rows {
			for j, c := range cols {
				if r*c > 0 {
					k, n := float64(m.K[i][j]), float64(m.N[i][j])
					xs[d] += r * c * distuv.Beta{Alpha: k + 0.5, Beta: n - k + 0.5, Src: rng}.Rand()
				}
			}
		}
	}
	slices.Sort(xs)
	tail := (1 - confidence) / 2
	return rate, Quantile(xs, tail), Quantile(xs, 1-tail), true
}

// draw draws shares from the Dirichlet distribution with Size times the shares given.
func (m Mixture) draw(shares []float64, rng *rand.Rand) []float64 {
	out, sum := make([]float64, len(shares)), 0.0
	for i, s := range shares {
		if s > 0 {
			out[i] = distuv.Gamma{Alpha: s * m.Size, Beta: 1, Src: rng}.Rand()
			sum += out[i]
		}
	}
	for i := range out {
		out[i] /= sum
	}
	return out
}
