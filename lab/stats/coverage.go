package stats

import "math"

// Coverage returns the probability that the interval of k successes in n trials holds the true rate p: what Wilson or
// ClopperPearson, asked for a confidence, really has at (n, p), by enumeration of all k. A point of a report's operating curve of
// intervals. It panics if n is negative, p outside 0–1, or as the interval does.
func Coverage(interval func(k, n int, confidence float64) (low, high float64), n int, p, confidence float64) float64 {
	covered := 0.0
	for k, q := range binomial(n, p) {
		if low, high := interval(k, n, confidence); low <= p && p <= high {
			covered += q
		}
	}
	return math.Min(1, covered)
}

// DifferenceCoverage is Coverage of an interval of the difference p2 − p1 of two rates, such as Newcombe, by enumeration of
// all (k1, k2) but those with probability below 10⁻¹².
func DifferenceCoverage(
	interval func(k1, n1, k2, n2 int, confidence float64) (low, high float64), n1 int, p1 float64, n2 int, p2, confidence float64,
) float64 {
	second := binomial(n2, p2)
	covered, d := 0.0, p2-p1
	for k1, q1 := range binomial(n1, p1) {
		for k2, q2 := range second {
			if q1*q2 < 1e-12 {
				continue
			}
			if low, high := interval(k1, n1, k2, n2, confidence); low <= d && d <= high {
				covered += q1 * q2
			}
		}
	}
	return math.Min(1, covered)
}

// binomial returns the probabilities of 0 to n successes in n trials of rate p.
func binomial(n int, p float64) []float64 {
	if n < 0 || !(p >= 0 && p <= 1) {
		panic("stats: a binomial distribution needs n ≥ 0 and a rate between 0 and 1")
	}
	pmf := make([]float64, n+1)
	mode := min(int(float64(n+1)*p), n)
	pmf[mode] = 1
	if p > 0 && p < 1 {
		odds := p / (1 - p)
		for k := mode; k > 0; k-- {
			pmf[k-1] = pmf[k] * float64(k) / (float64(n-k+1) * odds)
		}
		for k := mode; k < n; k++ {
			pmf[k+1] = pmf[k] * float64(n-k) * odds / float64(k+1)
		}
	}
	sum := 0.0
	for _, q := range pmf {
		sum += q
	}
	for k := range pmf {
		pmf[k] /= sum
	}
	return pmf
}
