package reports

import (
	"bytes"
	"encoding/csv"
	"encoding/xml"
	"flag"
	"fmt"
	"image/png"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/perf/benchfmt"

	"github.com/punchlab/punchlab/lab/record"
)

var update = flag.Bool("update", false, "rewrite golden files")

// small is a run with every outcome, for golden files.
var small = synthetic{
	seed: 42, trials: 6, media: true, harness: 0.1, leak: true,
	axes: []record.Axis{
		{Key: "camera.nat", Values: []string{"firewall", "full-cone", "symmetric"}},
		{Key: "viewer.nat", Values: []string{"port-restricted-cone", "symmetric"}},
		{Key: "strategy", Values: []string{"direct", "adaptive", "ice"}},
		{Key: "link", Values: []string{"broadband"}},
	},
}

// TestGolden holds the text formats to their files.
func TestGolden(t *testing.T) {
	dir := small.write(t)
	files, err := Write(dir, []string{"md", "csv", "junit", "benchfmt"})
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != 4 {
		t.Fatalf("files %v", files)
	}
	for _, f := range files {
		got, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join("testdata", filepath.Base(f)+".golden")
		if *update {
			if err := os.WriteFile(path, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), string(got)); diff != "" {
			t.Errorf("%s (-want +got; -update rewrites it):\n%s", path, diff)
		}
	}
}

