package gate_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/punchlab/punchlab/lab/gate"
	"github.com/punchlab/punchlab/lab/record"
)

// history is n runs, a day apart. rate and first give the direct rate of strategy adaptive and the median of first_frame_s by run.
func history(n int, rng *rand.Rand, rate, first func(run int) float64) (all []gate.Sample) {
	for i := range n {
		m := thresholdManifest()
		m.Start = time.Date(2026, 11, 1+i, 0, 0, 0, 0, time.UTC)
		m.Versions.Commit = fmt.Sprintf("c%02d", i)
		s := gate.Sample{Source: fmt.Sprintf("run%02d", i), Manifest: m}
		for cell := range 4 {
			p := 0.97
			if cell%2 == 1 {
				p = rate(i)
			}
			c := drawCell(cell, 100, p, rng)
			for range c.Outcomes {
				c.Values["first_frame_s"] = append(c.Values["first_frame_s"], first(i)*(0.5+rng.Float64()))
			}
			s.Cells = append(s.Cells, c)
		}
		all = append(all, s)
	}
	return all
}

func steady(x float64) func(int) float64 { return func(int) float64 { return x } }

func step(at int, before, after float64) func(int) float64 {
	return func(i int) float64 {
		if i < at {
			return before
		}
		return after
	}
}

