package reports

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/punchlab/punchlab/lab/gate"
	"github.com/punchlab/punchlab/lab/record"
)

// runField is one line of what the runs are.
type runField struct {
	Name, A, B string
	Differs    string // "" where they are alike, otherwise what that means
}

// expected are the fields in which two runs differ by nature: that says nothing.
var expected = []string{"source", "start", "commit", "trials with a verdict", "harness errors", "seed"}

// fields compares the runs line by line, those that differ and should not first.
func (c *sides) fields() []runField {
	a, b := describe(c.a, c.verdict.A), describe(c.b, c.verdict.B)
	var fs []runField
	for i, p := range a {
		f := runField{Name: p.Key, A: orDash(printable(p.Value)), B: orDash(printable(b[i].Value))}
		switch {
		case f.A == f.B:
		case slices.Contains(expected, p.Key):
			f.Differs = "differs"
		default:
			f.Differs = "≠ unlike"
		}
		fs = append(fs, f)
	}
	slices.SortStableFunc(fs, func(x, y runField) int {
		unlike := func(f runField) int {
			if strings.HasPrefix(f.Differs, "≠") {
				return 0
			}
			return 1
		}
		return unlike(x) - unlike(y)
	})
	return fs
}

// describe lists what a run is.
func describe(s gate.Sample, side gate.Side) []pair {
	m := s.Manifest
	commit := m.Versions.Commit
	if m.Versions.Dirty {
		commit += " with uncommitted changes"
	}
	start := ""
	if !m.Start.IsZero() {
		start = m.Start.UTC().Format(time.RFC3339)
	}
	return []pair{
		{"source", s.Source}, {"start", start}, {"commit", commit}, {"scenario", m.Scenario.Name}, {"scenario digest", m.Scenario.Digest},
		{"topology", m.Topology.Name}, {"topology digest", m.Topology.Digest}, {"engine", m.Engine}, {"seed", fmt.Sprint(m.Seed)},
		{"axes", axesText(m.Axes)}, {"stop rule", m.Stop}, {"kernel", m.Kernel}, {"CPU", m.CPU.Model}, {"cores", fmt.Sprint(m.CPU.Cores)},
		{"limit of lateness", fmt.Sprint(m.LateLimitS) + " s"}, {"Go", m.Versions.Go}, {"cells", fmt.Sprint(side.Cells)},
		{"trials with a verdict", count(side.Trials)}, {"harness errors", count(side.HarnessErrors)}, {"complete", yes(side.Complete)},
	}
}

func axesText(as []record.Axis) string {
	var s []string
	for _, a := range as {
		s = append(s, a.Key+" = "+strings.Join(a.Values, ", "))
	}
	return strings.Join(s, "; ")
}
