package reports

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/perf/benchfmt"

	"github.com/punchlab/punchlab/lab/gate"
)

func f64(v float64) *float64 { return &v }

// rateFinding is one as Compare would make it, but for its sentence and its p.
func rateFinding(group string, d gate.Decision, k1, n1, k2, n2 int, p float64) gate.Finding {
	a, b := float64(k1)/float64(n1), float64(k2)/float64(n2)
	return gate.Finding{
		Metric: "direct_rate", Group: group, Decision: d, Better: "higher", Why: "direct_rate " + string(d),
		Alpha: 0.001, Margin: 0.02, Tolerance: 0.09,
		A: gate.Figure{Value: &a, K: k1, N: n1}, B: gate.Figure{Value: &b, K: k2, N: n2},
		Effect: f64(b - a), Worse: f64(a - b), Range: &gate.Interval{Low: f64(b - a - 0.03), High: f64(b - a + 0.02)},
		P: &p, AdjustedP: f64(2 * p), Detectable: f64(0.0215),
	}
}

func timeFinding(group string, d gate.Decision, a, b float64, n int, p float64) gate.Finding {
	e := b/a - 1
	return gate.Finding{
		Metric: "connect_s.p95", Group: group, Decision: d, Unit: "s", Better: "lower", Why: "connect_s.p95 " + string(d),
		Alpha: 0.001, Margin: 0.03, Tolerance: 0.1,
		A: gate.Figure{Value: &a, N: n}, B: gate.Figure{Value: &b, N: n}, Effect: &e, Worse: &e, Range: &gate.Interval{Low: f64(e - 0.04)},
		P: &p, AdjustedP: &p, Detectable: f64(0.055),
	}
}

func verdictOf(d gate.Decision) *gate.Verdict {
	at := time.Date(2026, 3, 14, 9, 26, 53, 0, time.UTC)
	v := &gate.Verdict{
		Schema: gate.VerdictSchema, Decision: d, Scenario: "nat-matrix", Engine: "netfilter", Alpha: 0.001, Confidence: 0.95,
		A: gate.Side{Source: "reports/baselines/nat-matrix.jsonl:3", Commit: "3ef995d0c1f2a3b4c5d6e7f8091a2b3c4d5e6f70", Start: at, Seed: 1,
			Cells: 3, Trials: 150, Complete: true},
		B: gate.Side{Source: "out/b", Commit: "00f7394d0c1f2a3b4c5d6e7f8091a2b3c4d5e6f7", Dirty: true, Start: at.Add(time.Hour), Seed: 2,
			Cells: 3, Trials: 149, HarnessErrors: 4, Complete: true},
	}
	cell := func(i int, camera string, d gate.Decision, fs ...gate.Finding) {
		v.Cells = append(v.Cells, gate.CellVerdict{Cell: i, Params: map[string]string{"camera.nat": camera, "viewer.nat": "symmetric",
			"strategy": "adaptive"}, Oracle: "direct", Decision: d, Why: "cell " + string(d), Findings: fs})
	}
	switch d {
	case gate.Fail:
		v.Why = "direct_rate of strategy adaptive fell by 8.8 points (95 % interval −11.8 to −6.8) from 720 of 720 to 657 of 720."
		v.Allowed = []gate.Difference{{Field: "kernel", Baseline: "Linux 6.12.8", Candidate: "Linux 6.13.1", Do: "run both on one"}}
		v.Overall = []gate.Finding{timeFinding("adaptive", gate.Undecided, 0.0412, 0.0454, 700, 0.02),
			rateFinding("adaptive", gate.Fail, 720, 720, 657, 720, 1e-17), rateFinding("relay", gate.Pass, 0, 720, 0, 720, 1)}
		v.Overall[0].Watched = true
		cell(0, "full-cone", gate.Pass, rateFinding("", gate.Pass, 50, 50, 50, 50, 1))
		cell(1, "symmetric", gate.Fail, rateFinding("", gate.Fail, 50, 50, 23, 50, 1e-9), timeFinding("", gate.Pass, 0.04, 0.04, 50, 1))
		cell(2, "firewall", gate.Undecided, rateFinding("", gate.Undecided, 50, 50, 47, 49, 0.012))
		quiet := rateFinding("", gate.Undecided, 50, 50, 49, 50, 0.5)
		cell(3, "open", gate.Undecided, quiet)
		v.Cells[2].Findings[0].Detectable = nil
	case gate.Pass:
		v.Paired = true
		v.Why = "No metric regressed as far as its tolerance."
		v.Overall = []gate.Finding{rateFinding("adaptive", gate.Pass, 720, 720, 719, 720, 0.5)}
		cell(0, "full-cone", gate.Pass, rateFinding("", gate.Pass, 50, 50, 50, 50, 1))
	default:
		v.Why = "Nothing was measured on both sides."
		v.B.Cells, v.B.Trials, v.B.Complete = 0, 0, false
		v.Problems = []string{"the candidate is incomplete: run it again with --resume"}
		cell(0, "full-cone", gate.Undecided, gate.Finding{Metric: "direct_rate", Decision: gate.Undecided, Why: "no trial of the candidate"})
		cell(1, "symmetric", gate.Undecided)
	}
	return v
}

