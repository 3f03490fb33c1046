package stats

// Fisher returns the p-values of Fisher's exact test of two independent rates, k1 of n1 and k2 of n2, by the hypergeometric
// distribution of k2 with all margins fixed: less against p2 < p1, greater against p2 > p1, and two against either, which adds
// all tables at most as probable as the one seen (as R's fisher.test does). All are 1 where either side has no trials.
// It panics if a k is outside 0–n.
func Fisher(k1, n1, k2, n2 int) (less, greater, two float64) {
	return 1, 1, 1
}

// Stratum is one two-by-two table: K1 of N1 on the one side, K2 of N2 on the other, 0 ≤ K ≤ N.
type Stratum struct{ K1, N1, K2, N2 int }

// ExactStrata returns the one-sided p-values of the exact conditional test that no stratum has a difference: the total of K2
// against its distribution with all margins of all strata fixed, the convolution of hypergeometric distributions
// (Mehta, Patel and Gray, JASA 80 (1985); the exact form of Cochran's, Mantel's and Haenszel's test). less is against p2 < p1,
// greater against p2 > p1, as Fisher's, which it equals for one stratum. Strata may be empty on either side; both are 1
// where all are. It panics on what is no Stratum.
func ExactStrata(s []Stratum) (less, greater float64) {
	return 1, 1
}
