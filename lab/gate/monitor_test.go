package gate_test

import (
	"errors"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/punchlab/punchlab/lab/gate"
	"github.com/punchlab/punchlab/lab/record"
	"github.com/punchlab/punchlab/lab/stats"
)

func monitor(t testing.TB, m record.Manifest, texts ...string) *gate.Monitor {
	t.Helper()
	var ths []gate.Threshold
	for _, text := range texts {
		ths = append(ths, threshold(t, text))
	}
	mon, err := gate.NewMonitor(m, ths)
	if err != nil {
		t.Fatal(err)
	}
	return mon
}

// feed gives trials to a monitor until it ends the run, and returns how many it took.
func feed(t testing.TB, m *gate.Monitor, ts []record.Trial) (int, *gate.Aborted) {
	t.Helper()
	for i, tr := range ts {
		err := m.Add(tr)
		var a *gate.Aborted
		if errors.As(err, &a) {
			return i + 1, a
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return len(ts), nil
}

func TestMonitorEndsWhatIsLost(t *testing.T) {
	m := thresholdManifest()
	var everyFifthFails []record.Trial
	for i := range 400 {
		everyFifthFails = append(everyFifthFails, trial(i%4, i/4, i%5 != 0))
	}
	others := slices.Concat(trials(0, 1, 1), trials(1, 1, 1), trials(2, 1, 1)) // a trial of each: they are not of cell 3's oracle
	var fifthOf3, untold []record.Trial
	for i := range 100 {
		fifthOf3 = append(fifthOf3, trial(3, i, i%5 != 0))
		x := trial(0, i, i >= 60) // 60 trials without a first frame; then three of four are late
		if x.FirstFrameS != nil {
			*x.FirstFrameS = 0.1
			if i%4 == 3 {
				*x.FirstFrameS = 0.01
			}
		}
		untold = append(untold, x)
	}
	for _, c := range []struct {
		name, text string
		trials     []record.Trial
		after      int // 0: never
		want       string
	}{
		{"a cell that is dark", "abort: direct_rate >= 0.9", trials(0, 0, 100), 43,
			"threshold missed: direct_rate >= 0.9: 43 of 43 trials miss it: too many for chance, whatever cells that are left are like"},
		{"one in five, everywhere", "abort: direct_rate >= 0.9", everyFifthFails, 281,
			"threshold missed: direct_rate >= 0.9: 57 of 281 trials miss it, and no end of the run could make up for that"},
		{"one of all cells by itself", "abort: direct_rate >= 0.9 by cell", trials(1, 0, 100), 4,
			"threshold missed: direct_rate >= 0.9 by cell [link=lan strategy=adaptive]: 4 of 4 trials miss it: " +
				"too many for chance, whatever cells that are left are like"},
		{"not its cells", "abort: direct_rate >= 0.9 where strategy == direct", trials(1, 0, 100), 0, ""},
		{"not its oracle", "abort: direct_rate >= 0.9 where oracle == direct", trials(3, 0, 100), 0, ""},
		{"its oracle", "abort: direct_rate >= 0.9 where oracle == birthday", trials(3, 0, 100), 43, ""},
		{"its oracle, once that of the others is known", "abort: direct_rate >= 0.9 where oracle == birthday",
			slices.Concat(others, trials(3, 0, 100)), 3 + 4, ""},
		{"a little under it, with its oracle", "abort: direct_rate >= 0.9 where oracle == birthday", slices.Concat(others, fifthOf3), 3 + 91,
			"threshold missed: direct_rate >= 0.9 where oracle == birthday: 19 of 91 trials miss it, and no end of the run could make up for that"},
		{"what is left of those that tell", "abort: first_frame_s.p50 <= 0.05 where link == lan and strategy == direct", untold, 60 + 38,
			"threshold missed: first_frame_s.p50 <= 0.05 where link == lan and strategy == direct: 29 of 38 trials miss it, " +
				"and no end of the run could make up for that"},
		{"by oracle", "abort: direct_rate >= 0.9 by oracle", trials(3, 0, 100), 43, ""},
		{"no word of aborting", "direct_rate >= 0.9", trials(0, 0, 100), 0, ""},
		{"a maximum", "abort: first_frame_s.max <= 0.02", trials(0, 100, 100), 21, "threshold missed: first_frame_s.max <= 0.02: a trial is beyond it"},
		{"a maximum that may still come", "abort: first_frame_s.max >= 0.02", trials(0, 10, 10), 0, ""},
		{"all well", "abort: direct_rate >= 0.99", trials(0, 100, 100), 0, ""},
	} {
		after, a := feed(t, monitor(t, m, c.text), c.trials)
		if a == nil {
			after = 0
		} else if c.want != "" && a.Error() != c.want {
			t.Errorf("%s: %s", c.name, a)
		}
		if after != c.after {
			t.Errorf("%s: ended after %d trials, want %d: %v", c.name, after, c.after, a)
		}
	}
}

func TestMonitorWantsAPlan(t *testing.T) {
	m := thresholdManifest()
	m.Axes = nil
	if _, err := gate.NewMonitor(m, []gate.Threshold{threshold(t, "abort: direct_rate >= 0.9")}); err == nil ||
		!strings.Contains(err.Error(), "no axes") {
		t.Errorf("error %v", err)
	}
	if mon, err := gate.NewMonitor(m, []gate.Threshold{threshold(t, "direct_rate >= 0.9")}); err != nil || mon.Add(trial(0, 0, false)) != nil {
		t.Error("a run that nothing ends needs a plan")
	}
}

func TestMonitorHarnessErrors(t *testing.T) {
	var ts []record.Trial
	for i := range 60 {
		x := trial(0, i, false)
		x.Outcome, x.Error = record.HarnessError, "late"
		ts = append(ts, x)
	}
	after, a := feed(t, monitor(t, thresholdManifest(), "abort: harness_error_rate <= 0.5"), ts)
	if a == nil || after > 20 || after < 8 {
		t.Errorf("ended after %d attempts, all of them harness errors: %v", after, a)
	}
	if _, a := feed(t, monitor(t, thresholdManifest(), "abort: direct_rate >= 0.9"), ts); a != nil {
		t.Errorf("harness errors are nobody's failure: %v", a)
	}
}

// drawn are all trials of the run, cell by cell, each direct with its cell's rate.
func drawn(rates [4]float64, n int, rng *rand.Rand) (ts []record.Trial) {
	for cell, p := range rates {
		for i := range n {
			ts = append(ts, trial(cell, i, rng.Float64() < p))
		}
	}
	return ts
}

// A run that just keeps its threshold is ended no more often than MonitorAlpha says, though it is looked at after every trial, and however its
// cells differ and whichever comes first. What is told of too many such runs by a sequence that takes all trials for alike is shown beside.
func TestMonitorEndsTooSoonAsRarelyAsItSays(t *testing.T) {
	const n = 50
	runs := 60
	if os.Getenv("PUNCHLAB_SOAK") != "" {
		runs = 3000
	}
	rng := rand.New(rand.NewPCG(3, 3))
	m := thresholdManifest()
	m.TrialsPerCell = n
	naive := 0
	for _, c := range []struct {
		text  string
		rates [4]float64
	}{
		{"abort: direct_rate >= 0.9", [4]float64{0.9, 0.9, 0.9, 0.9}},
		{"abort: direct_rate >= 0.9", [4]float64{0.6, 1, 1, 1}},
		{"abort: direct_rate >= 0.9 by cell", [4]float64{0.9, 0.9, 0.9, 0.9}},
		{"abort: failed_rate <= 0.2 by oracle", [4]float64{0.4, 1, 1, 0.8}},
		{"abort: first_frame_s.p50 <= 0.05", [4]float64{1, 1, 1, 1}},
	} {
		ended := 0
		for range runs {
			ts := drawn(c.rates, n, rng)
			if _, a := feed(t, monitor(t, m, c.text), ts); a != nil {
				ended++
			}
			if c.rates[0] == 0.6 && pooledSequenceEnds(ts, 0.9) {
				naive++
			}
		}
		if low, _ := stats.ClopperPearson(ended, runs, 0.99); low > gate.MonitorAlpha {
			t.Errorf("%s at %v: %d of %d runs ended", c.text, c.rates, ended, runs)
		}
	}
	if naive < runs/2 {
		t.Errorf("%d of %d runs: the case of a bad cell that comes first is none", naive, runs)
	}
}

func pooledSequenceEnds(ts []record.Trial, target float64) bool {
	k := 0
	for i, tr := range ts {
		if tr.Outcome == record.Direct {
			k++
		}
		if _, high := stats.ConfidenceSequence(k, i+1, gate.MonitorAlpha); high < target {
			return true
		}
	}
	return false
}

// A run that is far off ends early, and never against what Judge says of it.
func TestMonitorSavesTrialsAndAgreesWithJudge(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 4))
	m := thresholdManifest()
	took, runs := 0, 100
	for i := range runs {
		text := []string{"abort: direct_rate >= 0.9", "abort: direct_rate >= 0.9 by strategy"}[i%2]
		ts := drawn([4]float64{0.3, 0.3, 0.3, 0.3}, 100, rng)
		after, a := feed(t, monitor(t, m, text), ts)
		if a == nil {
			t.Fatalf("a run at 0.3 instead of 0.9 goes on to its end: %s", text)
		}
		took += after
		whole := gate.Judged(gate.Judge(sampleOf(t, m, ts[:after]), []gate.Threshold{threshold(t, text)}))
		if whole != gate.Fail {
			t.Errorf("%s: ended with %v, and judged %s", text, a, whole)
		}
	}
	if mean := float64(took) / float64(runs); mean > 100 {
		t.Errorf("%v of 400 trials on average", mean)
	}
}
