package stats

// Coverage returns the probability that the interval of k successes in n trials holds the true rate p: what Wilson or ClopperPearson
// asked for a confidence really has at (n, p), by enumeration of k. It panics if n is negative or p outside 0–1.
func Coverage(interval func(k, n int, confidence float64) (low, high float64), n int, p, confidence float64) float64 {
	return 0
}

// DifferenceCoverage is Coverage of an interval of p2 − p1, such as Newcombe.
func DifferenceCoverage(
	interval func(k1, n1, k2, n2 int, confidence float64) (low, high float64), n1 int, p1 float64, n2 int, p2, confidence float64,
) float64 {
	return 0
}
