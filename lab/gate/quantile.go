package gate

import (
	"cmp"
	"math"
	"slices"

	"github.com/punchlab/punchlab/lab/stats"
)

// stratum is a cell's values of a metric on both sides, ascending, neither empty; in a paired comparison the pairs as well.
type stratum struct {
	a, b  []float64
	pairs [][2]float64
}

// median is that of rho times a and of b together. It does not know which side a value is of.
func (s stratum) median(rho float64) float64 {
	n := len(s.a) + len(s.b)
	i, j := 0, 0
	v := 0.0
	for range n/2 + 1 {
		if j == len(s.b) || i < len(s.a) && rho*s.a[i] <= s.b[j] {
			v, i = rho*s.a[i], i+1
		} else {
			v, j = s.b[j], j+1
		}
	}
	return v
}

// unit is what a cell's values are divided by, so that those of all cells can be put together.
func (s stratum) unit(rho float64) float64 {
	if m := s.median(rho); m > 0 {
		return m
	}
	return 1
}

// threshold is a place among values: above it, or from it on.
type threshold struct {
	at     float64
	closed bool // the values at it count
}

func (t threshold) exceeds(v float64) bool { return v > t.at || t.closed && v == t.at }

// thresholdAt finds where to part the values of all strata, rho times a and b together, each divided by its cell's unit: at the
// p-quantile, on that side of its ties which leaves a share nearer to 1−p. It does not know which side a value is of, so
// that counting those beyond it is an exact test of the quantile, whatever the distributions (Westenberg 1948; Mood 1950).
func thresholdAt(strata []stratum, units []float64, rho, p float64) threshold {
	var all []float64
	for i, s := range strata {
		for _, v := range s.a {
			all = append(all, v*(rho/units[i]))
		}
		for _, v := range s.b {
			all = append(all, v*(1/units[i]))
		}
	}
	slices.Sort(all)
	at := stats.Quantile(all, p)
	from, _ := slices.BinarySearch(all, at)
	after := from
	for after < len(all) && all[after] == at {
		after++
	}
	open, closed := len(all)-after, len(all)-from
	want := (1 - p) * float64(len(all))
	switch {
	case open == 0:
		return threshold{at, closed < len(all)}
	case closed == len(all):
		return threshold{at, false}
	}
	return threshold{at, math.Abs(float64(closed)-want) < math.Abs(float64(open)-want)}
}

func unitsOf(strata []stratum, rho float64) []float64 {
	units := make([]float64, len(strata))
	for i, s := range strata {
		units[i] = s.unit(rho)
	}
	return units
}

// tails are p-values against the candidate's being lower and higher, and the smallest that each could have been.
type tails struct{ less, greater, leastLess, leastGreater float64 }

// exceedTails tests that b is like rho times a in its p-quantile, cell by cell.
func exceedTails(strata []stratum, rho, p float64) tails {
	units := unitsOf(strata, rho)
	at := thresholdAt(strata, units, rho, p)
	tables := make([]stats.Stratum, len(strata))
	for i, s := range strata {
		k1 := len(s.a) - firstBeyond(s.a, rho/units[i], at)
		k2 := len(s.b) - firstBeyond(s.b, 1/units[i], at)
		tables[i] = stats.Stratum{K1: k1, N1: len(s.a), K2: k2, N2: len(s.b)}
	}
	var t tails
	t.less, t.greater = stats.ExactStrata(tables)
	t.leastLess, t.leastGreater = leastStrata(tables)
	return t
}

// firstBeyond returns the index of the first of ascending values that, scaled, exceeds the threshold.
func firstBeyond(xs []float64, scale float64, t threshold) int {
	i, _ := slices.BinarySearchFunc(xs, t, func(v float64, t threshold) int {
		if t.exceeds(v * scale) {
			return 1
		}
		return -1
	})
	return i
}

