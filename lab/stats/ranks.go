package stats

// MannWhitney returns U, the number of pairs in which a's value is above b's (a tie counts half), and the two-sided p-value that
// both samples come of one population. Without values on either side U is 0 and p 1. It panics on NaN.
func MannWhitney(a, b []float64) (u, p float64) { return 0, 1 }

// KolmogorovSmirnov returns D, the largest distance between the empirical distribution functions of a and b, and the
// two-sided p-value that both come of one population. Without values on either side D is 0 and p 1. It panics on NaN.
func KolmogorovSmirnov(a, b []float64) (d, p float64) { return 0, 1 }

// ExceedStrata counts, in each stratum, the values of a (K1 of N1) and of b (K2 of N2) above the p-quantile of all values
// of both together: ExactStrata of the result is the exact test of that quantile (Westenberg 1948; Mood 1950, for the median)
// and its greater is against b's being higher. The threshold does not know which side a value is of, so that the
// test is exact whatever the distributions; values equal to it do not count. a and b have the same number of strata, each of
// which may be empty. It panics if not, on NaN, or if p is outside 0–1.
func ExceedStrata(a, b [][]float64, p float64) []Stratum { return make([]Stratum, len(a)) }
