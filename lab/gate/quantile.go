package gate

import (
	"math"
	"slices"

	"gonum.org/v1/gonum/stat/distuv"

	"github.com/punchlab/punchlab/lab/stats"
)

// stratum is a cell's values of a metric on both sides, ascending; in a paired comparison the pairs as well.
type stratum struct {
	a, b  []float64
	pairs [][2]float64

	lostA, lostB int          // trials without a value; in a paired comparison those whose partner has one,
	lost         [][2]float64 // and these pairs, in which the trial without one is worst
}

// unit is what a cell's values are divided by, so that those of all cells can be put together: the p-quantile of rho times a and of
// b together. It does not know which side a value is of.
func (s stratum) unit(rho, p float64) float64 {
	i, j := 0, 0
	v := 0.0
	for range int(p*float64(len(s.a)+len(s.b)-1)) + 1 {
		if j == len(s.b) || i < len(s.a) && rho*s.a[i] <= s.b[j] {
			v, i = rho*s.a[i], i+1
		} else {
			v, j = s.b[j], j+1
		}
	}
	if v > 0 {
		return v
	}
	return 1
}

func unitsOf(strata []stratum, rho, p float64) []float64 {
	units := make([]float64, len(strata))
	for i, s := range strata {
		units[i] = s.unit(rho, p)
	}
	return units
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
	n := 0
	for _, s := range strata {
		n += len(s.a) + len(s.b)
	}
	all := make([]float64, 0, n)
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

// tails are p-values against the candidate's being lower and higher, and the smallest that each could have been.
type tails struct{ less, greater, leastLess, leastGreater float64 }

// exceedTails tests that b is like rho times a in its p-quantile, cell by cell.
func exceedTails(strata []stratum, rho, p float64) tails {
	units := unitsOf(strata, rho, p)
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

// excludes reports whether a regression as large as the tolerance is excluded at a one-sided tail.
func (m Metric) excludes(against func(rho float64) tails, tail float64) bool {
	switch m.Better {
	case Higher:
		return against(1-m.Tolerance).greater <= tail
	case Lower:
		return against(1+m.Tolerance).less <= tail
	}
	return against(1-m.Tolerance).greater <= tail && against(1+m.Tolerance).less <= tail
}

// against returns the test that the candidate's values are like rho times the baseline's.
func (r *rules) against(m Metric, strata []stratum) func(rho float64) tails {
	if r.Paired {
		return func(rho float64) tails { return pairedTails(strata, rho, m.P()) }
	}
	return func(rho float64) tails { return exceedTails(strata, rho, m.P()) }
}

// quantileTest compares a statistic over the cells that have values on both sides; all are those that have some on either.
func (r *rules) quantileTest(m measure, group string, strata, all []stratum, a, b Figure) *test {
	t := newTest(m, group)
	t.A, t.B = a, b
	if len(strata) == 0 {
		return t
	}
	t.data = true
	against := r.against(m.Metric, strata)
	if m.Better != Neither {
		at := against(1)
		t.tested = true
		t.p, t.least = m.side(at.less, at.greater), m.side(at.leastLess, at.leastGreater)
	}
	if !r.decideOnly || t.tested && t.p < r.Alpha {
		t.setEffect(r.ratio(m.Metric, strata, against))
	}
	tail := (1 - r.Confidence) / 2
	t.excluded = m.excludes(against, tail)
	if *t.A.Value == 0 && *t.B.Value == 0 {
		t.excluded = staysZero(strata, m.P(), r.Confidence)
	}
	t.mind(r, all)
	if r.decideOnly {
		return t
	}
	if t.Effect != nil && *t.Effect > -1 {
		l := limits{against, 1 + *t.Effect}
		t.Range = &Interval{Low: l.low(tail), High: l.high(tail)}
		t.strength = func(alpha float64) (float64, bool) { return l.detectable(m.Metric, alpha, tail) }
	}
	return t
}

// staysZero reports whether the candidate's p-quantile is shown to be 0, where no ratio can be: its interval ends there.
func staysZero(strata []stratum, p, confidence float64) bool {
	var b []float64
	for _, s := range strata {
		b = append(b, s.b...)
	}
	slices.Sort(b)
	_, high, ok := stats.QuantileInterval(b, p, confidence)
	return ok && high == 0
}

// ratio returns how much higher a quantile of the candidate is, as a share of the baseline's. In one cell it is the quantiles' ratio.
// Over cells it is the factor by which the baseline's values must be multiplied for the test to see no difference (as
// Hodges and Lehmann estimate a shift): a cell counts by what it tells, and alike on both sides however many trials it has there.
func (r *rules) ratio(m Metric, strata []stratum, against func(rho float64) tails) float64 {
	if r.Paired && m.P() == 0.5 {
		return pairedRatio(strata)
	}
	var a, b []float64
	for _, s := range strata {
		a, b = append(a, s.a...), append(b, s.b...)
	}
	qa, qb := *m.of(a).Value, *m.of(b).Value
	switch {
	case qa == 0 && qb == 0:
		return 0
	case qa == 0:
		return math.Inf(1)
	case len(strata) == 1:
		return qb/qa - 1
	}
	l := limits{against, 1}
	lean := func(rho float64) float64 { t := against(rho); return t.greater - t.less } // grows with rho; 0 is even
	at := lean(1)
	if math.Abs(at) <= even {
		return 0
	}
	low := l.end(+1, func(rho float64) bool { return lean(rho) >= -even })
	high := l.end(+1, func(rho float64) bool { return lean(rho) > even })
	if at > 0 {
		low = l.end(-1, func(rho float64) bool { return lean(rho) < -even })
		high = l.end(-1, func(rho float64) bool { return lean(rho) <= even })
	}
	if low == nil || high == nil {
		return qb/qa - 1
	}
	return math.Sqrt((1+*low)*(1+*high)) - 1
}

// even is within which two p-values are the same but for rounding.
const even = 1e-9

// finest is how closely the ends of a ratio's interval are found, and farthest where they are sought.
const (
	finest   = 2e-4
	farthest = 1000
)

// limits are those of a ratio: what its test does not reject.
type limits struct {
	against func(rho float64) tails
	ratio   float64 // seen
}

// low returns the lower limit of the ratio less 1 at a one-sided tail, nil where it is not known.
func (l limits) low(tail float64) *float64 {
	return l.end(-1, func(rho float64) bool { return l.against(rho).greater <= tail })
}

// high is the upper one.
func (l limits) high(tail float64) *float64 {
	return l.end(+1, func(rho float64) bool { return l.against(rho).less <= tail })
}

func (l limits) end(sign float64, out func(rho float64) bool) *float64 {
	in, step := 0.0, 0.01
	for !out(l.ratio * math.Exp(sign*(in+step))) {
		in, step = in+step, 2*step
		if in > math.Log(farthest) {
			return nil
		}
	}
	for beyond := in + step; beyond-in > finest; {
		if mid := (in + beyond) / 2; out(l.ratio * math.Exp(sign*mid)) {
			beyond = mid
		} else {
			in = mid
		}
	}
	return number(l.ratio*math.Exp(sign*in) - 1)
}

// detectable is the smallest regression that the test finds at alpha with power: as far from 1 as the ratio seen is from its limit
// at alpha, or from the margin where that is farther, and then by what the ratio strays at that power. It is taken for log-normal
// with the spread that its interval at tail shows.
func (l limits) detectable(m Metric, alpha, tail float64) (float64, bool) {
	limit := l.low
	if m.Better == Higher {
		limit = l.high
	}
	far, near := limit(alpha), limit(tail)
	if far == nil || near == nil {
		return 0, false
	}
	spread := math.Abs(math.Log(l.ratio/(1+*near))) / distuv.UnitNormal.Quantile(1-tail)
	stray := spread * distuv.UnitNormal.Quantile(power)
	factor := math.Exp(math.Abs(math.Log(l.ratio/(1+*far))) + stray)
	worse, least := factor-1, (1+m.Margin)*math.Exp(stray)-1
	if m.Better == Higher {
		worse, least = 1-1/factor, 1-(1-m.Margin)*math.Exp(-stray)
	}
	return math.Max(worse, least), true
}