// quantileTest compares a statistic over cells.
func (r *rules) quantileTest(m measure, group string, strata []stratum, a, b Figure) *test {
	t := newTest(m, group)
	t.A, t.B = a, b
	if len(strata) == 0 {
		return t
	}
	t.data = true
	t.setEffect(ratio(strata, m.P()))
	against := func(rho float64) tails { return exceedTails(strata, rho, m.P()) }
	if r.Paired {
		against = func(rho float64) tails { return pairedTails(strata, rho, m.P()) }
		if m.P() == 0.5 {
			t.setEffect(pairedRatio(strata))
		}
	}
	if m.Better != Neither {
		at := against(1)
		t.tested = true
		t.p, t.least = m.side(at.less, at.greater), m.side(at.leastLess, at.leastGreater)
	}
	tail := (1 - r.Confidence) / 2
	switch m.Better {
	case Higher:
		t.excluded = against(1-m.Tolerance).greater <= tail
	case Lower:
		t.excluded = against(1+m.Tolerance).less <= tail
	default:
		t.excluded = against(1-m.Tolerance).greater <= tail && against(1+m.Tolerance).less <= tail
	}
	if r.decideOnly {
		return t
	}
	if t.Effect != nil {
		t.Range = invert(against, 1+*t.Effect, tail)
	}
	t.strength = func(alpha float64) (float64, bool) { return detectableRatio(m.Metric, strata, alpha) }
	return t
}

// ratio returns the p-quantile of b over that of a, less 1: of values divided by their cells' units, and weighted so that a cell
// counts alike on both sides however many trials it has there (N1·N2/(N1+N2), as the rates' differences are).
func ratio(strata []stratum, p float64) float64 {
	var a, b []weighted
	for _, s := range strata {
		unit := s.unit(1)
		n1, n2 := float64(len(s.a)), float64(len(s.b))
		w := n1 * n2 / (n1 + n2)
		for _, v := range s.a {
			a = append(a, weighted{v / unit, w / n1})
		}
		for _, v := range s.b {
			b = append(b, weighted{v / unit, w / n2})
		}
	}
	qa, qb := weightedQuantile(a, p), weightedQuantile(b, p)
	switch {
	case qa == qb:
		return 0
	case qa == 0:
		return math.Inf(1)
	}
	return qb/qa - 1
}

type weighted struct{ v, w float64 }

// weightedQuantile is stats.Quantile of values that do not count alike: with equal weights it is the same.
func weightedQuantile(xs []weighted, p float64) float64 {
	slices.SortFunc(xs, func(x, y weighted) int { return cmp.Or(cmp.Compare(x.v, y.v), cmp.Compare(x.w, y.w)) })
	total := 0.0
	for i := 1; i < len(xs); i++ {
		total += (xs[i-1].w + xs[i].w) / 2
	}
	at, want := 0.0, p*total
	for i := 1; i < len(xs); i++ {
		step := (xs[i-1].w + xs[i].w) / 2
		if at+step >= want {
			low, high := xs[i-1].v, xs[i].v
			if low == high {
				return low
			}
			return low + math.Min(1, math.Max(0, (want-at)/step))*(high-low)
		}
		at += step
	}
	return xs[len(xs)-1].v
}

// finest is how closely the ends of a ratio's interval are found.
const finest = 2e-4

// invert returns the interval of the ratio less 1: those that the test does not reject at tail on either side. An end beyond a
// factor of 1000 is not known.
func invert(against func(rho float64) tails, start, tail float64) *Interval {
	if !(start > 0) {
		return nil
	}
	end := func(sign float64, out func(rho float64) bool) *float64 {
		in, step := 0.0, 0.01
		for !out(start * math.Exp(sign*(in+step))) {
			in, step = in+step, 2*step
			if in > math.Log(1000) {
				return nil
			}
		}
		for beyond := in + step; beyond-in > finest; {
			if mid := (in + beyond) / 2; out(start * math.Exp(sign*mid)) {
				beyond = mid
			} else {
				in = mid
			}
		}
		return number(start*math.Exp(sign*in) - 1)
	}
	return &Interval{
		Low:  end(-1, func(rho float64) bool { return against(rho).greater <= tail }),
		High: end(+1, func(rho float64) bool { return against(rho).less <= tail }),
	}
}

// detectableRatio is the smallest regression of a quantile that its exact test at alpha finds at power, were all values slower by as
// much.
func detectableRatio(m Metric, strata []stratum, alpha float64) (float64, bool) {
	var xs []float64
	n1, n2 := 0, 0
	for _, s := range strata {
		unit := s.unit(1)
		for _, v := range s.a {
			xs = append(xs, v/unit)
		}
		n1, n2 = n1+len(s.a), n2+len(s.b)
	}
	slices.Sort(xs)
	factor, ok := stats.DetectableRatio(xs, n1, n2, m.P(), alpha, power)
	if !ok {
		return 0, false
	}
	worse := factor - 1
	if m.Better == Higher {
		worse = 1 - 1/factor
	}
	return math.Max(worse, m.Margin), true
}
