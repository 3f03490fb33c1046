package stats

// Newcombe returns the interval of the difference p2 − p1 of two independent rates, k1 of n1 and k2 of n2: the hybrid of
// two score intervals, method 10 of Newcombe, "Interval estimation for the difference between independent proportions",
// Statistics in Medicine 17 (1998) 873–890. It lies within −1 to 1 and keeps its coverage near 0 and 1. Where either side
// has no trials nothing is known: −1 to 1. It panics if a k is outside 0–n or confidence outside (0, 1).
func Newcombe(k1, n1, k2, n2 int, confidence float64) (low, high float64) {
	return -1, 1
}

// StrataDiff returns the difference p2 − p1 standardised over strata and its interval. The difference is
// Σ wᵢ(p2ᵢ − p1ᵢ) / Σ wᵢ with the weights of Cochran, Mantel and Haenszel, wᵢ = N1·N2/(N1+N2); a stratum that is empty on
// either side tells nothing of a difference and is left out. Where all are, the difference is 0 and its interval −1 to 1.
// It panics on what is no Stratum or if confidence is outside (0, 1).
func StrataDiff(s []Stratum, confidence float64) (diff, low, high float64) {
	return 0, -1, 1
}
