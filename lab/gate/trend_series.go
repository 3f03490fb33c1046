package gate

import (
	"errors"
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"

	"github.com/punchlab/punchlab/lab/record"
	"github.com/punchlab/punchlab/lab/stats"
)

// Trend is the function Trend with these options.
func (o TrendOptions) Trend(samples []Sample) (*TrendReport, error) {
	o = o.withDefaults()
	if !(o.Alpha > 0 && o.Alpha < 1) || o.Permutations < 1 {
		return nil, fmt.Errorf("trend: alpha %v or %d permutations: want a chance between 0 and 1, and at least one permutation", o.Alpha, o.Permutations)
	}
	var metrics []Metric
	for _, name := range o.Metrics {
		m, err := ParseMetric(name)
		if err != nil {
			return nil, fmt.Errorf("trend: %w", err)
		}
		metrics = append(metrics, m)
	}
	if len(samples) == 0 {
		return nil, errors.New("trend: no run")
	}
	samples = slices.Clone(samples)
	slices.SortStableFunc(samples, func(a, b Sample) int { return a.Manifest.Start.Compare(b.Manifest.Start) })
	if err := checkSameExperiment(samples); err != nil {
		return nil, err
	}
	r := &TrendReport{
		Schema: TrendSchema, Scenario: samples[0].Manifest.Scenario.Name, Engine: samples[0].Manifest.Engine, Alpha: o.Alpha,
		Runs: trendRuns(samples), Series: []Series{},
	}
	for _, m := range metrics {
		for _, g := range groupsOf(samples) {
			if s := seriesOf(samples, r.Runs, m, g); len(s.Points) > 0 {
				r.Series = append(r.Series, s)
			}
		}
	}
	if len(samples) < MinTrendRuns {
		r.Why = fmt.Sprintf("too few runs: %d, and a change shows over %d or more", len(samples), MinTrendRuns)
		return r, nil
	}
	o.findChanges(r)
	return r, nil
}

// mustAgree are the fields of the environment in which all runs of a history are alike; what else differs is told.
var mustAgree = []string{"scenario", "scenario.digest", "topology.digest", "axes", "engine"}

func checkSameExperiment(samples []Sample) error {
	last := samples[len(samples)-1]
	for _, s := range samples[:len(samples)-1] {
		for _, d := range Differences(s.Manifest, last.Manifest, false) {
			if slices.Contains(mustAgree, d.Field) {
				return fmt.Errorf("trend: the %s of %s is %s, that of %s %s: a history is of one experiment, so leave out the runs of the other",
					d.Field, s.Source, orNone(d.Baseline), last.Source, orNone(d.Candidate))
			}
		}
	}
	return nil
}

// trendRuns says of each run what it is, and what changed since the one before. A run that has not all of its cells has no points:
// its figures would be those of other cells.
func trendRuns(samples []Sample) []TrendRun {
	var runs []TrendRun
	for i := range samples {
		s := &samples[i]
		run := TrendRun{Source: s.Source, Start: s.Manifest.Start, Commit: s.Manifest.Versions.Commit, Trials: s.Trials()}
		if i > 0 {
			for _, d := range Differences(samples[i-1].Manifest, s.Manifest, false) {
				run.Changed = append(run.Changed, d.Field+": "+orNone(d.Baseline)+" → "+orNone(d.Candidate))
			}
		}
		cells, gap := plannedCells(s)
		missing := 0
		for _, c := range cells {
			if c.Trials() == 0 {
				missing++
			}
		}
		switch {
		case !s.Manifest.Complete || s.Truncated > 0:
			run.LeftOut = "it did not end"
		case gap != "":
			run.LeftOut = gap
		case missing > 0:
			run.LeftOut = fmt.Sprintf("%d of %d cells have no trial", missing, len(cells))
		case s.Manifest.Shard != "":
			run.LeftOut = "it is shard " + s.Manifest.Shard
		}
		if lacking, _ := s.untold(); lacking > 0 && run.LeftOut == "" {
			run.LeftOut = fmt.Sprintf("%d trials that were to run have no verdict", lacking)
		}
		for j := range samples[:i] {
			if run.LeftOut == "" && s.same(&samples[j]) {
				run.LeftOut = "it is " + samples[j].Source + " again"
			}
		}
		runs = append(runs, run)
	}
	return runs
}

