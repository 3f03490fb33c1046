package gate

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/punchlab/punchlab/lab/record"
)

func TestAlikePasses(t *testing.T) {
	v := compared(t, matrix.sample(seeded(1)), matrix.sample(seeded(2)), Options{})
	if v.Decision != Pass || !strings.Contains(v.Why, "no regression") || len(v.Problems) > 0 {
		t.Errorf("%s: %s %v", v.Decision, v.Why, v.Problems)
	}
	if len(v.Cells) != 72 || v.A.Trials != 1440 || v.B.Cells != 72 {
		t.Errorf("%d cells, %d trials, %d cells", len(v.Cells), v.A.Trials, v.B.Cells)
	}
	if _, err := json.Marshal(v); err != nil {
		t.Error(err)
	}
}

// TestAgainstItself: a run differs from itself by nothing, and does not pass for it.
func TestAgainstItself(t *testing.T) {
	s := world{pairs: 9, trials: 10}.sample(seeded(1))
	for _, o := range []Options{{}, {Paired: true}} {
		v := compared(t, s, s, o)
		for _, f := range v.Overall {
			if *f.Effect != 0 || f.Decision == Fail {
				t.Errorf("%s of %s: %s, effect %v", f.Metric, f.Group, f.Decision, *f.Effect)
			}
		}
		if v.Decision != Undecided || !strings.Contains(v.Why, "one and the same run") {
			t.Errorf("%s: %s", v.Decision, v.Why)
		}
	}
}

// TestNamesTheRegression: what fails is what was broken, for the right group, with its size.
func TestNamesTheRegression(t *testing.T) {
	a := matrix.sample(seeded(1))
	for name, c := range map[string]struct {
		w      world
		metric string
		group  string
		effect float64
		within float64
	}{
		"direct rate": {world{pairs: 36, trials: 20, direct: func(cell int) float64 {
			if cell%2 == 1 {
				return 0.88
			}
			if cell/2%9 == 8 {
				return 0
			}
			return 0.97
		}}, "direct_rate", "adaptive", -0.09, 0.03},
		"median": {world{pairs: 36, trials: 20, slower: func(int) float64 { return 1.08 }}, "first_frame_ratio.p50", "direct", 0.08, 0.01},
		"tail":   {world{pairs: 36, trials: 20, tail: 1.2}, "first_frame_ratio.p95", "adaptive", 0.2, 0.1},
	} {
		v := compared(t, a, c.w.sample(seeded(3)), Options{})
		f := v.finding(t, c.metric, c.group)
		if v.Decision != Fail || f.Decision != Fail || math.Abs(*f.Effect-c.effect) > c.within {
			t.Errorf("%s: %s, effect %+.3f: %s", name, f.Decision, *f.Effect, f.Why)
		}
		if f.Range.Low == nil || f.Range.High == nil || *f.Range.Low > *f.Effect || *f.Range.High < *f.Effect || *f.Worse <= 0 {
			t.Errorf("%s: effect %v outside its interval %v", name, *f.Effect, f.Range)
		}
		if !strings.Contains(v.Why, "worse") {
			t.Errorf("%s: %s", name, v.Why)
		}
	}
}

// TestAllStrategiesTogether: what befalls every strategy a little is seen in all of them together, where each alone is undecided.
func TestAllStrategiesTogether(t *testing.T) {
	few := world{pairs: 20, trials: 8}
	seen := 0
	for seed := range uint64(8) {
		worse := world{pairs: 20, trials: 8, direct: func(cell int) float64 { return map[bool]float64{true: 0, false: 0.88}[cell%2 == 0 && cell/2%9 == 8] }}
		v := compared(t, few.sample(seeded(2*seed)), worse.sample(seeded(2*seed+1)), Options{})
		together := v.finding(t, "direct_rate", AllStrategies)
		alone := []Finding{v.finding(t, "direct_rate", "direct"), v.finding(t, "direct_rate", "adaptive")}
		if together.A.N != alone[0].A.N+alone[1].A.N {
			t.Fatalf("%d trials together, %d and %d alone", together.A.N, alone[0].A.N, alone[1].A.N)
		}
		if together.Decision == Fail && alone[0].Decision != Fail && alone[1].Decision != Fail {
			seen++
		}
	}
	if seen < 2 {
		t.Errorf("all strategies together told what none did alone in %d of 8 gates", seen)
	}
	one := compared(t, few.sample(seeded(1)), few.sample(seeded(2)), Options{Watch: []string{"connect_s.p50"}})
	for _, f := range one.Overall {
		if f.Group == AllStrategies && f.Watched {
			t.Errorf("%s is only watched, and takes from what has to pass", f.Metric)
		}
	}
}

