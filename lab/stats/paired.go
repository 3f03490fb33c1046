package stats

import (
	"cmp"
	"math"
	"slices"

	"gonum.org/v1/gonum/stat/distuv"
)

// McNemar returns the two-sided p-value of the exact test of paired outcomes, where in onlyA pairs A alone succeeded and in onlyB
// pairs B alone: the smaller tail of the binomial with ½, twice, at most 1 (McNemar, Psychometrika 12 (1947); exact by
// Cochran 1950). Pairs are independent of each other. It is 1 where no pair differs. It panics on a negative count.
func McNemar(onlyA, onlyB int) (p float64) {
	_, _, p = SignTest(onlyA, onlyB)
	return p
}

// SignTest returns the p-values of the exact sign test (Arbuthnott 1710): plus of plus+minus differences are positive, each with
// ½ if nothing differs. less is against fewer positive ones than that, greater against more, two against either. All are 1
// where there is no difference; equal pairs are left out by the caller. It panics on a negative count.
func SignTest(plus, minus int) (less, greater, two float64) {
	if plus < 0 || minus < 0 {
		panic("stats: a number of pairs is not negative")
	}
	b := distuv.Binomial{N: float64(plus + minus), P: 0.5}
	less, greater = b.CDF(float64(plus)), b.CDF(float64(minus)) // the binomial with ½ is its own mirror
	return less, greater, math.Min(1, 2*math.Min(less, greater))
}

// exactSigned is the number of differences up to which WilcoxonSigned enumerates.
const exactSigned = 100

// WilcoxonSigned returns the two-sided p-value of Wilcoxon's signed-rank test that the differences d are symmetric about 0
// (Biometrics Bulletin 1 (1945) 80–83). Zeros are left out and equal sizes share their mean rank, as Wilcoxon did. Up to 100
// differences the p-value is exact, ties and all: twice the smaller tail over all signs; above, the normal
// approximation with corrections for ties and continuity. It is 1 where no difference is left. It panics on NaN.
func WilcoxonSigned(d []float64) (p float64) {
	mustBeNumbers(d)
	d = slices.DeleteFunc(slices.Clone(d), func(x float64) bool { return x == 0 })
	slices.SortFunc(d, func(a, b float64) int { return cmp.Compare(math.Abs(a), math.Abs(b)) })
	ranks := doubledRanks(d, func(a, b float64) bool { return math.Abs(a) == math.Abs(b) })
	sum, plus := 0, 0
	for i, r := range ranks {
		sum += r
		if d[i] > 0 {
			plus += r
		}
	}
	seen := min(plus, sum-plus)
	if len(d) <= exactSigned {
		return math.Min(1, 2*signedTail(ranks, sum, seen))
	}
	return math.Min(1, 2*signedNormal(ranks, sum, seen))
}

// signedNormal is signedTail by the normal approximation.
func signedNormal(ranks []int, sum, seen int) float64 {
	variance := 0.0
	for _, r := range ranks {
		variance += float64(r) * float64(r) / 4
	}
	// The correction for continuity, half a rank, is 1 in doubled ranks.
	return distuv.UnitNormal.CDF((float64(seen) + 1 - float64(sum)/2) / math.Sqrt(variance))
}

// signedTail returns the probability that the ranks with a positive sign sum to at most seen, each sign having ½.
func signedTail(ranks []int, sum, seen int) (p float64) {
	pmf := make([]float64, sum+1)
	pmf[0] = 1
	top := 0
	for _, r := range ranks {
		top += r
		for t := top; t >= 0; t-- {
			pmf[t] /= 2
			if t >= r {
				pmf[t] += pmf[t-r] / 2
			}
		}
	}
	for _, q := range pmf[:seen+1] {
		p += q
	}
	return p
}

// doubledRanks returns twice the rank of each value of an ordered sample, so that the mean rank of a tie is whole.
func doubledRanks(sorted []float64, equal func(a, b float64) bool) []int {
	ranks := make([]int, len(sorted))
	for i := 0; i < len(sorted); {
		j := i + 1
		for j < len(sorted) && equal(sorted[i], sorted[j]) {
			j++
		}
		for k := i; k < j; k++ {
			ranks[k] = i + 1 + j
		}
		i = j
	}
	return ranks
}

func mustBeNumbers(samples ...[]float64) {
	for _, xs := range samples {
		if slices.ContainsFunc(xs, math.IsNaN) {
			panic("stats: NaN in a sample")
		}
	}
}
