package gate

import (
	"math"
	"slices"
	"testing"

	"github.com/punchlab/punchlab/lab/record"
)

// hard marks the trials of a sample that are hard: every fourth of each cell.
func hard(s *Sample, f func(c *CellSample, row int)) {
	for i := range s.Cells {
		for row := range s.Cells[i].Numbers {
			if row%4 == 3 {
				f(&s.Cells[i], row)
			}
		}
	}
}

func slow(c *CellSample, row int) {
	for _, col := range c.Values {
		col[row] *= 3
	}
}

func lose(c *CellSample, row int) {
	c.Intact[row] = math.NaN()
	for _, col := range c.Values {
		col[row] = math.NaN()
	}
}

func failed(c *CellSample, row int) {
	c.Outcomes[row] = record.Failed
	lose(c, row)
}

// TestSurvivors: hard trials that come late are better than none, and none are worse than late ones, although what is left of them is faster.
func TestSurvivors(t *testing.T) {
	w := world{pairs: 9, trials: 40, calm: true, direct: func(int) float64 { return 1 }}
	timed := func(f Finding) bool { return f.Metric == "first_frame_ratio.p95" || f.Metric == "connect_s.p95" }
	for _, o := range []Options{{}, {Paired: true}} {
		weak, late := w.sample(seeded(1)), w.sample(seeded(2))
		most := Sample{Cells: weak.Cells[2:]} // too little to tell anything is left as it was
		hard(&most, failed)
		most = Sample{Cells: late.Cells[2:]}
		hard(&most, slow)
		if v := compared(t, weak, late, o); v.Decision != Pass {
			t.Errorf("paired %v: a candidate that fails less: %s: %s", o.Paired, v.Decision, v.Why)
		}
		for _, f := range compared(t, late, weak, o).Overall {
			if f.Metric == "direct_rate" && f.Decision != Fail || timed(f) && f.Decision != Undecided {
				t.Errorf("paired %v: a candidate that fails: %s of %s: %s: %s", o.Paired, f.Metric, f.Group, f.Decision, f.Why)
			}
		}
	}
}

// TestSlowerSurvivors: that fewer trials fail is no excuse for all others' being slower.
func TestSlowerSurvivors(t *testing.T) {
	w := world{pairs: 9, trials: 40, calm: true, direct: func(int) float64 { return 1 }}
	weak, late := w.sample(seeded(1)), w.sample(seeded(2))
	hard(&weak, failed)
	for i := range late.Cells {
		for row := range late.Cells[i].Numbers {
			slow(&late.Cells[i], row)
		}
	}
	if f := compared(t, weak, late, Options{}).finding(t, "first_frame_ratio.p50", "direct"); f.Decision != Fail {
		t.Errorf("%s: %s", f.Decision, f.Why)
	}
}

// TestSurvivorsElsewhere: that fewer trials fail in some cells is no excuse for a slower tail in the others.
func TestSurvivorsElsewhere(t *testing.T) {
	w := world{pairs: 18, trials: 40, calm: true, direct: func(int) float64 { return 1 }}
	weak, other := w.sample(seeded(1)), w.sample(seeded(2))
	some := Sample{Cells: weak.Cells[:8]}
	hard(&some, failed)
	rest := Sample{Cells: other.Cells[8:]}
	for i := range rest.Cells {
		for row := 0; row < w.trials; row += 10 {
			slow(&rest.Cells[i], row)
		}
	}
	f := compared(t, weak, other, Options{}).finding(t, "first_frame_ratio.p95", "direct")
	if f.Decision != Fail {
		t.Errorf("%s: %s", f.Decision, f.Why)
	}
}

// TestLostValues: a trial that went direct and showed nothing is not left out of the times in silence.
func TestLostValues(t *testing.T) {
	for _, o := range []Options{{}, {Paired: true}} {
		b := small.sample(seeded(2))
		hard(&b, lose)
		v := compared(t, small.sample(seeded(1)), b, o)
		seen := slices.IndexFunc(v.Overall, func(f Finding) bool { return f.Metric == "first_frame_ratio.p95" && f.Decision == Undecided })
		if v.Decision != Undecided || seen < 0 {
			t.Errorf("paired %v: %s: %s", o.Paired, v.Decision, v.Why)
		}
		a := small.sample(seeded(1))
		hard(&a, lose)
		if v := compared(t, a, b, o); v.Decision == Fail {
			t.Errorf("lost on both sides: %s: %s", v.Decision, v.Why)
		}
	}
}
