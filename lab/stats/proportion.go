package stats

import (
	"math"

	"gonum.org/v1/gonum/stat/distuv"
)

// Wilson returns the score interval of Wilson (1927) for k successes in n trials, without continuity correction. It
// keeps its coverage near 0 and 1, where rates of NAT traversal live. Without trials nothing is known: 0 to 1.
// It panics if k is outside 0–n or confidence outside (0, 1).
func Wilson(k, n int, confidence float64) (low, high float64) {
	checkProportion(k, n, confidence)
	if n == 0 {
		return 0, 1
	}
	z := distuv.UnitNormal.Quantile(1 - (1-confidence)/2)
	N, p := float64(n), float64(k)/float64(n)
	z2 := z * z
	center := (p + z2/(2*N)) / (1 + z2/N)
	half := z / (1 + z2/N) * math.Sqrt(p*(1-p)/N+z2/(4*N*N))
	low, high = center-half, center+half
	if k == 0 {
		low = 0
	}
	if k == n {
		high = 1
	}
	return math.Max(0, low), math.Min(1, high)
}

// ClopperPearson returns the exact interval of Clopper and Pearson (1934) for k successes in n trials: quantiles of
// the beta distribution. Its coverage is never under the confidence asked for. Panics as Wilson does.
func ClopperPearson(k, n int, confidence float64) (low, high float64) {
	checkProportion(k, n, confidence)
	low, high = 0, 1
	tail := (1 - confidence) / 2
	if k > 0 {
		low = distuv.Beta{Alpha: float64(k), Beta: float64(n - k + 1)}.Quantile(tail)
	}
	if k < n {
		high = distuv.Beta{Alpha: float64(k + 1), Beta: float64(n - k)}.Quantile(1 - tail)
	}
	return low, high
}

func checkProportion(k, n int, confidence float64) {
	if k < 0 || n < k || !validConfidence(confidence) {
		panic("stats: proportion needs 0 ≤ k ≤ n and a confidence between 0 and 1")
	}
}
