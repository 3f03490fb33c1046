package reports

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image/png"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/html"

	"github.com/punchlab/punchlab/lab/gate"
)

// trendOf is the history of n runs in which the direct rate falls and a time halves.
func trendOf(n int) *gate.TrendReport {
	rng := rand.New(rand.NewPCG(7, 0x706c))
	t := &gate.TrendReport{Schema: gate.TrendSchema, Scenario: "nat-matrix", Engine: "sim", Alpha: 0.05}
	start := time.Date(2026, 3, 1, 3, 17, 0, 0, time.UTC)
	for i := range n {
		r := gate.TrendRun{Source: fmt.Sprintf("history/%02d", i+1), Start: start.AddDate(0, 0, i),
			Commit: fmt.Sprintf("%09x", 0x3ef995d00+i), Trials: 1440}
		if i == n/2 {
			r.Changed = []string{"kernel: Linux 6.12.8 → Linux 6.13.1"}
		}
		t.Runs = append(t.Runs, r)
	}
	worse, better := true, false
	for _, group := range []string{"direct", "adaptive"} {
		rate := gate.Series{Metric: "direct_rate", Group: group, Better: "higher"}
		connect := gate.Series{Metric: "connect_s.p50", Group: group, Unit: "s", Better: "lower"}
		goodput := gate.Series{Metric: "goodput_bps.p50", Group: group, Unit: "bit/s", Better: "higher", Why: "fewer than 8 runs have it"}
		for i := range n {
			v, c := 0.99, 0.040
			if i >= n/2 && group == "adaptive" {
				v, c = 0.93, 0.022
			}
			v += 0.004 * rng.NormFloat64()
			v = min(1, v)
			rate.Points = append(rate.Points, gate.TrendPoint{Run: i, Value: v, N: 720,
				Range: &gate.Interval{Low: f64(v - 0.01), High: f64(min(1, v+0.007))}})
			c *= 1 + 0.02*rng.NormFloat64()
			connect.Points = append(connect.Points, gate.TrendPoint{Run: i, Value: c, N: 700,
				Range: &gate.Interval{Low: f64(c * 0.97), High: f64(c * 1.03)}})
			if i < 2 {
				goodput.Points = append(goodput.Points, gate.TrendPoint{Run: i, Value: 2e6, N: 3})
			}
		}
		if group == "adaptive" && n >= gate.MinTrendRuns {
			rate.Changes = []gate.TrendChange{{Run: n / 2, P: 0.0005, AdjustedP: 0.003, Before: 0.99, After: 0.93, Worse: &worse, Text: "fell"}}
			connect.Changes = []gate.TrendChange{{Run: n / 2, P: 0.0005, AdjustedP: 0.003, Before: 0.040, After: 0.022, Worse: &better,
				Text: "fell"}}
		}
		t.Series = append(t.Series, rate, connect, goodput)
	}
	if n < gate.MinTrendRuns {
		t.Why = "8 runs are needed"
	}
	return t
}

var trends = map[string]func() *gate.TrendReport{
	"changed": func() *gate.TrendReport { return trendOf(20) },
	"few":     func() *gate.TrendReport { return trendOf(3) },
	"empty": func() *gate.TrendReport {
		return &gate.TrendReport{Schema: gate.TrendSchema, Scenario: "nat-matrix", Engine: "sim", Alpha: 0.05}
	},
	"steady": func() *gate.TrendReport {
		t := trendOf(12)
		for i := range t.Series {
			t.Series[i].Changes = nil
		}
		return t
	},
}

func trendAs(t *testing.T, r *gate.TrendReport, format string) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := RenderTrend(&b, r, format); err != nil {
		t.Fatalf("%s: %v", format, err)
	}
	return b.Bytes()
}

func TestTrendGolden(t *testing.T) {
	for name, make := range trends {
		for _, format := range []string{"text", "md"} {
			got := string(trendAs(t, make(), format))
			for _, bad := range []string{"NaN", "%!", "Inf", "<nil>"} {
				if strings.Contains(got, bad) {
					t.Errorf("%s as %s has %q", name, format, bad)
				}
			}
			path := filepath.Join("testdata", "trend", name+"."+format+".golden")
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

func TestTrendFormats(t *testing.T) {
	for name, make := range trends {
		if _, err := png.DecodeConfig(bytes.NewReader(trendAs(t, make(), "png"))); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if svg := trendAs(t, make(), "svg"); !bytes.Contains(svg, []byte("</svg>")) || bytes.Contains(svg, []byte("NaN")) {
			t.Errorf("%s: %.200s", name, svg)
		}
		var back gate.TrendReport
		if err := json.Unmarshal(trendAs(t, make(), "json"), &back); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(make(), &back); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		page := trendAs(t, make(), "html")
		doc, err := html.Parse(bytes.NewReader(page))
		if err != nil {
			t.Fatal(err)
		}
		checkPage(t, doc)
		for _, bad := range []string{"NaN", "ZgotmplZ", "http://", "https://", "<no value>"} {
			if bytes.Contains(page, []byte(bad)) {
				t.Errorf("%s: %q on the page", name, bad)
			}
		}
	}
	if err := RenderTrend(&bytes.Buffer{}, trendOf(3), "pdf"); err == nil || !strings.Contains(err.Error(), `unknown format "pdf"`) {
		t.Error(err)
	}
}

// TestTrendVerdict: worse is worse whatever else got better, and too few runs are no good news.
func TestTrendVerdict(t *testing.T) {
	for name, want := range map[string]string{
		"changed": "✗ 2 changes over 20 runs: 1 for the worse, 1 for the better", "few": "? no change was looked for: 8 runs are needed",
		"empty": "? no change was looked for", "steady": "✓ no change in 4 metrics over 12 runs",
	} {
		if got := trendVerdict(trends[name]()); !strings.HasPrefix(got, want) {
			t.Errorf("%s: %s", name, got)
		}
	}
}

// TestTrendEscapesNames: a run's folder, a group and a difference may be called anything.
func TestTrendEscapesNames(t *testing.T) {
	for _, h := range hostile {
		r := trendOf(9)
		r.Scenario, r.Engine, r.Runs[1].Source, r.Runs[1].Changed = h, h, h, []string{h}
		for i := range r.Series {
			r.Series[i].Group = h
		}
		if text := string(trendAs(t, r, "text")); strings.ContainsAny(text, "\x1b\x00\r\u202e") {
			t.Errorf("%q: %q", h, text)
		}
		if md := string(trendAs(t, r, "md")); strings.Count(md, "<") != 4 {
			t.Errorf("%q: %s", h, md)
		}
		page := trendAs(t, r, "html")
		if bytes.Contains(page, []byte("<script")) {
			t.Errorf("%q: the page runs it", h)
		}
		if svg := trendAs(t, r, "svg"); bytes.Contains(svg, []byte("<script")) {
			t.Errorf("%q: the plot runs it", h)
		}
	}
}

// TestTrendLook writes pages and plots for eyes: go test ./reports -run TrendLook -look /tmp/look
func TestTrendLook(t *testing.T) {
	if *look == "" {
		t.Skip("no -look folder")
	}
	for name, make := range trends {
		for _, format := range TrendFormats {
			if err := os.WriteFile(filepath.Join(*look, "trend-"+name+"."+format), trendAs(t, make(), format), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
}
