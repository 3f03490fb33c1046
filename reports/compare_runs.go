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
	Unlike     bool // they differ in what a gate asks to be alike
}

// expected are the fields in which two runs differ by nature: that says nothing.
var expected = []string{"source", "start", "commit", "trials with a verdict", "harness errors", "seed"}

// fields compares the runs line by line: what differs, with what should not first, and what does not.
func (c *sides) fields() (differ, same []runField) {
	a, b := describe(c.a, c.verdict.A), describe(c.b, c.verdict.B)
	for i, p := range a {
		f := runField{Name: p.Key, A: orDash(printable(p.Value)), B: orDash(printable(b[i].Value))}
		if f.A == f.B {
			same = append(same, f)
			continue
		}
		f.Unlike = !slices.Contains(expected, p.Key)
		differ = append(differ, f)
	}
	slices.SortStableFunc(differ, func(x, y runField) int {
		rank := map[bool]int{true: 0, false: 1}
		return rank[x.Unlike] - rank[y.Unlike]
	})
	return differ, same
}

// fieldsSay sums them up.
func fieldsSay(differ []runField) string {
	n := 0
	for _, f := range differ {
		if f.Unlike {
			n++
		}
	}
	if n == 0 {
		return "Nothing that a gate asks to be alike: a difference below is the candidate's, or chance."
	}
	return fmt.Sprintf("They are unlike in %s that a gate asks to be alike: no difference below can be laid to the candidate alone.",
		plural(n, "field"))
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
