package certify_test

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/punchlab/punchlab/lab/certify"
)

// sample is a case with everything that Settle looks at; each test changes what it is about.
func sample(change func(*certify.Case)) certify.Case {
	c := certify.Case{ID: "NAT-1", Level: certify.Must, Nonstrict: "almost", Observed: []certify.Need{
		{Name: "connects", What: "connects asked for", Min: 59}, {Name: "frames", What: "frames sent", Min: 1},
	}}
	if change != nil {
		change(&c)
	}
	return c
}

func TestSettle(t *testing.T) {
	enough := map[string]int{"connects": 59, "frames": 1, "more": 3}
	rate := func(c *certify.Case) { c.Rate = 0.95 }
	for _, test := range []struct {
		name   string
		change func(*certify.Case)
		result certify.Result
		want   certify.Verdict
		reason string // contained
	}{
		{"seen enough", nil, certify.Result{Verdict: certify.Pass, Observed: enough}, certify.Pass, ""},
		{"nothing seen", nil, certify.Result{Verdict: certify.Pass, Reason: "fine"}, certify.Inconclusive,
			"too little was observed: connects asked for: 0 of at least 59, frames sent: 0 of at least 1; it said pass: fine"},
		{"one too few", nil, certify.Result{Verdict: certify.Pass, Observed: map[string]int{"connects": 58, "frames": 1}}, certify.Inconclusive,
			"connects asked for: 58 of at least 59"},
		{"one thing not at all", nil, certify.Result{Verdict: certify.Pass, Observed: map[string]int{"connects": 99}},
			certify.Inconclusive, "frames sent: 0"},
		{"fewer than none", nil, certify.Result{Verdict: certify.Pass, Observed: map[string]int{"connects": 99, "frames": -5}},
			certify.Inconclusive, "-5"},
		{"not strict", nil, certify.Result{Verdict: certify.PassNonstrict, Observed: enough}, certify.PassNonstrict, ""},
		{"not strict, and nothing seen", nil, certify.Result{Verdict: certify.PassNonstrict}, certify.Inconclusive, ""},
		{"not strict where there is no such thing", func(c *certify.Case) { c.Nonstrict = "" },
			certify.Result{Verdict: certify.PassNonstrict, Observed: enough, Reason: "late"}, certify.Fail,
			"no pass but a strict one; it said pass-nonstrict: late"},
		{"informational", nil, certify.Result{Verdict: certify.Informational, Observed: enough}, certify.Informational, ""},
		{"informational, and nothing seen", nil, certify.Result{Verdict: certify.Informational}, certify.Inconclusive, ""},
		{"a fail that saw something", nil, certify.Result{Verdict: certify.Fail, Observed: map[string]int{"connects": 1}}, certify.Fail, ""},
		{"a fail that saw nothing", nil, certify.Result{Verdict: certify.Fail, Reason: "no media"}, certify.Inconclusive,
			"nothing was observed: connects asked for, frames sent; it said fail: no media"},
		{"a fail that saw something else", nil, certify.Result{Verdict: certify.Fail, Observed: map[string]int{"more": 9}}, certify.Inconclusive, ""},
		{"a camera that crashed before anything", nil, certify.Result{Verdict: certify.Fail, Device: "crashed"}, certify.Fail, ""},
		{"a crash is no pass's excuse", nil, certify.Result{Verdict: certify.Pass, Device: "crashed"}, certify.Inconclusive, ""},
		{"begun thrice", nil, certify.Result{Verdict: certify.Pass, Observed: enough, Starts: 3}, certify.Pass, ""},
		{"begun once more", nil, certify.Result{Verdict: certify.Pass, Observed: enough, Starts: 4}, certify.Inconclusive,
			"it was started 4 times, 3 at most"},
		{"begun often, and failed", nil, certify.Result{Verdict: certify.Fail, Observed: enough, Starts: 9}, certify.Fail, ""},
		{"unsupported", nil, certify.Result{Verdict: certify.Unsupported}, certify.Unsupported, ""},
		{"harness error", nil, certify.Result{Verdict: certify.HarnessError}, certify.HarnessError, ""},
		{"deselected", nil, certify.Result{Verdict: certify.NotApplicable, Observed: enough}, certify.Unsupported, "no case can be deselected"},
		{"no verdict", nil, certify.Result{Verdict: "passed", Observed: enough}, certify.HarnessError, `"passed" is no verdict`},
		{"no verdict at all", nil, certify.Result{Observed: enough}, certify.HarnessError, "no verdict"},
		{"another case's", nil, certify.Result{Case: "NAT-2", Verdict: certify.Pass, Observed: enough}, certify.HarnessError, "a result of NAT-2"},

		{"rate reached", rate, certify.Result{Verdict: certify.Pass, Observed: enough, Claim: &certify.Claim{Tries: 59}}, certify.Pass, ""},
		{"tries not counted", rate, certify.Result{Verdict: certify.Pass, Observed: enough}, certify.Inconclusive,
			"59 without a failure are needed to say ≥ 95 %"},
		{"too few tries", rate, certify.Result{Verdict: certify.Pass, Observed: enough, Claim: &certify.Claim{Tries: 58}}, certify.Inconclusive,
			"the tries show ≥ 94 % at 95 % confidence (n = 58), and 95 % is asked for"},
		{"no tries", rate, certify.Result{Verdict: certify.Pass, Observed: enough, Claim: &certify.Claim{}}, certify.Inconclusive, "nothing (n = 0)"},
		{"undecided rate", rate, certify.Result{Verdict: certify.Pass, Observed: enough, Claim: &certify.Claim{Tries: 59, Failures: 2}},
			certify.Inconclusive, ""},
		{"rate missed", rate, certify.Result{Verdict: certify.Pass, Observed: enough, Claim: &certify.Claim{Tries: 59, Failures: 9}},
			certify.Fail, "9 of 59 tries failed"},
		{"rate reached with failures", rate, certify.Result{Verdict: certify.Pass, Observed: enough, Claim: &certify.Claim{Tries: 1000,
			Failures: 9}}, certify.Pass, ""},
		{"none may fail", func(c *certify.Case) { c.Rate, c.Absolute = 0.95, true },
			certify.Result{Verdict: certify.Pass, Observed: enough, Claim: &certify.Claim{Tries: 1000, Failures: 1}}, certify.Fail,
			"1 of 1000 tries failed, and none may"},
		{"counts that cannot be", rate, certify.Result{Verdict: certify.Pass, Observed: enough, Claim: &certify.Claim{Tries: 5,
			Failures: 6}}, certify.HarnessError,
			"6 failures of 5 tries cannot be"},
		{"negative tries", nil, certify.Result{Verdict: certify.Fail, Observed: enough, Claim: &certify.Claim{Tries: -1}}, certify.HarnessError, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := sample(test.change)
			if test.result.Case == "" {
				test.result.Case = c.ID
			}
			got := certify.Settle(c, test.result)
			if got.Verdict != test.want || !strings.Contains(got.Reason, test.reason) {
				t.Errorf("got %s (%s), want %s (… %s …)", got.Verdict, got.Reason, test.want, test.reason)
			}
		})
	}
}

