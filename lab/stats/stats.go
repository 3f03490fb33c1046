// Package stats is the arithmetic of reports and gates: intervals of rates and quantiles, exact tests of their differences,
// sequential tests, and changes in a series. Pure functions of numbers; randomness is an argument. It knows no trial.
//
//	k of n succeeded ──► Wilson(k, n, 0.95)          the interval printed beside every rate
//	                     ClopperPearson(k, n, 0.95)  the exact one: never covers less than it says, often more
//	                     Coverage(Wilson, n, p, …)   what an interval really covers, by enumeration
//	sample ───────────►  Describe(xs)                n, min, p50, p95, p99, max
//	                     Quantile(sorted, p)         R-7, the default of R, NumPy and spreadsheets
//	                     QuantileInterval(…)         between two order statistics: no assumption on the shape
//	                     BootstrapQuantile(…)        percentile bootstrap, seeded; MedianBootstrap
//	                     DKW(n, 0.95)                half width of the band around a whole empirical CDF
//
//	two rates ────────►  Fisher, Newcombe            test and interval of a difference; DetectableDrop before the trials
//	 … cell by cell ──►  ExactStrata, StrataDiff     the same over strata
//	two samples ──────►  MannWhitney, KolmogorovSmirnov
//	 … their quantile ►  ExceedStrata ─► ExactStrata exact test;  QuantileRatio(Strata) interval;  DetectableRatio
//	pairs ────────────►  McNemar, SignTest, WilcoxonSigned
//	many tests ───────►  Holm
//	trial by trial ───►  SPRT                        good, bad or inconclusive, early; OC: its exact error rates
//	                     ConfidenceSequence          an interval that may be looked at after every trial
//	run by run ───────►  ChangePoints
//
// Two rules hold throughout. Too little data is an answer: ok is false, an interval is all there is, a p-value is 1. What
// cannot be data is a mistake of the caller and panics: NaN, more successes than trials, a confidence of 1.
package stats

import (
	"math"
	"math/rand/v2"
	"slices"

	"gonum.org/v1/gonum/stat/distuv"
)

// Dist describes a sample. N is 0 for an empty one and then the other fields mean nothing.
type Dist struct {
	N   int
	Min float64
	P50 float64
	P95 float64
	P99 float64
	Max float64
}

// Describe returns the summary of xs, which it leaves as it is. The quantiles are Quantile's.
func Describe(xs []float64) Dist {
	if len(xs) == 0 {
		return Dist{}
	}
	s := slices.Sorted(slices.Values(xs))
	return Dist{
		N: len(s), Min: s[0], Max: s[len(s)-1],
		P50: Quantile(s, 0.50), P95: Quantile(s, 0.95), P99: Quantile(s, 0.99),
	}
}

// Quantile returns the p-quantile of an ascending sample by Hyndman and Fan's definition 7: the value at position
// 1+(n−1)p, interpolated linearly between its neighbours. It panics if the sample is empty or p is outside 0–1.
func Quantile(sorted []float64, p float64) float64 {
	if len(sorted) == 0 || !(p >= 0 && p <= 1) {
		panic("stats: quantile of an empty sample or at a p outside 0–1")
	}
	at := float64(len(sorted)-1) * p
	i := int(at)
	if i+1 >= len(sorted) {
		return sorted[len(sorted)-1]
	}
	low, high := sorted[i], sorted[i+1]
	if low == high {
		return low // exact, where interpolation would round
	}
	return low + (at-float64(i))*(high-low)
}

// QuantileInterval returns an interval that covers the p-quantile of the population with at least the given
// confidence, whatever the distribution: two order statistics of the ascending sample, each tail holding at most half
// of the rest by the binomial distribution (Conover, Practical Nonparametric Statistics, §3.2). ok is false where
// the sample is too small for one: under 6 values for the median at 95 %, under 72 for p95.
func QuantileInterval(sorted []float64, p, confidence float64) (low, high float64, ok bool) {
	n := len(sorted)
	if n == 0 || !(p > 0 && p < 1) || !validConfidence(confidence) {
		return 0, 0, false
	}
	tail := (1 - confidence) / 2
	b := distuv.Binomial{N: float64(n), P: p}
	// x(l) is above the quantile only if fewer than l values are below it: P(B ≤ l−1) ≤ tail.
	l := 0
	for l < n && b.CDF(float64(l)) <= tail {
		l++
	}
	// x(u) is below the quantile only if at least u values are: P(B ≥ u) = 1 − P(B ≤ u−1) ≤ tail.
	u := n + 1
	for u > 1 && 1-b.CDF(float64(u-2)) <= tail {
		u--
	}
	if l < 1 || u > n {
		return 0, 0, false
	}
	return sorted[l-1], sorted[u-1], true
}

// MedianBootstrap returns the percentile bootstrap interval of the median from the given number of resamples. ok is
// false under 6 values, where resampling only repeats what little there is.
func MedianBootstrap(xs []float64, confidence float64, resamples int, rng *rand.Rand) (low, high float64, ok bool) {
	n := len(xs)
	if n < 6 || resamples < 1 || !validConfidence(confidence) {
		return 0, 0, false
	}
	medians, draw := make([]float64, resamples), make([]float64, n)
	for i := range medians {
		for j := range draw {
			draw[j] = xs[rng.IntN(n)]
		}
		slices.Sort(draw)
		medians[i] = Quantile(draw, 0.5)
	}
	slices.Sort(medians)
	tail := (1 - confidence) / 2
	return Quantile(medians, tail), Quantile(medians, 1-tail), true
}

// DKW returns the half width of the band that holds the whole CDF of the population around the empirical one of n
// values with the given confidence (Dvoretzky, Kiefer and Wolfowitz with Massart's constant). It is 1 for n = 0.
func DKW(n int, confidence float64) float64 {
	if n <= 0 || !validConfidence(confidence) {
		return 1
	}
	return math.Min(1, math.Sqrt(math.Log(2/(1-confidence))/(2*float64(n))))
}

func validConfidence(c float64) bool { return c > 0 && c < 1 }
