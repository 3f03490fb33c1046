package stats

import (
	"errors"
	"fmt"
	"math"
)

// Decision is what a sequential test says after each trial.
type Decision int

const (
	Continue     Decision = iota // neither yet: another trial
	AcceptGood                   // the rate is on P0's side
	AcceptBad                    // the rate is on P1's side
	Inconclusive                 // MaxN trials and neither
)

func (d Decision) String() string {
	switch d {
	case Continue:
		return "continue"
	case AcceptGood:
		return "good"
	case AcceptBad:
		return "bad"
	case Inconclusive:
		return "inconclusive"
	}
	return fmt.Sprintf("Decision(%d)", int(d))
}

// SPRT is Wald's sequential probability ratio test of a success rate (Sequential Analysis, 1947, ch. 5), cut off at MaxN trials.
//
//	0 ───────── P1 ───────────────── P0 ───── 1     rate
//	    bad ◄───┤     indifferent    ├───► good
//
//	log likelihood ratio λ = k·ln(P1/P0) + (n−k)·ln((1−P1)/(1−P0)) of k successes in n trials
//	λ ≤ ln(Beta/(1−Alpha))   good          λ ≥ ln((1−Beta)/Alpha)   bad          between: another trial
//
// H0 is a rate of P0 or more, H1 one of P1 or less. By Wald's inequalities (§3.2) a rate of P0 is called bad with probability
// Alpha/(1−Beta) at most and one of P1 good with Beta/(1−Alpha) at most, and both together are at most Alpha + Beta; the cut-off
// only lessens them. OC has the exact figures. Trials are independent with one rate.
type SPRT struct {
	P0, P1      float64 // 0 < P1 < P0 < 1
	Alpha, Beta float64 // above 0, and less than 1 together
	MaxN        int     // trials; at least 1
}

// Validate says which field is outside its range.
func (s SPRT) Validate() error {
	switch {
	case !(s.P1 > 0 && s.P1 < s.P0 && s.P0 < 1):
		return fmt.Errorf("sequential test: rates P1 %v and P0 %v: want 0 < P1 < P0 < 1", s.P1, s.P0)
	case !(s.Alpha > 0 && s.Beta > 0 && s.Alpha+s.Beta < 1):
		return fmt.Errorf("sequential test: errors Alpha %v and Beta %v: want both above 0 and their sum below 1", s.Alpha, s.Beta)
	case s.MaxN < 1:
		return errors.New("sequential test: MaxN is below 1")
	}
	return nil
}

// Decide returns what is to be done after k successes in n trials, none of whose prefixes has ended the test: it looks at the
// end alone, so the caller stops at the first answer that is not Continue. It panics if the test is not valid or k
// is outside 0–n.
func (s SPRT) Decide(k, n int) Decision {
	if k < 0 || n < k {
		panic("stats: sequential test needs 0 ≤ k ≤ n")
	}
	return s.lines().decide(k, n)
}

// OC returns the test's exact operating characteristic at a true rate of p: the probability of each end and the expected
// number of trials, by dynamic programming over (trials, successes). It panics if the test is not valid or p is outside 0–1.
func (s SPRT) OC(p float64) (good, bad, inconclusive, meanN float64) {
	if !(p >= 0 && p <= 1) {
		panic("stats: a rate lies between 0 and 1")
	}
	l := s.lines()
	open := make([]float64, s.MaxN+1) // open[k]: the probability of k successes without an end so far
	open[0] = 1
	from, to := 0, 0 // the k that are open
	for n := 1; n <= s.MaxN && from <= to; n++ {
		to++
		for k := to; k >= from; k-- {
			meanN += open[k]
			open[k] *= 1 - p
			if k > from {
				open[k] += open[k-1] * p
			}
		}
		ended := func(k int) bool {
			switch l.decide(k, n) {
			case Continue:
				return false
			case AcceptGood:
				good += open[k]
			case AcceptBad:
				bad += open[k]
			case Inconclusive:
				inconclusive += open[k]
			}
			open[k] = 0
			return true
		}
		for from <= to && ended(from) {
			from++
		}
		for to >= from && ended(to) {
			to--
		}
	}
	return good, bad, inconclusive, meanN
}

// lines are Wald's boundaries, in logarithms.
type lines struct {
	success, failure float64 // what a trial adds to λ
	good, bad        float64
	maxN             int
}

func (s SPRT) lines() lines {
	if err := s.Validate(); err != nil {
		panic("stats: " + err.Error())
	}
	return lines{
		success: math.Log(s.P1 / s.P0), failure: math.Log((1 - s.P1) / (1 - s.P0)),
		good: math.Log(s.Beta / (1 - s.Alpha)), bad: math.Log((1 - s.Beta) / s.Alpha), maxN: s.MaxN,
	}
}

func (l lines) decide(k, n int) Decision {
	const rounding = 1e-12
	lambda := float64(k)*l.success + float64(n-k)*l.failure
	switch {
	case lambda <= l.good+rounding:
		return AcceptGood
	case lambda >= l.bad-rounding:
		return AcceptBad
	case n >= l.maxN:
		return Inconclusive
	}
	return Continue
}
