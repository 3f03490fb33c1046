package certify

import (
	"fmt"
	"strings"
)

// Judged is a case of the suite, and what it came to.
type Judged struct {
	Selected
	Result Result `json:"result"` // settled
}

// Binding reports whether the suite depends on it.
func (j Judged) Binding() bool { return j.Applicable && j.Case.Binding() }

// TestResult is the case's word in an in-toto test-result predicate: PASSED, WARNED or FAILED; empty if it does not apply. What is
// not shown counts as failed, and as a warning where the suite does not depend on it.
func (j Judged) TestResult() string {
	switch v := j.Result.Verdict; {
	case v == NotApplicable:
		return ""
	case v == Pass && !j.Result.Repeated():
		return "PASSED"
	case v.Passed() || !j.Binding():
		return "WARNED"
	}
	return "FAILED"
}

// Suite is what all cases together come to.
type Suite struct {
	Version string `json:"version"`
	// Verdict is pass, pass-nonstrict (certified, with warnings), fail or inconclusive.
	Verdict  Verdict         `json:"verdict"`
	Reasons  []string        `json:"reasons,omitempty"`  // why it is not a pass: a sentence for each case that decides
	Warnings []string        `json:"warnings,omitempty"` // a sentence for each case that does not decide and is no pass
	Counts   map[Verdict]int `json:"counts"`
	Cases    []Judged        `json:"cases"`
}

// Judge settles every result and says what the suite comes to. Each case counts, whether or not it was run:
//
//	fail           a must or conditional case fails, or is unsupported
//	inconclusive   else: one of them is inconclusive, was not run, is informational only, or met a fault of the lab
//	               or no case passed at all
//	pass-nonstrict else: a pass was not strict or was begun more than once, or a should-case is no pass
//	pass           else
//
// A case that does not apply keeps the verdict not-applicable, whatever results there are. Two results of one that does are a
// harness-error, and a result of no case of the suite makes it inconclusive: both are the harness's fault.
func Judge(selected []Selected, results []Result) Suite {
	s := Suite{Version: SuiteVersion, Counts: map[Verdict]int{}}
	byCase := map[string][]Result{}
	for _, r := range results {
		byCase[r.Case] = append(byCase[r.Case], r)
	}
	fail, open, warn, passed := false, false, false, false
	for _, sel := range selected {
		j := Judged{sel, settleOne(sel, byCase[sel.Case.ID])}
		delete(byCase, sel.Case.ID)
		v := j.Result.Verdict
		s.Cases = append(s.Cases, j)
		s.Counts[v]++
		passed = passed || v.Passed()
		switch {
		case v == Pass && !j.Result.Repeated() || v == NotApplicable:
			continue
		case !j.Binding() || v.Passed():
			warn = true
			s.Warnings = append(s.Warnings, j.sentence())
			continue
		case v == Fail || v == Unsupported:
			fail = true
		default:
			open = true
		}
		s.Reasons = append(s.Reasons, j.sentence())
	}
	for _, r := range results { // in their order, so that the same results give the same suite
		if _, stray := byCase[r.Case]; stray {
			delete(byCase, r.Case)
			open = true
			s.Reasons = append(s.Reasons, fmt.Sprintf("%q: a result of no case of this suite", r.Case))
		}
	}
	if !passed && !fail {
		open = true
		s.Reasons = append(s.Reasons, "no case passed: nothing is certified by that")
	}
	s.Verdict = verdictOf(fail, open, warn)
	return s
}

func verdictOf(fail, open, warn bool) Verdict {
	switch {
	case fail:
		return Fail
	case open:
		return Inconclusive
	case warn:
		return PassNonstrict
	}
	return Pass
}

// settleOne is the result of a case of the suite, given those that there are.
func settleOne(sel Selected, results []Result) Result {
	id := sel.Case.ID
	switch {
	case !sel.Applicable:
		return Result{Case: id, Verdict: NotApplicable, Reason: sel.Why}
	case len(results) > 1:
		return Result{Case: id, Verdict: HarnessError, Reason: fmt.Sprintf("%d results of one case", len(results))}
	case len(results) == 0:
		return Result{Case: id, Verdict: Inconclusive, Reason: "not run"}
	}
	return Settle(sel.Case, results[0])
}

// sentence is: NAT-2 (must) fail: reason.
func (j Judged) sentence() string {
	s := fmt.Sprintf("%s (%s) %s", j.Case.ID, j.Case.Level, j.Result.Verdict)
	if reason := strings.TrimSpace(j.Result.Reason); reason != "" {
		s += ": " + reason
	}
	if begun := j.Result.Begun(); begun != "" && !strings.Contains(s, begun) {
		s += "; " + begun
	}
	return s
}

// TestResult is the suite's word in an in-toto test-result predicate: PASSED, WARNED or FAILED. That vocabulary has no word for a
// suite that decided nothing: it has not passed, so it is FAILED, and Verdict says which.
func (s Suite) TestResult() string {
	switch s.Verdict {
	case Pass:
		return "PASSED"
	case PassNonstrict:
		return "WARNED"
	}
	return "FAILED"
}