func rendered(t *testing.T, v *gate.Verdict, format string) string {
	t.Helper()
	var b bytes.Buffer
	if err := RenderGate(&b, v, format, false); err != nil {
		t.Fatalf("%s: %v", format, err)
	}
	return b.String()
}

// TestGateGolden holds every format of every decision to what was looked at.
func TestGateGolden(t *testing.T) {
	for _, d := range []gate.Decision{gate.Fail, gate.Pass, gate.Undecided} {
		for _, format := range GateFormats {
			got := rendered(t, verdictOf(d), format)
			for _, bad := range []string{"NaN", "%!", "<nil>", "Inf", "0x"} {
				if strings.Contains(got, bad) {
					t.Errorf("%s as %s has %q", d, format, bad)
				}
			}
			path := filepath.Join("testdata", "gate", fmt.Sprintf("%s.%s.golden", d, format))
			if *update {
				if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("%s: %s", path, diff)
			}
		}
	}
}

// TestGateSaysItsDecisionFirst: in each format for people, with mark and word, in color or not.
func TestGateSaysItsDecisionFirst(t *testing.T) {
	for _, d := range []gate.Decision{gate.Fail, gate.Pass, gate.Undecided} {
		v := verdictOf(d)
		if got, want := rendered(t, v, "text"), d.Mark()+" "+string(d)+": "+v.Why; !strings.HasPrefix(got, want) {
			t.Errorf("text begins %.80q", got)
		}
		if got := rendered(t, v, "md"); !strings.HasPrefix(got, "## "+d.Mark()+" punchlab gate: "+string(d)) {
			t.Errorf("markdown begins %.80q", got)
		}
		var b bytes.Buffer
		if err := RenderGate(&b, v, "text", true); err != nil {
			t.Fatal(err)
		}
		if got := regexp.MustCompile("\x1b\\[[0-9;]*m").ReplaceAllString(b.String(), ""); got != rendered(t, v, "text") || b.Len() == len(got) {
			t.Errorf("%s: colored text says something else:\n%s", d, got)
		}
	}
}

