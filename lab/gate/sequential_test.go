package gate_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/punchlab/punchlab/lab/gate"
	"github.com/punchlab/punchlab/lab/record"
)

func sequential(t testing.TB, m record.Manifest, o gate.SequentialOptions, texts ...string) *gate.Sequential {
	t.Helper()
	var ths []gate.Threshold
	for _, text := range texts {
		ths = append(ths, threshold(t, text))
	}
	s, err := gate.NewSequential(m, ths, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// stopped are the trials of a cell up to where the rule ends it.
func stopped(s *gate.Sequential, cell int, ts []record.Trial) []record.Trial {
	for n := range ts {
		if s.Stop(cell, ts[:n+1]) {
			return ts[:n+1]
		}
	}
	return ts
}

// Of 0.9 against 0.8, a trial without a miss adds ln(0.8/0.9) = −0.118: 26 of them reach ln(0.05) = −3.0. A miss adds ln(0.2/0.1) = 0.69,
// and 9 of them reach ln(0.95/(0.95·0.01/4)) = 6.0: Alpha is divided among four cells.
func TestSequentialEndsCells(t *testing.T) {
	m := thresholdManifest()
	rule := sequential(t, m, gate.SequentialOptions{}, "direct_rate >= 0.9")
	good, bad := stopped(rule, 0, trials(0, 100, 100)), stopped(rule, 1, trials(1, 0, 100))
	if len(good) != 26 || len(bad) != 9 {
		t.Errorf("a flawless cell ends after %d trials, a dark one after %d", len(good), len(bad))
	}
	var mixed []record.Trial // 17 of 20 good: between both for ever
	for i := range 100 {
		mixed = append(mixed, trial(2, i, i%20 != 3 && i%20 != 9 && i%20 != 15))
	}
	between := stopped(rule, 2, mixed)
	if len(between) != 100 {
		t.Errorf("a cell between good and bad ends after %d trials", len(between))
	}
	r := rule.Report(sampleOf(t, m, good, bad, between, trials(3, 3, 3)))
	want := []string{
		"direct_rate >= 0.9 [link=lan strategy=direct]: pass, 26 of 26 trials keep to it; 74 saved",
		"direct_rate >= 0.9 [link=lan strategy=adaptive]: fail, 0 of 9 trials keep to it; 91 saved",
		"direct_rate >= 0.9 [link=lte strategy=direct]: inconclusive, 85 of 100 trials keep to it",
		"direct_rate >= 0.9 [link=lte strategy=adaptive]: inconclusive, 3 of 3 trials keep to it",
	}
	var got []string
	for _, c := range r.Cells {
		got = append(got, c.Text)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if r.Decision != gate.Fail || r.Planned != 400 || r.Used != 26+9+100+3 || r.Saved != 74+91 {
		t.Errorf("%s: of %d trials %d used, %d saved", r.Decision, r.Planned, r.Used, r.Saved)
	}
	m.Complete = false
	r = rule.Report(sampleOf(t, m, good, trials(1, 20, 20)))
	if r.Decision != gate.Undecided || r.Cells[1].Verdict != "unfinished" || r.Cells[3].Verdict != "unfinished" || r.Saved != 74 {
		t.Errorf("a run that goes on: %s, %d saved, %+v", r.Decision, r.Saved, r.Cells)
	}
	if r = rule.Report(sampleOf(t, thresholdManifest(), good, stopped(rule, 1, trials(1, 100, 100)), stopped(rule, 2, trials(2, 100, 100)),
		stopped(rule, 3, trials(3, 100, 100)))); r.Decision != gate.Pass || r.Saved != 4*74 {
		t.Errorf("all well: %s, %d saved", r.Decision, r.Saved)
	}
}

// What came after the decision changes nothing, whoever asks in which order.
func TestSequentialDependsOnThePrefixAlone(t *testing.T) {
	m := thresholdManifest()
	rng := rand.New(rand.NewPCG(7, 7))
	for range 50 {
		var all [][]record.Trial
		var short [][]record.Trial
		rule := sequential(t, m, gate.SequentialOptions{}, "direct_rate >= 0.9", "first_frame_s.p50 <= 0.08 where link == lan")
		for cell := range 4 {
			var ts []record.Trial
			for i := range 100 {
				x := trial(cell, i, rng.Float64() < []float64{0.95, 0.85, 0.7, 0.9}[cell])
				if rng.Float64() < 0.05 {
					x.Outcome, x.Error, x.FirstFrameS = record.HarnessError, "late", nil
				}
				ts = append(ts, x)
			}
			all = append(all, ts)
			short = append(short, stopped(rule, cell, ts))
		}
		for cell := range 4 {
			n := len(short[cell])
			fresh := sequential(t, m, gate.SequentialOptions{}, "direct_rate >= 0.9", "first_frame_s.p50 <= 0.08 where link == lan")
			if n < 100 && (!fresh.Stop(cell, all[cell][:n]) || !fresh.Stop(cell, all[cell]) || fresh.Stop(cell, all[cell][:n-1])) {
				t.Fatalf("cell %d ends after %d trials, and not if asked otherwise", cell, n)
			}
		}
		used := map[int]int{}
		for _, c := range rule.Report(sampleOf(t, m, short...)).Cells {
			used[c.Cell] = max(used[c.Cell], c.Used)
		}
		for cell := range 4 {
			if n := len(short[cell]); n < 100 && used[cell] != n {
				t.Fatalf("cell %d ended after %d trials, and %d are said to be used", cell, n, used[cell])
			}
		}
		slices.Reverse(all)
		if diff := cmp.Diff(rule.Report(sampleOf(t, m, short...)).Cells, rule.Report(sampleOf(t, m, all...)).Cells); diff != "" {
			t.Fatalf("a run that stopped and one that went on (-stopped +went on):\n%s", diff)
		}
	}
}

// A cell with several thresholds ends when all are decided, one with none never; a trial that does not tell counts for nothing.
func TestSequentialThresholdsOfACell(t *testing.T) {
	m := thresholdManifest()
	rule := sequential(t, m, gate.SequentialOptions{}, "direct_rate >= 0.9", "first_frame_s.p95 <= 0.5 where link == lan", "first_frame_s.max <= 0.09")
	if n := len(stopped(rule, 2, trials(2, 100, 100))); n != 26 {
		t.Errorf("a cell with one threshold ends after %d trials", n)
	}
	if n := len(stopped(rule, 0, trials(0, 100, 100))); n != 27 { // ln(0.05)/ln(0.85/0.95)
		t.Errorf("a cell with two ends after %d trials", n)
	}
	first := sequential(t, m, gate.SequentialOptions{}, "first_frame_s.p95 <= 0.5")
	if n := len(stopped(first, 1, slices.Concat(trials(1, 0, 30), trials(1, 100, 70)))); n != 30+27 {
		t.Errorf("a cell ends after %d trials, 30 of which have no first frame", n)
	}
	none := sequential(t, m, gate.SequentialOptions{}, "direct_rate >= 0.9 where link == lan")
	if n := len(stopped(none, 2, trials(2, 0, 100))); n != 100 {
		t.Errorf("a cell with no threshold ends after %d trials", n)
	}
	if r := none.Report(sampleOf(t, m, trials(0, 100, 100), trials(1, 100, 100))); r.Planned != 200 || len(r.Cells) != 2 || r.Decision != gate.Pass {
		t.Errorf("cells without a threshold count: %+v", r)
	}
	r := rule.Report(sampleOf(t, m, trials(0, 100, 100), trials(1, 100, 100), trials(2, 100, 100), trials(3, 100, 100)))
	if len(r.Others) != 1 || r.Others[0].Decision != gate.Fail || r.Decision != gate.Fail {
		t.Errorf("a maximum is not judged beside: %+v, %s", r.Others, r.Decision)
	}
}

// Errors are no more frequent than they are said to be: of runs whose cells all just keep the threshold Alpha fails, of cells that miss it by
// the indifference Beta passes; and most of the trials are saved.
func TestSequentialErrsAsRarelyAsItSays(t *testing.T) {
	const runs = 400
	m := thresholdManifest()
	m.TrialsPerCell = 300
	o := gate.SequentialOptions{Alpha: 0.05, Beta: 0.05, Indifference: 0.1}
	rng := rand.New(rand.NewPCG(8, 8))
	rule := sequential(t, m, o, "direct_rate >= 0.9")
	sim := func(p float64) (failed, cellsPassed int, saved float64) {
		for range runs {
			s := gate.Sample{Manifest: m}
			for cell := range 4 {
				s.Cells = append(s.Cells, drawCell(cell, 300, p, rng))
			}
			r := rule.Report(s)
			if r.Decision == gate.Fail {
				failed++
			}
			for _, c := range r.Cells {
				if c.Decision == gate.Pass {
					cellsPassed++
				}
			}
			saved += float64(r.Saved) / float64(r.Planned) / runs
		}
		return failed, cellsPassed, saved
	}
	limit := func(p float64, n int) int { return int(p*float64(n) + 3*math.Sqrt(p*float64(n))) }
	if failed, passed, _ := sim(0.9); failed > limit(o.Alpha, runs) || passed < 4*runs*90/100 {
		t.Errorf("at the threshold %d of %d runs fail, %d of %d cells pass", failed, runs, passed, 4*runs)
	}
	failed, passed, saved := sim(0.8)
	if passed > limit(o.Beta, 4*runs) || failed < runs*99/100 {
		t.Errorf("below the indifference %d of %d cells pass, %d of %d runs fail", passed, 4*runs, failed, runs)
	}
	if saved < 0.5 {
		t.Errorf("%.0f %% of trials saved", 100*saved)
	}
}

func TestSequentialRuleInAManifest(t *testing.T) {
	m := thresholdManifest()
	rule := sequential(t, m, gate.SequentialOptions{Alpha: 0.02, Indifference: 0.15}, "direct_rate >= 0.9", "connected_rate >= 0.9")
	m.Stop, m.Thresholds = rule.String(), []string{"direct_rate >= 0.9", "connected_rate >= 0.9"}
	if m.Stop != "sprt alpha=0.02 beta=0.05 indifference=0.15" {
		t.Errorf("rule %q", m.Stop)
	}
	again, err := gate.ParseSequential(m)
	if err != nil || again.String() != m.Stop {
		t.Fatalf("%v, %v", again, err)
	}
	ts := trials(1, 0, 100)
	if a, b := len(stopped(rule, 1, ts)), len(stopped(again, 1, ts)); a != b {
		t.Errorf("ends after %d trials, and after %d when read again", a, b)
	}
	for stop, want := range map[string]string{
		"": "is none of this version",
		"sprt alpha=0.02 beta=0.05 indifference=1.5": `"indifference=1.5" is no part of it`,
		"sprt alpha=0.02 alpha=0.02 beta=0.05":       `"alpha=0.02" is no part of it`,
		"bayes a=1 b=2 c=3":                          "is none of this version",
	} {
		m.Stop = stop
		if _, err := gate.ParseSequential(m); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v", stop, err)
		}
	}
	m.TrialsPerCell = 20
	if _, err := gate.NewSequential(m, []gate.Threshold{threshold(t, "direct_rate >= 0.98")}, gate.SequentialOptions{}); err == nil ||
		!strings.Contains(err.Error(), "20 trials a cell never show that one keeps direct_rate >= 0.98: 28 without a miss would") {
		t.Errorf("error %v", err)
	}
	for _, text := range []string{"first_frame_s.max <= 1", "harness_error_rate <= 0.1"} {
		if _, err := gate.NewSequential(m, []gate.Threshold{threshold(t, text)}, gate.SequentialOptions{}); err == nil {
			t.Errorf("%s decides trial by trial", text)
		}
	}
	if _, err := gate.NewSequential(m, []gate.Threshold{threshold(t, "direct_rate >= 0.05")}, gate.SequentialOptions{}); err == nil {
		t.Error("a threshold below the indifference is taken")
	}
}
