package gate

import (
	"fmt"
	"maps"
	"math"

	"github.com/punchlab/punchlab/lab/record"
)

// plannedCells are those of the run's axes, in their order: what was recorded of each, and an empty sample for one that has
// nothing. A shard answers for its own cells alone. gap says what is missing of a run that does not name its axes.
func plannedCells(s *Sample) (cells []*CellSample, gap string) {
	m := s.Manifest
	if n := countCells(m); n < len(s.Cells) || m.Shard != "" {
		for i := range s.Cells {
			cells = append(cells, &s.Cells[i])
		}
		if missing := m.Cells - len(s.Cells); missing > 0 && m.Shard == "" {
			gap = fmt.Sprintf("%d of %d cells have no trial", missing, m.Cells)
		}
		return cells, gap
	}
	at := map[string]*CellSample{}
	for i := range s.Cells {
		at[s.Cells[i].Key()] = &s.Cells[i]
	}
	for i, params := range combine(m.Axes) {
		c := at[key(params)]
		if c == nil {
			c = &CellSample{Cell: i, Params: params}
		}
		cells = append(cells, c)
	}
	return cells, ""
}

// countCells is how many cells the axes have; 0 where none is named.
func countCells(m record.Manifest) int {
	if len(m.Axes) == 0 {
		return 0
	}
	n := 1
	for _, a := range m.Axes {
		n = min(n*len(a.Values), math.MaxInt32)
	}
	return n
}

// combine lists every combination of the axes' values, the last axis turning fastest.
func combine(axes []record.Axis) []map[string]string {
	cells := []map[string]string{{}}
	for _, a := range axes {
		next := make([]map[string]string, 0, len(cells)*len(a.Values))
		for _, c := range cells {
			for _, v := range a.Values {
				d := maps.Clone(c)
				d[a.Key] = v
				next = append(next, d)
			}
		}
		cells = next
	}
	return cells
}

// thresholdGroup is the cells that are pooled for one judgement.
type thresholdGroup struct {
	name  string
	cells []*CellSample
}

// groups divides the cells that fulfil the conditions; there is at least one group, which may be empty.
func (t Threshold) groups(cells []*CellSample) []thresholdGroup {
	var groups []thresholdGroup
	at := map[string]int{}
	for _, c := range cells {
		if !t.matches(c) {
			continue
		}
		name := t.groupOf(c)
		i, ok := at[name]
		if !ok {
			i, at[name] = len(groups), len(groups)
			groups = append(groups, thresholdGroup{name: name})
		}
		groups[i].cells = append(groups[i].cells, c)
	}
	if len(groups) == 0 {
		groups = []thresholdGroup{{}}
	}
	return groups
}

func (t Threshold) groupOf(c *CellSample) string {
	switch t.By {
	case "":
		return ""
	case byCell:
		return c.Key()
	}
	if v := axisValue(t.By, c); v != "" {
		return t.By + "=" + v
	}
	return t.By + " unknown"
}
