package certify

import (
	"fmt"
	"slices"
	"strings"
)

// Verdict is what became of a case, and of a suite.
type Verdict string

// Verdicts.
const (
	Pass          Verdict = "pass"
	PassNonstrict Verdict = "pass-nonstrict" // not all that is asked for, but what the case lets pass; of a suite: with warnings
	Informational Verdict = "informational"  // something was measured and nothing judged
	Fail          Verdict = "fail"
	Inconclusive  Verdict = "inconclusive" // too little was seen to say
	Unsupported   Verdict = "unsupported"  // the camera says that it cannot do it
	NotApplicable Verdict = "not-applicable"
	HarnessError  Verdict = "harness-error" // the lab's own fault
)

// Verdicts are all of them.
var Verdicts = []Verdict{Pass, PassNonstrict, Informational, Fail, Inconclusive, Unsupported, NotApplicable, HarnessError}

// Passed reports whether the verdict is a pass of either kind.
func (v Verdict) Passed() bool { return v == Pass || v == PassNonstrict }

// Result is what running a case came to.
type Result struct {
	Case    string  `json:"case"` // ID
	Verdict Verdict `json:"verdict"`
	Reason  string  `json:"reason,omitempty"` // a sentence, with the figures; every verdict but pass needs one
	// Observed counts what was seen, by the names of the case's Observed; others may be among them.
	Observed map[string]int `json:"observed,omitempty"`
	// Claim counts tries, where the case claims a rate or the absence of something.
	Claim *Claim `json:"claim,omitempty"`
	// Device is what became of the vendor's program where that is why the case came out as it did: "crashed", "flooded its
	// log". A fail of it stands though nothing else was seen.
	Device string `json:"device,omitempty"`
	// Starts is how often the case was begun until it came to this: who interrupts it where it goes badly begins it again. 0: nobody counted.
	Starts int `json:"starts,omitempty"`
}

// MostStarts is how often a case may have been begun and still pass.
const MostStarts = 3

// Repeated reports whether the case was begun more than once: a pass of it is a warning.
func (r Result) Repeated() bool { return r.Starts > 1 }

// Begun says how often it was begun, where that was more than once.
func (r Result) Begun() string {
	if !r.Repeated() {
		return ""
	}
	return fmt.Sprintf("it was started %d times", r.Starts)
}

// Settle holds a result to its case: one that saw too little is inconclusive, whatever it says. It never makes a result better.
//
//	pass, pass-nonstrict, informational   each of Observed at its least number, and the claim's rate reached; else inconclusive,
//	                                      and fail where the tries show that the rate is not reached
//	the same                              begun no more than MostStarts times; else inconclusive
//	fail                                  something observed, or something became of the camera's program
//	pass-nonstrict                        the case knows such a thing; else fail
//	not-applicable                        is Select's to say and no result's; else unsupported
func Settle(c Case, r Result) Result {
	was := r.Verdict
	switch {
	case r.Case != c.ID:
		return r.become(HarnessError, fmt.Sprintf("a result of %s was given for %s", r.Case, c.ID))
	case !slices.Contains(Verdicts, was):
		return r.become(HarnessError, fmt.Sprintf("%q is no verdict", string(was)))
	case was == NotApplicable:
		return r.become(Unsupported, "it applies by the declaration, and no case can be deselected")
	case r.Claim != nil && r.Claim.valid() != nil:
		return r.become(HarnessError, r.Claim.valid().Error())
	case was == Fail && r.Device == "" && !c.sawAny(r):
		return r.become(Inconclusive, "nothing was observed: "+c.wants())
	case !was.Passed() && was != Informational:
		return r
	}
	if short := c.short(r); short != "" {
		return r.become(Inconclusive, short)
	}
	if r.Starts > MostStarts {
		return r.become(Inconclusive, fmt.Sprintf("%s, %d at most: a case that is cut short so often is not believed", r.Begun(), MostStarts))
	}
	if was == PassNonstrict && c.Nonstrict == "" {
		return r.become(Fail, "the case knows no pass but a strict one")
	}
	if v, why := c.claimed(r); v != was {
		return r.become(v, why)
	}
	return r
}

// become changes the verdict and says why, before what the result said.
func (r Result) become(v Verdict, why string) Result {
	if r.Reason != "" {
		why += "; it said " + string(r.Verdict) + ": " + r.Reason
	}
	r.Verdict, r.Reason = v, why
	return r
}

func (c Case) sawAny(r Result) bool {
	return slices.ContainsFunc(c.Observed, func(n Need) bool { return r.Observed[n.Name] > 0 })
}

// short says what was seen too little of; empty: nothing.
func (c Case) short(r Result) string {
	var missing []string
	for _, n := range c.Observed {
		if got := r.Observed[n.Name]; got < max(n.Min, 1) {
			missing = append(missing, fmt.Sprintf("%s: %d of at least %d", n.What, got, max(n.Min, 1)))
		}
	}
	if len(missing) == 0 {
		return ""
	}
	return "too little was observed: " + strings.Join(missing, ", ")
}

// wants is what has to be observed, in words.
func (c Case) wants() string {
	words := make([]string, len(c.Observed))
	for i, n := range c.Observed {
		words[i] = n.What
	}
	return strings.Join(words, ", ")
}

// claimed is the verdict that the tries allow a pass to have.
func (c Case) claimed(r Result) (Verdict, string) {
	switch {
	case c.Rate == 0 || r.Verdict == Informational:
		return r.Verdict, ""
	case r.Claim == nil:
		return Inconclusive, fmt.Sprintf("tries were not counted: %d without a failure are needed to say ≥ %s", c.Tries(), percent(c.Rate))
	case c.Absolute && r.Claim.Failures > 0:
		return Fail, fmt.Sprintf("%d of %d tries failed, and none may", r.Claim.Failures, r.Claim.Tries)
	case r.Claim.Holds(c.Rate):
		return r.Verdict, ""
	case r.Claim.Refutes(c.Rate):
		return Fail, fmt.Sprintf("%d of %d tries failed: success is ≤ %s at %s confidence, and %s is asked for",
			r.Claim.Failures, r.Claim.Tries, ceiling(r.Claim.High()), percent(Confidence), percent(c.Rate))
	}
	return Inconclusive, fmt.Sprintf("the tries show %s, and %s is asked for: %d without a failure would show it",
		r.Claim, percent(c.Rate), c.Tries())
}
