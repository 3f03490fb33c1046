package gate

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/punchlab/punchlab/lab/record"
	"github.com/punchlab/punchlab/lab/stats"
)

// SequentialOptions say how sure a sequential run is to be. The zero value is the default.
type SequentialOptions struct {
	Alpha        float64 // chance that any of the run's cells fails though all keep their thresholds; 0: 0.01
	Beta         float64 // chance that a cell passes that misses its threshold by the indifference; 0: 0.05
	Indifference float64 // how far below the threshold a rate is surely bad, in 0–1; 0: 0.1
}

func (o SequentialOptions) withDefaults() SequentialOptions {
	if o.Alpha == 0 {
		o.Alpha = 0.01
	}
	if o.Beta == 0 {
		o.Beta = 0.05
	}
	if o.Indifference == 0 {
		o.Indifference = 0.1
	}
	return o
}

// Sequential ends cells as soon as their trials decide every threshold that they have to keep: Wald's test (stats.SPRT), cell by cell,
// on the trials in their order.
//
//	cell  0 1 2 3 4 5 …          a trial is good or not; one that does not tell is left out
//	      ✓ ✓ ✗ ✓ ✓ ✓   ──► pass: as good as the threshold
//	      ✓ ✗ ✗             ──► fail: worse than it by the indifference
//	      ✓ ✓ ✗ ✓ ✓ ✗ … n   ──► inconclusive: all trials, and neither
//
// What it decides depends on the records alone, whoever ran them and at whatever number of jobs. A threshold is held against each cell by
// itself, whatever its `by` says; a quantile is the rate of the values that keep to it, as it is for Judge. It is not safe for
// concurrent use.
type Sequential struct {
	o       SequentialOptions
	planned record.Manifest
	tests   []sequentialTest
	others  []Threshold // that no single trial tells anything of: Judge's
	cells   map[int]*sequentialCell
}

// sequentialTest is one threshold and its test, which is the same for all cells.
type sequentialTest struct {
	t    Threshold
	sprt stats.SPRT
}

// sequentialCell is how far a cell's tests have come.
type sequentialCell struct {
	trials int // that have been looked at
	states []sequentialState
}

// sequentialState is one test of one cell.
type sequentialState struct {
	applies  bool
	good, n  int
	used     int // trials up to the decision
	decision stats.Decision
}

// NewSequential makes the rule of a run whose manifest says its axes and its most trials a cell. Thresholds of which single trials say
// nothing (a minimum, a maximum, harness_error_rate) end no cell: Report judges them with the rest. It refuses a list that has
// none but these.
func NewSequential(m record.Manifest, thresholds []Threshold, o SequentialOptions) (*Sequential, error) {
	s := &Sequential{o: o.withDefaults(), planned: m, cells: map[int]*sequentialCell{}}
	for _, t := range thresholds {
		if t.extreme() || t.Metric.Name == harnessErrorRate {
			s.others = append(s.others, t)
			continue
		}
		s.tests = append(s.tests, sequentialTest{t: t})
	}
	if len(s.tests) == 0 {
		return nil, errors.New("sequential: no threshold is a rate or quantile of trials: nothing can be decided trial by trial")
	}
	if m.TrialsPerCell < 1 {
		return nil, errors.New("sequential: the manifest names no number of trials a cell")
	}
	alpha, beta := s.errorsOfTests()
	for i := range s.tests {
		t := s.tests[i].t
		s.tests[i].sprt = stats.SPRT{P0: t.target(), P1: t.target() - s.o.Indifference, Alpha: alpha, Beta: beta, MaxN: m.TrialsPerCell}
		if err := s.tests[i].sprt.Validate(); err != nil {
			return nil, fmt.Errorf("sequential: threshold %s, less %v: %w", t.Expect(), s.o.Indifference, err)
		}
		if n := s.tests[i].soonest(); n > m.TrialsPerCell {
			return nil, fmt.Errorf("sequential: %d trials a cell never show that one keeps %s: %d without a miss would, so give it some times as many",
				m.TrialsPerCell, t.Expect(), n)
		}
	}
	return s, nil
}

