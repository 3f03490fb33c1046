package certify_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/punchlab/punchlab/lab/certify"
)

// passing are results that pass every applicable case.
func passing(selected []certify.Selected) (results []certify.Result) {
	for _, s := range selected {
		if !s.Applicable {
			continue
		}
		r := certify.Result{Case: s.Case.ID, Verdict: certify.Pass, Observed: map[string]int{}}
		for _, n := range s.Case.Observed {
			r.Observed[n.Name] = n.Min
		}
		if s.Case.Rate > 0 {
			r.Claim = &certify.Claim{Tries: s.Case.Tries()}
		}
		results = append(results, r)
	}
	return results
}

// with changes the result of a case.
func with(results []certify.Result, id string, change func(*certify.Result)) []certify.Result {
	for i := range results {
		if results[i].Case == id {
			change(&results[i])
		}
	}
	return results
}

func verdict(v certify.Verdict, why string) func(*certify.Result) {
	return func(r *certify.Result) { r.Verdict, r.Reason = v, why }
}

func TestJudge(t *testing.T) {
	selected := certify.Select(declaration(t, nil))
	bare := certify.Select(declaration(t, withoutFeatures))
	for _, test := range []struct {
		name     string
		selected []certify.Selected
		results  []certify.Result
		want     certify.Verdict
		says     string // contained in its reasons or warnings
		word     string
	}{
		{"all pass", selected, passing(selected), certify.Pass, "", "PASSED"},
		{"all that apply pass", bare, passing(bare), certify.Pass, "", "PASSED"},
		{"a pass was begun twice", selected, with(passing(selected), "NAT-1", func(r *certify.Result) { r.Starts = 2 }), certify.PassNonstrict,
			"NAT-1 (must) pass; it was started 2 times", "WARNED"},
		{"a must-case fails", selected, with(passing(selected), "NAT-1", verdict(certify.Fail, "3 of 59 did not connect")), certify.Fail,
			"NAT-1 (must) fail: 3 of 59 did not connect", "FAILED"},
		{"a must-case is unsupported", selected, with(passing(selected), "BW-3", verdict(certify.Unsupported, "exit 127")), certify.Fail,
			"BW-3 (must) unsupported: exit 127", "FAILED"},
		{"a declared feature is unsupported", selected, with(passing(selected), "NAT-2", verdict(certify.Unsupported, "exit 127")), certify.Fail,
			"NAT-2 (conditional) unsupported", "FAILED"},
		{"a must-case is deselected", selected, with(passing(selected), "BW-3", verdict(certify.NotApplicable, "")), certify.Fail,
			"no case can be deselected", "FAILED"},
		{"a must-case saw nothing", selected, with(passing(selected), "MED-1", func(r *certify.Result) { r.Observed = nil }), certify.Inconclusive,
			"MED-1 (must) inconclusive: too little was observed", "FAILED"},
		{"a must-case was not run", selected, passing(selected)[1:], certify.Inconclusive, "ID-1 (conditional) inconclusive: not run", "FAILED"},
		{"the lab failed", selected, with(passing(selected), "RES-2", verdict(certify.HarnessError, "no namespace")),
			certify.Inconclusive, "no namespace", "FAILED"},
		{"nothing was judged", selected, with(passing(selected), "SEC-1", verdict(certify.Informational, "ratio 0.7")),
			certify.Inconclusive, "SEC-1 (must) informational", "FAILED"},
		{"not strict", selected, with(passing(selected), "NAT-4", verdict(certify.PassNonstrict, "hairpinned")), certify.PassNonstrict,
			"NAT-4 (must) pass-nonstrict: hairpinned", "WARNED"},
		{"a should-case fails", selected, with(passing(selected), "REG-6", verdict(certify.Fail, "all at once")), certify.PassNonstrict,
			"REG-6 (should) fail: all at once", "WARNED"},
		{"a should-case is unsupported", selected, with(passing(selected), "MED-7", verdict(certify.Unsupported, "")),
			certify.PassNonstrict, "MED-7 (should) unsupported", "WARNED"},
		{"fail and inconclusive", selected, with(with(passing(selected), "MED-1", verdict(certify.Inconclusive, "")), "SEC-1",
			verdict(certify.Fail, "4×")),
			certify.Fail, "SEC-1", "FAILED"},
		{"nothing was run", selected, nil, certify.Inconclusive, "no case passed", "FAILED"},
		{"no case at all", nil, nil, certify.Inconclusive, "no case passed", "FAILED"},
		{"twice", selected, append(passing(selected), passing(selected)[0]), certify.Inconclusive, "2 results of one case", "FAILED"},
		{"of no case", selected, append(passing(selected), certify.Result{Case: "XYZ-1", Verdict: certify.Pass}), certify.Inconclusive,
			`"XYZ-1": a result of no case`, "FAILED"},
		{"of a case that does not apply", bare, append(passing(bare), certify.Result{Case: "NAT-2", Verdict: certify.Fail}), certify.Pass,
			"", "PASSED"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := certify.Judge(test.selected, test.results)
			text := strings.Join(append(s.Reasons, s.Warnings...), "\n")
			if s.Verdict != test.want || !strings.Contains(text, test.says) {
				t.Errorf("got %s\n%s\nwant %s (… %s …)", s.Verdict, text, test.want, test.says)
			}
			if word := s.TestResult(); word != test.word {
				t.Errorf("in a statement: %q, want %q", word, test.word)
			}
			total := 0
			for _, n := range s.Counts {
				total += n
			}
			if total != len(test.selected) || len(s.Cases) != len(test.selected) {
				t.Errorf("%d cases counted, %d told, of %d", total, len(s.Cases), len(test.selected))
			}
			if d := cmp.Diff(s, certify.Judge(test.selected, test.results)); d != "" {
				t.Errorf("judged twice: %s", d)
			}
		})
	}
}

// A suite passes only if every binding case passes, and what its cases say in a statement agrees with what it says.
func TestJudgeAgreesWithItsCases(t *testing.T) {
	selected := certify.Select(declaration(t, nil))
	rapid.Check(t, func(t *rapid.T) {
		results := passing(selected)
		for range rapid.IntRange(0, 3).Draw(t, "changed") {
			i := rapid.IntRange(0, len(results)-1).Draw(t, "which")
			c, _ := certify.Lookup(results[i].Case)
			results[i] = drawResult(t, c)
		}
		if rapid.IntRange(0, 4).Draw(t, "left out") == 0 {
			results = results[1:]
		}
		s := certify.Judge(selected, results)
		said := map[string]bool{}
		for _, j := range s.Cases {
			said[j.TestResult()] = true
			if s.Verdict.Passed() && j.Binding() && !j.Result.Verdict.Passed() {
				t.Errorf("passed, though %s is %s", j.Case.ID, j.Result.Verdict)
			}
		}
		want := "PASSED"
		if said["FAILED"] {
			want = "FAILED"
		} else if said["WARNED"] {
			want = "WARNED"
		}
		if word := s.TestResult(); word != want {
			t.Errorf("the suite says %s, its cases %v", word, said)
		}
	})
}