func trend(t testing.TB, samples []gate.Sample, metrics ...string) *gate.TrendReport {
	t.Helper()
	r, err := gate.TrendOptions{Metrics: metrics}.Trend(samples)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestTrendFindsTheChangeAndNoOther(t *testing.T) {
	samples := history(24, rand.New(rand.NewPCG(1, 2)), step(14, 0.97, 0.88), step(6, 0.1, 0.08))
	slices.Reverse(samples)
	r := trend(t, samples, "direct_rate", "first_frame_s.p50")
	var got []string
	for _, s := range r.Series {
		if len(s.Points) != 24 || s.Points[3].N != 200 || s.Points[3].Run != 3 || s.Points[3].Range == nil {
			t.Errorf("%s of %s has %d points: %+v", s.Metric, s.Group, len(s.Points), s.Points[3])
		}
		for _, c := range s.Changes {
			text, figures, _ := strings.Cut(c.Text, ": ")
			_, after, _ := strings.Cut(figures, "from ")
			got = append(got, fmt.Sprintf("%s %d worse=%v from %s", text, c.Run, *c.Worse, after))
			if c.AdjustedP > r.Alpha || c.P > c.AdjustedP {
				t.Errorf("p %v, adjusted %v", c.P, c.AdjustedP)
			}
		}
	}
	want := []string{
		"direct_rate [adaptive] 14 worse=true from run14 on: worse",
		"first_frame_s.p50 [direct] 6 worse=false from run06 on: better",
		"first_frame_s.p50 [adaptive] 6 worse=false from run06 on: better",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if c := r.Series[1].Changes[0]; c.Before < 0.95 || c.Before > 0.99 || c.After < 0.85 || c.After > 0.91 {
		t.Errorf("from %v to %v", c.Before, c.After)
	}
	if r.Schema != "punchlab/trend/1" || r.Scenario != "test" || r.Engine != "sim" || r.Runs[0].Commit != "c00" || r.Runs[23].Trials != 400 {
		t.Errorf("%+v", r.Runs[0])
	}
	again := trend(t, samples, "first_frame_s.p50", "direct_rate")
	if diff := cmp.Diff(r.Series[1].Changes, again.Series[3].Changes); diff != "" {
		t.Errorf("the order of metrics changes what is found:\n%s", diff)
	}
	b, err := json.Marshal(r)
	if err != nil || !strings.Contains(string(b), `"adjusted_p"`) {
		t.Errorf("%v: %s", err, b)
	}
}

// Where nothing changed, hardly any history has a change: in all its series together no more than one in twenty.
func TestTrendRarelyFindsWhatIsNotThere(t *testing.T) {
	const histories = 40
	rng := rand.New(rand.NewPCG(5, 5))
	found := 0
	for range histories {
		r := trend(t, history(16, rng, steady(0.9), steady(0.1)), "direct_rate", "failed_rate", "first_frame_s.p50")
		for _, s := range r.Series {
			if len(s.Changes) > 0 {
				found++
				break
			}
		}
	}
	if found > 6 { // 2 are to be expected; 7 or more come by chance three times in 1000
		t.Errorf("%d of %d histories without a change have one", found, histories)
	}
}

func TestTrendSaysThatRunsAreTooFew(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	seven := trend(t, history(7, rng, step(3, 1, 0), steady(0.1)), "direct_rate")
	if !strings.Contains(seven.Why, "too few runs: 7") || len(seven.Series[1].Changes) != 0 || len(seven.Series[1].Points) != 7 {
		t.Errorf("seven runs: %q, %+v", seven.Why, seven.Series[1].Changes)
	}
	// Of 9 runs, 9 over 4 = 126 orders: 2/126 is above 0.05/4, and 2/252 of 10 below it.
	for runs, want := range map[int]string{9: "too few runs: 9 have it, and a change in one of 4 series shows over 10 or more", 10: ""} {
		r := trend(t, history(runs, rng, step(5, 1, 0), steady(0.1)), "direct_rate", "failed_rate")
		if s := r.Series[1]; r.Why != "" || s.Why != want || len(s.Changes) == 0 != (want != "") {
			t.Errorf("%d runs: %q, %q, %+v", runs, r.Why, s.Why, s.Changes)
		}
	}
}

// A run with a hole is shown and not measured: its figures would be those of other cells.
func TestTrendLeavesOutRunsWithHoles(t *testing.T) {
	samples := history(12, rand.New(rand.NewPCG(1, 1)), steady(0.9), steady(0.1))
	samples[2].Manifest.Complete = false
	samples[4].Cells = samples[4].Cells[1:]
	samples[5].Manifest.Shard = "1/2"
	samples[6].Manifest.Kernel = "6.8"
	samples[8].Cells[0].Numbers, samples[8].Cells[0].Outcomes = samples[8].Cells[0].Numbers[1:], samples[8].Cells[0].Outcomes[1:]
	samples[10] = samples[9]
	samples[10].Source = "a baseline"
	r := trend(t, samples, "direct_rate", "bytes.relay.p50")
	var left []string
	for _, run := range r.Runs {
		if run.LeftOut != "" {
			left = append(left, run.Source+": "+run.LeftOut)
		}
	}
	want := []string{"run02: it did not end", "run04: 1 of 4 cells have no trial", "run05: it is shard 1/2",
		"run08: 1 trials that were to run have no verdict", "a baseline: it is run09 again"}
	if diff := cmp.Diff(want, left); diff != "" {
		t.Error(diff)
	}
	if len(r.Series) != 2 || len(r.Series[0].Points) != 7 || r.Series[0].Points[3].Run != 6 {
		t.Errorf("%d series, %+v", len(r.Series), r.Series[0].Points)
	}
}

func TestTrendNumbersItsRuns(t *testing.T) {
	samples := history(16, rand.New(rand.NewPCG(1, 1)), step(9, 0.98, 0.7), steady(0.1))
	samples[2].Manifest.Complete = false
	c := trend(t, samples, "direct_rate").Series[1].Changes
	if len(c) != 1 || c[0].Run != 9 || !strings.Contains(c[0].Text, "from run09 on") {
		t.Errorf("%+v", c)
	}
}

func TestTrendTellsWhatElseChanged(t *testing.T) {
	samples := history(3, rand.New(rand.NewPCG(1, 1)), steady(0.9), steady(0.1))
	for i, kernel := range []string{"6.1", "6.8", "6.8"} {
		samples[i].Manifest.Engine, samples[i].Manifest.Kernel = "netfilter", kernel
	}
	r := trend(t, samples, "direct_rate")
	if diff := cmp.Diff([]string{"kernel: 6.1 → 6.8"}, r.Runs[1].Changed); diff != "" || r.Runs[0].Changed != nil || r.Runs[2].Changed != nil {
		t.Errorf("%+v", r.Runs)
	}
}

func TestTrendRefuses(t *testing.T) {
	samples := func(change func(*record.Manifest)) []gate.Sample {
		s := history(3, rand.New(rand.NewPCG(1, 1)), steady(0.9), steady(0.1))
		change(&s[1].Manifest)
		return s
	}
	for want, change := range map[string]func(*record.Manifest){
		"trend: the scenario of run01 is other, that of run02 test":                    func(m *record.Manifest) { m.Scenario.Name = "other" },
		"trend: the scenario.digest of run01 is sha256:2, that of run02 sha256:1":      func(m *record.Manifest) { m.Scenario.Digest = "sha256:2" },
		"trend: the engine of run01 is table, that of run02 sim":                       func(m *record.Manifest) { m.Engine = "table" },
		"trend: the axes of run01 is link=lan,lte, that of run02 link=lan,lte strateg": func(m *record.Manifest) { m.Axes = m.Axes[:1] },
	} {
		if _, err := gate.Trend(samples(change)); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("error %v, want %s", err, want)
		}
	}
	if _, err := gate.Trend(nil); err == nil {
		t.Error("a trend of nothing")
	}
	if _, err := (gate.TrendOptions{Metrics: []string{"direct_rat"}}).Trend(samples(func(*record.Manifest) {})); err == nil {
		t.Error("an unknown metric")
	}
	if _, err := (gate.TrendOptions{Alpha: 1.5}).Trend(samples(func(*record.Manifest) {})); err == nil {
		t.Error("an impossible alpha")
	}
}
