package certify_test

import (
	"math"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/punchlab/punchlab/lab/certify"
	_ "github.com/punchlab/punchlab/lab/internal/steady"
)

// The rule of three's exact form: no failure in 59 tries shows ≥ 95 %, none in 299 shows ≥ 99 %, one fewer does not.
func TestNeededTries(t *testing.T) {
	for rate, want := range map[float64]int{0.95: 59, 0.99: 299, 0.9: 29, 0.999: 2995} {
		if got := certify.NeededTries(rate); got != want {
			t.Errorf("%v: %d tries, want %d", rate, got, want)
		}
		if !(certify.Claim{Tries: want}).Holds(rate) || (certify.Claim{Tries: want - 1}).Holds(rate) {
			t.Errorf("%v: %d is not the least number of tries that shows it", rate, want)
		}
	}
}

func TestClaimStrings(t *testing.T) {
	for _, test := range []struct {
		claim        certify.Claim
		string, risk string
	}{
		{certify.Claim{Tries: 59}, "≥ 95 % at 95 % confidence (n = 59)", "≤ 5 % at 95 % confidence (0 of 59)"},
		{certify.Claim{Tries: 58}, "≥ 94 % at 95 % confidence (n = 58)", "≤ 6 % at 95 % confidence (0 of 58)"},
		{certify.Claim{Tries: 299}, "≥ 99 % at 95 % confidence (n = 299)", "≤ 1 % at 95 % confidence (0 of 299)"},
		{certify.Claim{Tries: 10000}, "≥ 99.97 % at 95 % confidence (n = 10000)", "≤ 0.03 % at 95 % confidence (0 of 10000)"},
		{certify.Claim{Tries: 59, Failures: 1}, "≥ 92 % at 95 % confidence (n = 59, failed 1)", "≤ 8 % at 95 % confidence (1 of 59)"},
		{certify.Claim{Tries: 10, Failures: 10}, "≥ 0 % at 95 % confidence (n = 10, failed 10)", "≤ 100 % at 95 % confidence (10 of 10)"},
		{certify.Claim{}, "nothing (n = 0)", "nothing (0 of 0)"},
	} {
		if got := test.claim.String(); got != test.string {
			t.Errorf("%+v is %s, want %s", test.claim, got, test.string)
		}
		if got := test.claim.Risk(); got != test.risk {
			t.Errorf("%+v risks %s, want %s", test.claim, got, test.risk)
		}
	}
}

// What is printed is never more than what is shown, and never less than it by more than the last digit printed.
func TestClaimIsRoundedTheSafeWay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 100_000).Draw(t, "tries")
		c := certify.Claim{Tries: n, Failures: rapid.IntRange(0, min(n, 50)).Draw(t, "failures")}
		printed := figure(t, c.String())
		if low := c.Low() * 100; printed > low+1e-7 || printed < low-1-1e-7 {
			t.Errorf("%+v: printed %v, shown %v", c, printed, low)
		}
		if risk := (1 - c.Low()) * 100; figure(t, c.Risk()) < risk-1e-7 || figure(t, c.Risk()) > math.Max(risk+1, risk*2)+1e-7 {
			t.Errorf("%+v: printed %s, at most %v", c, c.Risk(), risk)
		}
	})
}

// figure reads the first percentage of a text.
func figure(t *rapid.T, text string) float64 {
	word := strings.Fields(text)[1]
	v, err := strconv.ParseFloat(word, 64)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return v
}

// A claim of the confidence fails as often as it says: over all outcomes of n tries at a true rate, the probability that the low
// end lies above the true rate is at most 5 %.
func TestClaimCovers(t *testing.T) {
	for _, rate := range []float64{0.5, 0.9, 0.95, 0.99, 0.999} {
		for _, n := range []int{10, 59, 299} {
			wrong := 0.0
			for k := range n + 1 {
				if (certify.Claim{Tries: n, Failures: k}).Low() > rate {
					wrong += binomial(n, k, 1-rate)
				}
			}
			if wrong > 1-certify.Confidence {
				t.Errorf("rate %v, n %d: it says too much with probability %v", rate, n, wrong)
			}
		}
	}
}

func binomial(n, k int, p float64) float64 {
	a, _ := math.Lgamma(float64(n + 1))
	b, _ := math.Lgamma(float64(k + 1))
	c, _ := math.Lgamma(float64(n - k + 1))
	return math.Exp(a - b - c + float64(k)*math.Log(p) + float64(n-k)*math.Log1p(-p))
}
