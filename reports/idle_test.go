package reports

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"gonum.org/v1/plot/text"

	"github.com/punchlab/punchlab/lab/record"
)

// modelOf is the model of a run of one cell with these trials.
func modelOf(m record.Manifest, trials ...record.Trial) *model {
	for i := range trials {
		trials[i].Schema, trials[i].Trial = record.TrialSchema, i
		if trials[i].Outcome == "" {
			trials[i].Outcome = record.Direct
		}
	}
	return newModel(&record.Run{Manifest: m, Trials: trials})
}

// TestIdle: the rate is that of all time observed together; what was not timed, and what the lab spoiled, is left out.
func TestIdle(t *testing.T) {
	p := func(v float64) *float64 { return &v }
	sent := func(n int64) map[string]int64 { return map[string]int64{"camera_idle_up": n} }
	topic := modelOf(record.Manifest{},
		record.Trial{IdleS: p(10), Bytes: sent(40)},
		record.Trial{IdleS: p(30), Bytes: sent(80), Media: &record.Media{GoodputBps: p(2e6)}},
		record.Trial{Bytes: sent(1e6)}, // for how long?
		record.Trial{IdleS: p(20)},     // how much?
		record.Trial{IdleS: p(1), Bytes: sent(1e6), Outcome: record.HarnessError, Cause: "late"},
		record.Trial{Media: &record.Media{GoodputBps: p(1e6)}},
	).idle()
	want := [][]string{
		{"left alone", "10.8 kB", "payload sent", "2", "40 s in all", "40–80 B"},  // 120 B in 40 s
		{"streaming", "675 MB", "video received, mean of goodput", "2", "–", "–"}, // 1.5 Mbit/s
	}
	if diff := cmp.Diff(want, topic.rows); diff != "" {
		t.Error(diff)
	}
	if !strings.Contains(topic.says, "10.8 kB an hour while left alone (2 trials, 40 s in all)") || !strings.Contains(topic.says, "63,000 times") {
		t.Error(topic.says)
	}
	if topic := modelOf(record.Manifest{}, record.Trial{Bytes: sent(9)}).idle(); len(topic.rows) != 0 || !strings.Contains(topic.says, "Not measured") {
		t.Errorf("without idle_s: %+v", topic)
	}
}

// TestIdleIsShown on the page and in markdown.
func TestIdleIsShown(t *testing.T) {
	dir := small.write(t)
	if _, err := Write(dir, []string{"html", "md"}); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"report.html": `<th scope="row">left alone, direct</th>`, "report.md": "| left alone, adaptive | 15.4 kB |"} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(b), want) {
			t.Errorf("%s: no %q", name, want)
		}
	}
}

// TestLateLimit: the manifest's, else a late trial's, else none is drawn.
func TestLateLimit(t *testing.T) {
	late := record.Trial{Outcome: record.HarnessError, Error: "camera-silent", Cause: "the fabric delivered late: p99 4.72ms is over the limit of 3ms"}
	other := record.Trial{Outcome: record.HarnessError, Error: "the fabric ran late: p99 3.1 ms, limit 2 ms"}
	for _, c := range []struct {
		limit  float64
		trials []record.Trial
		want   float64
	}{
		{5e-3, []record.Trial{late}, 5e-3}, {0, []record.Trial{late, other}, 3e-3}, {0, []record.Trial{other}, 2e-3}, {0, []record.Trial{{}}, 0},
	} {
		m := modelOf(record.Manifest{LateLimitS: c.limit}, c.trials...)
		if got := m.lateLimit(); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
		if says := m.lateness().says; strings.Contains(says, "is a harness error") != (c.want > 0) || strings.Contains(says, "over 0") {
			t.Error(says)
		}
	}
}