// soonest is how many trials without a miss pass a cell.
func (t sequentialTest) soonest() int {
	return countUp(1e6, func(n int) bool { return t.sprt.Decide(n, n) != stats.AcceptGood })
}

// errorsOfTests divides Alpha among all tests of all cells, and makes Wald's parameters of it, with which a test errs at most so often:
// good is called bad with probability α/(1−β) at most, and bad good with β/(1−α).
func (s *Sequential) errorsOfTests() (alpha, beta float64) {
	tests := 0
	for _, params := range combine(s.planned.Axes) {
		for _, test := range s.tests {
			if test.t.matches(&CellSample{Params: params}) {
				tests++
			}
		}
	}
	alpha = s.o.Alpha / float64(max(1, tests))
	return alpha * (1 - s.o.Beta), s.o.Beta * (1 - alpha)
}

// String is the rule on one line, for the manifest's Stop. With the manifest's thresholds it is all there is to know.
func (s *Sequential) String() string {
	f := func(x float64) string { return strconv.FormatFloat(x, 'g', -1, 64) }
	return "sprt alpha=" + f(s.o.Alpha) + " beta=" + f(s.o.Beta) + " indifference=" + f(s.o.Indifference)
}

// ParseSequential makes the rule of a run again from its manifest's Stop, Thresholds and axes.
func ParseSequential(m record.Manifest) (*Sequential, error) {
	words := strings.Fields(m.Stop)
	var o SequentialOptions
	fields := map[string]*float64{"alpha": &o.Alpha, "beta": &o.Beta, "indifference": &o.Indifference}
	if len(words) != 1+len(fields) || words[0] != "sprt" {
		return nil, fmt.Errorf("sequential: rule %q is none of this version: it begins with sprt alpha=", m.Stop)
	}
	for _, w := range words[1:] {
		name, value, _ := strings.Cut(w, "=")
		x, err := strconv.ParseFloat(value, 64)
		if fields[name] == nil || err != nil || !(x > 0 && x < 1) {
			return nil, fmt.Errorf("sequential: rule %q: %q is no part of it", m.Stop, w)
		}
		*fields[name] = x
		delete(fields, name)
	}
	ts, err := ParseThresholds(m.Thresholds)
	if err != nil {
		return nil, fmt.Errorf("sequential: %w", err)
	}
	return NewSequential(m, ts, o)
}

// Stop says whether a cell ends with the trials it has, in their order from 0. It is what runner.Plan.Stop asks for. A cell that has no
// threshold to keep never ends early.
func (s *Sequential) Stop(cell int, prefix []record.Trial) bool {
	c := s.cells[cell]
	if c == nil || c.trials > len(prefix) {
		c = &sequentialCell{}
		s.cells[cell] = c
	}
	for ; c.trials < len(prefix); c.trials++ {
		row, err := rowOf(prefix[c.trials])
		if err != nil {
			continue // a record that is none tells nothing
		}
		s.look(c, row, 0, c.trials+1)
	}
	return c.decided()
}

// decided says whether every test that the cell has, and it has one, came to an end.
func (c *sequentialCell) decided() bool {
	some := false
	for _, st := range c.states {
		if st.applies && st.decision == stats.Continue {
			return false
		}
		some = some || st.applies
	}
	return some
}

// look takes the trial at row i of a cell (of none: a harness error), the used-th of its trials, into account.
func (s *Sequential) look(c *sequentialCell, cell *CellSample, i, used int) {
	if c.states == nil {
		c.states = make([]sequentialState, len(s.tests))
		for j, test := range s.tests {
			c.states[j].applies = test.t.matches(cell)
		}
	}
	if i >= cell.Trials() {
		return
	}
	for j, test := range s.tests {
		st := &c.states[j]
		if !st.applies || st.decision != stats.Continue {
			continue
		}
		st.used = used
		good, tells := test.t.good(cell, i)
		if !tells {
			continue
		}
		st.n++
		if good {
			st.good++
		}
		st.decision = test.sprt.Decide(st.good, st.n)
	}
}
