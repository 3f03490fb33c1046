package stats

import (
	"cmp"
	"math"
	"slices"

	"golang.org/x/perf/benchmath"
)

// exactTied is the size of both samples up to which MannWhitney enumerates ties, benchmath's limit too.
const exactTied = 25

// MannWhitney returns U, the number of pairs in which a's value is above b's (a tie counts half), and the two-sided p-value that
// both samples come of one population (Mann and Whitney, Annals of Mathematical Statistics 18 (1947) 50–60).
//
// p is benchmath's, what benchstat prints: exact without ties up to 50 values on both sides, else the normal approximation
// with corrections for ties and continuity. With ties up to 25 values it is exact by another rule, the probability
// of a U as far from its mean as that seen: benchmath doubles a tail of a distribution that ties make asymmetric, and its
// p-value then depends on which sample is named first.
//
// Without values on either side p is 1 and U 0; p is 1 where all values are equal. It panics on NaN.
func MannWhitney(a, b []float64) (u, p float64) {
	mustBeNumbers(a, b)
	if len(a) == 0 || len(b) == 0 {
		return 0, 1
	}
	all := pool(a, b)
	ranks, sum, tied := all.ranks(), 0, false
	for i, r := range ranks {
		if all[i].first {
			sum += r
		}
		tied = tied || i > 0 && ranks[i-1] == r
	}
	u = float64(sum-len(a)*(len(a)+1)) / 2
	if tied && len(a) <= exactTied && len(b) <= exactTied {
		return u, tiedRanks(ranks, len(a), sum)
	}
	sample := func(xs []float64) *benchmath.Sample {
		return benchmath.NewSample(slices.Clone(xs), &benchmath.DefaultThresholds)
	}
	return u, benchmath.AssumeNothing.Compare(sample(a), sample(b)).P
}

// tiedRanks returns the probability that n of the doubled ranks, drawn without return, sum to something as far from the mean as
// seen: a count of subsets by their size and sum.
func tiedRanks(ranks []int, n, seen int) float64 {
	sums := make([]int, len(ranks)+1) // sums[m]: of the m lowest
	for i, r := range ranks {
		sums[i+1] = sums[i] + r
	}
	total := sums[len(ranks)]
	ways := make([][]float64, n+1) // [size][sum], as a share of the subsets of that size of the ranks so far
	for i := range ways {
		ways[i] = make([]float64, total-sums[len(ranks)-n]+1)
	}
	ways[0][0] = 1
	for m, r := range ranks {
		for size := min(n, m+1); size >= 1; size-- {
			with := float64(size) / float64(m+1) // of those subsets, the share that has this rank
			lowest, highest := sums[size], sums[m+1]-sums[m+1-size]
			here, without := ways[size], ways[size-1]
			for t := highest; t >= max(lowest, r); t-- {
				here[t] = (1-with)*here[t] + with*without[t-r]
			}
			for t := max(lowest, r) - 1; t >= lowest; t-- {
				here[t] *= 1 - with
			}
		}
	}
	// Twice the distance from the mean, n·total/len, times len: whole numbers.
	far := func(t int) int { return max(t*len(ranks)-n*total, n*total-t*len(ranks)) }
	p := 0.0
	for t, q := range ways[n] {
		if far(t) >= far(seen) {
			p += q
		}
	}
	return math.Min(1, p)
}

// exactPaths is the product of the sample sizes up to which KolmogorovSmirnov counts paths.
const exactPaths = 1 << 20

// KolmogorovSmirnov returns D, the largest distance between the empirical distribution functions of a and b, and the
// two-sided p-value that both come of one population. Where the product of the sizes is at most 2²⁰ p is exact, ties and all:
// the share of the orders of the pooled values whose D is as large (Hodges, Arkiv för Matematik 3 (1958); with ties
// Schröer and Trenkler, Computational Statistics & Data Analysis 20 (1995)); above, Kolmogorov's limit, which is too large
// with ties. Without values on either side D is 0 and p 1. It panics on NaN.
func KolmogorovSmirnov(a, b []float64) (d, p float64) {
	mustBeNumbers(a, b)
	if len(a) == 0 || len(b) == 0 {
		return 0, 1
	}
	all := pool(a, b)
	ends := make([]bool, len(all)+1) // ends[i]: a step of the distribution functions is complete after i values
	i, far := 0, 0
	for at, v := range all {
		if v.first {
			i++
		}
		if ends[at+1] = at+1 == len(all) || all[at+1].x != v.x; ends[at+1] {
			far = max(far, apart(i, at+1-i, len(a), len(b)))
		}
	}
	d = float64(far) / (float64(len(a)) * float64(len(b)))
	if len(a)*len(b) <= exactPaths {
		return d, touching(len(a), len(b), far, ends)
	}
	return d, kolmogorov(d * math.Sqrt(float64(len(a))*float64(len(b))/float64(len(a)+len(b))))
}

