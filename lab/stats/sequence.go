package stats

import (
	"math"

	"gonum.org/v1/gonum/mathext"
)

// ConfidenceSequence returns, after k successes in n trials, an interval of the rate that holds at all n at once: the
// probability that it ever leaves the true rate out is at most alpha, however often one looks and whenever one stops.
//
// It holds the p whose likelihood ratio against a mixture of rates, ∫ q^k (1−q)^(n−k) dπ(q) / p^k (1−p)^(n−k), is below
// 1/alpha; at the true rate that ratio is a martingale of mean 1, and Ville's inequality bounds its maximum (Robbins,
// "Statistical methods related to the law of the iterated logarithm", Annals of Mathematical Statistics 41 (1970); Howard,
// Ramdas, McAuliffe and Sekhon, Annals of Statistics 49 (2021)). The mixture π is Beta(½, ½), which is good at rates
// near 0 and 1.
//
// Trials are independent with one rate. Without trials: 0 to 1. It panics if k is outside 0–n or alpha outside (0, 1).
func ConfidenceSequence(k, n int, alpha float64) (low, high float64) {
	checkProportion(k, n, alpha)
	if n == 0 {
		return 0, 1
	}
	a, b := float64(k), float64(n-k)
	mixture := mathext.Lbeta(a+0.5, b+0.5) - math.Log(math.Pi) + math.Log(alpha)
	outside := func(p float64) bool {
		likelihood := 0.0
		if k > 0 {
			likelihood += a * math.Log(p)
		}
		if k < n {
			likelihood += b * math.Log1p(-p)
		}
		return likelihood <= mixture
	}
	rate := a / float64(n)
	return bisect(0, rate, outside), bisect(1, rate, outside)
}
