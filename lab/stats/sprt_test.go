package stats

import (
	"math"
	"math/rand/v2"
	"testing"
)

// inspection is the example of NIST/SEMATECH, e-Handbook of Statistical Methods, §6.2.6: a share of defects of 1 % is good, 10 % bad,
// with risks of 5 and 10 %.
var inspection = SPRT{P0: 0.99, P1: 0.90, Alpha: 0.05, Beta: 0.10, MaxN: 200}

// TestSPRTLines: after n pieces the handbook accepts at −0.939 + 0.0397n defects or fewer and rejects at 1.205 + 0.0397n or more
// (with two digits more here): none of 24, two of up to 19, three of up to 45.
func TestSPRTLines(t *testing.T) {
	for _, c := range []struct {
		n, defects int
		want       Decision
	}{
		{1, 0, Continue}, {1, 1, Continue}, {2, 2, AcceptBad}, {19, 2, AcceptBad}, {21, 2, Continue}, {21, 3, AcceptBad},
		{23, 0, Continue}, {24, 0, AcceptGood}, {24, 1, Continue}, {45, 3, AcceptBad}, {46, 3, Continue}, {48, 1, Continue},
		{49, 1, AcceptGood}, {200, 7, AcceptGood}, {200, 8, Inconclusive}, {200, 9, Inconclusive}, {200, 10, AcceptBad}, {0, 0, Continue},
	} {
		accept, reject := -0.93887+0.039748*float64(c.n), 1.20538+0.039748*float64(c.n)
		if d := float64(c.defects); (c.want == AcceptGood) != (d <= accept) || (c.want == AcceptBad) != (d >= reject) {
			t.Fatalf("%d of %d: the case itself is wrong", c.defects, c.n)
		}
		if got := inspection.Decide(c.n-c.defects, c.n); got != c.want {
			t.Errorf("%d defects of %d: %v, want %v", c.defects, c.n, got, c.want)
		}
	}
	mustPanic(t, "k > n", func() { inspection.Decide(3, 2) })
	mustPanic(t, "no test", func() { SPRT{}.Decide(1, 2) })
}

// TestSPRTRecomputed checks OC against a Python program that follows every (trials, successes) in a dictionary.
func TestSPRTRecomputed(t *testing.T) {
	for _, c := range []struct{ p, good, bad, inconclusive, n float64 }{
		{0.99, 0.977946, 0.022047, 0.000007, 30.2125},
		{0.95, 0.468418, 0.530466, 0.001116, 37.0831},
		{0.90, 0.099578, 0.900411, 0.000010, 22.3690},
		{1, 1, 0, 0, 24},
		{0, 0, 1, 0, 2},
	} {
		good, bad, inconclusive, n := inspection.OC(c.p)
		if !near(good, c.good, 6e-7) || !near(bad, c.bad, 6e-7) || !near(inconclusive, c.inconclusive, 6e-7) || !near(n, c.n, 6e-5) {
			t.Errorf("OC(%v) = %.6f %.6f %.6f, %.4f trials; want %+v", c.p, good, bad, inconclusive, n, c)
		}
	}
	mustPanic(t, "p", func() { inspection.OC(1.5) })
}

// TestSPRTWald: the exact errors respect Wald's inequalities, the three ends are all there is, and without a cut-off that matters
// the expected number of trials is near his approximation (§3.5, formula 3:57), which neglects the overshoot.
func TestSPRTWald(t *testing.T) {
	for _, s := range []SPRT{
		{P0: 0.99, P1: 0.9, Alpha: 0.05, Beta: 0.1, MaxN: 400}, {P0: 0.5, P1: 0.4, Alpha: 0.01, Beta: 0.01, MaxN: 4000},
		{P0: 0.9, P1: 0.7, Alpha: 0.02, Beta: 0.03, MaxN: 600}, {P0: 0.95, P1: 0.86, Alpha: 0.01, Beta: 0.05, MaxN: 60},
	} {
		_, alpha, open0, n := s.OC(s.P0)
		beta, bad, open1, _ := s.OC(s.P1)
		if alpha > s.Alpha/(1-s.Beta) || beta > s.Beta/(1-s.Alpha) || alpha+beta > s.Alpha+s.Beta {
			t.Errorf("%+v: errors %v and %v", s, alpha, beta)
		}
		if !near(beta+bad+open1, 1, 1e-12) {
			t.Errorf("%+v: the ends sum to %v", s, beta+bad+open1)
		}
		if s.MaxN < 100 {
			if open0 < 0.01 || n > float64(s.MaxN) {
				t.Errorf("%+v: cut off %v of the time, after %v", s, open0, n)
			}
			continue
		}
		a, b := math.Log((1-s.Beta)/s.Alpha), math.Log(s.Beta/(1-s.Alpha))
		step := s.P0*math.Log(s.P1/s.P0) + (1-s.P0)*math.Log((1-s.P1)/(1-s.P0))
		if wald := ((1-s.Alpha)*b + s.Alpha*a) / step; n < wald || n > 1.15*wald {
			t.Errorf("%+v: %v trials, Wald's approximation is %v", s, n, wald)
		}
	}
}

// TestSPRTSimulated: trials drawn one by one end as OC says.
func TestSPRTSimulated(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	s := SPRT{P0: 0.95, P1: 0.8, Alpha: 0.05, Beta: 0.1, MaxN: 40}
	for _, p := range []float64{0.95, 0.88, 0.8} {
		good, bad, inconclusive, mean := s.OC(p)
		want := map[Decision]float64{AcceptGood: good, AcceptBad: bad, Inconclusive: inconclusive}
		ends, total, n := map[Decision]int{}, 0, rounds(4000)
		for range n {
			k, trials, d := 0, 0, Continue
			for d == Continue {
				if rng.Float64() < p {
					k++
				}
				trials++
				d = s.Decide(k, trials)
			}
			ends[d]++
			total += trials
		}
		for d, q := range want {
			if got := float64(ends[d]) / float64(n); !near(got, q, 4*math.Sqrt(q*(1-q)/float64(n))) {
				t.Errorf("p = %v: %v %v of the time, exactly %v", p, d, got, q)
			}
		}
		if got := float64(total) / float64(n); !near(got, mean, 0.03*mean) {
			t.Errorf("p = %v: %v trials, exactly %v", p, got, mean)
		}
	}
}

func TestSPRTValidate(t *testing.T) {
	if err := inspection.Validate(); err != nil {
		t.Error(err)
	}
	for _, change := range []func(*SPRT){
		func(s *SPRT) { s.P0, s.P1 = s.P1, s.P0 }, func(s *SPRT) { s.P0 = 1 }, func(s *SPRT) { s.P1 = 0 },
		func(s *SPRT) { s.P1 = math.NaN() }, func(s *SPRT) { s.Alpha = 0 }, func(s *SPRT) { s.Beta = 0.95 }, func(s *SPRT) { s.MaxN = 0 },
	} {
		s := inspection
		if change(&s); s.Validate() == nil {
			t.Errorf("%+v is accepted", s)
		}
	}
	if got := AcceptBad.String() + " " + Inconclusive.String(); got != "bad inconclusive" {
		t.Error(got)
	}
}
