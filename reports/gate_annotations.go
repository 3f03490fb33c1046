package reports

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/punchlab/punchlab/lab/gate"
)

// mostAnnotations is how many GitHub shows of a step.
const mostAnnotations = 10

// gateAnnotations renders a verdict as GitHub's workflow commands, the worst first: ::error for what fails, ::warning for
// what is undecided and had to pass. A pass is one ::notice.
func gateAnnotations(v *gate.Verdict) []byte {
	var b bytes.Buffer
	n := 0
	say := func(d gate.Decision, title, text string) {
		if n++; n <= mostAnnotations {
			kind := map[gate.Decision]string{gate.Fail: "error", gate.Pass: "notice"}[d]
			if kind == "" {
				kind = "warning"
			}
			fmt.Fprintf(&b, "::%s title=%s::%s\n", kind, inProperty(printable(title)), inMessage(printable(text)))
		}
	}
	say(v.Decision, "punchlab gate: "+string(v.Decision), v.Why)
	if v.Decision != gate.Pass {
		for _, p := range v.Problems {
			say(gate.Undecided, "punchlab gate: problem", p)
		}
	}
	findings := slices.Clone(v.Overall)
	slices.SortStableFunc(findings, byBadness)
	cells, _ := worstCells(v)
	for _, d := range []gate.Decision{gate.Fail, gate.Undecided} {
		for _, f := range findings {
			if f.Decision == d && (d == gate.Fail || !f.Watched) {
				say(d, subject(f)+": "+string(d), findingWhy(f, v.Confidence))
			}
		}
		for _, c := range cells {
			if c.Decision == d && (d == gate.Fail || len(c.Findings) == 0) { // a cell alone is seldom sure to pass: not news
				say(d, cellName(c.Params)+": "+string(d), cellWhy(c, v.Confidence))
			}
		}
	}
	return b.Bytes()
}

// inMessage and inProperty escape as GitHub's own toolkit does (actions/toolkit, packages/core/src/command.ts).
func inMessage(s string) string {
	return strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A").Replace(s)
}

func inProperty(s string) string {
	return strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C").Replace(s)
}
