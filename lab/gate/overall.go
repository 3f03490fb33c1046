package gate

import (
	"fmt"
	"slices"
)

// decide sets a cell's decision from its findings: fail if any fails, pass if all that have to pass do.
func (c *CellVerdict) decide(m match) {
	switch {
	case m.a == nil || m.a.Trials() == 0:
		c.Decision, c.Why = Undecided, "no trial with a verdict in the baseline"
		return
	case m.b == nil || m.b.Trials() == 0:
		c.Decision, c.Why = Undecided, "no trial with a verdict in the candidate"
		return
	}
	c.Decision = verdictOf(c.Findings)
	switch f := worstFinding(c.Findings, c.Decision); {
	case f != nil:
		c.Why = f.Metric + ": " + f.Why
	case c.Decision == Pass:
		c.Why = "every metric that has to pass does"
	default:
		c.Why = "nothing that has to pass was measured"
	}
}

// verdictOf is the decision of findings: fail if any fails, pass if those that have to pass do and there is one.
func verdictOf(fs []Finding) Decision {
	var ds []Decision
	for _, f := range fs {
		if !f.Watched || f.Decision == Fail {
			ds = append(ds, f.Decision)
		}
	}
	return worst(ds...)
}

// worstFinding returns the finding that best explains a decision that is no pass: the failed one furthest beyond its margin, or
// the first undecided one.
func worstFinding(fs []Finding, d Decision) *Finding {
	if d == Pass {
		return nil
	}
	var found *Finding
	for i := range fs {
		f := &fs[i]
		if f.Decision != d || d == Undecided && f.Watched {
			continue
		}
		if found == nil || d == Fail && f.severity() > found.severity() {
			found = f
		}
	}
	return found
}

// severity orders failed findings: how far beyond its margin the effect is; from a baseline of 0 it cannot be said, and is first.
func (f *Finding) severity() float64 {
	if f.Worse == nil {
		return 1e9
	}
	return *f.Worse / max(f.Margin, 1e-3)
}

// decide sets the decision over all.
func (v *Verdict) decide(brief bool) {
	v.Decision = verdictOf(v.Overall)
	if v.Decision == Pass && len(v.Problems) > 0 {
		v.Decision = Undecided
	}
	failed := slices.ContainsFunc(v.Cells, func(c CellVerdict) bool { return c.Decision == Fail })
	if failed {
		v.Decision = Fail
	}
	if !brief {
		v.Why = v.why()
	}
}

// why says in a sentence what decided.
func (v *Verdict) why() string {
	fail, _, _ := v.Counts()
	switch {
	case v.B.Trials == 0:
		return "nothing was executed: the candidate has no trial with a verdict"
	case v.A.Trials == 0:
		return "nothing to compare with: the baseline has no trial with a verdict"
	case v.Decision == Fail:
		return v.whyFailed(fail)
	case len(v.Problems) > 0:
		return fmt.Sprintf("%s%s", v.Problems[0], andMore(len(v.Problems)-1))
	case v.Decision == Pass:
		return fmt.Sprintf("no regression: %d findings over %d cells exclude one as large as their tolerance, and no cell fails",
			v.required(Pass), len(v.Cells))
	}
	if f := worstFinding(v.Overall, Undecided); f != nil {
		return fmt.Sprintf("%s: %s%s", f.title(), f.Why, andMore(v.required(Undecided)-1))
	}
	return "nothing that has to pass was measured"
}

func (v *Verdict) whyFailed(cells int) string {
	in := ""
	if cells > 0 {
		in = fmt.Sprintf("; %d of %d cells fail by themselves", cells, len(v.Cells))
	}
	if f := worstFinding(v.Overall, Fail); f != nil {
		return fmt.Sprintf("%s: %s%s", f.title(), f.Why, in)
	}
	for _, c := range v.Cells {
		if c.Decision == Fail {
			return fmt.Sprintf("cell %d (%s): %s%s", c.Cell, key(c.Params), c.Why, in)
		}
	}
	return ""
}

// required counts the findings over all cells that have to pass, of a decision.
func (v *Verdict) required(d Decision) int {
	n := 0
	for _, f := range v.Overall {
		if !f.Watched && f.Decision == d {
			n++
		}
	}
	return n
}

// title names a finding in a sentence.
func (f *Finding) title() string {
	if f.Group == "" {
		return f.Metric
	}
	return f.Metric + " of " + f.Group
}

func andMore(n int) string {
	if n <= 0 {
		return ""
	}
	return fmt.Sprintf(" (and %d more)", n)
}
