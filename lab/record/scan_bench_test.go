package record

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"
)

// bigRun writes so many trials, as a matrix of two hundred cells has them, with a second of video each.
func bigRun(t testing.TB, trials int) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "run")
	m := manifest()
	m.Cells, m.TrialsPerCell = 200, trials/200
	w, err := Create(dir, m)
	if err != nil {
		t.Fatal(err)
	}
	one := measured()[1]
	one.Possible = &Possible{Via: "udp", Sockets: 1, Probes: 1, P: 1}
	one.Media.LatencyS = make([]float64, 30)
	for i := range one.Media.LatencyS {
		one.Media.LatencyS[i] = 0.0123456789 * float64(i)
	}
	for n := range trials {
		one.Cell, one.Trial, one.Seed, one.EndedAt = n%200, n/200, uint64(n), time.Now().UTC()
		if err := w.Add(one); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Finish(true, time.Now().UTC()); err != nil {
		t.Fatal(err)
	}
	return dir
}

func BenchmarkScan(b *testing.B) {
	const trials = 20000
	dir := bigRun(b, trials)
	info, err := os.Stat(filepath.Join(dir, TrialsFile))
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(info.Size())
	b.ReportAllocs()
	for b.Loop() {
		n := 0
		if _, err := Scan(dir, func(Trial) error { n++; return nil }); err != nil || n != trials {
			b.Fatal(n, err)
		}
	}
	b.ReportMetric(float64(trials)*float64(b.N)/b.Elapsed().Seconds(), "trials/s")
}

// BenchmarkRead reports what a trial takes while a run is held whole.
func BenchmarkRead(b *testing.B) {
	const trials = 20000
	dir := bigRun(b, trials)
	for b.Loop() {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		run, err := Read(dir)
		if err != nil {
			b.Fatal(err)
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(len(run.Trials)), "B-held/trial")
	}
}
