package record

import (
	"maps"
	"slices"
	"time"

	"github.com/punchlab/punchlab/lab/stats"
)

// Confidence is that of every interval in a summary.
const Confidence = 0.95

// Summarize computes the summary. It is a pure function of its arguments and does not depend on the order of trials.
// Cells are in the scenario's order; one of which no trial has been recorded is absent.
func Summarize(m Manifest, trials []Trial, wall time.Duration) Summary {
	var s Summarizer
	for _, t := range trials {
		s.Add(t)
	}
	return s.Summary(m, wall)
}

// SummarizeRun reads the run in dir, trial by trial, and computes its summary.
func SummarizeRun(dir string) (Summary, error) {
	var s Summarizer
	run, err := Scan(dir, func(t Trial) error {
		s.Add(t)
		return nil
	})
	if err != nil {
		return Summary{}, err
	}
	return s.Summary(run.Manifest, run.Wall()), nil
}

// SummarizeCell computes one cell from all trials recorded for it. Only trials with a verdict are measured; harness
// errors are counted in Outcomes and nowhere else.
func SummarizeCell(trials []Trial) Cell {
	c := newCellSum()
	for _, t := range trials {
		c.add(t)
	}
	return c.cell()
}

// Summarizer computes a summary from trials as they come, and keeps of each the figures that quantiles need. Its zero value is
// ready. It is not safe for concurrent use.
type Summarizer struct{ cells map[int]*cellSum }

// Add takes in a trial.
func (s *Summarizer) Add(t Trial) {
	if s.cells == nil {
		s.cells = map[int]*cellSum{}
	}
	if s.cells[t.Cell] == nil {
		s.cells[t.Cell] = newCellSum()
	}
	s.cells[t.Cell].add(t)
}

// Summary is Summarize's of the trials so far.
func (s *Summarizer) Summary(m Manifest, wall time.Duration) Summary {
	all := Summary{
		Schema: SummarySchema, Scenario: m.Scenario.Name, Engine: m.Engine, Seed: m.Seed,
		WallS: wall.Seconds(), Cells: []Cell{},
	}
	for _, i := range slices.Sorted(maps.Keys(s.cells)) {
		c := s.cells[i].cell()
		all.Trials += c.Trials
		all.Cells = append(all.Cells, c)
	}
	return all
}

// cellSum is one cell's trials so far. The slices hold a value for each trial with a verdict that has one.
type cellSum struct {
	c                                                                Cell
	triangle, bound, connect, packet, packetRatio, frame, frameRatio []float64
	latency, goodput, loss, gap                                      []float64
	probes                                                           map[string][]float64
}

func newCellSum() *cellSum {
	c := Cell{Params: map[string]string{}, Outcomes: map[Outcome]int{}, Bytes: map[string]int64{}, Probes: map[string]*Dist{}}
	for _, o := range Outcomes {
		c.Outcomes[o] = 0
	}
	return &cellSum{c: c, probes: map[string][]float64{}}
}

func (s *cellSum) add(t Trial) {
	c := &s.c
	c.Outcomes[t.Outcome]++
	maps.Copy(c.Params, t.Params)
	if c.Oracle == "" {
		c.Oracle, c.Possible = t.Oracle, t.Possible
	}
	if !t.Outcome.HasVerdict() {
		return
	}
	c.Trials++
	s.triangle, s.bound = appendValue(s.triangle, t.TriangleS), appendValue(s.bound, t.BoundS)
	s.connect = appendValue(s.connect, t.ConnectS)
	s.packet, s.frame = appendValue(s.packet, t.FirstPacketS), appendValue(s.frame, t.FirstFrameS)
	s.packetRatio = appendValue(s.packetRatio, t.FirstPacketRatio())
	s.frameRatio = appendValue(s.frameRatio, t.FirstFrameRatio())
	for k, v := range t.Bytes {
		c.Bytes[k] += v
	}
	for k, v := range t.Probes {
		s.probes[k] = append(s.probes[k], v)
	}
	if t.Media != nil {
		s.addMedia(*t.Media)
	}
}

func (s *cellSum) addMedia(m Media) {
	if s.c.Media == nil {
		s.c.Media = &CellMedia{}
	}
	c := s.c.Media
	c.FramesSent += m.FramesSent
	c.FramesReceived += m.FramesReceived
	c.FramesIntact += m.FramesIntact
	s.latency = append(s.latency, m.LatencyS...)
	s.goodput, s.loss = appendValue(s.goodput, m.GoodputBps), appendValue(s.loss, m.Loss)
	s.gap = appendValue(s.gap, m.GapS)
}

// cell describes what the trials measured.
func (s *cellSum) cell() Cell {
	c := s.c
	if c.Trials > 0 {
		c.DirectRate = NewRate(c.Outcomes[Direct], c.Trials)
	}
	c.TriangleS, c.BoundS = median(s.triangle), median(s.bound)
	c.ConnectS = NewDist(s.connect)
	c.FirstPacketS, c.FirstPacketRatio = NewDist(s.packet), NewDist(s.packetRatio)
	c.FirstFrameS, c.FirstFrameRatio = NewDist(s.frame), NewDist(s.frameRatio)
	for k, v := range s.probes {
		c.Probes[k] = NewDist(v)
	}
	if m := c.Media; m != nil {
		m.LatencyS, m.GoodputBps, m.GapS = NewDist(s.latency), NewDist(s.goodput), NewDist(s.gap)
		m.Loss = mean(s.loss)
	}
	return c
}

// mean adds in order of size: the order of trials must not change the last digit of the sum.
func mean(xs []float64) *float64 {
	if len(xs) == 0 {
		return nil
	}
	slices.Sort(xs)
	sum := 0.0
	for _, x := range xs {
		sum += x
	}
	m := sum / float64(len(xs))
	return &m
}

// FirstPacketRatio is the first media packet's time over the triangle bound, nil where either is unknown.
func (t Trial) FirstPacketRatio() *float64 { return ratio(t.FirstPacketS, t.TriangleS) }

// FirstFrameRatio is the first whole frame's time over BoundS: the triangle bound and the time its bytes take on the
// path's slowest link. It is nil where either is unknown.
func (t Trial) FirstFrameRatio() *float64 { return ratio(t.FirstFrameS, t.BoundS) }

func ratio(a, b *float64) *float64 {
	if a == nil || b == nil || *b <= 0 {
		return nil
	}
	r := *a / *b
	return &r
}

// NewRate returns k of n with its Wilson interval; n must be over 0.
func NewRate(k, n int) *Rate {
	low, high := stats.Wilson(k, n, Confidence)
	return &Rate{Value: float64(k) / float64(n), Low: low, High: high}
}

// NewDist describes a sample, nil for an empty one.
func NewDist(xs []float64) *Dist {
	if len(xs) == 0 {
		return nil
	}
	d := Dist(stats.Describe(xs))
	return &d
}

func median(xs []float64) *float64 {
	if len(xs) == 0 {
		return nil
	}
	m := stats.Describe(xs).P50
	return &m
}

func appendValue(xs []float64, v *float64) []float64 {
	if v == nil {
		return xs
	}
	return append(xs, *v)
}
