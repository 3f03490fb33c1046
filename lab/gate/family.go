package gate

import (
	"slices"

	"github.com/punchlab/punchlab/lab/stats"
)

// family are findings of which any false one counts as one error: alpha is the chance of any.
type family struct {
	alpha float64
	tests []*test
}

// families are those of a comparison, and share alpha. Of what is found over all cells, the metrics that have to pass have most:
// each of the many that are only watched would take from them. The cells' rates and the cells' values have as much each: values
// differ in every cell, and would leave no alpha for the few cells whose rates do.
type families struct{ required, watched, cellRates, cellValues family }

func (r *rules) families() families {
	part := func(eighths float64) family { return family{alpha: r.Alpha * eighths / 8} }
	return families{required: part(3), watched: part(1), cellRates: part(2), cellValues: part(2)}
}

func (f *family) add(t *test) { f.tests = append(f.tests, t) }

// over returns the family of a finding over several cells.
func (fs *families) over(t *test) *family {
	if t.measure.watched {
		return &fs.watched
	}
	return &fs.required
}

// cell returns the family of a metric's findings in cells.
func (fs *families) cell(m Metric) *family {
	if m.IsRate() {
		return &fs.cellRates
	}
	return &fs.cellValues
}

// adjust sets the adjusted p-values by Holm, among the tests that could have found anything.
//
// An exact test of few trials, or of trials that all ended alike, cannot reject whatever their split between the sides: it has a
// smallest p-value. Tarone ("A modified Bonferroni method for discrete data", Biometrics 46 (1990) 515–522) leaves such tests out
// of the correction. Which they are is a function of what both sides have in common (the tables' margins), on which each
// p-value is conditional, so that Holm's bound holds among the rest; those left out are never rejected.
func (f *family) adjust() {
	able := f.able()
	var ps []float64
	for _, t := range f.tests {
		t.Alpha = f.alpha
		if t.tested {
			t.P, t.AdjustedP = number(t.p), number(1)
		}
		if t.tested && able(t) {
			ps = append(ps, t.p)
		}
	}
	adjusted := stats.Holm(ps)
	for _, t := range f.tests {
		if t.tested && able(t) {
			t.AdjustedP, adjusted = number(adjusted[0]), adjusted[1:]
		}
	}
	each := f.alpha / float64(len(ps)+1) // of one more that a regression would make able
	for _, t := range f.tests {
		if t.strength == nil {
			continue
		}
		if worse, ok := t.strength(each); ok {
			t.Detectable = number(worse)
		}
	}
}

// able returns whether a test could reject: the smallest K is sought such that at most K tests could at alpha/K.
func (f *family) able() func(*test) bool {
	var least []float64
	for _, t := range f.tests {
		if t.tested {
			least = append(least, t.least)
		}
	}
	slices.Sort(least)
	for k := 1; ; k++ {
		limit := f.alpha / float64(k)
		n, _ := slices.BinarySearchFunc(least, limit, func(v, limit float64) int {
			if v <= limit {
				return -1
			}
			return 1
		})
		if n <= k {
			return func(t *test) bool { return t.least <= limit }
		}
	}
}
