package record

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestScanIsReadTrialByTrial: the same trials, manifest and wall.
func TestScanIsReadTrialByTrial(t *testing.T) {
	dir, w := begin(t, measured()...)
	last := measured()[0]
	last.Trial, last.EndedAt = 9, manifest().Start.Add(time.Hour)
	if err := w.Add(last); err != nil {
		t.Fatal(err)
	}
	if err := w.trials.Close(); err != nil { // as if killed
		t.Fatal(err)
	}
	want, err := Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	var trials []Trial
	got, err := Scan(dir, func(t Trial) error { trials = append(trials, t); return nil })
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want.Trials, trials); diff != "" || len(trials) != 6 || got.Trials != nil {
		t.Errorf("%d trials and %d: %s", len(trials), len(got.Trials), diff)
	}
	if got.Wall() != time.Hour || want.Wall() != time.Hour || !cmp.Equal(got.Manifest, want.Manifest) {
		t.Errorf("wall %v and %v", got.Wall(), want.Wall())
	}
	for i := range trials[2:] {
		a, b := trials[1], trials[i+1]
		if a.Cell == b.Cell && &a.Params != &b.Params && !sameMap(a.Params, b.Params) {
			t.Errorf("trials of one cell have params of their own")
		}
	}
}

// sameMap reports whether a and b are one map.
func sameMap(a, b map[string]string) bool {
	const probe = "\x00"
	a[probe] = ""
	defer delete(a, probe)
	_, ok := b[probe]
	return ok
}

// TestSummaryOfARun: read trial by trial it is that of the trials.
func TestSummaryOfARun(t *testing.T) {
	dir, w := begin(t, measured()...)
	if err := w.Finish(true, manifest().Start.Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	got, err := SummarizeRun(dir)
	if diff := cmp.Diff(Summarize(manifest(), measured(), time.Minute), got); err != nil || diff != "" {
		t.Errorf("%v: %s", err, diff)
	}
	if _, err := SummarizeRun(t.TempDir()); err == nil {
		t.Error("no run has a summary")
	}
}

// TestScanEndsWithItsReader at the line it was at.
func TestScanEndsWithItsReader(t *testing.T) {
	dir, w := begin(t, measured()...)
	defer w.Finish(true, time.Now())
	enough, n := errors.New("enough"), 0
	_, err := Scan(dir, func(Trial) error {
		if n++; n == 2 {
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) || n != 2 || !strings.Contains(err.Error(), filepath.Join(dir, TrialsFile)+":2: ") {
		t.Errorf("%v after %d trials", err, n)
	}
}

// TestScanHoldsNothing: what a scan keeps does not grow with the trials' size, and hardly with their number.
func TestScanHoldsNothing(t *testing.T) {
	const trials = 4000 // 4 MB
	dir := bigRun(t, trials)
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before, n, held := heap(), 0, uint64(0)
	if _, err := Scan(dir, func(Trial) error {
		if n++; n == trials {
			held = heap() - min(before, heap())
		}
		return nil
	}); err != nil || n != trials {
		t.Fatal(n, err)
	}
	if held > 2<<20 { // of which 1 MiB is the buffer
		t.Errorf("%d KiB held after %d trials", held>>10, trials)
	}
}

// TestBadRuns: what is no run, or no longer one, is an error that says so; what is cut short is told to be.
func TestBadRuns(t *testing.T) {
	good := `{"schema":"punchlab/trial/1","cell":0,"trial":0,"seed":1,"params":{},"outcome":"direct","oracle":"direct"}` + "\n"
	for name, c := range map[string]struct{ text, want string }{
		"NaN":          {strings.Replace(good, `"seed"`, `"connect_s":NaN,"seed"`, 1), ":1: invalid character 'N'"},
		"infinite":     {strings.Replace(good, `"seed"`, `"connect_s":1e999,"seed"`, 1), ":1: json: cannot unmarshal number 1e999"},
		"NaN as text":  {strings.Replace(good, `"seed"`, `"connect_s":"NaN","seed"`, 1), ":1: json: cannot unmarshal string"},
		"empty line":   {good + "\n" + good, ":2: EOF"},
		"binary":       {good + "\x00\x01\x02\n", ":2: invalid character"},
		"no outcome":   {good + strings.Replace(good, `,"outcome":"direct"`, "", 1), ":2: field outcome is missing"},
		"bad outcome":  {strings.Replace(good, `"outcome":"direct"`, `"outcome":"ok"`, 1), `:1: outcome "ok" is not one of`},
		"huge numbers": {strings.Replace(good, `"trial":0`, `"trial":1e30`, 1), ":1: json: cannot unmarshal number 1e30"},
	} {
		dir, w := begin(t)
		if err := w.Finish(true, time.Now()); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, TrialsFile)
		if err := os.WriteFile(path, []byte(c.text), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := Scan(dir, func(Trial) error { return nil }); err == nil || !strings.Contains(err.Error(), path+c.want) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := Merge(filepath.Join(t.TempDir(), "out"), []string{dir}); err == nil || !strings.Contains(err.Error(), path+c.want) {
			t.Errorf("%s, merged: %v", name, err)
		}
	}
	for name, c := range map[string]struct {
		text      string
		trials    int
		truncated int
	}{"nothing": {"", 0, 0}, "one torn line": {good[:20], 0, 20}, "no newline": {good + good[:len(good)-1], 1, len(good) - 1}} {
		dir, w := begin(t)
		if err := w.Finish(true, time.Now()); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, TrialsFile), []byte(c.text), 0o644); err != nil {
			t.Fatal(err)
		}
		run, err := Read(dir)
		if err != nil || len(run.Trials) != c.trials || run.Truncated != c.truncated || run.Manifest.Complete == (c.truncated > 0) {
			t.Errorf("%s: %v, %+v", name, err, run)
		}
	}
	dir, w := begin(t)
	if err := errors.Join(w.Finish(true, time.Now()), os.Remove(filepath.Join(dir, TrialsFile))); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(dir); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), TrialsFile) {
		t.Errorf("without trials: %v", err)
	}
}
