package gate

import (
	"fmt"
	"math"
	"strings"
)

// decide sets the finding's decision and says why in a sentence.
func (t *test) decide(r *rules) {
	significant := t.tested && *t.AdjustedP < t.Alpha && t.worse > 0
	switch {
	case !t.data:
		t.Decision = Undecided
		t.Why = t.missing()
	case significant && t.worse >= t.Margin:
		t.Decision = Fail
	case t.excluded:
		t.Decision = Pass
	default:
		t.Decision = Undecided
	}
	if t.data && !r.decideOnly {
		t.Why = t.why(significant)
	}
}

// missing says on which side there is no data.
func (t *test) missing() string {
	switch {
	case t.A.N == 0 && t.B.N == 0:
		return "not measured on either side"
	case t.A.N == 0:
		return "not measured in the baseline"
	case t.B.N == 0:
		return fmt.Sprintf("not measured in the candidate: the baseline has %d values", t.A.N)
	}
	return "no cell has it on both sides"
}

// why says what was found, and for what is undecided what is missing.
func (t *test) why(significant bool) string {
	found := fmt.Sprintf("%s against %s", t.figure(t.B), t.figure(t.A))
	if t.Effect != nil && *t.Effect != 0 {
		found += ", " + t.amount(*t.Effect)
	}
	if t.survival != 0 {
		found += ", " + map[int]string{
			+1: "where more of the candidate's trials have a value (those without rank after all others)",
			-1: "where fewer of the candidate's trials have a value (those without rank after all others)",
		}[t.survival]
	}
	switch {
	case t.Decision == Fail:
		return fmt.Sprintf("%s: worse, and chance explains it with p = %.2g (limit %.2g)", found, *t.AdjustedP, t.Alpha)
	case t.Decision == Pass && significant:
		return fmt.Sprintf("%s: worse, but by less than the margin of %s", found, t.size(t.Margin))
	case t.Decision == Pass && t.fromZero():
		return fmt.Sprintf("%s: it stays at 0", found)
	case t.Decision == Pass:
		return fmt.Sprintf("%s: a regression of %s is excluded", found, t.size(t.Tolerance))
	case significant:
		return fmt.Sprintf("%s: worse by less than the margin of %s, but %s is not excluded", found, t.size(t.Margin), t.size(t.Tolerance))
	}
	if t.fromZero() {
		return fmt.Sprintf("%s: there is no ratio to 0, and too few trials to show that it stays there", found)
	}
	if t.survival < 0 {
		return fmt.Sprintf("%s: a regression of %s is not excluded", found, t.size(t.Tolerance))
	}
	return fmt.Sprintf("%s: too few trials to tell: a regression of %s is not excluded", found, t.size(t.Tolerance))
}

// fromZero reports whether the baseline's statistic is 0, to which there is no ratio.
func (t *test) fromZero() bool { return !t.measure.IsRate() && t.A.Value != nil && *t.A.Value == 0 }

// figure prints a side's value.
func (t *test) figure(f Figure) string {
	switch {
	case f.Value == nil:
		return "nothing"
	case t.measure.IsRate():
		return fmt.Sprintf("%d of %d", f.K, f.N)
	}
	return t.measure.Format(*f.Value)
}

// amount prints an effect with its sign.
func (t *test) amount(effect float64) string {
	if t.measure.IsRate() {
		return fmt.Sprintf("%+.1f points", 100*effect)
	}
	return fmt.Sprintf("%+.1f %%", 100*effect)
}

// size prints a margin or tolerance.
func (t *test) size(v float64) string {
	if t.measure.IsRate() {
		return fmt.Sprintf("%s points", trim(100*v))
	}
	return fmt.Sprintf("%s %%", trim(100*v))
}

func trim(v float64) string {
	s := fmt.Sprintf("%.2f", v)
	return strings.TrimRight(strings.TrimRight(s, "0"), ".")
}

// Format prints a value of the metric with its unit: 97.5 %, 71 ms, 298 kB.
func (m Metric) Format(v float64) string {
	switch {
	case m.IsRate():
		return trim(100*v) + " %"
	case m.Unit == "s":
		return scaled(v, "s", 1, "ms", 1e-3, "µs", 1e-6)
	case m.Unit == "B":
		return scaled(v, "GB", 1e9, "MB", 1e6, "kB", 1e3, "B", 1)
	case m.Unit == "bit/s":
		return scaled(v, "Gbit/s", 1e9, "Mbit/s", 1e6, "kbit/s", 1e3, "bit/s", 1)
	}
	return fmt.Sprintf("%.4g", v)
}

// scaled prints v in the first of the units, largest first, of which it is at least one.
func scaled(v float64, units ...any) string {
	for i := 0; i+1 < len(units); i += 2 {
		one, ok := units[i+1].(float64)
		if !ok {
			one = float64(units[i+1].(int))
		}
		if math.Abs(v) >= one || i+2 == len(units) {
			return fmt.Sprintf("%.3g %s", v/one, units[i])
		}
	}
	return ""
}