// No pass is vacuous: whatever a result says of whatever case, it passes only if it was a pass and all was observed; and settling
// twice is settling once.
func TestNoPassIsVacuous(t *testing.T) {
	all := certify.Catalogue()
	rapid.Check(t, func(t *rapid.T) {
		c := rapid.SampledFrom(all).Draw(t, "case")
		r := drawResult(t, c)
		got := certify.Settle(c, r)
		if again := certify.Settle(c, got); again.Verdict != got.Verdict && again.Verdict != certify.Unsupported {
			t.Errorf("settled twice: %s, then %s", got.Verdict, again.Verdict)
		}
		if !got.Verdict.Passed() {
			return
		}
		if got.Verdict != r.Verdict {
			t.Errorf("%s became %s", r.Verdict, got.Verdict)
		}
		for _, n := range c.Observed {
			if r.Observed[n.Name] < n.Min || r.Observed[n.Name] < 1 {
				t.Errorf("passed with %d of %d %s", r.Observed[n.Name], n.Min, n.What)
			}
		}
		if c.Rate > 0 && (r.Claim == nil || r.Claim.Low() < c.Rate || c.Absolute && r.Claim.Failures > 0) {
			t.Errorf("passed with the claim %v of %v", r.Claim, c.Rate)
		}
	})
}

// drawResult draws a result that is often just enough, or just not.
func drawResult(t *rapid.T, c certify.Case) certify.Result {
	r := certify.Result{Case: c.ID, Observed: map[string]int{},
		Verdict: rapid.SampledFrom(append(slices.Clone(certify.Verdicts), certify.Pass, certify.Pass, certify.Pass)).Draw(t, "verdict")}
	for _, n := range c.Observed {
		r.Observed[n.Name] = rapid.SampledFrom([]int{0, 1, n.Min - 1, n.Min, n.Min, n.Min, 2 * n.Min}).Draw(t, n.Name)
	}
	if rapid.Bool().Draw(t, "counted") || c.Rate > 0 {
		n := rapid.SampledFrom([]int{0, 1, max(c.Tries()-1, 0), c.Tries(), c.Tries(), 1000}).Draw(t, "tries")
		r.Claim = &certify.Claim{Tries: n, Failures: min(n, rapid.SampledFrom([]int{0, 0, 0, 1, 40}).Draw(t, "failures"))}
	}
	return r
}
