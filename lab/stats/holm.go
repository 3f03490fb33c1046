package stats

import (
	"cmp"
	"slices"
)

// Holm returns the p-values adjusted for their number by Holm's step-down method ("A simple sequentially rejective multiple test
// procedure", Scandinavian Journal of Statistics 6 (1979) 65–70), in the order given: rejecting those at most alpha keeps the
// probability of any false rejection at alpha, whatever their dependence. None gives none. It panics on a p-value that is NaN or
// outside 0–1.
func Holm(ps []float64) []float64 {
	order := make([]int, len(ps))
	for i, p := range ps {
		if !(p >= 0 && p <= 1) {
			panic("stats: a p-value lies between 0 and 1")
		}
		order[i] = i
	}
	slices.SortStableFunc(order, func(i, j int) int { return cmp.Compare(ps[i], ps[j]) })
	adjusted, largest := make([]float64, len(ps)), 0.0
	for rank, i := range order {
		largest = max(largest, min(1, ps[i]*float64(len(ps)-rank)))
		adjusted[i] = largest
	}
	return adjusted
}
