package stats

import (
	"cmp"
	"math"
	"slices"

	"gonum.org/v1/gonum/stat/distuv"
)

// Newcombe returns the interval of the difference p2 − p1 of two independent rates, k1 of n1 and k2 of n2: the hybrid of
// two score intervals, method 10 of Newcombe, "Interval estimation for the difference between independent proportions:
// comparison of eleven methods", Statistics in Medicine 17 (1998) 873–890. It lies within −1 to 1 and keeps its coverage near
// rates of 0 and 1. Where either side has no trials nothing is known: −1 to 1. It panics if a k is outside 0–n or
// confidence outside (0, 1).
func Newcombe(k1, n1, k2, n2 int, confidence float64) (low, high float64) {
	l1, u1 := Wilson(k1, n1, confidence)
	l2, u2 := Wilson(k2, n2, confidence)
	if n1 == 0 || n2 == 0 {
		return -1, 1
	}
	p1, p2 := float64(k1)/float64(n1), float64(k2)/float64(n2)
	d := p2 - p1
	return math.Max(-1, d-math.Hypot(p2-l2, u1-p1)), math.Min(1, d+math.Hypot(u2-p2, p1-l1))
}

// StrataDiff returns the difference p2 − p1 standardised over strata, and its interval. The difference is
// Σ wᵢ(p2ᵢ − p1ᵢ) / Σ wᵢ with the weights of Cochran, Mantel and Haenszel, wᵢ = N1·N2/(N1+N2); a stratum that is empty on
// either side tells nothing of a difference and is left out. Where all are, the difference is 0 and its interval −1 to 1.
//
// The interval is the stratified score interval of Miettinen and Nurminen, "Comparative analysis of two rates", Statistics in
// Medicine 4 (1985) 213–226: all δ with (Σ wᵢ(p2ᵢ − p1ᵢ − δ))² ≤ z² Σ wᵢ²Vᵢ(δ), where Vᵢ is the variance of the
// difference at the likeliest rates of the stratum that differ by δ, times N/(N−1). It needs no success and no failure: a
// hundred strata with 20 of 20 on both sides have an interval about as narrow as 2,000 of 2,000, where a sum of
// the strata's own intervals would be ten times as wide. Trials are independent; the strata's rates may be any, their
// differences may vary somewhat (the interval is then of their weighted mean).
//
// It panics on what is no Stratum or if confidence is outside (0, 1).
func StrataDiff(s []Stratum, confidence float64) (diff, low, high float64) {
	if !validConfidence(confidence) {
		panic("stats: a confidence lies between 0 and 1")
	}
	alike := weigh(s)
	var sum, total float64
	for _, a := range alike {
		sum += a.weight * a.diff
		total += a.weight
	}
	if total == 0 {
		return 0, -1, 1
	}
	diff = sum / total
	z := distuv.UnitNormal.Quantile(1 - (1-confidence)/2)
	outside := func(delta float64) bool {
		var variance float64
		for _, a := range alike {
			variance += a.weight * a.each * a.variance(delta)
		}
		return math.Abs(sum-total*delta) > z*math.Sqrt(variance)
	}
	return diff, bisect(-1, diff, outside), bisect(1, diff, outside)
}

// bisect returns the boundary between out, where outside is taken to be true, and in, where it is false.
func bisect(out, in float64, outside func(float64) bool) float64 {
	if !outside(out) {
		return out
	}
	for math.Abs(out-in) > 1e-10 {
		if mid := out + (in-out)/2; outside(mid) {
			out = mid
		} else {
			in = mid
		}
	}
	return in
}

// alike is a stratum that occurs one or more times.
type alike struct {
	k1, n1, n2, k float64 // k: on both sides
	diff          float64
	each, weight  float64 // of one such stratum, of all
}

// weigh checks strata and puts equal ones together, without those that are empty on a side.
func weigh(s []Stratum) []alike {
	sorted := slices.SortedFunc(slices.Values(s), func(a, b Stratum) int {
		return cmp.Or(cmp.Compare(a.N1, b.N1), cmp.Compare(a.N2, b.N2), cmp.Compare(a.K1, b.K1), cmp.Compare(a.K2, b.K2))
	})
	var out []alike
	for i, t := range sorted {
		t.check()
		if t.N1 == 0 || t.N2 == 0 {
			continue
		}
		k1, n1, k2, n2 := float64(t.K1), float64(t.N1), float64(t.K2), float64(t.N2)
		w := n1 * n2 / (n1 + n2)
		if i > 0 && sorted[i-1] == t {
			out[len(out)-1].weight += w
			continue
		}
		out = append(out, alike{k1: k1, n1: n1, n2: n2, k: k1 + k2, diff: k2/n2 - k1/n1, each: w, weight: w})
	}
	return out
}

// variance returns the variance of p2 − p1 at the likeliest rates of which that is delta: the root of a cubic in p1
// (Miettinen and Nurminen 1985, appendix I).
func (a alike) variance(delta float64) float64 {
	n := a.n1 + a.n2
	l2 := (a.n2+2*a.n1)*delta - n - a.k
	l1 := (a.n1*delta-n-2*a.k1)*delta + a.k
	l0 := a.k1 * delta * (1 - delta)
	c := l2 / (3 * n)
	q := c*c*c - l1*l2/(6*n*n) + l0/(2*n)
	r := math.Copysign(math.Sqrt(math.Max(0, c*c-l1/(3*n))), q)
	p1 := -c
	if r != 0 {
		p1 += 2 * r * math.Cos((math.Pi+math.Acos(clamp(q/(r*r*r), -1, 1)))/3)
	}
	p1 = clamp(p1, math.Max(0, -delta), math.Min(1, 1-delta))
	p2 := clamp(p1+delta, 0, 1)
	return (p1*(1-p1)/a.n1 + p2*(1-p2)/a.n2) * n / (n - 1)
}

func clamp(x, low, high float64) float64 { return math.Min(math.Max(x, low), high) }