// groupsOf lists the strategies of all runs.
func groupsOf(samples []Sample) (groups []string) {
	for i := range samples {
		for _, g := range samples[i].Groups() {
			if !slices.Contains(groups, g) {
				groups = append(groups, g)
			}
		}
	}
	return groups
}

func seriesOf(samples []Sample, runs []TrendRun, m Metric, group string) Series {
	s := Series{Metric: m.String(), Group: group, Unit: m.Unit, Better: map[Better]string{Higher: "higher", Lower: "lower"}[m.Better]}
	for i := range samples {
		if runs[i].LeftOut != "" {
			continue
		}
		if p, ok := trendPoint(&samples[i], m, group); ok {
			p.Run = i
			s.Points = append(s.Points, p)
		}
	}
	return s
}

// trendPoint is the metric over all cells of a strategy; ok is false where no trial has it.
func trendPoint(s *Sample, m Metric, group string) (p TrendPoint, ok bool) {
	k := 0
	var values []float64
	for i := range s.Cells {
		c := &s.Cells[i]
		if c.Group() != group {
			continue
		}
		if m.IsRate() {
			ck, cn := c.Rate(m.Name)
			k, p.N = k+ck, p.N+cn
			continue
		}
		values = append(values, c.Sample(m.Name)...)
	}
	if m.IsRate() {
		if p.N == 0 {
			return p, false
		}
		low, high := stats.Wilson(k, p.N, record.Confidence)
		p.Value, p.Range = float64(k)/float64(p.N), &Interval{&low, &high}
		return p, true
	}
	if p.N = len(values); p.N == 0 {
		return p, false
	}
	slices.Sort(values)
	p.Value = stats.Quantile(values, m.P())
	if low, high, ok := stats.QuantileInterval(values, m.P(), record.Confidence); ok {
		p.Range = &Interval{&low, &high}
	}
	return p, true
}

// findChanges looks for changes in each series that is long enough to show one at its share of alpha.
func (o TrendOptions) findChanges(r *TrendReport) {
	alpha := o.Alpha / float64(max(1, len(r.Series)))
	enough := enoughRuns(alpha)
	for i := range r.Series {
		s := &r.Series[i]
		if len(s.Points) < enough {
			s.Why = fmt.Sprintf("too few runs: %d have it, and a change in one of %d series shows over %d or more", len(s.Points), len(r.Series), enough)
			continue
		}
		xs := make([]float64, len(s.Points))
		for j, p := range s.Points {
			xs[j] = p.Value
		}
		permutations := max(o.Permutations, int(math.Ceil(5/alpha)))
		for _, c := range stats.ChangePoints(xs, alpha, permutations, o.rng(s)) {
			s.Changes = append(s.Changes, s.change(c, len(r.Series), r))
		}
	}
}

// enoughRuns is over how many runs a clean step in their middle is rarer than alpha among all their orders: it and its
// mirror image are two of n over n/2.
func enoughRuns(alpha float64) int {
	n := MinTrendRuns
	for 2/middleOrders(n) > alpha {
		n++
	}
	return n
}

// middleOrders is n over n/2.
func middleOrders(n int) float64 {
	orders := 1.0
	for i := 1; i <= n/2; i++ {
		orders *= float64(n-n/2+i) / float64(i)
	}
	return orders
}

// rng draws a series' permutations, whatever other series there are.
func (o TrendOptions) rng(s *Series) *rand.Rand {
	h := fnv.New64a()
	_, _ = h.Write([]byte(s.Metric + " " + s.Group))
	return rand.New(rand.NewPCG(o.Seed, h.Sum64()))
}

func (s *Series) change(c stats.ChangePoint, series int, r *TrendReport) TrendChange {
	t := TrendChange{
		Run: s.Points[c.At].Run, P: c.P, AdjustedP: min(1, c.P*float64(series)), Before: c.Before, After: c.After,
	}
	if s.Better != "" {
		worse := (c.After < c.Before) == (s.Better == "higher")
		t.Worse = &worse
	}
	run := r.Runs[t.Run]
	name := s.Metric
	if s.Group != "" {
		name += " [" + s.Group + "]"
	}
	show := func(x float64) string { return strconv.FormatFloat(x, 'g', 4, 64) }
	t.Text = fmt.Sprintf("%s: %s before, %s from %s on", name, show(c.Before), show(c.After), run.Source)
	if t.Worse != nil {
		t.Text += map[bool]string{true: ": worse", false: ": better"}[*t.Worse]
	}
	return t
}
