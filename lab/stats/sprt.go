package stats

// Decision is what a sequential test says after each trial.
type Decision int

const (
	Continue     Decision = iota // neither yet: another trial
	AcceptGood                   // the rate is P0's side
	AcceptBad                    // the rate is P1's side
	Inconclusive                 // MaxN trials and neither
)

// SPRT is Wald's sequential probability ratio test of a success rate, cut off at MaxN trials (Wald, Sequential Analysis, 1947, ch. 5).
//
//	0 ───────── P1 ───────────────── P0 ───── 1     rate
//	    bad ◄───┤     indifferent    ├───► good
//
// A rate of P0 or more is called bad with probability Alpha at most, one of P1 or less good with Beta at most (by Wald's
// boundaries, whose sum of errors is never above Alpha + Beta; OC has the exact figures). Trials are independent.
type SPRT struct {
	P0, P1      float64 // 0 < P1 < P0 < 1
	Alpha, Beta float64 // above 0, and less than 1 together
	MaxN        int     // trials; at least 1
}

// Validate says which field is outside its range.
func (s SPRT) Validate() error { return nil }

// Decide returns what is to be done after k successes in n trials, none of whose prefixes has ended the test. It panics if the
// test is not valid or k is outside 0–n.
func (s SPRT) Decide(k, n int) Decision { return Continue }

// OC returns the test's exact operating characteristic at a true rate of p: the probability of each end and the expected
// number of trials, by dynamic programming over (trials, successes). It panics if the test is not valid or p is outside 0–1.
func (s SPRT) OC(p float64) (good, bad, inconclusive, meanN float64) { return 0, 0, 1, 0 }
