package gate

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/punchlab/punchlab/lab/stats"
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
		if err := c.validate(); err != nil {
			return fmt.Errorf("%s: %w", where, err)
		}
	}
	return nil
}

// validate says which number or value of a cell cannot be one.
func (c *CellSample) validate() error {
	for i, n := range c.Numbers {
		if n < 0 || i > 0 && n <= c.Numbers[i-1] {
			return fmt.Errorf("trial %d is out of order, or there twice", n)
		}
	}
	if slices.ContainsFunc(c.Intact, func(v float64) bool { return !absent(v) && v != 0 && v != 1 }) {
		return errors.New("a trial is neither intact, 1, nor not, 0")
	}
	for name, col := range c.Values {
		if len(col) != len(c.Numbers) {
			return fmt.Errorf("%d values of %s for %d trials", len(col), name, len(c.Numbers))
		}
		if slices.ContainsFunc(col, func(v float64) bool { return math.IsInf(v, 0) || v < 0 && !strings.HasPrefix(name, probesPrefix) }) {
			return fmt.Errorf("%s has a value that is infinite or below 0: leave out what was not measured", name)
		}
	}
	return nil
}

// untold counts the trials that a run which ended was to have and has no verdict of, in cells that have some, and those that it has
// beside its plan. A run that may end its cells early, or is a shard, need not have them all.
func (s *Sample) untold() (lacking, beside int) {
	m := s.Manifest
	if !m.Complete || m.Stop != "" || m.Shard != "" || m.TrialsPerCell == 0 {
		return 0, 0
	}
	for i := range s.Cells {
		if n := s.Cells[i].Trials(); n > 0 {
			planned, _ := slices.BinarySearch(s.Cells[i].Numbers, m.TrialsPerCell)
			lacking, beside = lacking+m.TrialsPerCell-planned, beside+n-planned
		}
	}
	return lacking, beside
}

// same reports whether two samples are of one run: it began at one time and has the same trials. A baseline has no probes.
func (s *Sample) same(o *Sample) bool {
	x, y := s.Manifest, o.Manifest
	return x.Start.Equal(y.Start) && x.Seed == y.Seed && x.Versions.Commit == y.Versions.Commit && slices.EqualFunc(s.Cells, o.Cells, sameCell)
}

func sameCell(a, b CellSample) bool {
	if !maps.Equal(a.Params, b.Params) || !slices.Equal(a.Numbers, b.Numbers) || !slices.Equal(a.Outcomes, b.Outcomes) {
		return false
	}
	for name, col := range a.Values {
		equal := func(v, w float64) bool { return v == w || absent(v) && absent(w) }
		if other, ok := b.Values[name]; ok && !slices.EqualFunc(col, other, equal) {
			return false
		}
	}
	return true
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
func (r *rules) problems(a, b *Sample, ms []match) []string {
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
		case m.Shard != "":
			ps = append(ps, fmt.Sprintf("the %s is shard %s of a run: merge its shards", side.name, m.Shard))
		}
		if lacking, beside := side.s.untold(); lacking > 0 || beside > 0 {
			ps = append(ps, fmt.Sprintf("the %s lacks %d of the trials that were to run, and has %d beside them: its records are not what it ran",
				side.name, lacking, beside))
		}
		if errs, n := side.s.HarnessErrors(), side.s.Trials(); errs > n {
			ps = append(ps, fmt.Sprintf("more than half of the attempts of the %s are harness errors (%d, beside %d trials with a verdict): mend the lab first",
				side.name, errs, n))
		}
		if len(side.s.Cells) < m.Cells {
			ps = append(ps, fmt.Sprintf("the %s has records of %d of its %d cells", side.name, len(side.s.Cells), m.Cells))
		}
	}
	if p := r.unevenErrors(a, b, ms); p != "" {
		ps = append(ps, p)
	}
	for _, m := range ms {
		switch {
		case r.allows("axes") && (m.a == nil || m.b == nil): // asked to compare what both have
		case m.a == nil || m.a.Trials() == 0:
			ps = append(ps, fmt.Sprintf("the baseline has no trial with a verdict of cell %d (%s)", m.cell, key(m.params)))
		case m.b == nil || m.b.Trials() == 0:
			ps = append(ps, fmt.Sprintf("the candidate has no trial with a verdict of cell %d (%s)", m.cell, key(m.params)))
		}
	}
	return ps
}

// unevenErrors says that the lab failed one side's attempts so much more often than the other's that what is left of them may not be
// alike: a trial that is voided tells nothing, and an attempt that was bound to end badly may be voided sooner than another.
func (r *rules) unevenErrors(a, b *Sample, ms []match) string {
	m := Rates[slices.IndexFunc(Rates, func(m Metric) bool { return m.Name == harnessErrorRate })]
	var strata []stats.Stratum
	for _, c := range ms {
		if c.told() {
			var s stats.Stratum
			s.K1, s.N1 = c.a.Rate(m.Name)
			s.K2, s.N2 = c.b.Rate(m.Name)
			strata = append(strata, s)
		}
	}
	less, greater := stats.ExactStrata(strata)
	diff, _, _ := stats.StrataDiff(strata, r.Confidence)
	if math.Abs(diff) < m.Tolerance || 2*min(less, greater) >= r.Alpha {
		return ""
	}
	return fmt.Sprintf("harness errors befell %d attempts of the baseline, beside %d trials with a verdict, and %d of the candidate, beside %d: "+
		"what was voided may not be like what is left: mend the lab first", a.HarnessErrors(), a.Trials(), b.HarnessErrors(), b.Trials())
}