// TestMachineFormats reads what other programs read with their own readers.
func TestMachineFormats(t *testing.T) {
	dir := small.write(t)
	if _, err := Write(dir, []string{"csv", "junit", "benchfmt"}); err != nil {
		t.Fatal(err)
	}
	read := func(name string) []byte {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	rows, err := csv.NewReader(bytes.NewReader(read("report.csv"))).ReadAll()
	if err != nil || len(rows) != 1+3*2*3 {
		t.Errorf("csv: %d rows, %v", len(rows), err)
	}
	var suites junitSuites
	if err := xml.Unmarshal(read("report.junit.xml"), &suites); err != nil {
		t.Fatal(err)
	}
	cases := 0
	for _, s := range suites.Suites {
		cases += len(s.Cases)
	}
	if suites.Tests != 18 || cases != 18 || suites.Skipped != 2 {
		t.Errorf("junit: %d tests, %d cases, %d skipped", suites.Tests, cases, suites.Skipped)
	}
	r := benchfmt.NewReader(bytes.NewReader(read("report.benchfmt")), "report.benchfmt")
	results := 0
	for r.Scan() {
		switch rec := r.Result().(type) {
		case *benchfmt.Result:
			results++
			if rec.GetConfig("engine") != "netfilter" {
				t.Errorf("engine %q", rec.GetConfig("engine"))
			}
		case *benchfmt.SyntaxError:
			t.Error(rec)
		}
	}
	if r.Err() != nil || results != 18*6 {
		t.Errorf("benchfmt: %d results, %v", results, r.Err())
	}
}

func TestWriteRefuses(t *testing.T) {
	dir := small.write(t)
	_, err := Write(dir, []string{"html", "pdf"})
	if err == nil || !strings.Contains(err.Error(), `unknown format "pdf": use html, svg`) {
		t.Errorf("unknown format: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "report.html")); err == nil {
		t.Error("a refused call wrote a page")
	}
	if _, err := Write(t.TempDir(), nil); err == nil || !strings.Contains(err.Error(), "not the folder of a run") {
		t.Errorf("no run: %v", err)
	}
	if err := os.Mkdir(filepath.Join(dir, "report.md"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := Write(dir, []string{"md"}); err == nil || !strings.Contains(err.Error(), "make report.md") {
		t.Errorf("a folder in the way: %v", err)
	}
}

// TestPlots decodes every plot, and finds all that the page shows among them.
func TestPlots(t *testing.T) {
	dir := synthetic{seed: 3, trials: 12, media: true, harness: 0.05, axes: natMatrix([]string{"full-cone", "symmetric"}, []string{"direct", "adaptive"}, []string{"lte"})}.write(t)
	files, err := Write(dir, []string{"svg", "png", "html"})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		switch filepath.Ext(f) {
		case ".png":
			img, err := png.Decode(bytes.NewReader(b))
			if err != nil || img.Bounds().Dx() < 900 {
				t.Errorf("%s: %v", f, err)
			}
		case ".svg":
			wellFormed(t, f, b)
			names = append(names, strings.TrimSuffix(filepath.Base(f), ".svg"))
		}
	}
	slices.Sort(names)
	want := []string{"connect-time", "direct-rate", "direct-rate.adaptive", "direct-rate.direct", "first-frame-ratio", "first-frame-time",
		"first-packet-ratio", "frame-latency", "goodput", "lab-lateness", "relay-share.adaptive"}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Error(diff)
	}
	page, err := os.ReadFile(filepath.Join(dir, "report.html"))
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		if !bytes.Contains(page, []byte(`href="plots/`+n+`.png"`)) {
			t.Errorf("the page does not link %s", n)
		}
	}
}

func wellFormed(t *testing.T, name string, b []byte) {
	t.Helper()
	d := xml.NewDecoder(bytes.NewReader(b))
	for {
		if _, err := d.Token(); err == io.EOF {
			return
		} else if err != nil {
			t.Errorf("%s: %v", name, err)
			return
		}
	}
}

// TestDeterministic: the same records give the same bytes.
func TestDeterministic(t *testing.T) {
	dir := small.write(t)
	var first []byte
	for range 3 {
		if _, err := Write(dir, []string{"html"}); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(filepath.Join(dir, "report.html"))
		if err != nil {
			t.Fatal(err)
		}
		if first != nil && !bytes.Equal(first, b) {
			t.Fatal("two pages of one run differ")
		}
		first = b
	}
}

// TestVerdict reads the first sentence of each shape of run.
func TestVerdict(t *testing.T) {
	for name, want := range map[string]string{
		"matrix":       "Strategy adaptive connected in 720 of 720 trials (100 %): ",
		"all-failed":   "Strategy direct never connected: 0 of 90 trials (at most 4.1 % with 95 % confidence).",
		"one-trial":    "Strategy adaptive ran one trial, and it ended direct: too few samples for a rate.",
		"incomplete":   "Incomplete run. Strategy adaptive connected in ",
		"no-verdict":   "No verdict: all 32 trials ended in harness errors.",
		"no-axes":      "The viewer connected directly in all of 30 trials (at least 88.6 % with 95 % confidence).",
		"one-strategy": "always directly",
	} {
		run, err := record.Read(runs[name].write(t))
		if err != nil {
			t.Fatal(err)
		}
		if got := newModel(run).verdict(); !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	empty := synthetic{seed: 1, axes: natMatrix(sixNATs[:2], []string{"direct"}, []string{"lan"}), trials: 0}
	run, err := record.Read(empty.write(t))
	if err != nil {
		t.Fatal(err)
	}
	if got := newModel(run).verdict(); got != "No verdict: no trial was recorded." {
		t.Errorf("empty: %q", got)
	}
	if _, err := Write(run.Dir, nil); err != nil {
		t.Errorf("empty: %v", err)
	}
}

// TestNotes: a leak, a torn line and many harness errors warn.
func TestNotes(t *testing.T) {
	dir := synthetic{seed: 9, axes: natMatrix([]string{"port-restricted-cone", "symmetric"}, []string{"direct", "adaptive"}, []string{"lan"}), trials: 5, leak: true, harness: 0.2}.write(t)
	path := filepath.Join(dir, record.TrialsFile)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b[:len(b)-9], 0o644); err != nil {
		t.Fatal(err)
	}
	run, err := record.Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	var warnings []string
	for _, n := range newModel(run).notes() {
		if n.warning {
			warnings = append(warnings, n.text)
		}
	}
	all := strings.Join(warnings, "\n")
	for _, want := range []string{"The last line of trials.jsonl is torn", "7 of 8 cells have all their trials", "suspect the lab", "port-restricted-cone × symmetric (adaptive)", "harness error because the lab ran late: kept"} {
		if !strings.Contains(all, want) {
			t.Errorf("no %q in:\n%s", want, all)
		}
	}
}

// TestAxesInferred: a manifest that does not tell its axes gives the same matrices.
func TestAxesInferred(t *testing.T) {
	s := synthetic{seed: 5, trials: 2, axes: natMatrix([]string{"symmetric", "full-cone"}, []string{"direct", "adaptive"}, []string{"lan", "lte"})}
	told, err := record.Read(s.write(t))
	if err != nil {
		t.Fatal(err)
	}
	s.noAxes = true
	inferred, err := record.Read(s.write(t))
	if err != nil {
		t.Fatal(err)
	}
	describe := func(r *record.Run) (out []string) {
		for _, f := range newModel(r).facets {
			out = append(out, fmt.Sprintf("%s: %v × %v", label(f.params), f.rows, f.cols))
		}
		slices.Sort(out)
		return out
	}
	if diff := cmp.Diff(describe(told), describe(inferred)); diff != "" {
		t.Error(diff)
	}
	if got := describe(told); len(got) != 4 || got[0] != "adaptive · lan: [symmetric full-cone] × [symmetric full-cone]" {
		t.Errorf("facets %v", got)
	}
}
