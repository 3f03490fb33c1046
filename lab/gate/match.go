package gate

import (
	"fmt"
	"math"
	"slices"
)

// match is a cell on both sides; a side is nil where the run has no record of it.
type match struct {
	cell   int
	params map[string]string
	oracle string
	group  string
	a, b   *CellSample
}

// told reports whether both sides have a trial with a verdict.
func (m match) told() bool {
	return m.a != nil && m.b != nil && m.a.Trials() > 0 && m.b.Trials() > 0
}

// validate says what makes a sample no sample: columns of another length than its trials, a number that is none.
func (s *Sample) validate() error {
	seen := map[string]bool{}
	for i := range s.Cells {
		c := &s.Cells[i]
		where := fmt.Sprintf("%s: cell %d (%s)", s.Source, c.Cell, c.Key())
		if seen[c.Key()] {
			return fmt.Errorf("%s: is there twice", where)
		}
		seen[c.Key()] = true
		if len(c.Outcomes) != len(c.Numbers) || c.Intact != nil && len(c.Intact) != len(c.Numbers) {
			return fmt.Errorf("%s: %d trials, %d outcomes, %d of them intact or not", where, len(c.Numbers), len(c.Outcomes), len(c.Intact))
		}
		if c.HarnessErrors < 0 {
			return fmt.Errorf("%s: %d harness errors", where, c.HarnessErrors)
		}
		for name, col := range c.Values {
			if len(col) != len(c.Numbers) {
				return fmt.Errorf("%s: %d values of %s for %d trials", where, len(col), name, len(c.Numbers))
			}
			if slices.ContainsFunc(col, func(v float64) bool { return math.IsInf(v, 0) }) {
				return fmt.Errorf("%s: %s has a value that is infinite: leave out what was not measured", where, name)
			}
		}
	}
	return nil
}

// matchCells pairs the cells of two samples by their parameters, in the baseline's order, then the candidate's own.
func matchCells(a, b *Sample) []match {
	byKey := map[string]int{}
	var ms []match
	for i := range a.Cells {
		c := &a.Cells[i]
		byKey[c.Key()] = len(ms)
		ms = append(ms, match{cell: c.Cell, params: c.Params, oracle: c.Oracle, group: c.Group(), a: c})
	}
	for i := range b.Cells {
		c := &b.Cells[i]
		at, ok := byKey[c.Key()]
		if !ok {
			at = len(ms)
			ms = append(ms, match{cell: c.Cell, params: c.Params, oracle: c.Oracle, group: c.Group()})
		}
		ms[at].b = c
	}
	return ms
}

// problems lists why a comparison cannot pass, whatever is found: evidence is missing.
func problems(a, b *Sample, ms []match, o Options) []string {
	var ps []string
	for _, side := range []struct {
		name string
		s    *Sample
	}{{"baseline", a}, {"candidate", b}} {
		m := side.s.Manifest
		switch {
		case side.s.Truncated > 0:
			ps = append(ps, fmt.Sprintf("the %s's last line is torn (%d bytes): the run did not end: resume it", side.name, side.s.Truncated))
		case !m.Complete:
			ps = append(ps, fmt.Sprintf("the %s's run did not end: resume it", side.name))
		}
		if errs, n := side.s.HarnessErrors(), side.s.Trials(); errs > n {
			ps = append(ps, fmt.Sprintf("more than half of the attempts of the %s are harness errors (%d, beside %d trials with a verdict): mend the lab first",
				side.name, errs, n))
		}
		if len(side.s.Cells) < m.Cells {
			ps = append(ps, fmt.Sprintf("the %s has records of %d of its %d cells", side.name, len(side.s.Cells), m.Cells))
		}
	}
	for _, m := range ms {
		switch {
		case o.allows("axes") && (m.a == nil || m.b == nil): // asked to compare what both have
		case m.a == nil || m.a.Trials() == 0:
			ps = append(ps, fmt.Sprintf("the baseline has no trial with a verdict of cell %d (%s)", m.cell, key(m.params)))
		case m.b == nil || m.b.Trials() == 0:
			ps = append(ps, fmt.Sprintf("the candidate has no trial with a verdict of cell %d (%s)", m.cell, key(m.params)))
		}
	}
	return ps
}
