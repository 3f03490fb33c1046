package stats

import "math/rand/v2"

// ChangePoint is where a series changed.
type ChangePoint struct {
	At            int     // index of the first value after the change
	P             float64 // of the permutation test that found it
	Before, After float64 // means of the values from the change before to this, and from this to the next
}

// ChangePoints returns where the distribution of a series changes, in order, by E-divisive (Matteson and James, "A nonparametric
// approach for multiple change point analysis of multivariate data", JASA 109 (2014)): bisection at the largest
// energy distance for as long as a permutation test at alpha finds it. It panics on NaN or infinity, if alpha is outside (0, 1) or
// permutations below 1. A series of fewer than four values has no change.
func ChangePoints(xs []float64, alpha float64, permutations int, rng *rand.Rand) []ChangePoint { return nil }
