package stats

import (
	"slices"
	"sort"

	"gonum.org/v1/gonum/stat/distuv"
)

// DetectableDrop returns the smallest drop of a rate, from base in n1 trials to base − drop in n2, that Fisher's one-sided test
// (less ≤ alpha) finds with at least the given power, by enumeration of both binomials (Bennett and Hsu, Biometrika 47 (1960)
// 393–398), to 10⁻⁶. It is 1 where no drop from base can be found: too few trials, or base too small. It panics if a number
// is negative, base outside 0–1, or alpha or power outside (0, 1).
func DetectableDrop(n1, n2 int, base, alpha, power float64) float64 {
	checkPower(n1, n2, alpha, power)
	if !(base >= 0 && base <= 1) {
		panic("stats: a rate lies between 0 and 1")
	}
	t := newCritical(n1, n2, base, alpha)
	if t.power(0) < power {
		return 1
	}
	return bisectTo(1e-6, 0, base, func(drop float64) bool { return t.power(base-drop) < power })
}

// DetectableRatio returns the smallest factor above 1 by which the values of n2 trials must be those of n1, drawn of a population
// like xs, for the exact test of the p-quantile (ExceedStrata with one stratum, greater ≤ alpha) to find it with at least the
// given power, to 10⁻⁴. It takes the numbers above the pooled quantile for independent binomials, which is good to a few
// points of power. ok is false where no factor up to 1,000 can be found, or xs is empty or has a value that is not above 0.
// It panics on NaN, if a number is negative, or p, alpha or power is outside (0, 1).
func DetectableRatio(xs []float64, n1, n2 int, p, alpha, power float64) (ratio float64, ok bool) {
	checkPower(n1, n2, alpha, power)
	if !(p > 0 && p < 1) {
		panic("stats: a quantile's p lies between 0 and 1")
	}
	mustBeNumbers(xs)
	if len(xs) == 0 || n1 == 0 || n2 == 0 || slices.Min(xs) <= 0 {
		return 0, false
	}
	sorted := slices.Sorted(slices.Values(xs))
	weak := func(ratio float64) bool {
		below1, below2 := shares(sorted, ratio, n1, n2, p)
		return newCritical(n1, n2, below1, alpha).power(below2) < power
	}
	const most = 1000
	high := 1.01
	for weak(high) {
		if high *= 2; high > most {
			return 0, false
		}
	}
	return bisectTo(1e-4, 1, high, weak), true
}

// shares returns the shares of a population and of ratio times it that are at most the p-quantile of n1 parts of the one and n2 of
// the other.
func shares(sorted []float64, ratio float64, n1, n2 int, p float64) (below1, below2 float64) {
	share := func(x float64) float64 {
		return float64(sort.Search(len(sorted), func(i int) bool { return sorted[i] > x })) / float64(len(sorted))
	}
	both := func(x float64) float64 {
		return (float64(n1)*share(x) + float64(n2)*share(x/ratio)) / float64(n1+n2)
	}
	x := bisectTo(1e-9*sorted[len(sorted)-1], 0, sorted[len(sorted)-1]*ratio, func(x float64) bool { return both(x) < p })
	return share(x), share(x / ratio)
}

func checkPower(n1, n2 int, alpha, power float64) {
	if n1 < 0 || n2 < 0 || !validConfidence(alpha) || !validConfidence(power) {
		panic("stats: a power needs numbers that are not negative, and an alpha and a power between 0 and 1")
	}
}

// critical is Fisher's one-sided test against p2 < p1 at one p1.
type critical struct {
	n2   int
	q1   []float64 // probabilities of some k1
	most []int     // and the largest k2 that is significant then, −1 for none
}

func newCritical(n1, n2 int, p1, alpha float64) critical {
	q := binomial(n1, p1)
	c := critical{n2: n2}
	var buf []float64
	significant := func(k1, k2 int) bool {
		var first int
		first, buf = hypergeometric(buf, k1+k2, n1, n2, 1e-18)
		less := 0.0
		for i, p := range buf {
			if first+i > k2 {
				break
			}
			less += p
		}
		return less <= alpha
	}
	for k1 := range q {
		if q[k1] < 1e-12 {
			continue
		}
		most := -1
		if len(c.most) == 0 {
			most = sort.Search(n2+1, func(k2 int) bool { return !significant(k1, k2) }) - 1
		} else {
			for most = c.most[len(c.most)-1]; most < n2 && significant(k1, most+1); {
				most++
			}
		}
		c.q1, c.most = append(c.q1, q[k1]), append(c.most, most)
	}
	return c
}

// power returns the probability that the test is significant at p2.
func (c critical) power(p2 float64) (power float64) {
	b := distuv.Binomial{N: float64(c.n2), P: clamp(p2, 0, 1)}
	for i, q := range c.q1 {
		if c.most[i] >= 0 {
			power += q * b.CDF(float64(c.most[i]))
		}
	}
	return power
}

// bisectTo returns, to a tolerance, the smallest x between low and high at which low's property is gone.
func bisectTo(tolerance, low, high float64, property func(float64) bool) float64 {
	for high-low > tolerance {
		if mid := low + (high-low)/2; mid == low || mid == high {
			break
		} else if property(mid) {
			low = mid
		} else {
			high = mid
		}
	}
	return high
}
