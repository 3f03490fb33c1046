package gate_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/punchlab/punchlab/lab/gate"
	"github.com/punchlab/punchlab/lab/record"
	"github.com/punchlab/punchlab/lab/stats"
	"golang.org/x/sys/unix"
)

// thresholdAxes are those of the runs of these tests: four cells.
var thresholdAxes = []record.Axis{{Key: "link", Values: []string{"lan", "lte"}}, {Key: "strategy", Values: []string{"direct", "adaptive"}}}

func thresholdManifest() record.Manifest {
	return record.Manifest{
		Schema: record.ManifestSchema, Scenario: record.Document{Name: "test", Digest: "sha256:1"}, Engine: "sim", TrialsPerCell: 100, Cells: 4,
		Axes: thresholdAxes, Complete: true,
	}
}

func thresholdParams(cell int) map[string]string {
	return map[string]string{"link": thresholdAxes[0].Values[cell/2], "strategy": thresholdAxes[1].Values[cell%2]}
}

// trials makes n trials of a cell, the first k of which are direct; the others fail. first_frame_s is i+1 milliseconds.
func trials(cell, k, n int) (ts []record.Trial) {
	for i := range n {
		ts = append(ts, trial(cell, i, i < k))
	}
	return ts
}

func trial(cell, number int, direct bool) record.Trial {
	t := record.Trial{
		Schema: record.TrialSchema, Cell: cell, Trial: number, Params: thresholdParams(cell), Oracle: "direct", Outcome: record.Failed,
		StartedAt: time.Unix(0, 0), EndedAt: time.Unix(1, 0),
	}
	if cell == 3 {
		t.Oracle = "birthday(256, 0.9)"
	}
	if direct {
		first := float64(number+1) / 1000
		t.Outcome, t.FirstFrameS = record.Direct, &first
	}
	return t
}

