package gate

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/punchlab/punchlab/lab/record"
	"github.com/punchlab/punchlab/lab/stats"
)

// Builder makes a Sample of trials that come one by one, in any order, and keeps nothing else of them. It rounds values to
// millionths, as baselines do: equal values stay equal whether they were written in between or not.
type Builder struct {
	manifest record.Manifest
	cells    map[int]*building
}

// building is a cell whose rows are not yet in order.
type building struct {
	cell CellSample
	rows []row
}

type row struct {
	number  int
	outcome record.Outcome
	intact  float64
}

// NewBuilder begins a sample of a run.
func NewBuilder(m record.Manifest) *Builder {
	return &Builder{manifest: essence(m), cells: map[int]*building{}}
}

// essence drops what no gate asks of a manifest, so that a baseline is small.
func essence(m record.Manifest) record.Manifest {
	m.Command, m.Sysctls, m.Strategies, m.Populations, m.Workers, m.Versions.Modules = nil, nil, nil, nil, nil, nil
	m.Scenario.Text, m.Topology.Text = "", ""
	return m
}

// Add takes a trial. It refuses one that the schema refuses, and one whose cell has other parameters than before.
func (b *Builder) Add(t record.Trial) error {
	if t.Schema == "" {
		t.Schema = record.TrialSchema
	}
	if err := t.Validate(); err != nil {
		return fmt.Errorf("trial %d of cell %d: %w", t.Trial, t.Cell, err)
	}
	c := b.cells[t.Cell]
	if c == nil {
		c = &building{cell: CellSample{Cell: t.Cell, Params: t.Params, Oracle: t.Oracle, Values: map[string]Column{}}}
		b.cells[t.Cell] = c
	}
	if !maps.Equal(c.cell.Params, t.Params) {
		return fmt.Errorf("trial %d of cell %d: params are %v, before they were %v: these are not the records of one run",
			t.Trial, t.Cell, t.Params, c.cell.Params)
	}
	if !t.Outcome.HasVerdict() {
		c.cell.HarnessErrors++
		return nil
	}
	c.add(t)
	return nil
}

// add appends a row; its place among the others is found by Sample.
func (c *building) add(t record.Trial) {
	n := len(c.rows)
	c.rows = append(c.rows, row{number: t.Trial, outcome: t.Outcome, intact: intact(t)})
	set := func(name string, v *float64) {
		if v == nil {
			return
		}
		col := c.cell.Values[name]
		for len(col) < n {
			col = append(col, none)
		}
		c.cell.Values[name] = append(col, round(*v))
	}
	set("connect_s", t.ConnectS)
	set("first_packet_s", t.FirstPacketS)
	set("first_packet_ratio", t.FirstPacketRatio())
	set("first_frame_s", t.FirstFrameS)
	set("first_frame_ratio", t.FirstFrameRatio())
	changes := float64(t.PathChanges)
	set("path_changes", &changes)
	if m := t.Media; m != nil {
		set("gap_s", m.GapS)
		set("loss", m.Loss)
		set("goodput_bps", m.GoodputBps)
		if len(m.LatencyS) > 0 {
			median := stats.Quantile(slices.Sorted(slices.Values(m.LatencyS)), 0.5)
			set("latency_s", &median)
		}
	}
	for k, v := range t.Bytes {
		f := float64(v)
		set(bytesPrefix+k, &f)
	}
	for k, v := range t.Probes {
		set(probesPrefix+k, &v)
	}
}

// intact is 1 for a trial whose every sent frame arrived byte for byte, 0 for another, NaN where none was sent.
func intact(t record.Trial) float64 {
	switch {
	case t.Media == nil || t.Media.FramesSent == 0:
		return none
	case t.Media.FramesIntact >= t.Media.FramesSent:
		return 1
	}
	return 0
}

// Sample returns what has been added so far. Its columns are its own.
func (b *Builder) Sample() Sample {
	s := Sample{Manifest: b.manifest}
	for _, i := range slices.Sorted(maps.Keys(b.cells)) {
		s.Cells = append(s.Cells, b.cells[i].finish())
	}
	return s
}

// finish brings the rows into the trials' order and the columns to one length.
func (c *building) finish() CellSample {
	out := c.cell
	order := make([]int, len(c.rows))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(i, j int) int { return cmp.Compare(c.rows[i].number, c.rows[j].number) })
	out.Numbers, out.Outcomes = make([]int, len(order)), make(Outcomes, len(order))
	out.Values = make(map[string]Column, len(c.cell.Values))
	seen := false
	column := make(Column, len(order))
	for place, i := range order {
		r := c.rows[i]
		out.Numbers[place], out.Outcomes[place], column[place] = r.number, r.outcome, r.intact
		seen = seen || !absent(r.intact)
	}
	if seen {
		out.Intact = column
	}
	for name, col := range c.cell.Values {
		sorted := make(Column, len(order))
		for place, i := range order {
			sorted[place] = col.at(i)
		}
		out.Values[name] = sorted
	}
	return out
}
