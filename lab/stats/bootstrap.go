package stats

import "math/rand/v2"

// BootstrapQuantile returns the percentile bootstrap interval of the p-quantile of xs, which it leaves as it is. ok is false where
// the sample is too small for QuantileInterval too, or resamples is below 1. It panics on NaN, or if p or confidence is outside (0, 1).
func BootstrapQuantile(xs []float64, p, confidence float64, resamples int, rng *rand.Rand) (low, high float64, ok bool) {
	return 0, 0, false
}

// QuantileRatio returns b's p-quantile over a's and its percentile bootstrap interval, both samples resampled apart. ok is
// false where a sample is too small (see BootstrapQuantile) or a's quantile is not above 0, in any resample.
func QuantileRatio(a, b []float64, p, confidence float64, resamples int, rng *rand.Rand) (ratio, low, high float64, ok bool) {
	return 0, 0, 0, false
}

// QuantileRatioStrata is QuantileRatio of the strata's values put together, resampled within each stratum: strata[i][0] is a's
// sample and strata[i][1] b's. A stratum has the same weight on both sides, N1·N2/(N1+N2), so that unequal numbers of
// trials do not look like a change; one that is empty on either side is left out.
func QuantileRatioStrata(strata [][2][]float64, p, confidence float64, resamples int, rng *rand.Rand) (ratio, low, high float64, ok bool) {
	return 0, 0, 0, false
}