// TestImprovementPasses: better is not worse.
func TestImprovementPasses(t *testing.T) {
	w := world{pairs: 36, trials: 20, slower: func(int) float64 { return 0.8 }, direct: func(int) float64 { return 1 }}
	if v := compared(t, matrix.sample(seeded(1)), w.sample(seeded(2)), Options{}); v.Decision != Pass {
		t.Errorf("%s: %s", v.Decision, v.Why)
	}
}

// TestSmallRegression: what is certain and below the margin does not fail.
func TestSmallRegression(t *testing.T) {
	w := world{pairs: 36, trials: 20, slower: func(int) float64 { return 1.03 }}
	v := compared(t, matrix.sample(seeded(1)), w.sample(seeded(2)), Options{})
	f := v.finding(t, "first_frame_ratio.p50", "adaptive")
	if v.Decision != Pass || *f.AdjustedP > 1e-4 || !strings.Contains(f.Why, "less than the margin") {
		t.Errorf("%s, p %v: %s", v.Decision, *f.AdjustedP, f.Why)
	}
	o := Options{Margins: map[string]float64{"first_frame_ratio.p50": 0.01}}
	if v := compared(t, matrix.sample(seeded(1)), w.sample(seeded(2)), o); v.Decision != Fail {
		t.Errorf("margin of 1 %%: %s: %s", v.Decision, v.Why)
	}
}

// TestFewTrialsAreUndecided: neither evidence for nor against is a verdict of its own.
func TestFewTrialsAreUndecided(t *testing.T) {
	few := world{pairs: 3, trials: 2}
	v := compared(t, few.sample(seeded(1)), few.sample(seeded(2)), Options{})
	if v.Decision != Undecided || !strings.Contains(v.Why, "too few trials") {
		t.Errorf("%s: %s", v.Decision, v.Why)
	}
	few = world{pairs: 1, trials: 20, direct: func(int) float64 { return 1 }}
	for _, m := range []string{"direct_rate", "failed_rate"} {
		if v := compared(t, few.sample(seeded(1)), few.sample(seeded(2)), Options{Metrics: []string{m}}); v.Decision != Undecided {
			t.Errorf("20 of 20 twice says %s of %s: %s", v.Decision, m, v.Why)
		}
	}
}

// TestWatchedFindings can fail a gate, and no pass waits for them.
func TestWatchedFindings(t *testing.T) {
	for _, c := range []struct {
		fs   []Finding
		want Decision
	}{
		{[]Finding{{Decision: Pass}, {Decision: Fail, Watched: true}}, Fail},
		{[]Finding{{Decision: Pass}, {Decision: Undecided, Watched: true}}, Pass},
		{[]Finding{{Decision: Pass}, {Decision: Undecided}}, Undecided},
		{[]Finding{{Decision: Pass, Watched: true}}, Undecided},
		{nil, Undecided},
	} {
		if got := verdictOf(c.fs); got != c.want {
			t.Errorf("%v: %s, want %s", c.fs, got, c.want)
		}
	}
}

// TestOneCellFailsAll: whatever is found over all.
func TestOneCellFailsAll(t *testing.T) {
	v := &Verdict{Overall: []Finding{{Decision: Pass}}, Cells: []CellVerdict{{Decision: Undecided}, {Decision: Fail}}}
	if v.decide(false); v.Decision != Fail {
		t.Error(v.Decision)
	}
}

// TestOrderDoesNotMatter: neither the order of records nor the place of a cell changes a verdict.
func TestOrderDoesNotMatter(t *testing.T) {
	w := world{pairs: 8, trials: 12}
	rng := seeded(4)
	a, b := w.draw(rng), w.draw(rng)
	for _, o := range []Options{{}, {Paired: true}} {
		want := compared(t, sampleOf(t, w.manifest(), a), sampleOf(t, w.manifest(), b), o)
		for range 3 {
			rng.Shuffle(len(a), func(i, j int) { a[i], a[j] = a[j], a[i] })
			rng.Shuffle(len(b), func(i, j int) { b[i], b[j] = b[j], b[i] })
			got := compared(t, sampleOf(t, w.manifest(), a), sampleOf(t, w.manifest(), b), o)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatal(diff)
			}
		}
	}
}

