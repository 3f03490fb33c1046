package gate

import (
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/gonum/stat/distuv"

	"github.com/punchlab/punchlab/lab/stats"
)

// ThresholdConfidence is that of a judgement, each way: of a run whose true figure just keeps a threshold at most one in a hundred
// fails it, and of one that just misses it at most one in a hundred passes.
const ThresholdConfidence = 0.99

// Judgement is what a run says of one threshold, or of one group of one.
type Judgement struct {
	Threshold string   `json:"threshold"`       // as Threshold.String has it
	Abort     bool     `json:"abort,omitempty"` // of the threshold
	Group     string   `json:"group,omitempty"` // "strategy=adaptive"; of `by cell` all of the cell's parameters; "" for all cells together
	Decision  Decision `json:"decision"`
	Text      string   `json:"text"` // one line: the demand, the figure with its interval and n, and why it is undecided

	Metric string    `json:"metric"` // "direct_rate", "first_frame_ratio.p95"
	Unit   string    `json:"unit,omitempty"`
	Want   string    `json:"want"`            // ">= 0.98"
	Value  *float64  `json:"value,omitempty"` // the figure; absent without a trial
	Range  *Interval `json:"range,omitempty"` // what the figure can be: each end is wrong once in 1/(1−Confidence) runs; absent for min and max
	Why    string    `json:"why,omitempty"`   // it is undecided; or what else is to be known of the figure

	Confidence float64 `json:"confidence"`        // ThresholdConfidence
	K          int     `json:"k,omitempty"`       // of a rate: trials that count for it
	N          int     `json:"n"`                 // trials that the figure is of
	Trials     int     `json:"trials"`            // with a verdict, whether they have the metric or not
	Cells      int     `json:"cells"`             // that fulfil the conditions, tried or not
	Missing    int     `json:"missing,omitempty"` // of these: without any trial
}

// ParseThresholds reads a manifest's thresholds.
func ParseThresholds(texts []string) ([]Threshold, error) {
	ts := make([]Threshold, len(texts))
	for i, text := range texts {
		t, err := ParseThreshold(text)
		if err != nil {
			return nil, fmt.Errorf("threshold %q: %w", text, err)
		}
		ts[i] = t
	}
	return ts, nil
}

// Judge holds a run to thresholds: a judgement for each, or for each group of one with `by`, in their order.
//
// A rate passes where the exact one-sided interval (Clopper and Pearson 1934) of all its cells' trials keeps to the threshold,
// fails where it excludes it, and is undecided otherwise. A quantile is such a rate: "x.p95 <= 1.3" says that at least 95 % of x
// are 1.3 at most. Over the groups of one threshold, chance fails any of them no more often than it would fail a single one
// (Holm 1979). The minimum and the maximum are those of the trials that ran, and claim no more.
//
// Without a trial, with a cell that has none, and of a run that did not end or lacks trials, nothing passes. What fails then fails.
func Judge(s Sample, thresholds []Threshold) []Judgement {
	cells, gap := plannedCells(&s)
	if !s.Manifest.Complete || s.Truncated > 0 {
		gap = "the run did not end"
	}
	if lacking, _ := s.untold(); lacking > 0 && gap == "" {
		gap = fmt.Sprintf("%d trials that were to run have no verdict", lacking)
	}
	var out []Judgement
	for _, t := range thresholds {
		out = append(out, t.judge(cells, gap)...)
	}
	return out
}

// Judged is the decision over all of some judgements: fail if any does, pass if all do.
func Judged(js []Judgement) Decision {
	ds := make([]Decision, len(js))
	for i, j := range js {
		ds[i] = j.Decision
	}
	return worst(ds...)
}

func (t Threshold) judge(cells []*CellSample, gap string) []Judgement {
	groups := t.groups(cells)
	tallies := make([]tally, len(groups))
	ps := make([]float64, len(groups))
	for i, g := range groups {
		tallies[i] = t.tally(g.cells)
		ps[i] = tallies[i].missP(t)
	}
	ps = stats.Holm(ps)
	out := make([]Judgement, len(groups))
	for i, g := range groups {
		out[i] = t.judgement(gap, g, tallies[i], ps[i])
	}
	return out
}

// tally is what the trials of some cells say of a threshold.
type tally struct {
	good, n int       // trials that keep to it, of those that tell
	values  []float64 // ascending; of a statistic
	trials  int
	cells   int
	missing int
}

