package gate

import (
	"fmt"
	"slices"
	"strings"

	"github.com/punchlab/punchlab/lab/stats"
)

// Compare decides whether candidate b has regressed against baseline a. Runs of unlike environments are refused with *Unlike.
//
// A finding fails if its p-value, adjusted for all findings of its family, is below the family's share of Alpha and the effect is
// at least the margin. It passes if the interval of the effect excludes a regression as large as the tolerance. The verdict
// fails if anything fails, and passes if every finding over all cells that has to pass does, no cell fails and nothing is missing.
// A run says nothing of itself: it does not pass against itself.
func Compare(a, b Sample, o Options) (*Verdict, error) {
	var problems []string
	if a.same(&b) {
		problems = []string{fmt.Sprintf("%s and %s are one and the same run: name another as the baseline", a.Source, b.Source)}
	}
	return compare(a, b, o, problems)
}

// compare is Compare of two sides that cannot pass if there are problems.
func compare(a, b Sample, o Options, problems []string) (*Verdict, error) {
	r, err := o.rules()
	if err != nil {
		return nil, fmt.Errorf("compare: %w", err)
	}
	for _, s := range []*Sample{&a, &b} {
		if err := s.validate(); err != nil {
			return nil, fmt.Errorf("compare: %w", err)
		}
	}
	allowed, err := checkLike(a, b, o)
	if err != nil {
		return nil, err
	}
	ms := matchCells(&a, &b)
	v := &Verdict{
		Schema: VerdictSchema, Scenario: b.Manifest.Scenario.Name, Engine: b.Manifest.Engine,
		Alpha: r.Alpha, Confidence: r.Confidence, Paired: r.Paired, Allowed: allowed,
		A: sideOf(a), B: sideOf(b), Problems: append(problems, r.problems(&a, &b, ms)...), Overall: []Finding{}, Cells: []CellVerdict{},
	}
	c := &comparison{rules: r, matches: ms}
	c.run(groups(a, b))
	c.fill(v)
	v.decide(r.decideOnly)
	return v, nil
}

// CompareStrategies compares two strategies of one run pair by pair, as they met the same cells on common seeds: a is the baseline.
func CompareStrategies(s Sample, a, b string, o Options) (*Verdict, error) {
	o.Paired = true
	sides := [2]Sample{}
	for i, name := range []string{a, b} {
		sides[i] = s
		sides[i].Cells = nil
		sides[i].Manifest.Cells = 0
		for _, c := range s.Cells {
			if c.Group() != name {
				continue
			}
			params := make(map[string]string, len(c.Params))
			for k, v := range c.Params {
				if k != StrategyKey {
					params[k] = v
				}
			}
			c.Params = params
			sides[i].Cells = append(sides[i].Cells, c)
		}
		if len(sides[i].Cells) == 0 {
			return nil, fmt.Errorf("compare strategies: %s has no cell of strategy %q: it ran %s", s.Source, name, strings.Join(s.Groups(), ", "))
		}
	}
	v, err := compare(sides[0], sides[1], o, nil)
	if err != nil {
		return nil, err
	}
	v.A.Strategy, v.B.Strategy = a, b
	return v, nil
}

func sideOf(s Sample) Side {
	m := s.Manifest
	side := Side{
		Source: s.Source, Commit: m.Versions.Commit, Dirty: m.Versions.Dirty, Start: m.Start, Seed: m.Seed,
		Trials: s.Trials(), HarnessErrors: s.HarnessErrors(), Complete: m.Complete && s.Truncated == 0,
	}
	for i := range s.Cells {
		if s.Cells[i].Trials() > 0 {
			side.Cells++
		}
	}
	return side
}

// groups are the strategies of either side.
func groups(a, b Sample) []string {
	names := a.Groups()
	for _, g := range b.Groups() {
		if !slices.Contains(names, g) {
			names = append(names, g)
		}
	}
	return names
}

// comparison is the work of Compare.
type comparison struct {
	rules
	matches []match
	overall []*test
	cells   [][]*test // of each match
}

