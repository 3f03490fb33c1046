// Package gate turns records into decisions. It is pure: it runs nothing, prints nothing and knows no clock.
//
//	trials.jsonl ─▶ Builder ─▶ Sample ─┬─▶ Compare(baseline, candidate) ─▶ Verdict      pass · fail · undecided
//	baseline.jsonl ─────────▶          ├─▶ Judge(thresholds)            ─▶ Judgement    ✓ · ✗ · ?
//	                                   ├─▶ Trend(samples over time)     ─▶ change points
//	                                   └─▶ Calibrate(one large sample)  ─▶ how often Compare is wrong
//
// A gate errs in two ways, and both rates are stated. It fails only on evidence: a difference that chance explains less than
// once in 1/Alpha gates, over all metrics and cells together (Holm 1979), and that is large enough to matter (the margin). It
// passes only on evidence too: the interval of the difference excludes a regression as large as the tolerance. Everything
// else, and everything that was not measured, is undecided.
//
// The tests are exact and stratified by cell: within a cell, under the hypothesis of no difference, which trials are the
// baseline's and which the candidate's is chance alone. Nothing is assumed about the shape of any distribution, nor that cells
// are alike, nor that those trials which have a time are like those that failed before they had one.
package gate

// Decision is what a gate says.
type Decision string

// The decisions, as in JSON. Undecided is a verdict: there was not enough evidence for another.
const (
	Pass      Decision = "pass"
	Fail      Decision = "fail"
	Undecided Decision = "undecided"
)

// Mark is the decision's sign: ✓ ✗ ?
func (d Decision) Mark() string {
	switch d {
	case Pass:
		return "✓"
	case Fail:
		return "✗"
	}
	return "?"
}

// worst returns the decision over all of some: fail if one fails, pass if all of at least one pass.
func worst(ds ...Decision) Decision {
	out := Pass
	for _, d := range ds {
		if d == Fail {
			return Fail
		}
		if d != Pass {
			out = Undecided
		}
	}
	if len(ds) == 0 {
		return Undecided
	}
	return out
}
