package reports

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"
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
