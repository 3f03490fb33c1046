package stats

import (
	"math"
	"math/rand/v2"
	"slices"
)

// ChangePoint is where a series changed.
type ChangePoint struct {
	At            int     // index of the first value after the change
	P             float64 // of the permutation test that found it
	Before, After float64 // means of the values from the change before to this one, and from this one to the next
}

// fewest is the smallest number of values between two changes: a distance within needs two.
const fewest = 2

// ChangePoints returns where the distribution of a series changes, in order, by E-divisive (Matteson and James, "A nonparametric
// approach for multiple change point analysis of multivariate data", JASA 109 (2014) 334–345, with exponent 1): the series is
// cut where the energy distance between both sides is largest, and the parts again, for as long as the best cut of any part
// beats, at alpha, the best cuts of the series with each part's values in random order. As in MongoDB's and Hunter's use of it on
// benchmarks (Daly et al., ICPE 2020; Fleming et al., ICPE 2023) a cut's right side reaches to the end of its part.
//
// P is (1 + as good)/(1 + permutations), so that permutations of 1/alpha − 1 at least are needed to find anything. A change is
// found no earlier than two values after it. Values in the series are independent but for the changes. Fewer than four values,
// or all equal, have none. It panics on NaN or infinity, if alpha is outside (0, 1) or permutations below 1.
func ChangePoints(xs []float64, alpha float64, permutations int, rng *rand.Rand) []ChangePoint {
	mustBeNumbers(xs)
	if slices.ContainsFunc(xs, func(x float64) bool { return math.IsInf(x, 0) }) || !validConfidence(alpha) || permutations < 1 {
		panic("stats: change points need finite values, an alpha between 0 and 1, and permutations")
	}
	bounds := []int{0, len(xs)} // of the parts
	var found []ChangePoint
	for {
		at, best := bestCut(xs, bounds)
		if !(best > 0) {
			break
		}
		p := permuted(xs, bounds, best, permutations, rng)
		if p > alpha {
			break
		}
		i, _ := slices.BinarySearch(bounds, at)
		bounds = slices.Insert(bounds, i, at)
		found = append(found, ChangePoint{At: at, P: p})
	}
	slices.SortFunc(found, func(a, b ChangePoint) int { return a.At - b.At })
	for i := range found {
		found[i].Before = mean(xs[bounds[i]:bounds[i+1]])
		found[i].After = mean(xs[bounds[i+1]:bounds[i+2]])
	}
	return found
}

// permuted returns the p-value of a cut among the best cuts of the series with each part shuffled.
func permuted(xs []float64, bounds []int, best float64, permutations int, rng *rand.Rand) float64 {
	shuffled, asGood := slices.Clone(xs), 0
	for range permutations {
		for i := range len(bounds) - 1 {
			part := shuffled[bounds[i]:bounds[i+1]]
			rng.Shuffle(len(part), func(i, j int) { part[i], part[j] = part[j], part[i] })
		}
		if _, q := bestCut(shuffled, bounds); q >= best*(1-1e-9) {
			asGood++
		}
	}
	return float64(1+asGood) / float64(1+permutations)
}

// bestCut returns where a part is best cut, and by how much; 0 where none can be.
func bestCut(xs []float64, bounds []int) (at int, best float64) {
	for i := range len(bounds) - 1 {
		if t, q := cut(xs[bounds[i]:bounds[i+1]]); q > best {
			at, best = bounds[i]+t, q
		}
	}
	return at, best
}

// cut returns the cut of xs with the largest scaled energy distance, nm/(n+m)·(2·E|X−Y| − E|X−X′| − E|Y−Y′|) of n values on its
// left and m on its right (equations 5 and 7).
func cut(xs []float64) (at int, best float64) {
	within := 0.0 // Σ|x−x′| on the right
	toLeft, toRight := make([]float64, len(xs)), make([]float64, len(xs))
	for i, x := range xs {
		for j, y := range xs[:i] {
			d := math.Abs(x - y)
			toLeft[i] += d
			toRight[j] += d
			within += d
		}
	}
	left, between, right := 0.0, 0.0, within
	for t := 1; t <= len(xs)-fewest; t++ {
		// The value before the cut goes over from the right to the left.
		left += toLeft[t-1]
		between += toRight[t-1] - toLeft[t-1]
		right -= toRight[t-1]
		if t < fewest {
			continue
		}
		n, m := float64(t), float64(len(xs)-t)
		q := n * m / (n + m) * (2*between/(n*m) - 2*left/(n*(n-1)) - 2*right/(m*(m-1)))
		if q > best {
			at, best = t, q
		}
	}
	return at, best
}

func mean(xs []float64) float64 {
	sum := 0.0
	for _, x := range xs {
		sum += x
	}
	return sum / float64(len(xs))
}