// apart is the distance between the distribution functions after i of n and j of m values, times n·m.
func apart(i, j, n, m int) int { return max(i*m-j*n, j*n-i*m) }

// touching returns the share of lattice paths from (0, 0) to (n, m) that are somewhere at least far apart from the diagonal,
// looked at where a step ends. Shares are built from their predecessors', so that small ones keep all their digits.
func touching(n, m, far int, ends []bool) float64 {
	row := make([]float64, m+1) // row[j]: the share of the paths to (i, j) that have touched
	for i := 0; i <= n; i++ {
		for j := 0; j <= m; j++ {
			if ends[i+j] && apart(i, j, n, m) >= far {
				row[j] = 1
				continue
			}
			var share float64
			if i > 0 {
				share = row[j] * float64(i) / float64(i+j)
			}
			if j > 0 {
				share += row[j-1] * float64(j) / float64(i+j)
			}
			row[j] = share
		}
	}
	return math.Min(1, row[m])
}

// kolmogorov returns the probability that the largest distance of a Brownian bridge from 0 is at least x.
func kolmogorov(x float64) float64 {
	if x < 0.2 {
		return 1 // to thirteen digits
	}
	p, sign := 0.0, 2.0
	for k := 1.0; k <= 100; k++ {
		term := math.Exp(-2 * k * k * x * x)
		p += sign * term
		if term < 1e-17 {
			break
		}
		sign = -sign
	}
	return clamp(p, 0, 1)
}

// ExceedStrata counts, in each stratum, the values of a (K1 of N1) and of b (K2 of N2) above the p-quantile of all values
// of both together: ExactStrata of the result is the exact test of that quantile (Westenberg, Proceedings of the KNAW 51
// (1948), for quartiles; Mood, Introduction to the Theory of Statistics, 1950, for the median), and its greater is against b's
// being higher. The threshold does not know which side a value is of, so that the test is exact whatever the
// distributions; values equal to it do not count. Strata whose values differ in scale are to be normalised before.
// a and b have the same number of strata, any of which may be empty. It panics if not, on NaN, or if p is outside 0–1.
func ExceedStrata(a, b [][]float64, p float64) []Stratum {
	if len(a) != len(b) || !(p >= 0 && p <= 1) {
		panic("stats: quantile test needs the same strata on both sides and a p between 0 and 1")
	}
	var all []float64
	for i := range a {
		mustBeNumbers(a[i], b[i])
		all = append(append(all, a[i]...), b[i]...)
	}
	out := make([]Stratum, len(a))
	if len(all) == 0 {
		return out
	}
	slices.Sort(all)
	threshold := Quantile(all, p)
	for i := range out {
		out[i] = Stratum{K1: above(a[i], threshold), N1: len(a[i]), K2: above(b[i], threshold), N2: len(b[i])}
	}
	return out
}

func above(xs []float64, threshold float64) (k int) {
	for _, x := range xs {
		if x > threshold {
			k++
		}
	}
	return k
}

// pooled are the values of two samples in order.
type pooled []struct {
	x     float64
	first bool // of the first sample
}

func pool(a, b []float64) pooled {
	all := make(pooled, len(a)+len(b))
	for i, x := range a {
		all[i].x, all[i].first = x, true
	}
	for i, x := range b {
		all[len(a)+i].x = x
	}
	slices.SortFunc(all, func(v, w struct {
		x     float64
		first bool
	}) int {
		return cmp.Compare(v.x, w.x)
	})
	return all
}

// ranks returns twice the rank of each, the mean rank of a tie.
func (p pooled) ranks() []int {
	xs := make([]float64, len(p))
	for i, v := range p {
		xs[i] = v.x
	}
	return doubledRanks(xs, func(a, b float64) bool { return a == b })
}
