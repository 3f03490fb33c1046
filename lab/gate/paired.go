package gate

import (
	"math"
	"slices"

	"github.com/punchlab/punchlab/lab/stats"
)

// rows returns the rows of the trials that both sides have, by their number: a pair each, of one seed.
func (c match) rows() (pairs [][2]int) {
	i, j := 0, 0
	for i < len(c.a.Numbers) && j < len(c.b.Numbers) {
		switch x, y := c.a.Numbers[i], c.b.Numbers[j]; {
		case x < y:
			i++
		case x > y:
			j++
		default:
			pairs = append(pairs, [2]int{i, j})
			i, j = i+1, j+1
		}
	}
	return pairs
}

// quad counts pairs by their outcomes.
type quad struct{ both, onlyA, onlyB, neither int }

func (q quad) n() int { return q.both + q.onlyA + q.onlyB + q.neither }

// pairedRateTest compares a rate pair by pair: McNemar's exact test, one-sided.
func (r *rules) pairedRateTest(m measure, group string, ms []match) *test {
	t := newTest(m, group)
	var q quad
	for _, c := range ms {
		if !c.told() {
			continue
		}
		for _, p := range c.rows() {
			a, b := c.a.Success(m.Name, p[0]), c.b.Success(m.Name, p[1])
			switch {
			case absent(a) || absent(b):
			case a == 1 && b == 1:
				q.both++
			case a == 1:
				q.onlyA++
			case b == 1:
				q.onlyB++
			default:
				q.neither++
			}
		}
	}
	t.A.K, t.A.N, t.B.K, t.B.N = q.both+q.onlyA, q.n(), q.both+q.onlyB, q.n()
	t.A.rate()
	t.B.rate()
	if q.n() == 0 {
		return t
	}
	t.data = true
	low, high := q.interval(r.Confidence)
	t.decideRate(float64(q.onlyB-q.onlyA)/float64(q.n()), low, high)
	if m.Better != Neither {
		less, greater, _ := stats.SignTest(q.onlyB, q.onlyA)
		t.tested, t.p = true, m.side(less, greater)
		t.least = math.Ldexp(1, -(q.onlyA + q.onlyB))
	}
	t.strength = func(alpha float64) (float64, bool) {
		return m.detectable([]stats.Stratum{{K1: t.A.K, N1: t.A.N, K2: t.B.K, N2: t.B.N}}, alpha)
	}
	return t
}

// interval is that of the difference of paired rates, B's less A's: Newcombe, "Improved confidence intervals for the difference
// between binomial proportions based on paired data", Statistics in Medicine 17 (1998) 2635–2650, method 10.
func (q quad) interval(confidence float64) (low, high float64) {
	n := float64(q.n())
	a, b, c, d := float64(q.both), float64(q.onlyA), float64(q.onlyB), float64(q.neither)
	pA, pB := (a+b)/n, (a+c)/n
	lA, uA := stats.Wilson(q.both+q.onlyA, q.n(), confidence)
	lB, uB := stats.Wilson(q.both+q.onlyB, q.n(), confidence)
	phi := 0.0
	if under := (a + b) * (c + d) * (a + c) * (b + d); under > 0 {
		over := a*d - b*c
		if over > 0 {
			over = math.Max(over-n/2, 0)
		}
		phi = over / math.Sqrt(under)
	}
	apart := func(x, y float64) float64 { return math.Sqrt(math.Max(0, x*x-2*phi*x*y+y*y)) }
	diff := pB - pA
	return math.Max(-1, diff-apart(pB-lB, uA-pA)), math.Min(1, diff+apart(uB-pB, pA-lA))
}

// pairedTails tests that b is like rho times a, pair by pair: the sign test of the differences for the median, and for another
// quantile that of the pairs of which one value alone exceeds it.
func pairedTails(strata []stratum, rho, p float64) tails {
	plus, minus := 0, 0
	if p == 0.5 {
		for _, s := range strata {
			for _, x := range s.pairs {
				switch a, b := rho*x[0], x[1]; {
				case b > a:
					plus++
				case b < a:
					minus++
				}
			}
		}
	} else {
		units := unitsOf(strata, rho, p)
		at := thresholdAt(strata, units, rho, p)
		for i, s := range strata {
			for _, x := range s.pairs {
				switch a, b := at.exceeds(x[0]*(rho/units[i])), at.exceeds(x[1]*(1/units[i])); {
				case b && !a:
					plus++
				case a && !b:
					minus++
				}
			}
		}
	}
	var t tails
	t.less, t.greater, _ = stats.SignTest(plus, minus)
	t.leastLess = math.Ldexp(1, -(plus + minus))
	t.leastGreater = t.leastLess
	return t
}

// pairedRatio is the median of the pairs' ratios, less 1.
func pairedRatio(strata []stratum) float64 {
	var rs []float64
	for _, s := range strata {
		for _, x := range s.pairs {
			switch {
			case x[0] == x[1]:
				rs = append(rs, 1)
			case x[0] == 0:
				rs = append(rs, math.MaxFloat64)
			default:
				rs = append(rs, x[1]/x[0])
			}
		}
	}
	slices.Sort(rs)
	q := stats.Quantile(rs, 0.5)
	if q > 1e300 {
		return math.Inf(1)
	}
	return q - 1
}
