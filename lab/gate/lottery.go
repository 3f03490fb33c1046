package gate

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/punchlab/punchlab/lab/record"
)

// lottery draws the two sides of a calibration's gate from a large run. It is safe for concurrent use.
type lottery struct {
	sample Sample
	direct map[string]float64 // rate of each group
	trials int                // of each side in each cell
}

// setUpTimes are the values that an effect on time scales, the ones that a report puts first at the front.
var setUpTimes = []string{"first_frame_ratio", "first_packet_ratio", "connect_s", "first_frame_s", "first_packet_s"}

// timed returns the time that effects are about, "" where the run has none.
func (s *Sample) timed() string {
	names := s.Names()
	for _, name := range setUpTimes {
		if slices.Contains(names, name) {
			return name
		}
	}
	return ""
}

func (s *Sample) directRates() map[string]float64 {
	k, n := map[string]int{}, map[string]int{}
	for i := range s.Cells {
		c := &s.Cells[i]
		direct, of := c.Rate("direct_rate")
		k[c.Group()], n[c.Group()] = k[c.Group()]+direct, n[c.Group()]+of
	}
	rates := map[string]float64{}
	for g := range n {
		rates[g] = float64(k[g]) / float64(max(1, n[g]))
	}
	return rates
}

// draw returns two disjoint subsets of each cell's trials, and the effect in the second.
func (l *lottery) draw(rng *rand.Rand, e Effect, size float64) (a, b Sample) {
	a, b = l.side("baseline"), l.side("candidate")
	for i := range l.sample.Cells {
		c := &l.sample.Cells[i]
		order := rng.Perm(c.Trials())
		a.Cells = append(a.Cells, c.pick(order[:l.trials]))
		worse := c.pick(order[l.trials : 2*l.trials])
		switch e {
		case DirectDrop:
			worse.dropDirect(min(1, size/l.direct[c.Group()]), rng) // no direct trial, none to drop
		case SlowTail:
			worse.slow(size, (l.trials+9)/10)
		case SlowAll:
			worse.slow(size, l.trials)
		}
		b.Cells = append(b.Cells, worse)
	}
	return a, b
}

func (l *lottery) side(name string) Sample {
	s := Sample{Source: l.sample.Source + " (" + name + ")", Manifest: l.sample.Manifest}
	s.Manifest.Complete, s.Manifest.Cells = true, len(l.sample.Cells)
	s.Manifest.TrialsPerCell, s.Manifest.Shard, s.Manifest.Stop = 0, "", "" // drawn trials keep their numbers and are no plan
	return s
}

// pick returns the cell with some of its rows only, in their order. Its columns are its own.
func (c *CellSample) pick(rows []int) CellSample {
	rows = slices.Sorted(slices.Values(rows))
	column := func(col Column) Column {
		out := make(Column, len(rows))
		for i, row := range rows {
			out[i] = col.at(row)
		}
		return out
	}
	out := CellSample{Cell: c.Cell, Params: c.Params, Oracle: c.Oracle, Values: make(map[string]Column, len(c.Values))}
	for _, row := range rows {
		out.Numbers, out.Outcomes = append(out.Numbers, c.Numbers[row]), append(out.Outcomes, c.Outcomes[row])
	}
	if c.Intact != nil {
		out.Intact = column(c.Intact)
	}
	for name, col := range c.Values {
		out.Values[name] = column(col)
	}
	return out
}

// dropDirect makes each direct trial a relayed one with probability p: the direct path's failure, which nothing but the direct
// rate tells.
func (c *CellSample) dropDirect(p float64, rng *rand.Rand) {
	for i, o := range c.Outcomes {
		if o == record.Direct && rng.Float64() < p {
			c.Outcomes[i] = record.Relayed
		}
	}
}

// slow makes the slowest trials take size longer, in each of the set-up times by itself: of the slowest tenth of a cell, its p95 grows
// by size and its median stays.
func (c *CellSample) slow(size float64, slowest int) {
	for _, name := range setUpTimes {
		col := c.Values[name]
		rows := make([]int, len(col))
		for i := range rows {
			rows[i] = i
		}
		rank := func(v float64) float64 {
			if absent(v) {
				return math.Inf(-1)
			}
			return v
		}
		slices.SortStableFunc(rows, func(i, j int) int { return cmp.Compare(rank(col[j]), rank(col[i])) })
		for _, i := range rows[:min(slowest, len(rows))] {
			col[i] *= 1 + size
		}
	}
}
