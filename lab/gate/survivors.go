package gate

import (
	"math"
	"slices"
	"strings"

	"github.com/punchlab/punchlab/lab/stats"
)

// Trials that fail have no time, and those that nearly failed have a long one. Where one side fails more often than the other, what is left
// of it looks faster, although it is worse: the times of the survivors alone lie.
//
//	baseline   ▁▁▁▁▁▁▁▁ ✗ ✗      candidate  ▁▁▁▁▁▁▁▁ ▆ ▆      better: two more trials came, and p95 grew by it
//	baseline   ▁▁▁▁▁▁▁▁ ▆ ▆      candidate  ▁▁▁▁▁▁▁▁ ✗ ✗      worse: two trials were lost, and p95 fell by it
//
// There, trials without a value rank after all others (Lachin, "Worst-rank score analysis with informatively missing observations in
// clinical trials", Controlled Clinical Trials 20 (1999) 408–422), in addition to what the values say: a finding fails only if both
// tests do, or that of the cells in which no value is lost, and what fails more passes only if both exclude a regression. That
// trials fail is for the rates to find.

// uneven is the p-value under which one side has too few values for chance. It decides what is asked, and not what is found.
const uneven = 0.01

// ranksLost reports whether a trial without a value is worse than any with one. Bytes and probes are there or not for other reasons.
func (m Metric) ranksLost() bool {
	return m.Better != Neither && !strings.HasPrefix(m.Name, bytesPrefix) && !strings.HasPrefix(m.Name, probesPrefix)
}

// worst is the value of a trial that has none.
func (m Metric) worst() float64 {
	if m.Better == Higher {
		return math.Inf(-1)
	}
	return math.Inf(1)
}

// survival says whether the candidate has a value in more of its trials than the baseline, +1, or in fewer, −1; 0: about as often.
func (r *rules) survival(m Metric, strata []stratum) int {
	if !m.ranksLost() {
		return 0
	}
	less, greater := 1.0, 1.0
	if r.Paired {
		onlyA, onlyB := 0, 0
		for _, s := range strata {
			onlyA, onlyB = onlyA+s.lostB, onlyB+s.lostA
		}
		less, greater, _ = stats.SignTest(onlyB, onlyA)
	} else {
		tables := make([]stats.Stratum, len(strata))
		for i, s := range strata {
			tables[i] = stats.Stratum{K1: len(s.a), N1: len(s.a) + s.lostA, K2: len(s.b), N2: len(s.b) + s.lostB}
		}
		less, greater = stats.ExactStrata(tables)
	}
	switch {
	case less <= uneven:
		return -1
	case greater <= uneven:
		return +1
	}
	return 0
}

// worstRank tests that b is like rho times a in its p-quantile, as exceedTails and pairedTails do, with trials that have no value after all
// others. Where to part the values is found among those that there are.
func (r *rules) worstRank(m Metric, strata []stratum, rho float64) tails {
	p := m.P()
	if r.Paired {
		strata = withLost(strata)
	}
	units := unitsOf(strata, rho, p)
	at := thresholdAt(strata, units, rho, p)
	if r.Paired {
		return worstPairs(m, strata, units, at, rho)
	}
	tables := make([]stats.Stratum, len(strata))
	for i, s := range strata {
		k1, k2 := len(s.a)-firstBeyond(s.a, rho/units[i], at), len(s.b)-firstBeyond(s.b, 1/units[i], at)
		if m.Better == Lower {
			k1, k2 = k1+s.lostA, k2+s.lostB
		}
		tables[i] = stats.Stratum{K1: k1, N1: len(s.a) + s.lostA, K2: k2, N2: len(s.b) + s.lostB}
	}
	var t tails
	t.less, t.greater = stats.ExactStrata(tables)
	return t
}

// withLost are strata with the values whose partner has none among the others.
func withLost(strata []stratum) []stratum {
	strata = slices.Clone(strata)
	for i := range strata {
		s := &strata[i]
		s.a, s.b = slices.Clone(s.a), slices.Clone(s.b)
		for _, x := range s.lost {
			if math.IsInf(x[0], 0) {
				s.b = append(s.b, x[1])
			} else {
				s.a = append(s.a, x[0])
			}
		}
		slices.Sort(s.a)
		slices.Sort(s.b)
	}
	return strata
}

func worstPairs(m Metric, strata []stratum, units []float64, at threshold, rho float64) tails {
	plus, minus := 0, 0
	count := func(more, less bool) {
		switch {
		case more && !less:
			plus++
		case less && !more:
			minus++
		}
	}
	for i, s := range strata {
		for _, pairs := range [][][2]float64{s.pairs, s.lost} {
			for _, x := range pairs {
				if m.P() == 0.5 {
					count(x[1] > rho*x[0], x[1] < rho*x[0])
				} else {
					count(at.exceeds(x[1]*(1/units[i])), at.exceeds(x[0]*(rho/units[i])))
				}
			}
		}
	}
	var t tails
	t.less, t.greater, _ = stats.SignTest(plus, minus)
	return t
}

// mind takes into account, in a finding on values, that one side has fewer of them. Cells in which none is lost are beyond doubt, and are
// asked by themselves as well: what is gained in others is no excuse for them.
func (t *test) mind(r *rules, all []stratum) {
	m, tail := t.measure.Metric, (1-r.Confidence)/2
	if t.survival = r.survival(m, all); t.survival == 0 {
		return
	}
	worst := func(rho float64) tails { return r.worstRank(m, all, rho) }
	excluded := m.excludes(worst, tail) && (t.excluded || t.survival > 0)
	p := math.Max(t.p, m.sideOf(worst(1)))
	whole := slices.DeleteFunc(slices.Clone(all), func(s stratum) bool { return s.lostA+s.lostB > 0 })
	if len(whole) > 0 {
		against := r.against(m, whole)
		alone := m.sideOf(against(1))
		few := 2*len(whole) < len(all) // to exclude anything by themselves
		excluded = excluded && (m.excludes(against, tail) || few && alone > tail)
		p = math.Min(1, 2*math.Min(p, alone)) // either of two tests
	}
	t.p, t.excluded = p, excluded
}

// sideOf picks the p-value against the candidate's being worse.
func (m Metric) sideOf(t tails) float64 { return m.side(t.less, t.greater) }
