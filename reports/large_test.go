package reports

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/punchlab/punchlab/lab/record"
)

// hundredThousand is a run of 100,800 trials: 72 cells of 1,400.
var hundredThousand = synthetic{seed: 6, axes: natMatrix(sixNATs, []string{"direct", "adaptive"}, []string{"broadband"}), trials: 1400, media: true, harness: 0.01}

// BenchmarkWrite makes every report of 100,800 trials: go test ./reports -run - -bench Write -benchtime 1x
//
// page-MB is the page's size, columns-MB what the model keeps of the run, peak-MB what the process ever took from the system, and
// trials-MB what trials.jsonl holds. With -look FOLDER the run stays there, for TestLookInBrowser.
func BenchmarkWrite(b *testing.B) {
	dir := filepath.Join(b.TempDir(), "large")
	if *look != "" {
		dir = filepath.Join(*look, "large")
	}
	hundredThousand.writeTo(b, dir)
	size := func(name string) float64 {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			b.Fatal(err)
		}
		return float64(info.Size()) / 1e6
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	m, err := readModel(dir)
	if err != nil {
		b.Fatal(err)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	columns := float64(after.HeapAlloc-before.HeapAlloc) / 1e6
	runtime.KeepAlive(m)
	for b.Loop() {
		if _, err := Write(dir, nil); err != nil {
			b.Fatal(err)
		}
	}
	runtime.ReadMemStats(&after)
	b.ReportMetric(float64(after.Sys)/1e6, "peak-MB")
	b.ReportMetric(columns, "columns-MB")
	b.ReportMetric(size("report.html"), "page-MB")
	b.ReportMetric(size("trials.jsonl"), "trials-MB")
}

// TestManyCells: a run of 5,184 cells has its page, under 5 MB and with every cell on it.
func TestManyCells(t *testing.T) {
	s := synthetic{seed: 16, trials: 2, axes: append(natMatrix(twelveNATs, []string{"direct", "adaptive", "relay"}, []string{"lan", "broadband", "lte", "satellite"}),
		record.Axis{Key: "trial.fleet", Values: []string{"0", "10", "100"}})}
	doc, text := parse(t, s.write(t))
	checkPage(t, doc)
	if len(text) > 5_000_000 {
		t.Errorf("the page has %d bytes", len(text))
	}
	if n := strings.Count(text, `<details class="cell"`); n != 5184 {
		t.Errorf("%d cells have a list", n)
	}
}
