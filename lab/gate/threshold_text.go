package gate

import (
	"fmt"
	"math"
	"strconv"
)

// judgement decides on one group. gap says what the run lacks, and missP is adjusted for the groups.
func (t Threshold) judgement(gap string, g thresholdGroup, y tally, missP float64) Judgement {
	j := Judgement{
		Threshold: t.String(), Abort: t.Abort, Group: g.name, Decision: Undecided,
		Metric: t.Metric.String(), Unit: t.Metric.Unit, Want: t.want(), Range: y.interval(t), Confidence: ThresholdConfidence,
		N: y.n, Trials: y.trials, Cells: y.cells, Missing: y.missing,
	}
	if y.n > 0 {
		x := y.figure(t)
		j.Value = &x
		if t.Metric.IsRate() {
			j.K = y.k(t)
		}
	}
	const alpha = 1 - ThresholdConfidence
	switch {
	case y.cells == 0:
		j.Why = "no cell is like this"
	case y.n == 0 && y.trials > 0:
		j.Why = fmt.Sprintf("none of %d trials has it", y.trials)
	case y.n == 0:
		j.Why = "no trial"
	case missP <= alpha:
		j.Decision = Fail
	case y.missing > 0:
		j.Why = fmt.Sprintf("%d of %d cells have no trial", y.missing, y.cells)
	case gap != "":
		j.Why = gap
	case y.keepP(t) <= alpha:
		j.Decision = Pass
	default:
		j.Why = t.tooFew(y)
	}
	j.Text = t.line(j)
	return j
}

// tooFew says why a figure neither keeps nor misses its threshold.
func (t Threshold) tooFew(y tally) string {
	if y.good == y.n {
		return fmt.Sprintf("too few trials to tell: %d without a miss would", flawless(t.target()))
	}
	return "too close to tell from so few trials"
}

// want is the demand without its metric: ">= 0.98".
func (t Threshold) want() string { return t.Op + " " + strconv.FormatFloat(t.Value, 'g', -1, 64) }

// line is a judgement for people.
func (t Threshold) line(j Judgement) string {
	text := t.Expect()
	if j.Group != "" {
		text += " [" + j.Group + "]"
	}
	if j.Value == nil {
		return text + ": " + j.Why
	}
	text += ": " + t.show(*j.Value)
	if j.Range != nil {
		text += ", " + t.showRange(*j.Range)
	}
	text += " (n = " + strconv.Itoa(j.N)
	if t.Metric.Name != harnessErrorRate && j.N < j.Trials {
		text += " of " + strconv.Itoa(j.Trials)
	}
	text += ")"
	if j.Why != "" {
		text += "; " + j.Why
	}
	return text
}

func (t Threshold) showRange(r Interval) string {
	switch {
	case r.Low != nil && r.High != nil:
		return t.show(*r.Low) + " to " + t.show(*r.High)
	case r.Low != nil:
		return t.show(*r.Low) + " or more"
	case r.High != nil:
		return t.show(*r.High) + " or less"
	}
	return "nothing known of the rest"
}

// show writes a value of the metric in the unit that thresholds are written in, to four digits.
func (t Threshold) show(x float64) string {
	if t.Metric.IsRate() {
		return strconv.FormatFloat(math.Round(x*1e4)/1e4, 'g', -1, 64)
	}
	text := strconv.FormatFloat(x, 'g', 4, 64)
	if math.Abs(x) >= 1e4 && math.Abs(x) < 1e15 {
		text = strconv.FormatFloat(math.Round(x), 'f', -1, 64)
	}
	if t.Metric.Unit != "" {
		text += " " + t.Metric.Unit
	}
	return text
}