// TestRefused: causes are counted by kind, lateness before what it brought about, and clusters are told.
func TestRefused(t *testing.T) {
	at := func(s int) time.Time { return time.Date(2026, 1, 1, 0, 0, s, 0, time.UTC) }
	trials := []record.Trial{
		{Error: "camera-silent", Cause: "the fabric delivered late: p99 4.72ms is over the limit of 2ms", EndedAt: at(3)},
		{Cause: "the fabric delivered late: p99 9ms is over the limit of 2ms", EndedAt: at(3)},
		{Cause: "the fabric delivered late: p99 8ms is over the limit of 2ms", EndedAt: at(9)},
		{Error: "wrong NAT: wanted full-cone", EndedAt: at(10)},
	}
	for i := range trials {
		trials[i].Outcome = record.HarnessError
	}
	end := at(60)
	m := modelOf(record.Manifest{Start: at(0), End: &end, Complete: true, TrialsPerCell: 1}, append(trials, record.Trial{EndedAt: at(60)})...)
	says := m.lateness().says
	for _, want := range []string{"4 of 5 attempts were refused: the fabric delivered late (3), wrong NAT (1).", "only 2 different seconds of the 60 s", "hypervisor"} {
		if !strings.Contains(says, want) {
			t.Errorf("no %q in %q", want, says)
		}
	}
	n := m.harnessNote()
	if len(n) != 1 || !n[0].warning || n[0].to != "#lateness" || !strings.Contains(n[0].text, "4 of 5 attempts (80 %) ended in a harness error, 3 of them because the lab ran late") || !strings.Contains(n[0].text, "run again") {
		t.Errorf("%+v", n)
	}
	if n := modelOf(record.Manifest{}, record.Trial{}).harnessNote(); n != nil {
		t.Errorf("a note on nothing: %+v", n)
	}
}

// TestStalePlots: an earlier report's plots go, whatever else lies there stays.
func TestStalePlots(t *testing.T) {
	dir := small.write(t)
	plots := filepath.Join(dir, "plots")
	stale := []string{"camera-idle-up.svg", "direct-rate.relay.png", "goodput.lte.svg"}
	kept := []string{"goodput.txt", "mine.svg", "goodput-mine.png", "connect-time.png"}
	if err := os.MkdirAll(filepath.Join(plots, "goodput.dir.svg"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, n := range append(stale, kept...) {
		if err := os.WriteFile(filepath.Join(plots, n), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Write(dir, []string{"md"}); err != nil {
		t.Fatal(err)
	}
	for _, n := range stale {
		if _, err := os.Stat(filepath.Join(plots, n)); err == nil {
			t.Errorf("%s is still there", n)
		}
	}
	for _, n := range append(kept, "goodput.dir.svg") {
		if _, err := os.Stat(filepath.Join(plots, n)); err != nil {
			t.Error(err)
		}
	}
}

// TestCellTableP99: printed from 100 trials on, “few” under them; the n of times only where it is news.
func TestCellTableP99(t *testing.T) {
	_, text := parse(t, synthetic{seed: 12, trials: 100, media: true, noAxes: true}.write(t))
	if !strings.Contains(text, "<span>connect p99</span>") || strings.Contains(text, "<td>few") {
		t.Error("100 trials gave no p99")
	}
	if strings.Contains(text, "<span>connect n</span>") || !strings.Contains(text, "direct or were relayed, all of them") {
		t.Error("n of times is printed although it is that of the trials that connected")
	}
	_, text = parse(t, synthetic{seed: 12, trials: 99, media: true, noAxes: true}.write(t))
	if n := strings.Count(text, "<td>few"); n != 2 {
		t.Errorf("99 trials: %d quantiles are called few, want both p99", n)
	}
	_, text = parse(t, runs["unmeasured"].write(t))
	if strings.Contains(text, "all of them") {
		t.Error("trials without times are said to be timed")
	}
}

// TestTicksFit: labels stand apart on the narrowest drawing.
func TestTicksFit(t *testing.T) {
	for _, c := range []struct {
		print     func(float64) string
		low, high float64
		log       bool
	}{{bits, 1.83e6, 2.04e6, false}, {seconds, 70e-6, 40e-3, true}, {seconds, 27e-3, 51e-3, false}, {ratio, 0.95, 2.7, false}, {seconds, 1e-6, 100, true}} {
		const width = slimWidth - axisRoom
		vs := (ticks{c.print, c.log, width}).values(c.low, c.high)
		room := 0.0 // that labels take
		for i, v := range vs {
			w := style(9, ink, text.XCenter, text.YTop).Width(c.print(v)).Points()
			room += w + 4
			if i == 0 {
				continue
			}
			apart := (v - vs[i-1]) / (c.high - c.low) * width.Points()
			if c.log {
				apart = math.Log(v/vs[i-1]) / math.Log(c.high/c.low) * width.Points()
			}
			if apart < w+5 {
				t.Errorf("%s is %.0f points wide and %.0f from the one before", c.print(v), w, apart)
			}
		}
		if len(vs) < 2 || room > width.Points() {
			t.Errorf("%v–%v: %v take %.0f points", c.low, c.high, vs, room)
		}
	}
}

// TestUpTo counts the limit in.
func TestUpTo(t *testing.T) {
	if got := upTo([]float64{1, 1.1, 1.1, 1.2}, 1.1); !strings.HasPrefix(got, "75 % (") {
		t.Error(got)
	}
}