func sampleOf(t testing.TB, m record.Manifest, cells ...[]record.Trial) gate.Sample {
	t.Helper()
	s, err := gate.FromRun(&record.Run{Manifest: m, Trials: slices.Concat(cells...)})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func threshold(t testing.TB, text string) gate.Threshold {
	t.Helper()
	th, err := gate.ParseThreshold(text)
	if err != nil {
		t.Fatal(err)
	}
	return th
}

// judge returns a line for each judgement: its mark and its text.
func judge(t testing.TB, s gate.Sample, texts ...string) string {
	var ths []gate.Threshold
	for _, text := range texts {
		ths = append(ths, threshold(t, text))
	}
	var lines []string
	for _, j := range gate.Judge(s, ths) {
		lines = append(lines, j.Decision.Mark()+" "+j.Text)
	}
	return strings.Join(lines, "\n")
}

// The bounds are Clopper and Pearson's, one-sided at 99 %: 0.01^(1/400) is 0.9886. The others were found by bisection over sums of
// the binomial distribution.
func TestJudge(t *testing.T) {
	whole := sampleOf(t, thresholdManifest(), trials(0, 100, 100), trials(1, 100, 100), trials(2, 100, 100), trials(3, 100, 100))
	mixed := sampleOf(t, thresholdManifest(), trials(0, 100, 100), trials(1, 60, 100), trials(2, 100, 100), trials(3, 90, 100))
	for _, c := range []struct {
		name string
		run  gate.Sample
		want string
		text string
	}{
		{"pooled over all cells", whole, "✓ direct_rate >= 0.98: 1, 0.9886 to 1 (n = 400)", "direct_rate >= 0.98"},
		{"too few for so much", whole, "? direct_rate >= 0.99: 1, 0.9886 to 1 (n = 400); too few trials to tell: 459 without a miss would",
			"direct_rate >= 0.99"},
		{"the same the other way round", whole, "✓ failed_rate <= 0.02: 0, 0 to 0.0114 (n = 400)", "failed_rate <= 0.02"},
		{"a part of the cells", whole, "✓ direct_rate >= 0.97 where link == lan: 1, 0.9772 to 1 (n = 200)", "direct_rate >= 0.97 where link == lan"},
		{"all but a part", whole, "✓ direct_rate >= 0.97 where link != lan: 1, 0.9772 to 1 (n = 200)", "direct_rate >= 0.97 where link != lan"},
		{"by what was possible, without its parameters", mixed,
			"? direct_rate >= 0.9 where oracle == birthday: 0.9, 0.8087 to 0.9576 (n = 100); too close to tell from so few trials",
			"direct_rate >= 0.9 where oracle == birthday"},
		{"excluded", mixed, "✗ direct_rate >= 0.9 where strategy == adaptive: 0.75, 0.6717 to 0.8181 (n = 200)",
			"direct_rate >= 0.9 where strategy == adaptive"},
		{"by an axis", mixed, "✓ direct_rate >= 0.9 by strategy [strategy=direct]: 1, 0.9772 to 1 (n = 200)\n" +
			"✗ direct_rate >= 0.9 by strategy [strategy=adaptive]: 0.75, 0.6717 to 0.8181 (n = 200)", "direct_rate >= 0.9 by strategy"},
		{"by oracle", mixed, "? direct_rate >= 0.9 by oracle [oracle=direct]: 0.8667, 0.8144 to 0.9089 (n = 300); too close to tell from so few trials\n" +
			"? direct_rate >= 0.9 by oracle [oracle=birthday]: 0.9, 0.8087 to 0.9576 (n = 100); too close to tell from so few trials",
			"direct_rate >= 0.9 by oracle"},
		{"by cell", mixed, "✓ direct_rate >= 0.95 where link == lan by cell [link=lan strategy=direct]: 1, 0.955 to 1 (n = 100)\n" +
			"✗ direct_rate >= 0.95 where link == lan by cell [link=lan strategy=adaptive]: 0.6, 0.4789 to 0.7129 (n = 100)",
			"direct_rate >= 0.95 where link == lan by cell"},
		{"nothing like it", whole, "? direct_rate >= 0.9 where link == wifi: no cell is like this", "direct_rate >= 0.9 where link == wifi"},
		{"nobody has it", whole, "? bytes.relay.p50 <= 3: none of 400 trials has it", "bytes.relay.p50 <= 3"},
	} {
		if got := judge(t, c.run, c.text); got != c.want {
			t.Errorf("%s:\n%s\nwant\n%s", c.name, got, c.want)
		}
	}
}

// A quantile is the rate of the values under it. Of twice 1 … 100 ms, the 95 % quantile is anywhere from the 182nd value to the 197th
// (sums of the binomial distribution); of 90 values from the 80th to the last.
func TestJudgeQuantile(t *testing.T) {
	run := sampleOf(t, thresholdManifest(), trials(0, 100, 100), trials(1, 90, 100), trials(2, 100, 100), trials(3, 100, 100))
	for text, want := range map[string]string{
		"first_frame_s.p95 <= 0.099 where link == lte": "✓ first_frame_s.p95 <= 0.099 where link == lte: 0.09505 s, 0.091 s to 0.099 s (n = 200)",
		"first_frame_s.p95 <= 0.093 where link == lte": "? first_frame_s.p95 <= 0.093 where link == lte: 0.09505 s, 0.091 s to 0.099 s (n = 200); too close to tell from so few trials",
		"first_frame_s.p95 <= 0.09 where link == lte":  "✗ first_frame_s.p95 <= 0.09 where link == lte: 0.09505 s, 0.091 s to 0.099 s (n = 200)",
		"first_frame_s.p95 < 0.099 where link == lte":  "? first_frame_s.p95 < 0.099 where link == lte: 0.09505 s, 0.091 s to 0.099 s (n = 200); too close to tell from so few trials",
		"first_frame_s.p95 >= 0.091 where link == lte": "✓ first_frame_s.p95 >= 0.091 where link == lte: 0.09505 s, 0.091 s to 0.099 s (n = 200)",
		"first_frame_s.p95 > 0.091 where link == lte":  "? first_frame_s.p95 > 0.091 where link == lte: 0.09505 s, 0.091 s to 0.099 s (n = 200); too close to tell from so few trials",
		"first_frame_s.p95 >= 0.1 where link == lte":   "✗ first_frame_s.p95 >= 0.1 where link == lte: 0.09505 s, 0.091 s to 0.099 s (n = 200)",
		// 0.95^90 is 0.0099: 90 values just suffice for a bound from above.
		"first_frame_s.p95 <= 0.5 where link == lan and strategy == adaptive": "✓ first_frame_s.p95 <= 0.5 where link == lan and strategy == adaptive: 0.08555 s, 0.08 s to 0.09 s (n = 90 of 100)",
		"first_frame_s.p99 <= 0.5 where link == lan and strategy == adaptive": "? first_frame_s.p99 <= 0.5 where link == lan and strategy == adaptive: 0.08911 s, 0.086 s or more (n = 90 of 100); " +
			"too few trials to tell: 459 without a miss would",
		"first_frame_s.max <= 0.1":  "✓ first_frame_s.max <= 0.1: 0.1 s (n = 390 of 400)",
		"first_frame_s.max < 0.1":   "✗ first_frame_s.max < 0.1: 0.1 s (n = 390 of 400)",
		"first_frame_s.min > 0.001": "✗ first_frame_s.min > 0.001: 0.001 s (n = 390 of 400)",
	} {
		if got := judge(t, run, text); got != want {
			t.Errorf("%s\nwant\n%s", got, want)
		}
	}
}

// What was not measured does not pass; what fails without it fails.
func TestJudgeNeverPassesWhatIsMissing(t *testing.T) {
	m := thresholdManifest()
	all := [][]record.Trial{trials(0, 100, 100), trials(1, 0, 100), trials(2, 100, 100), trials(3, 100, 100)}
	run := sampleOf(t, m, all[0], all[2], all[3])
	if got, want := judge(t, run, "direct_rate >= 0.9"), "? direct_rate >= 0.9: 1, 0.9848 to 1 (n = 300); 1 of 4 cells have no trial"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got := judge(t, run, "direct_rate >= 0.9 where strategy == direct"); !strings.HasPrefix(got, "✓") {
		t.Errorf("a cell that is not asked about is missed: %s", got)
	}
	if got := judge(t, run, "direct_rate >= 0.9 where oracle == direct"); !strings.HasPrefix(got, "?") {
		t.Errorf("a cell whose oracle is not known is not missed: %s", got)
	}
	if got, want := judge(t, run, "direct_rate >= 0.9 where link == lan by cell"),
		"✓ direct_rate >= 0.9 where link == lan by cell [link=lan strategy=direct]: 1, 0.955 to 1 (n = 100)\n"+
			"? direct_rate >= 0.9 where link == lan by cell [link=lan strategy=adaptive]: no trial"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got := judge(t, sampleOf(t, m, all[1]), "direct_rate >= 0.9"); !strings.HasPrefix(got, "✗") {
		t.Errorf("what was tried fails: %s", got)
	}
	if got := judge(t, sampleOf(t, m), "direct_rate >= 0.9", "harness_error_rate <= 0.1"); got !=
		"? direct_rate >= 0.9: no trial\n? harness_error_rate <= 0.1: no trial" {
		t.Error(got)
	}
	m.Complete = false
	if got := judge(t, sampleOf(t, m, all[0], all[2], all[3], trials(1, 100, 100)), "direct_rate >= 0.9"); got[0] != '?' ||
		!strings.HasSuffix(got, "; the run did not end") {
		t.Errorf("a run that did not end passes: %s", got)
	}
	m.Complete, m.Axes = true, nil
	if got := judge(t, sampleOf(t, m, all[0], all[2], all[3]), "direct_rate >= 0.9"); got[0] != '?' ||
		!strings.HasSuffix(got, "; 1 of 4 cells have no trial") {
		t.Errorf("a run without axes passes with a cell missing: %s", got)
	}
	m.Shard = "1/2"
	if got := judge(t, sampleOf(t, m, all[0], all[2], all[3]), "direct_rate >= 0.9"); !strings.HasPrefix(got, "✓") {
		t.Errorf("a shard without axes answers for its own: %s", got)
	}
	m.Axes = thresholdAxes
	if got := judge(t, sampleOf(t, m, all[0], all[2], all[3]), "direct_rate >= 0.9"); !strings.HasPrefix(got, "✓") {
		t.Errorf("a shard answers for its own: %s", got)
	}
	broken := sampleOf(t, thresholdManifest(), all[0], all[1], all[2], all[3])
	broken.Truncated = 1
	if got := judge(t, broken, "failed_rate <= 0.9"); got[0] != '?' {
		t.Errorf("a torn run passes: %s", got)
	}
}

// 81 of 100 where 0.9 are asked for come by chance once in 218 cells: too rare for one cell, not for one of four.
func TestJudgeCountsItsGroups(t *testing.T) {
	run := sampleOf(t, thresholdManifest(), trials(0, 100, 100), trials(1, 81, 100), trials(2, 100, 100), trials(3, 100, 100))
	if got := judge(t, run, "direct_rate >= 0.9 where link == lan and strategy == adaptive"); !strings.HasPrefix(got, "✗") {
		t.Error(got)
	}
	if got := strings.Split(judge(t, run, "direct_rate >= 0.9 by cell"), "\n"); !strings.HasPrefix(got[1], "? direct_rate >= 0.9 by cell [link=lan strategy=adaptive]: 0.81, ") {
		t.Error(got)
	}
}

func TestJudgeHarnessErrors(t *testing.T) {
	var failed []record.Trial
	for i := range 40 {
		x := trial(0, i, false)
		x.Outcome, x.Error = record.HarnessError, "late"
		failed = append(failed, x)
	}
	run := sampleOf(t, thresholdManifest(), trials(0, 100, 100), failed, trials(1, 100, 100), trials(2, 100, 100), trials(3, 100, 100))
	for text, want := range map[string]string{
		"harness_error_rate <= 0.2": "✓ harness_error_rate <= 0.2: 0.0909, 0.0617 to 0.1277 (n = 440)",
		"harness_error_rate <= 0.1 where link == lan and strategy == direct": "✗ harness_error_rate <= 0.1 where link == lan and strategy == direct: 0.2857, 0.2006 to 0.3834 (n = 140)",
		"harness_error_rate <= 0.1 where link == lan and strategy != direct": "✓ harness_error_rate <= 0.1 where link == lan and strategy != direct: 0, 0 to 0.045 (n = 100)",
	} {
		if got := judge(t, run, text); got != want {
			t.Errorf("%s\nwant\n%s", got, want)
		}
	}
}

func TestJudged(t *testing.T) {
	j := func(ds ...gate.Decision) (js []gate.Judgement) {
		for _, d := range ds {
			js = append(js, gate.Judgement{Decision: d})
		}
		return js
	}
	for want, js := range map[gate.Decision][]gate.Judgement{
		gate.Pass: j(gate.Pass, gate.Pass), gate.Fail: j(gate.Undecided, gate.Fail, gate.Pass), gate.Undecided: j(gate.Pass, gate.Undecided),
	} {
		if got := gate.Judged(js); got != want {
			t.Errorf("%v gives %s, want %s", js, got, want)
		}
	}
	if got := gate.Judged(nil); got != gate.Undecided {
		t.Errorf("nothing asked is %s", got)
	}
}

// Where the truth is just the threshold, one run in a hundred may fail and one may pass, however many groups there are; where it is far
// away, every run says so.
func TestJudgeErrsAsRarelyAsItSays(t *testing.T) {
	const runs = 500
	rng := rand.New(rand.NewPCG(6, 6))
	rate := func(p float64, text string) (fail, pass int) {
		ths := []gate.Threshold{threshold(t, text)}
		for range runs {
			s := gate.Sample{Manifest: thresholdManifest()}
			for cell := range 4 {
				s.Cells = append(s.Cells, drawCell(cell, 100, p, rng))
			}
			switch gate.Judged(gate.Judge(s, ths)) {
			case gate.Fail:
				fail++
			case gate.Pass:
				pass++
			}
		}
		return fail, pass
	}
	for _, text := range []string{"direct_rate >= 0.9", "direct_rate >= 0.9 by cell", "failed_rate <= 0.1 by strategy"} {
		fail, pass := rate(0.9, text)
		for what, k := range map[string]int{"fail": fail, "pass": pass} {
			if low, _ := stats.ClopperPearson(k, runs, 0.99); low > 1-gate.ThresholdConfidence {
				t.Errorf("%s: %d of %d runs %s where the rate is just that", text, k, runs, what)
			}
		}
	}
	if fail, _ := rate(0.8, "direct_rate >= 0.9"); fail < runs*99/100 {
		t.Errorf("%d of %d runs fail with 0.8 in place of 0.9", fail, runs)
	}
	if _, pass := rate(0.99, "direct_rate >= 0.9 by cell"); pass < runs*90/100 {
		t.Errorf("%d of %d runs pass with 0.99 in place of 0.9", pass, runs)
	}
}

// drawCell is a cell whose trials are direct with probability p.
func drawCell(cell, n int, p float64, rng *rand.Rand) gate.CellSample {
	c := gate.CellSample{Cell: cell, Params: thresholdParams(cell), Oracle: "direct", Values: map[string]gate.Column{}}
	for i := range n {
		o := record.Failed
		if rng.Float64() < p {
			o = record.Direct
		}
		c.Numbers, c.Outcomes = append(c.Numbers, i), append(c.Outcomes, o)
	}
	return c
}

// A run of 10⁵ cells is judged soon.
func TestJudgeManyCells(t *testing.T) {
	var axes []record.Axis
	for _, k := range []string{"a", "b", "c"} {
		a := record.Axis{Key: k}
		for i := range 30 {
			a.Values = append(a.Values, fmt.Sprint(i))
		}
		axes = append(axes, a)
	}
	m := thresholdManifest()
	m.Axes, m.Cells = axes, 27000
	start := ownTime(t)
	js := gate.Judge(gate.Sample{Manifest: m}, []gate.Threshold{threshold(t, "direct_rate >= 0.9 by cell")})
	if took := ownTime(t) - start; took > 5*time.Second || len(js) != 27000 {
		t.Errorf("%d judgements in %v", len(js), took)
	}
}

// ownTime is what this process has had of the processor: others may have most of it.
func ownTime(t *testing.T) time.Duration {
	t.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
