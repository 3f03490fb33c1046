package stats

import "math"

// Fisher returns the p-values of Fisher's exact test of two independent rates, k1 of n1 and k2 of n2, by the hypergeometric
// distribution of k2 with all margins fixed (Fisher, The Design of Experiments, 1935, ch. II): less against p2 < p1, greater
// against p2 > p1, and two against either, which adds all tables at most as probable as the one seen (as R's fisher.test
// does). All are 1 where either side has no trials. It panics if a k is outside 0–n.
func Fisher(k1, n1, k2, n2 int) (less, greater, two float64) {
	Stratum{k1, n1, k2, n2}.check()
	first, pmf := hypergeometric(nil, k1+k2, n1, n2, 0)
	seen := pmf[k2-first] * (1 + 1e-7) // as probable but for rounding
	for i, p := range pmf {
		if first+i <= k2 {
			less += p
		}
		if first+i >= k2 {
			greater += p
		}
		if p <= seen {
			two += p
		}
	}
	return math.Min(1, less), math.Min(1, greater), math.Min(1, two)
}

// Stratum is one two-by-two table: K1 of N1 on the one side, K2 of N2 on the other, 0 ≤ K ≤ N.
type Stratum struct{ K1, N1, K2, N2 int }

func (s Stratum) check() {
	if s.K1 < 0 || s.N1 < s.K1 || s.K2 < 0 || s.N2 < s.K2 {
		panic("stats: a two-by-two table needs 0 ≤ k ≤ n on both sides")
	}
}

// negligible is the probability at either end of a distribution that ExactStrata stops to carry along. What it leaves out it
// adds to both p-values, so that they are never too small.
const negligible = 1e-32

// ExactStrata returns the one-sided p-values of the exact conditional test that no stratum has a difference: the total of K2
// against its distribution with all margins of all strata fixed, the convolution of hypergeometric distributions (the exact
// form of Cochran's, Mantel's and Haenszel's test: Mehta, Patel and Gray, JASA 80 (1985) 969–973; Agresti, Categorical Data
// Analysis, §6.3). less is against p2 < p1, greater against p2 > p1, as Fisher's, which it equals for one stratum. Strata may
// be empty on either side; both are 1 where all are. Under 10⁻²⁵ the figures are upper bounds. It panics on what is no
// Stratum.
func ExactStrata(s []Stratum) (less, greater float64) {
	seen, first, dropped := 0, 0, 0.0
	total := []float64{1} // total[i]: the probability that K2 sums to first+i
	var one, next []float64
	for _, t := range s {
		t.check()
		var from int
		from, one = hypergeometric(one, t.K1+t.K2, t.N1, t.N2, 0)
		seen += t.K2
		first += from
		if len(one) == 1 {
			continue
		}
		next = convolve(next, total, one)
		total, next = next, total
		var skipped int
		var lost float64
		skipped, total, lost = trim(total)
		first += skipped
		dropped += lost
	}
	less, greater = dropped, dropped
	for i, p := range total {
		if first+i <= seen {
			less += p
		}
		if first+i >= seen {
			greater += p
		}
	}
	return math.Min(1, less), math.Min(1, greater)
}

// hypergeometric returns, in buf where it has room, the probabilities of the number x of the k successes that fall among
// n2 of n1+n2 trials, from x = first on. They are built outwards from the mode by ratios of neighbours, which needs no
// logarithm and loses no digit; those below floor times the mode's are left out.
func hypergeometric(buf []float64, k, n1, n2 int, floor float64) (first int, pmf []float64) {
	low, high := max(0, k-n1), min(k, n2)
	mode := int((float64(k) + 1) * (float64(n2) + 1) / (float64(n1) + float64(n2) + 2))
	mode = min(max(mode, low), high)
	ratio := func(x int) float64 { // P(x+1)/P(x)
		return float64(k-x) * float64(n2-x) / (float64(x+1) * float64(n1-k+x+1))
	}
	pmf = append(buf[:0], 1)
	first = mode
	for x, p := mode, 1.0; x > low; x-- {
		p /= ratio(x - 1)
		if p <= floor {
			break
		}
		pmf = append(pmf, p)
		first = x - 1
	}
	for i, j := 0, len(pmf)-1; i < j; i, j = i+1, j-1 {
		pmf[i], pmf[j] = pmf[j], pmf[i]
	}
	for x, p := mode, 1.0; x < high; x++ {
		p *= ratio(x)
		if p <= floor {
			break
		}
		pmf = append(pmf, p)
	}
	sum := 0.0
	for _, p := range pmf {
		sum += p
	}
	for i := range pmf {
		pmf[i] /= sum
	}
	return first, pmf
}

// convolve returns, in buf where it has room, the distribution of the sum of two independent numbers.
func convolve(buf, a, b []float64) []float64 {
	n := len(a) + len(b) - 1
	if cap(buf) < n {
		buf = make([]float64, n, 2*n)
	}
	buf = buf[:n]
	clear(buf)
	for j, q := range b {
		out := buf[j : j+len(a)]
		for i, p := range a {
			out[i] += p * q
		}
	}
	return buf
}

// trim leaves out the negligible ends of a distribution: how many values at its start, and with what probability in all.
func trim(pmf []float64) (skipped int, rest []float64, lost float64) {
	for len(pmf) > 1 && pmf[len(pmf)-1] < negligible {
		lost += pmf[len(pmf)-1]
		pmf = pmf[:len(pmf)-1]
	}
	for len(pmf) > skipped+1 && pmf[skipped] < negligible {
		lost += pmf[skipped]
		skipped++
	}
	return skipped, pmf[skipped:], lost
}
