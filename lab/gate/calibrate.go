package gate

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/punchlab/punchlab/lab/record"
	"github.com/punchlab/punchlab/lab/stats"
)

// Plan is what a calibration tries.
type Plan struct {
	Gates   int       // A/A; 0: 1000
	Trials  int       // of each side in each cell; 0: half of the smallest cell
	Each    int       // gates for each size of each effect; 0: 200
	Drops   []float64 // of the direct rate; nil: 0.01 … 0.15
	Tails   []float64 // of p95; nil: 0.02 … 0.20
	Shifts  []float64 // of every time; nil: 0.02 … 0.20
	Workers int       // 0: GOMAXPROCS
}

// Sizes of the regressions that are injected, where the plan does not say.
var (
	defaultDrops = []float64{0.01, 0.02, 0.03, 0.05, 0.07, 0.09, 0.12, 0.15}
	defaultTimes = []float64{0.02, 0.05, 0.08, 0.10, 0.15, 0.20}
)

// leastTrials is how many trials of a cell each side of a gate must have.
const leastTrials = 2

// filled returns the plan with its defaults for a sample.
func (p Plan) filled(s *Sample) (Plan, error) {
	smallest := &s.Cells[0]
	for i := range s.Cells {
		if s.Cells[i].Trials() < smallest.Trials() {
			smallest = &s.Cells[i]
		}
	}
	if p.Trials == 0 {
		p.Trials = smallest.Trials() / 2
	}
	switch {
	case p.Trials < leastTrials || 2*p.Trials > smallest.Trials():
		return p, fmt.Errorf("cell %d (%s) of %s has %d trials: two sides of %d need %d: run more trials a cell",
			smallest.Cell, smallest.Key(), s.Source, smallest.Trials(), max(p.Trials, leastTrials), 2*max(p.Trials, leastTrials))
	case p.Gates < 0 || p.Each < 0 || p.Workers < 0:
		return p, fmt.Errorf("%d gates, %d for each effect, %d workers: give 0 or more", p.Gates, p.Each, p.Workers)
	}
	fill := func(v *int, or int) {
		if *v == 0 {
			*v = or
		}
	}
	fill(&p.Gates, 1000)
	fill(&p.Each, 200)
	fill(&p.Workers, runtime.GOMAXPROCS(0))
	fillSizes := func(v *[]float64, or []float64) {
		if *v == nil {
			*v = or
		}
	}
	fillSizes(&p.Drops, defaultDrops)
	fillSizes(&p.Tails, defaultTimes)
	fillSizes(&p.Shifts, defaultTimes)
	for _, size := range slices.Concat(p.Drops, p.Tails, p.Shifts) {
		if !(size > 0 && size < 10) {
			return p, fmt.Errorf("an effect of size %v: give more than 0", size)
		}
	}
	return p, nil
}

// points are what the plan tries, in the order of the report.
func (p Plan) points(timed string) []CalibrationPoint {
	points := []CalibrationPoint{{Effect: NoEffect, Gates: p.Gates}}
	add := func(e Effect, metric string, sizes []float64) {
		for _, size := range sizes {
			points = append(points, CalibrationPoint{Effect: e, Metric: metric, Size: size, Gates: p.Each})
		}
	}
	add(DirectDrop, "direct_rate", p.Drops)
	if timed != "" {
		add(SlowTail, timed+".p95", p.Tails)
		add(SlowAll, timed+".p50", p.Shifts)
	}
	return points
}

// Calibrate finds out how often Compare errs: each gate is on two disjoint subsets of a large run, drawn at random in each cell, with
// or without a regression injected into the second. The result depends on the sample, the options, the plan and rng, and
// not on the number of workers. progress is called after each gate, one call at a time; nil: not.
func Calibrate(ctx context.Context, s Sample, o Options, p Plan, rng *rand.Rand, progress func(done, total int)) (*Calibration, error) {
	if s.Trials() == 0 {
		return nil, fmt.Errorf("calibrate: %s has no trial with a verdict: nothing was executed", s.Source)
	}
	if err := s.validate(); err != nil {
		return nil, fmt.Errorf("calibrate: %w", err)
	}
	p, err := p.filled(&s)
	if err != nil {
		return nil, fmt.Errorf("calibrate: %w", err)
	}
	r, err := o.rules()
	if err != nil {
		return nil, fmt.Errorf("calibrate: %w", err)
	}
	o.decideOnly, o.Paired = true, false
	m := s.Manifest
	c := &Calibration{
		Schema: CalibrationSchema, Source: s.Source, Scenario: m.Scenario.Name, Engine: m.Engine, Commit: m.Versions.Commit, Start: m.Start,
		Cells: len(s.Cells), Trials: s.Trials(), PerCell: p.Trials, Alpha: r.Alpha, Confidence: record.Confidence, Seed: rng.Uint64(),
	}
	c.Points = p.points(s.timed())
	if err := c.gates(ctx, &lottery{sample: s, direct: s.directRates(), trials: p.Trials}, o, p.Workers, progress); err != nil {
		return nil, fmt.Errorf("calibrate: %w", err)
	}
	for i := range c.Points {
		pt := &c.Points[i]
		low, high := stats.ClopperPearson(pt.Failed, pt.Gates, c.Confidence)
		pt.Red = Red{Value: float64(pt.Failed) / float64(pt.Gates), Low: low, High: high}
	}
	return c, nil
}

// gates runs every gate of every point.
func (c *Calibration) gates(ctx context.Context, l *lottery, o Options, workers int, progress func(done, total int)) error {
	var point []int // of each gate
	for i, pt := range c.Points {
		point = append(point, slices.Repeat([]int{i}, pt.Gates)...)
	}
	var (
		next   atomic.Int64
		mu     sync.Mutex
		wg     sync.WaitGroup
		failed error
		done   int
	)
	for range workers {
		wg.Go(func() {
			for ctx.Err() == nil {
				n := int(next.Add(1)) - 1
				if n >= len(point) {
					return
				}
				pt := &c.Points[point[n]]
				a, b := l.draw(rand.New(rand.NewPCG(c.Seed, uint64(n))), pt.Effect, pt.Size)
				v, err := Compare(a, b, o)
				mu.Lock()
				if err != nil {
					failed = errors.Join(failed, err)
					next.Store(int64(len(point)))
					mu.Unlock()
					return
				}
				pt.count(v)
				if done++; progress != nil {
					progress(done, len(point))
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return errors.Join(failed, ctx.Err())
}

// count adds a verdict to a point.
func (pt *CalibrationPoint) count(v *Verdict) {
	switch v.Decision {
	case Fail:
		pt.Failed++
	case Pass:
		pt.Passed++
	default:
		pt.Undecided++
	}
	named := func(f Finding) bool { return f.Metric == pt.Metric && f.Decision == Fail }
	if pt.Metric != "" && slices.ContainsFunc(v.Overall, named) {
		pt.Named++
	}
}