func TestGateJSONReadsBack(t *testing.T) {
	v := verdictOf(gate.Fail)
	var back gate.Verdict
	if err := json.Unmarshal([]byte(rendered(t, v, "json")), &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(v, &back); diff != "" {
		t.Error(diff)
	}
}

func TestGateUnknownFormat(t *testing.T) {
	var b bytes.Buffer
	err := RenderGate(&b, verdictOf(gate.Pass), "yaml", false)
	if err == nil || !strings.Contains(err.Error(), `unknown format "yaml"`) || !strings.Contains(err.Error(), "annotations") || b.Len() > 0 {
		t.Errorf("%v, %q", err, b.String())
	}
}

// TestGateJUnitCounts: what a CI system adds up is what the verdict says.
func TestGateJUnitCounts(t *testing.T) {
	var out junitSuites
	if err := xml.Unmarshal([]byte(rendered(t, verdictOf(gate.Fail), "junit")), &out); err != nil {
		t.Fatal(err)
	}
	if out.Tests != 8 || out.Failures != 3 || out.Skipped != 3 || len(out.Suites) != 2 {
		t.Errorf("%d tests, %d failures, %d skipped, %d suites", out.Tests, out.Failures, out.Skipped, len(out.Suites))
	}
	for _, s := range out.Suites {
		for _, c := range s.Cases {
			passes := strings.Contains(c.Name, "full-cone") || strings.Contains(c.Name, "relay")
			if passes == (c.Failure != nil || c.Skipped != nil) {
				t.Errorf("case %s: failure %v, skipped %v", c.Name, c.Failure, c.Skipped)
			}
		}
	}
}

// TestGateAnnotationsWorstFirst: at most ten, errors before warnings, the largest regression first.
func TestGateAnnotationsWorstFirst(t *testing.T) {
	v := verdictOf(gate.Fail)
	for i := range 30 {
		f := rateFinding("", gate.Fail, 50, 50, 50-i, 50, 1e-6)
		v.Cells = append(v.Cells, gate.CellVerdict{Cell: 3 + i, Params: map[string]string{"n": fmt.Sprint(i)}, Decision: gate.Fail,
			Findings: []gate.Finding{f}})
	}
	lines := strings.Split(strings.TrimSpace(rendered(t, v, "annotations")), "\n")
	if len(lines) != mostAnnotations {
		t.Fatalf("%d annotations", len(lines))
	}
	for i, want := range []string{"::error title=punchlab gate%3A fail::", "::error title=direct_rate%2C adaptive%3A fail::",
		"::error title=n=29%3A fail::", "::error title=n=28%3A fail::"} {
		if !strings.HasPrefix(lines[i], want) {
			t.Errorf("annotation %d is %.60s", i, lines[i])
		}
	}
	last := rendered(t, verdictOf(gate.Undecided), "annotations")
	if !strings.HasPrefix(last, "::warning title=punchlab gate%3A undecided::") {
		t.Errorf("undecided: %s", last)
	}
	if got := rendered(t, verdictOf(gate.Pass), "annotations"); !strings.HasPrefix(got, "::notice") || strings.Count(got, "\n") != 1 {
		t.Errorf("pass: %s", got)
	}
}

// benchmarks reads benchfmt as benchstat does, and refuses what it would warn of.
func benchmarks(t *testing.T, text string) (results []*benchfmt.Result, units map[string]string) {
	t.Helper()
	r := benchfmt.NewReader(strings.NewReader(text), "gate.benchfmt")
	for r.Scan() {
		switch rec := r.Result().(type) {
		case *benchfmt.Result:
			results = append(results, rec.Clone())
		case *benchfmt.SyntaxError:
			t.Errorf("%v", rec)
		}
	}
	if err := r.Err(); err != nil {
		t.Fatal(err)
	}
	for _, r := range results {
		for _, c := range r.Config {
			if c.Key != "side" && results[0].GetConfig(c.Key) != string(c.Value) {
				t.Errorf("%s differs between the sides: benchstat would not set them beside one another", c.Key)
			}
		}
	}
	units = map[string]string{}
	for k, u := range r.Units() {
		units[k.Unit+" "+k.Key] = u.Value
	}
	return results, units
}

func TestGateBenchfmtReads(t *testing.T) {
	results, units := benchmarks(t, rendered(t, verdictOf(gate.Fail), "benchfmt"))
	sides := map[string]int{}
	for _, r := range results {
		sides[r.GetConfig("side")]++
	}
	if !maps.Equal(sides, map[string]int{"baseline": 8, "candidate": 8}) {
		t.Errorf("lines by side: %v", sides)
	}
	if units["direct_rate better"] != "higher" || units["direct_rate assume"] != "exact" || units["connect-p95-sec better"] != "lower" {
		t.Errorf("units: %v", units)
	}
	if v, ok := results[9].Value("direct_rate"); !ok || v != 0.9125 || string(results[9].Name.Base()) != "All" || results[9].Iters != 720 {
		t.Errorf("second line of the candidate: %v", results[9])
	}
}

// TestGateBenchfmtOfTrials: each trial of both sides, with every value it has.
func TestGateBenchfmtOfTrials(t *testing.T) {
	dir := small.write(t)
	s := sampleOf(t, dir)
	var b bytes.Buffer
	if err := GateBenchfmt(&b, s, s); err != nil {
		t.Fatal(err)
	}
	results, units := benchmarks(t, b.String())
	if len(results) != 2*s.Trials() || units["direct better"] != "higher" {
		t.Errorf("%d lines of %d trials, units %v", len(results), s.Trials(), units)
	}
	values := 0
	for _, r := range results {
		if v, ok := r.Value("connect-sec"); ok {
			values++
			if v <= 0 || math.IsNaN(v) {
				t.Errorf("connect-sec is %v", v)
			}
		}
	}
	if values == 0 {
		t.Error("no connect-sec")
	}
}

// hostile names are as bad as a file can make them.
var hostile = []string{"a|b", "<script>alert(1)</script>", "100%\n::error::x", "\x1b[2Jcls", "c=d/e f", "“\u202etxt”", "*_`~$[x](y)", "&amp;",
	"", "\x00\xff", "-->", "]]>", "::set-output name=x::y"}

// TestGateEscapesNames: whatever names are in the records, every format stays what it is.
func TestGateEscapesNames(t *testing.T) {
	for _, h := range hostile {
		checkEscapes(t, h)
	}
}

func FuzzGateEscapesNames(f *testing.F) {
	for _, h := range hostile {
		f.Add(h)
	}
	f.Fuzz(func(t *testing.T, h string) { checkEscapes(t, h) })
}

func checkEscapes(t *testing.T, h string) {
	t.Helper()
	v := verdictOf(gate.Fail)
	plain := map[string]int{}
	for _, format := range GateFormats {
		plain[format] = strings.Count(rendered(t, v, format), "\n")
	}
	v.Scenario, v.Engine, v.A.Source, v.B.Strategy, v.Why = h, h, h, h, h
	v.Problems = []string{h}
	for i := range v.Overall {
		v.Overall[i].Group = h
	}
	for i := range v.Cells {
		v.Cells[i].Params = map[string]string{h: h, "strategy": "x" + h}
		v.Cells[i].Why = h
	}
	text := rendered(t, v, "text")
	if strings.ContainsAny(text, "\x1b\x00\r\u202e") || strings.Count(text, "\n") != plain["text"]+1 {
		t.Errorf("%q: text %q", h, text)
	}
	md := rendered(t, v, "md")
	for _, line := range strings.Split(md, "\n") {
		bars := strings.Count(strings.NewReplacer(`\\`, "", `\|`, "").Replace(line), "|")
		if strings.HasPrefix(line, "|") && bars != 11 && bars != 10 && bars != 4 {
			t.Errorf("%q: a row of %d bars: %s", h, bars, line)
		}
	}
	if tags := strings.Count(md, "<"); tags != 0 {
		t.Errorf("%q: %d tags in %s", h, tags, md)
	}
	for _, line := range strings.Split(strings.TrimSuffix(rendered(t, v, "annotations"), "\n"), "\n") {
		if !regexp.MustCompile(`^::(error|warning) title=[^:,\r\n]*::[^\r\n]*$`).MatchString(line) {
			t.Errorf("%q: annotation %q", h, line)
		}
	}
	d := xml.NewDecoder(strings.NewReader(rendered(t, v, "junit")))
	for {
		if _, err := d.Token(); err == io.EOF {
			break
		} else if err != nil {
			t.Fatalf("%q: junit: %v", h, err)
		}
	}
	if !json.Valid([]byte(rendered(t, v, "json"))) {
		t.Errorf("%q: no JSON", h)
	}
	if results, _ := benchmarks(t, rendered(t, v, "benchfmt")); len(results) != 16 {
		t.Errorf("%q: %d benchmarks", h, len(results))
	}
}