// TestCellsAreMatchedByParameters: not by their place.
func TestCellsAreMatchedByParameters(t *testing.T) {
	a := world{pairs: 6, trials: 20, calm: true, direct: func(cell int) float64 { return float64(cell % 2) }}.sample(seeded(1))
	b := world{pairs: 6, trials: 20, calm: true, direct: func(cell int) float64 { return float64(cell % 2) }}.sample(seeded(2))
	slices.Reverse(b.Cells)
	for i := range b.Cells {
		b.Cells[i].Cell = i
	}
	if v := compared(t, a, b, Options{}); v.Decision != Pass || v.Cells[3].Params["pair"] != "1" {
		t.Errorf("%s: %s", v.Decision, v.Why)
	}
}

// TestDetectableInOneCell: a regression in one cell of 36 as large as the cell's finding says is found there.
func TestDetectableInOneCell(t *testing.T) {
	const cell, runs = 11, 30
	w := world{pairs: 18, trials: 20, direct: func(int) float64 { return 1 }}
	v := compared(t, w.sample(seeded(1)), w.sample(seeded(2)), Options{})
	for _, metric := range []string{"direct_rate", "first_frame_ratio.p50"} {
		f := cellFinding(t, v, cell, metric)
		if f.Detectable == nil || *f.Detectable <= 0.01 || *f.Detectable > 0.95 {
			t.Fatalf("%s: detectable is %v", metric, f.Detectable)
		}
		bad := w
		if metric == "direct_rate" {
			bad.direct = only(cell, 1, 1-*f.Detectable)
		} else {
			bad.slower = only(cell, 1, 1+*f.Detectable)
		}
		found := 0
		for n := range uint64(runs) {
			v, err := Compare(w.sample(seeded(10000+n)), bad.sample(seeded(20000+n)), Options{decideOnly: true})
			if err != nil {
				t.Fatal(err)
			}
			if f := cellFinding(t, v, cell, metric); f.Decision == Fail && v.Decision == Fail {
				found++
			}
		}
		t.Logf("%s: %.3f is found %d times of %d", metric, *f.Detectable, found, runs)
		if found < runs*8/10 {
			t.Errorf("%s: a regression of %.2f in one cell is found %d times of %d", metric, *f.Detectable, found, runs)
		}
	}
	if f := cellFinding(t, v, cell, "first_frame_ratio.p95"); f.Detectable != nil {
		t.Errorf("20 trials cannot tell a p95, and are said to find %v", *f.Detectable)
	}
}

func only(cell int, other, here float64) func(int) float64 {
	return func(c int) float64 {
		if c == cell {
			return here
		}
		return other
	}
}

func cellFinding(t *testing.T, v *Verdict, cell int, metric string) Finding {
	t.Helper()
	for _, f := range v.Cells[cell].Findings {
		if f.Metric == metric {
			return f
		}
	}
	t.Fatalf("cell %d has no finding of %s", cell, metric)
	return Finding{}
}

// TestUnequalTrials: sides of different size are compared as well, and a cell that one side ran more often weighs alike.
func TestUnequalTrials(t *testing.T) {
	slow := world{pairs: 36, trials: 20, slower: func(cell int) float64 { return 1 + float64(cell/2%2) }}
	sa := slow.sample(seeded(1))
	slow.trials = 12
	sb := slow.sample(seeded(2)) // in which the slow cells were run less often still
	for i := range sb.Cells {
		if i/2%2 == 1 {
			sb.Cells[i] = sb.Cells[i].pick([]int{0, 1, 2, 3, 4, 5})
		}
	}
	v := compared(t, sa, sb, Options{})
	if f := v.finding(t, "first_frame_ratio.p50", "adaptive"); v.Decision == Fail || math.Abs(*f.Effect) > 0.02 {
		t.Errorf("%s, effect %v: %s", v.Decision, *f.Effect, v.Why)
	}
}

