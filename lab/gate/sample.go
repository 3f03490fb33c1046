package gate

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/punchlab/punchlab/lab/record"
)

// StrategyKey is the parameter by which findings over all cells are grouped.
const StrategyKey = "strategy"

// Sample is all that a gate needs of a run: small, and the same whatever the order of the run's trials. A cell of which no
// trial was recorded is missing from Cells.
type Sample struct {
	Source    string          `json:"source"` // the run's folder, or file and line of a baseline
	Manifest  record.Manifest `json:"manifest"`
	Truncated int             `json:"truncated,omitempty"` // bytes of a torn last line
	Cells     []CellSample    `json:"cells"`               // in the scenario's order
}

// CellSample is one cell: a row for each trial with a verdict, in the trials' order, and the count of attempts without one.
type CellSample struct {
	Cell          int               `json:"cell"`
	Params        map[string]string `json:"params"`
	Oracle        string            `json:"oracle"`
	HarnessErrors int               `json:"harness_errors,omitempty"` // attempts, not trials
	Numbers       []int             `json:"numbers"`                  // of the trials
	Outcomes      Outcomes          `json:"outcomes"`                 // of Numbers, one each
	Intact        Column            `json:"intact,omitempty"`         // 1: every frame sent arrived byte for byte; 0: not; absent: none was sent
	Values        map[string]Column `json:"values"`                   // by metric without statistic: one for each of Numbers
}

// Trials counts the cell's trials with a verdict.
func (c *CellSample) Trials() int { return len(c.Numbers) }

// Group is the strategy that ran in the cell, "" where the scenario has no such axis.
func (c *CellSample) Group() string { return c.Params[StrategyKey] }

// Key tells the cell from all others of its scenario, by parameters and not by its place: "camera.nat=open strategy=direct".
func (c *CellSample) Key() string { return key(c.Params) }

func key(params map[string]string, without ...string) string {
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(params)) {
		if slices.Contains(without, k) {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(k + "=" + params[k])
	}
	return b.String()
}

// Rate returns k of n for one of Rates. n is 0 where no trial tells.
func (c *CellSample) Rate(name string) (k, n int) {
	switch name {
	case "intact_rate":
		for _, v := range c.Intact {
			if !absent(v) {
				k, n = k+int(v), n+1
			}
		}
		return k, n
	case "harness_error_rate":
		return c.HarnessErrors, c.HarnessErrors + len(c.Numbers)
	}
	for i := range c.Outcomes {
		if c.Success(name, i) == 1 {
			k++
		}
	}
	return k, len(c.Outcomes)
}

// Success says whether the trial at row i counts for one of Rates: 1 yes, 0 no, NaN: it does not tell.
func (c *CellSample) Success(name string, i int) float64 {
	o, yes := c.Outcomes[i], false
	switch name {
	case "direct_rate":
		yes = o == record.Direct
	case "connected_rate":
		yes = o == record.Direct || o == record.Relayed
	case "relayed_rate":
		yes = o == record.Relayed
	case "failed_rate":
		yes = o == record.Failed
	case "intact_rate":
		return c.Intact.at(i)
	default:
		return none
	}
	if yes {
		return 1
	}
	return 0
}

// Value returns the value of a metric (without statistic) of the trial at row i, NaN where it has none.
func (c *CellSample) Value(name string, i int) float64 { return c.Values[name].at(i) }

// Sample returns the values of a metric (without statistic) of the trials that have one, in the trials' order.
func (c *CellSample) Sample(name string) []float64 {
	col := c.Values[name]
	xs := make([]float64, 0, len(col))
	for _, v := range col {
		if !absent(v) {
			xs = append(xs, v)
		}
	}
	return xs
}

// Names lists the metrics (without statistic) of which any trial of the sample has a value: those of Values in their order, then
// bytes and probes in that of the alphabet.
func (s *Sample) Names() []string {
	has := map[string]bool{}
	for _, c := range s.Cells {
		for name := range c.Values {
			has[name] = true
		}
	}
	var names []string
	for _, m := range Values {
		if has[m.Name] {
			names = append(names, m.Name)
			delete(has, m.Name)
		}
	}
	return append(names, slices.Sorted(maps.Keys(has))...)
}

// Groups lists the strategies, in the axis's order where the manifest tells it.
func (s *Sample) Groups() []string {
	var names []string
	for _, a := range s.Manifest.Axes {
		if a.Key == StrategyKey {
			names = slices.Clone(a.Values)
		}
	}
	for i := range s.Cells {
		if g := s.Cells[i].Group(); !slices.Contains(names, g) {
			names = append(names, g)
		}
	}
	ran := func(g string) bool {
		return slices.ContainsFunc(s.Cells, func(c CellSample) bool { return c.Group() == g })
	}
	return slices.DeleteFunc(names, func(g string) bool { return !ran(g) })
}

// Trials counts the trials with a verdict.
func (s *Sample) Trials() int {
	n := 0
	for i := range s.Cells {
		n += s.Cells[i].Trials()
	}
	return n
}

// HarnessErrors counts the attempts without a verdict.
func (s *Sample) HarnessErrors() int {
	n := 0
	for i := range s.Cells {
		n += s.Cells[i].HarnessErrors
	}
	return n
}

// FromRun makes a sample of a run that has been read whole.
func FromRun(run *record.Run) (Sample, error) {
	b := NewBuilder(run.Manifest)
	for _, t := range run.Trials {
		if err := b.Add(t); err != nil {
			return Sample{}, fmt.Errorf("sample %s: %w", run.Dir, err)
		}
	}
	s := b.Sample()
	s.Source, s.Truncated = run.Dir, run.Truncated
	return s, nil
}
