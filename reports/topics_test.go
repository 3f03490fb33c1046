package reports

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/punchlab/punchlab/lab/record"
)

// crafted makes a model of trials that are told by their parameters.
type crafted []record.Trial

func (c *crafted) add(cell, trial int, seed uint64, outcome record.Outcome, frame float64, params map[string]string) {
	r := record.Trial{Schema: record.TrialSchema, Cell: cell, Trial: trial, Seed: seed, Outcome: outcome, Oracle: "direct", Params: maps.Clone(params)}
	if frame > 0 {
		r.FirstFrameS = &frame
	}
	*c = append(*c, r)
}

func (c crafted) model() *model { return newModel(&record.Run{Trials: c}) }

// TestVersus: only trials of the same conditions and the same seed are a pair, and each counts once.
func TestVersus(t *testing.T) {
	var c crafted
	a, b := map[string]string{"strategy": "alpha", "link": "lte"}, map[string]string{"strategy": "beta", "link": "lte"}
	lan := map[string]string{"strategy": "beta", "link": "lan"}
	for i := range 8 {
		seed := uint64(100 + i)
		outcomeB := record.Direct
		if i < 3 {
			outcomeB = record.Relayed
		}
		c.add(0, i, seed, record.Direct, 0.100, a)
		c.add(1, i, seed, outcomeB, 0.100-float64(i)/1000, b)
		c.add(2, i, seed, record.Failed, 0, lan) // another link: of no pair
	}
	c.add(0, 8, 1, record.Direct, 0.1, a)
	c.add(1, 8, 2, record.Failed, 0, b) // another seed
	c.add(0, 9, 3, record.Unsupported, 0, a)
	c.add(1, 9, 3, record.Failed, 0, b) // one could not run
	topic, ok := c.model().versus()
	want := [][]string{{"alpha and beta", "8", "5", "3", "0", "0", "0.25", "−3.5 ms (−7 to 0 ms)", "87.5 %", "0 %", "0.016"}}
	if diff := cmp.Diff(want, topic.rows); diff != "" || !ok {
		t.Error(diff)
	}
	if len(topic.figures) != 1 || !strings.Contains(topic.figures[0].alt, "median −3.5 ms") || len(topic.figures[0].rows) != 1 {
		t.Errorf("%+v", topic.figures)
	}
	if _, ok := modelOf(record.Manifest{}, record.Trial{}).versus(); ok {
		t.Error("one strategy was compared")
	}
}

// TestAgree: cells are compared with their like under the first engine alone, the biggest difference first.
func TestAgree(t *testing.T) {
	var c crafted
	add := func(cell int, engine, nat string, direct, of int) {
		for i := range of {
			outcome, frame := record.Direct, 0.05+float64(i)/1000
			if i >= direct {
				outcome, frame = record.Failed, 0
			}
			c.add(cell, i, uint64(i), outcome, frame, map[string]string{"camera.engine": engine, "viewer.nat": nat})
		}
	}
	add(0, "netfilter", "open", 20, 20)
	add(1, "netfilter", "symmetric", 10, 20)
	add(2, "netfilter", "alone", 10, 20)
	add(3, "table", "open", 19, 20)
	add(4, "table", "symmetric", 0, 20)
	topic, ok := c.model().agree()
	if !ok || len(topic.rows) != 3 {
		t.Fatalf("%v: %q", ok, topic.rows)
	}
	for i, want := range []string{"all 2 pairs", "symmetric", "open"} {
		if topic.rows[i][0] != "netfilter → table" || topic.rows[i][1] != want {
			t.Errorf("row %d is %q, want of %s", i, topic.rows[i], want)
		}
	}
	if r := topic.rows[1]; !strings.HasPrefix(r[3], "−50 points (−") || r[4] != "0.0009" || r[5] != "–" {
		t.Errorf("symmetric: %q", r)
	}
	if r := topic.rows[2]; !strings.HasPrefix(r[3], "−5 points (") || r[4] != "1" || r[5] != "5 points" {
		t.Errorf("open: %q", r)
	}
	if f := topic.figures[0]; len(f.rows) != 3 || !strings.Contains(f.alt, "all cells −27.5 points") {
		t.Errorf("%q %q", f.alt, f.rows)
	}
	if _, ok := modelOf(record.Manifest{}, record.Trial{}).agree(); ok {
		t.Error("one engine was compared")
	}
}

// TestFleet: a row for each size, its figures in its order, and a drawing with a text.
func TestFleet(t *testing.T) {
	var c crafted
	for i, size := range []string{"0", "1000", "10000"} {
		for n := range 10 {
			c.add(i, n, 1, record.Direct, 0.05*float64(i+1)+float64(n)/1000, map[string]string{"trial.fleet": size, "strategy": "adaptive"})
		}
	}
	topic, ok := c.model().fleet()
	if !ok || len(topic.rows) != 3 || topic.rows[2][0] != "10,000" || !strings.Contains(strings.Join(topic.rows[2], "|"), "155 ms (151–158 ms)") {
		t.Fatalf("%v: %q", ok, topic.rows)
	}
	if len(topic.figures) != 1 || !strings.Contains(topic.figures[0].alt, "adaptive: 0 54.5 ms, 1,000 105 ms, 10,000 155 ms") {
		t.Errorf("%+v", topic.figures)
	}
	if _, ok := modelOf(record.Manifest{}, record.Trial{}).fleet(); ok {
		t.Error("no fleet was told of")
	}
}

// TestThresholdsAreShown right under the verdict, in words beside each sign, in every format that has a verdict.
func TestThresholdsAreShown(t *testing.T) {
	s := small
	s.thresholds = []string{"direct_rate >= 0.2 where oracle == direct by strategy", "first_frame_s.p95 <= 0.001", "abort: direct_rate >= 0.9 where camera.nat == firewall and viewer.nat == port-restricted-cone and strategy == direct"}
	dir := s.write(t)
	doc, text := parse(t, dir)
	checkPage(t, doc)
	at := func(want string) int {
		i := strings.Index(text, want)
		if i < 0 {
			t.Fatalf("no %q on the page", want)
		}
		return i
	}
	if h1, part, main := at("</h1>"), at(`<section id="thresholds"`), at("<main>"); h1 > part || part > main {
		t.Error("the thresholds are not under the verdict")
	}
	at("✗ 1 of 5 thresholds missed, 1 undecided")
	at(`<td class="mark pass">✓ pass</td>`)
	at(`<td class="mark fail">✗ fail</td>`)
	at(`<td class="mark undecided">? undecided</td>`)
	if _, err := Write(dir, []string{"md", "junit"}); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"report.md": "| ✗ fail | first_frame_s.p95 <= 0.001 | all |", "report.junit.xml": `<testsuite name="nat-matrix.thresholds" tests="5" failures="1" errors="0" skipped="1"`} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || !strings.Contains(string(b), want) {
			t.Errorf("%s: no %q (%v)", name, want, err)
		}
	}
	s.thresholds = []string{"direct_rate is fine"}
	if _, err := Write(s.write(t), []string{"md"}); err == nil || !strings.Contains(err.Error(), "run.json: threshold") {
		t.Errorf("a threshold that cannot be read: %v", err)
	}
}