// TestFalseAlarmsAndPower simulates gates on two draws of one world, and on draws of another. 1,000 gates without any difference
// may fail 1 at DefaultAlpha; the default regressions must be found in 95 of 100.
func TestFalseAlarmsAndPower(t *testing.T) {
	gates := func(n int, o Options, draw func(rng *rand.Rand) (a, b Sample)) (failed, passed int) {
		o.decideOnly = true
		for i := range n {
			a, b := draw(seeded(1000 + uint64(i)))
			switch v := compared(t, a, b, o); v.Decision {
			case Fail:
				failed++
			case Pass:
				passed++
			}
		}
		return failed, passed
	}
	few := world{pairs: 2, trials: 10} // tests are at their least exact in few trials
	failed, _ := gates(1000, Options{}, func(rng *rand.Rand) (Sample, Sample) { return few.sample(rng), few.sample(rng) })
	if failed > 1 {
		t.Errorf("%d of 1,000 gates without a difference fail", failed)
	}
	// At an alpha that can be counted, and without margins, the tests hold it.
	loose := Options{Alpha: 0.2, Margins: map[string]float64{}}
	for _, m := range DefaultMetrics {
		loose.Margins[m] = 0
	}
	failed, _ = gates(200, loose, func(rng *rand.Rand) (Sample, Sample) { return few.sample(rng), few.sample(rng) })
	if failed > 53 { // 40 expected at most; p of more than 53 is 0.01
		t.Errorf("%d of 200 gates fail at alpha 0.2", failed)
	}
	good, bad := matrix, matrix
	bad.direct = func(cell int) float64 {
		if cell%2 == 0 && cell/2%9 == 8 {
			return 0
		}
		return 0.88
	}
	if failed, _ := gates(20, Options{}, func(rng *rand.Rand) (Sample, Sample) { return good.sample(rng), bad.sample(rng) }); failed < 20 {
		t.Errorf("9 points fewer direct are found %d times of 20", failed)
	}
	slow := matrix
	slow.slower = func(int) float64 { return 1.10 }
	if failed, _ := gates(20, Options{}, func(rng *rand.Rand) (Sample, Sample) { return good.sample(rng), slow.sample(rng) }); failed < 20 {
		t.Errorf("10 %% longer times are found %d times of 20", failed)
	}
	if _, passed := gates(20, Options{}, func(rng *rand.Rand) (Sample, Sample) { return good.sample(rng), good.sample(rng) }); passed < 19 {
		t.Errorf("no difference passes %d times of 20", passed)
	}
}

// TestStrategies: two strategies of one run, pair by pair.
func TestStrategies(t *testing.T) {
	s := matrix.sample(seeded(5))
	v, err := CompareStrategies(s, "adaptive", "direct", Options{})
	if err != nil {
		t.Fatal(err)
	}
	if v.Decision != Fail || !v.Paired || v.A.Strategy != "adaptive" || len(v.Cells) != 36 || len(v.Problems) > 0 {
		t.Errorf("%s: %s; %d cells, %v", v.Decision, v.Why, len(v.Cells), v.Problems)
	}
	if back, err := CompareStrategies(s, "direct", "adaptive", Options{}); err != nil || back.Decision != Pass {
		t.Errorf("%v, %+v", err, back)
	}
	if _, err := CompareStrategies(s, "adaptive", "birthday", Options{}); err == nil || !strings.Contains(err.Error(), "it ran direct, adaptive") {
		t.Error(err)
	}
}

// TestPairsSeeMore: common seeds take what trials have in common out of the comparison.
func TestPairsSeeMore(t *testing.T) {
	w := world{pairs: 6, trials: 10}
	a := w.draw(seeded(6))
	b := w.draw(seeded(6)) // the same numbers
	for i := range b {
		b[i].FirstFrameS = f(*b[i].FirstFrameS * 1.06)
	}
	sa, sb := sampleOf(t, w.manifest(), a), sampleOf(t, w.manifest(), b)
	if v := compared(t, sa, sb, Options{Paired: true, Metrics: []string{"first_frame_ratio.p50"}}); v.Decision != Fail {
		t.Errorf("paired: %s: %s", v.Decision, v.Why)
	}
	if v := compared(t, sa, sa, Options{Paired: true}); v.Decision == Fail {
		t.Errorf("the same: %s: %s", v.Decision, v.Why)
	}
	flipped := w.draw(seeded(6))
	for i := range flipped {
		if i%5 == 0 && flipped[i].Outcome == record.Direct {
			flipped[i].Outcome = record.Failed
		}
	}
	v := compared(t, sa, sampleOf(t, w.manifest(), flipped), Options{Paired: true, Metrics: []string{"direct_rate"}})
	if g := v.finding(t, "direct_rate", "adaptive"); v.Decision != Fail || *g.Effect > -0.1 {
		t.Errorf("paired outcomes: %s, %v", v.Decision, *g.Effect)
	}
}