// run makes all findings, adjusts them in their families and decides them.
func (c *comparison) run(groups []string) {
	values := c.values()
	if len(groups) > 1 { // what befalls all strategies shows here first
		every := func(match) bool { return true }
		c.over(AllStrategies, every, func(m measure) bool { return !m.watched }, values)
	}
	for _, g := range groups {
		c.over(g, func(m match) bool { return m.group == g }, func(measure) bool { return true }, values)
	}
	c.cells = make([][]*test, len(c.matches))
	for i := range c.matches {
		if !c.matches[i].told() {
			continue
		}
		for _, m := range c.measures {
			if t := c.test(m, "", []int{i}, values[m.Name]); t != nil {
				c.cells[i] = append(c.cells[i], t)
			}
		}
	}
	fs := c.families()
	for _, t := range c.overall {
		fs.over(t).add(t)
	}
	for _, ts := range c.cells {
		for _, t := range ts {
			fs.cell(t.measure.Metric).add(t)
		}
	}
	for _, f := range []*family{&fs.required, &fs.watched, &fs.cellRates, &fs.cellValues} {
		if c.decideOnly {
			for _, t := range f.tests {
				t.strength = nil
			}
		}
		f.adjust()
		for _, t := range f.tests {
			t.decide(&c.rules)
		}
	}
}

// over makes the findings of some measures over some cells together.
func (c *comparison) over(group string, member func(match) bool, has func(measure) bool, values map[string][]stratum) {
	var members []int
	for i, m := range c.matches {
		if member(m) {
			members = append(members, i)
		}
	}
	for _, m := range c.measures {
		if !has(m) {
			continue
		}
		if t := c.test(m, group, members, values[m.Name]); t != nil {
			c.overall = append(c.overall, t)
		}
	}
}

// values collects the values that the measures are about, by name, for each match.
func (c *comparison) values() map[string][]stratum {
	byName := map[string][]stratum{}
	for _, m := range c.measures {
		if m.IsRate() || byName[m.Name] != nil {
			continue
		}
		vs := make([]stratum, len(c.matches))
		for i, cell := range c.matches {
			if cell.told() {
				vs[i] = c.stratum(m.Metric, cell)
			}
		}
		byName[m.Name] = vs
	}
	return byName
}

func (c *comparison) stratum(m Metric, cell match) (v stratum) {
	if !c.Paired {
		v.a, v.b = cell.a.Sample(m.Name), cell.b.Sample(m.Name)
		v.lostA, v.lostB = cell.a.Trials()-len(v.a), cell.b.Trials()-len(v.b)
	} else {
		for _, p := range cell.rows() {
			v.pair(m, cell.a.Value(m.Name, p[0]), cell.b.Value(m.Name, p[1]))
		}
	}
	slices.Sort(v.a)
	slices.Sort(v.b)
	return v
}

// pair adds the values of two trials on common seeds.
func (v *stratum) pair(m Metric, a, b float64) {
	switch {
	case absent(a) && absent(b):
	case absent(a):
		v.lostA, v.lost = v.lostA+1, append(v.lost, [2]float64{m.worst(), b})
	case absent(b):
		v.lostB, v.lost = v.lostB+1, append(v.lost, [2]float64{a, m.worst()})
	default:
		v.pairs = append(v.pairs, [2]float64{a, b})
		v.a, v.b = append(v.a, a), append(v.b, b)
	}
}

// test makes the finding of a measure over some matches, nil where neither side knows it and nobody asked.
func (c *comparison) test(m measure, group string, members []int, values []stratum) *test {
	var t *test
	if m.IsRate() {
		ms := make([]match, 0, len(members))
		for _, i := range members {
			ms = append(ms, c.matches[i])
		}
		if c.Paired && m.Name != "harness_error_rate" {
			t = c.pairedRateTest(m, group, ms)
		} else {
			t = c.rateTest(m, group, ms)
		}
	} else {
		var strata, all []stratum
		var a, b []float64
		for _, i := range members {
			v := values[i]
			a, b = append(a, v.a...), append(b, v.b...)
			if len(v.a) > 0 && len(v.b) > 0 {
				strata = append(strata, v)
			}
			if len(v.a)+len(v.b)+len(v.lost) > 0 {
				all = append(all, v)
			}
		}
		t = c.quantileTest(m, group, strata, all, m.of(a), m.of(b))
	}
	if t.A.N == 0 && t.B.N == 0 && !m.asked {
		return nil
	}
	return t
}

// of returns the metric of values, which it sorts.
func (m Metric) of(xs []float64) Figure {
	if len(xs) == 0 {
		return Figure{}
	}
	slices.Sort(xs)
	return Figure{N: len(xs), Value: number(stats.Quantile(xs, m.P()))}
}

// fill copies the findings into a verdict.
func (c *comparison) fill(v *Verdict) {
	for _, t := range c.overall {
		v.Overall = append(v.Overall, t.Finding)
	}
	for i, m := range c.matches {
		cv := CellVerdict{Cell: m.cell, Params: m.params, Oracle: m.oracle, Findings: []Finding{}}
		for _, t := range c.cells[i] {
			cv.Findings = append(cv.Findings, t.Finding)
		}
		cv.decide(m)
		v.Cells = append(v.Cells, cv)
	}
}