func (t Threshold) tally(cells []*CellSample) tally {
	y := tally{cells: len(cells)}
	for _, c := range cells {
		y.trials += c.Trials()
		if c.Trials()+c.HarnessErrors == 0 || c.Trials() == 0 && t.Metric.Name != harnessErrorRate {
			y.missing++
		}
		if t.Metric.IsRate() {
			k, n := c.Rate(t.Metric.Name)
			y.n += n
			y.good += k
			if !t.atLeast() {
				y.good += n - 2*k
			}
			continue
		}
		for _, x := range c.Sample(t.Metric.Name) {
			y.values = append(y.values, x)
			y.n++
			if t.holds(x) {
				y.good++
			}
		}
	}
	slices.Sort(y.values)
	return y
}

// good says whether the trial at row i of a cell keeps to the threshold, and whether it tells at all.
func (t Threshold) good(c *CellSample, i int) (good, tells bool) {
	if t.Metric.IsRate() {
		v := c.Success(t.Metric.Name, i)
		return (v == 1) == t.atLeast(), !absent(v)
	}
	v := c.Value(t.Metric.Name, i)
	return t.holds(v), !absent(v)
}

// extreme says whether the threshold is of a minimum or maximum, which are of the sample and no estimate.
func (t Threshold) extreme() bool {
	return !t.Metric.IsRate() && (t.Metric.P() == 0 || t.Metric.P() == 1)
}

// target is the share of good trials that the threshold asks for: a rate's own, and for "x.p95 <= 1.3" 0.95. It means nothing
// for an extreme.
func (t Threshold) target() float64 {
	p := t.Metric.P()
	if t.Metric.IsRate() {
		p = 1 - t.Value
		if t.atLeast() {
			p = t.Value
		}
	} else if t.atLeast() {
		p = 1 - p
	}
	return p
}

// missP is the chance of so few good trials where the threshold is just kept: 1 without trials.
func (y tally) missP(t Threshold) float64 {
	switch {
	case y.n == 0:
		return 1
	case t.extreme():
		if t.holds(y.figure(t)) {
			return 1
		}
		return 0
	}
	return distuv.Binomial{N: float64(y.n), P: t.target()}.CDF(float64(y.good))
}

// keepP is the chance of so many good trials where the threshold is just missed: 1 without trials.
func (y tally) keepP(t Threshold) float64 {
	switch {
	case y.n == 0:
		return 1
	case t.extreme():
		if t.holds(y.figure(t)) {
			return 0
		}
		return 1
	}
	return distuv.Binomial{N: float64(y.n), P: 1 - t.target()}.CDF(float64(y.n - y.good))
}

// figure is the metric; there must be a trial.
func (y tally) figure(t Threshold) float64 {
	if !t.Metric.IsRate() {
		return stats.Quantile(y.values, t.Metric.P())
	}
	return float64(y.k(t)) / float64(y.n)
}

// k counts the trials of a rate, good or not.
func (y tally) k(t Threshold) int {
	if t.atLeast() {
		return y.good
	}
	return y.n - y.good
}

// interval is that of the figure, each end by itself at ThresholdConfidence.
func (y tally) interval(t Threshold) *Interval {
	if y.n == 0 || t.extreme() {
		return nil
	}
	if t.Metric.IsRate() {
		low, high := stats.ClopperPearson(y.k(t), y.n, 2*ThresholdConfidence-1)
		return &Interval{&low, &high}
	}
	// The l-th value is above the quantile only if fewer than l are under it, the u-th under it only if u are
	// (stats.QuantileInterval, but each end by itself, for a sample too small for one may have the other).
	var r Interval
	b := distuv.Binomial{N: float64(y.n), P: t.Metric.P()}
	if l := countUp(y.n, func(i int) bool { return b.CDF(float64(i)) <= 1-ThresholdConfidence }); l > 0 {
		r.Low = &y.values[l-1]
	}
	b.P = 1 - b.P
	if l := countUp(y.n, func(i int) bool { return b.CDF(float64(i)) <= 1-ThresholdConfidence }); l > 0 {
		r.High = &y.values[y.n-l]
	}
	return &r
}

// countUp is the first of 0 … n for which ok is false; ok must never become true again.
func countUp(n int, ok func(int) bool) int {
	low, high := 0, n
	for low < high {
		mid := (low + high) / 2
		if ok(mid) {
			low = mid + 1
		} else {
			high = mid
		}
	}
	return low
}

// flawless is how many trials without a miss show a share of good ones of at least p.
func flawless(p float64) int {
	return int(math.Ceil(math.Log(1-ThresholdConfidence) / math.Log(p)))
}
