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
	s := Summary{
		Schema: SummarySchema, Scenario: m.Scenario.Name, Engine: m.Engine, Seed: m.Seed,
		WallS: wall.Seconds(), Cells: []Cell{},
	}
	byCell := map[int][]Trial{}
	for _, t := range trials {
		byCell[t.Cell] = append(byCell[t.Cell], t)
	}
	for _, i := range slices.Sorted(maps.Keys(byCell)) {
		c := SummarizeCell(byCell[i])
		s.Trials += c.Trials
		s.Cells = append(s.Cells, c)
	}
	return s
}

// SummarizeCell computes one cell from all trials recorded for it. Only trials with a verdict are measured; harness
// errors are counted in Outcomes and nowhere else.
func SummarizeCell(trials []Trial) Cell {
	c := Cell{
		Params: map[string]string{}, Outcomes: map[Outcome]int{},
		Bytes: map[string]int64{}, Probes: map[string]*Dist{},
	}
	for _, o := range Outcomes {
		c.Outcomes[o] = 0
	}
	var judged []Trial
	for _, t := range trials {
		c.Outcomes[t.Outcome]++
		maps.Copy(c.Params, t.Params)
		if c.Oracle == "" {
			c.Oracle, c.Possible = t.Oracle, t.Possible
		}
		if t.Outcome.HasVerdict() {
			judged = append(judged, t)
		}
	}
	c.Trials = len(judged)
	if c.Trials > 0 {
		c.DirectRate = NewRate(c.Outcomes[Direct], c.Trials)
	}
	c.measure(judged)
	return c
}

// measure fills in what the judged trials measured.
func (c *Cell) measure(judged []Trial) {
	var triangle, bound, connect, packet, packetRatio, frame, frameRatio []float64
	probes := map[string][]float64{}
	var media []Media
	for _, t := range judged {
		triangle, bound = appendValue(triangle, t.TriangleS), appendValue(bound, t.BoundS)
		connect = appendValue(connect, t.ConnectS)
		packet, frame = appendValue(packet, t.FirstPacketS), appendValue(frame, t.FirstFrameS)
		packetRatio = appendValue(packetRatio, t.FirstPacketRatio())
		frameRatio = appendValue(frameRatio, t.FirstFrameRatio())
		for k, v := range t.Bytes {
			c.Bytes[k] += v
		}
		for k, v := range t.Probes {
			probes[k] = append(probes[k], v)
		}
		if t.Media != nil {
			media = append(media, *t.Media)
		}
	}
	c.TriangleS, c.BoundS = median(triangle), median(bound)
	c.ConnectS = NewDist(connect)
	c.FirstPacketS, c.FirstPacketRatio = NewDist(packet), NewDist(packetRatio)
	c.FirstFrameS, c.FirstFrameRatio = NewDist(frame), NewDist(frameRatio)
	for k, v := range probes {
		c.Probes[k] = NewDist(v)
	}
	c.Media = summarizeMedia(media)
}

func summarizeMedia(media []Media) *CellMedia {
	if len(media) == 0 {
		return nil
	}
	var c CellMedia
	var latency, goodput, loss, gap []float64
	for _, m := range media {
		c.FramesSent += m.FramesSent
		c.FramesReceived += m.FramesReceived
		c.FramesIntact += m.FramesIntact
		latency = append(latency, m.LatencyS...)
		goodput, loss = appendValue(goodput, m.GoodputBps), appendValue(loss, m.Loss)
		gap = appendValue(gap, m.GapS)
	}
	c.LatencyS, c.GoodputBps, c.GapS = NewDist(latency), NewDist(goodput), NewDist(gap)
	if len(loss) > 0 {
		slices.Sort(loss) // the order of trials must not change the last digit of the sum
		sum := 0.0
		for _, l := range loss {
			sum += l
		}
		mean := sum / float64(len(loss))
		c.Loss = &mean
	}
	return &c
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
