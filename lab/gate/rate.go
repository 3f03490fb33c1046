package gate

import (
	"math"

	"gonum.org/v1/gonum/stat/distuv"

	"github.com/punchlab/punchlab/lab/stats"
)

// test is a finding in the making.
type test struct {
	Finding
	measure  measure
	data     bool    // both sides have some
	tested   bool    // p and least are there
	p, least float64 // one-sided, and the smallest that it could have been: a function of what the sides have in common
	worse    float64 // +Inf: from a baseline of 0
	excluded bool    // a regression as large as the tolerance
	survival int     // +1: more of the candidate's trials have a value, −1: fewer
	strength func(alpha float64) (regression float64, ok bool)
}

// newTest begins a finding with what does not depend on data.
func newTest(m measure, group string) *test {
	t := &test{measure: m}
	t.Metric, t.Group, t.Unit, t.Watched = m.String(), group, m.Unit, m.watched
	t.Margin, t.Tolerance = m.Margin, m.Tolerance
	switch m.Better {
	case Higher:
		t.Better = "higher"
	case Lower:
		t.Better = "lower"
	}
	return t
}

// setEffect sets Effect and Worse.
func (t *test) setEffect(effect float64) {
	t.worse = effect
	if t.measure.Better == Higher {
		t.worse = -effect
	}
	if math.IsInf(effect, 0) || absent(effect) {
		return
	}
	t.Effect = &effect
	if t.measure.Better != Neither {
		w := t.worse
		t.Worse = &w
	}
}

// side picks the p-value against the candidate's being worse: less is against its being lower, greater against its being higher.
func (m Metric) side(less, greater float64) float64 {
	if m.Better == Higher {
		return less
	}
	return greater
}

func number(v float64) *float64 { return &v }

// rateTest compares a rate over cells: the exact conditional test of their two-by-two tables.
func (r *rules) rateTest(m measure, group string, ms []match) *test {
	t := newTest(m, group)
	var strata []stats.Stratum
	for _, c := range ms {
		if !c.told() {
			continue
		}
		var s stats.Stratum
		s.K1, s.N1 = c.a.Rate(m.Name)
		s.K2, s.N2 = c.b.Rate(m.Name)
		t.A.K, t.A.N, t.B.K, t.B.N = t.A.K+s.K1, t.A.N+s.N1, t.B.K+s.K2, t.B.N+s.N2
		if s.N1 > 0 && s.N2 > 0 {
			strata = append(strata, s)
		}
	}
	t.A.rate()
	t.B.rate()
	if len(strata) == 0 {
		return t
	}
	t.data = true
	diff, low, high := stats.StrataDiff(strata, r.Confidence)
	t.decideRate(diff, low, high)
	if m.Better != Neither {
		t.tested = true
		t.p, t.least = m.side(stats.ExactStrata(strata)), m.side(leastStrata(strata))
	}
	t.strength = func(alpha float64) (float64, bool) { return m.detectable(strata, alpha) }
	return t
}

// decideRate sets the effect of a rate and whether its interval excludes a regression as large as the tolerance.
func (t *test) decideRate(diff, low, high float64) {
	t.setEffect(diff)
	t.Range = &Interval{Low: number(low), High: number(high)}
	switch t.measure.Better {
	case Higher:
		t.excluded = low > -t.Tolerance
	case Lower:
		t.excluded = high < t.Tolerance
	default:
		t.excluded = low > -t.Tolerance && high < t.Tolerance
	}
}

func (f *Figure) rate() {
	if f.N > 0 {
		f.Value = number(float64(f.K) / float64(f.N))
	}
}

// detectable is the smallest regression of a rate, were it alike in all cells that can become worse, that Fisher's exact test of
// these cells together finds at power. The stratified test finds it too.
func (m Metric) detectable(strata []stats.Stratum, alpha float64) (float64, bool) {
	k, n1, n2, all := 0, 0, 0, 0
	for _, s := range strata {
		all += s.N2
		good, most := s.K1, s.K1+s.K2
		if m.Better == Lower { // a rise of k is a drop of n−k
			good, most = s.N1-s.K1, s.N1+s.N2-s.K1-s.K2
		}
		if most > 0 {
			k, n1, n2 = k+good, n1+s.N1, n2+s.N2
		}
	}
	if k == 0 || n2 == 0 {
		return 0, false
	}
	share := float64(n2) / float64(all)
	base := float64(k) / float64(n1)
	drop := stats.DetectableDrop(n1, n2, base, alpha, power)
	if drop >= 1 { // either the whole of a sure thing, or none
		less, _, _ := stats.Fisher(k, n1, 0, n2)
		return share, k == n1 && less <= alpha
	}
	q := base - m.Margin/share // the margin is to be reached with that power as well
	if q <= 0 {
		return 0, false
	}
	stray := distuv.UnitNormal.Quantile(power) * math.Sqrt(base*(1-base)/float64(n1)+q*(1-q)/float64(n2))
	return math.Max(drop*share, m.Margin+share*stray), drop <= base
}

// leastStrata returns the smallest p-values that ExactStrata could return with the strata's margins: the probability that every
// success is on one side as far as there is room.
func leastStrata(strata []stats.Stratum) (less, greater float64) {
	var logLess, logGreater float64
	for _, s := range strata {
		k := s.K1 + s.K2
		logLess += logHypergeometric(max(0, k-s.N1), k, s.N1, s.N2)
		logGreater += logHypergeometric(min(k, s.N2), k, s.N1, s.N2)
	}
	return math.Exp(logLess), math.Exp(logGreater)
}

// logHypergeometric is the logarithm of the probability that x of k successes among n1+n2 trials are among the n2.
func logHypergeometric(x, k, n1, n2 int) float64 {
	return logChoose(n2, x) + logChoose(n1, k-x) - logChoose(n1+n2, k)
}

func logChoose(n, k int) float64 {
	if k == 0 || k == n {
		return 0
	}
	a, _ := math.Lgamma(float64(n + 1))
	b, _ := math.Lgamma(float64(k + 1))
	c, _ := math.Lgamma(float64(n - k + 1))
	return a - b - c
}
