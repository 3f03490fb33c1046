package record

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// begin makes a run with the given trials in it.
func begin(t *testing.T, trials ...Trial) (string, *Writer) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "deep", "run")
	w, err := Create(dir, manifest())
	if err != nil {
		t.Fatal(err)
	}
	for _, tr := range trials {
		if err := w.Add(tr); err != nil {
			t.Fatal(err)
		}
	}
	return dir, w
}

func TestRoundTrip(t *testing.T) {
	dir, w := begin(t, measured()...)
	before, err := Read(dir)
	if err != nil || before.Manifest.Complete || len(before.Trials) != 5 {
		t.Fatalf("while it runs: %v, %+v", err, before)
	}
	end := manifest().Start.Add(time.Minute)
	if err := w.Finish(true, end); err != nil {
		t.Fatal(err)
	}
	if err := w.Finish(false, end); err != nil {
		t.Errorf("second finish: %v", err)
	}
	if err := w.Add(measured()[0]); err == nil {
		t.Error("a finished run took a trial")
	}
	run, err := Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(measured(), run.Trials); diff != "" {
		t.Error(diff)
	}
	if !run.Manifest.Complete || run.Wall() != time.Minute || run.Truncated != 0 {
		t.Errorf("complete %v, wall %v, truncated %d", run.Manifest.Complete, run.Wall(), run.Truncated)
	}
	left, err := filepath.Glob(filepath.Join(dir, ".*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestCreateRefuses(t *testing.T) {
	dir, w := begin(t)
	defer w.Finish(false, time.Time{})
	for name, c := range map[string]struct {
		dir  string
		want string
	}{
		"used":         {dir, "not empty"},
		"below a file": {filepath.Join(dir, ManifestFile, "run"), "choose a folder"},
		"unwritable":   {unwritable(t), "choose a folder"},
	} {
		if c.dir == "" {
			continue
		}
		if _, err := Create(c.dir, manifest()); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	m := manifest()
	m.Engine = ""
	fresh := filepath.Join(t.TempDir(), "run")
	if _, err := Create(fresh, m); err == nil || !strings.Contains(err.Error(), "engine is missing") {
		t.Errorf("manifest without engine: %v", err)
	}
	if _, err := os.Stat(fresh); err == nil {
		t.Error("a refused run left its folder")
	}
}

// unwritable returns a folder that cannot be written to, "" for root, who can write everywhere.
func unwritable(t *testing.T) string {
	if os.Geteuid() == 0 {
		return ""
	}
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o555); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Chmod(dir, 0o755) })
	return dir
}

func TestOneWriter(t *testing.T) {
	dir, w := begin(t)
	if _, _, err := Open(dir); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Errorf("second writer: %v", err)
	}
	child, err := syscall.Dup(int(w.trials.Fd())) // as a program that is just being started has it
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(child)
	if err := w.Finish(false, time.Now()); err != nil {
		t.Fatal(err)
	}
	w, _, err = Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Finish(true, time.Now()); err != nil {
		t.Error(err)
	}
}

// TestTornLine cuts the last line at every byte: nothing but that line is ever lost, and the run goes on.
func TestTornLine(t *testing.T) {
	trials := measured()
	dir, w := begin(t, trials...)
	if err := w.Finish(true, time.Now()); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, TrialsFile)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	last := bytes.LastIndexByte(whole[:len(whole)-1], '\n') + 1
	for cut := last + 1; cut < len(whole); cut += 7 {
		if err := os.WriteFile(path, whole[:cut], 0o644); err != nil {
			t.Fatal(err)
		}
		run, err := Read(dir)
		if err != nil || run.Truncated != cut-last || len(run.Trials) != len(trials)-1 || run.Manifest.Complete {
			t.Fatalf("cut at %d: %v, %+v", cut, err, run)
		}
		w, run, err := Open(dir)
		if err != nil || run.Truncated != cut-last {
			t.Fatalf("resume at %d: %v", cut, err)
		}
		if err := w.Add(trials[len(trials)-1]); err != nil {
			t.Fatal(err)
		}
		if err := w.Finish(true, time.Now()); err != nil {
			t.Fatal(err)
		}
		if got, _ := os.ReadFile(path); !bytes.Equal(got, whole) {
			t.Fatalf("cut at %d: the resumed file differs", cut)
		}
	}
}

// TestFailedWrite: an append that fails leaves whole lines, and says so when it cannot.
func TestFailedWrite(t *testing.T) {
	dir, w := begin(t, measured()[0])
	real := w.trials
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip("no /dev/full:", err)
	}
	w.trials = full
	if err := w.Add(measured()[1]); err == nil {
		t.Fatal("a full disk took a trial")
	}
	if err := w.Add(measured()[1]); err == nil || !strings.Contains(err.Error(), "cut torn line") {
		t.Errorf("after a file that cannot be cut: %v", err)
	}
	w.trials, w.broken = real, nil
	if err := w.Add(measured()[1]); err != nil {
		t.Fatal(err)
	}
	if run, err := Read(dir); err != nil || len(run.Trials) != 2 {
		t.Errorf("%v, %+v", err, run)
	}
	if err := w.Finish(false, time.Now()); err != nil {
		t.Error(err)
	}
}

func TestConcurrentAdd(t *testing.T) {
	dir, w := begin(t)
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for n := range 50 {
				if err := w.Add(Trial{Cell: worker, Trial: n, Outcome: Failed, Cause: strings.Repeat("x", 50*n)}); err != nil {
					t.Error(err)
				}
			}
		}()
	}
	wg.Wait()
	if run, err := Read(dir); err != nil || len(run.Trials) != 400 || run.Truncated != 0 {
		t.Errorf("%v, %+v", err, run)
	}
	if err := w.Finish(true, time.Now()); err != nil {
		t.Error(err)
	}
}

func TestAddRefuses(t *testing.T) {
	dir, w := begin(t)
	defer w.Finish(false, time.Now())
	for name, spoil := range map[string]func(*Trial){
		"connect_s is NaN":                func(t *Trial) { t.ConnectS = f(math.NaN()) },
		"first_frame_s is +Inf":           func(t *Trial) { t.FirstFrameS = f(math.Inf(1)) },
		"triangle_s is -1":                func(t *Trial) { t.TriangleS = f(-1) },
		"media.latency_s is NaN":          func(t *Trial) { t.Media = &Media{LatencyS: []float64{1, math.NaN()}} },
		"media.goodput_bps":               func(t *Trial) { t.Media = &Media{GoodputBps: f(-2)} },
		"media.loss is 1.5":               func(t *Trial) { t.Media = &Media{Loss: f(1.5)} },
		"3 received, 4 intact":            func(t *Trial) { t.Media = &Media{FramesSent: 9, FramesReceived: 3, FramesIntact: 4} },
		"lateness_s.p99 is NaN":           func(t *Trial) { t.Lateness = &Lateness{P99: math.NaN()} },
		"probes.x is NaN":                 func(t *Trial) { t.Probes = map[string]float64{"x": math.NaN()} },
		"bytes.relay is -1":               func(t *Trial) { t.Bytes = map[string]int64{"relay": -1} },
		`outcome "maybe" is not one of`:   func(t *Trial) { t.Outcome = "maybe" },
		"harness-error without":           func(t *Trial) { t.Outcome = HarnessError },
		"numbers start at 0":              func(t *Trial) { t.Trial = -1 },
		"path_changes is -1":              func(t *Trial) { t.PathChanges = -1 },
		"add trial 7 of cell 3: outcome ": func(t *Trial) { t.Cell, t.Trial, t.Outcome = 3, 7, "" },
	} {
		tr := Trial{Outcome: Direct, Oracle: "direct"}
		spoil(&tr)
		if err := w.Add(tr); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("want %q, got %v", name, err)
		}
	}
	if b, err := os.ReadFile(filepath.Join(dir, TrialsFile)); err != nil || len(b) > 0 {
		t.Errorf("refused trials were written: %q, %v", b, err)
	}
}

// TestReadRefuses: every error names file and line.
func TestReadRefuses(t *testing.T) {
	good := `{"schema":"punchlab/trial/1","cell":0,"trial":0,"seed":1,"params":{"a":"b"},"outcome":"direct","oracle":"direct"}`
	for name, c := range map[string]struct{ line, want string }{
		"not json":        {`{"schema":`, "unexpected EOF"},
		"a word":          {`{"cell":"zero"}`, "cannot unmarshal"},
		"empty":           {``, "EOF"},
		"two values":      {good + good, "more than one value"},
		"other schema":    {strings.Replace(strings.Replace(good, "trial/1", "trial/2", 1), `"trial":0`, `"trial":1`, 1), `schema is "punchlab/trial/2"`},
		"unknown field":   {strings.Replace(good, `"seed"`, `"salt":1,"seed"`, 1), "another version"},
		"no outcome":      {strings.Replace(good, `,"outcome":"direct"`, "", 1), "field outcome is missing"},
		"no params":       {strings.Replace(good, `"params":{"a":"b"},`, "", 1), "field params is missing"},
		"null params":     {strings.Replace(good, `{"a":"b"}`, "null", 1), "field params is missing"},
		"no seed":         {strings.Replace(good, `"seed":1,`, "", 1), "field seed is missing"},
		"no cell":         {strings.Replace(good, `"cell":0,`, "", 1), "field cell is missing"},
		"no trial":        {strings.Replace(good, `"trial":0,`, "", 1), "field trial is missing"},
		"no oracle":       {strings.Replace(good, `,"oracle":"direct"`, "", 1), "field oracle is missing"},
		"no schema":       {strings.Replace(good, `"schema":"punchlab/trial/1",`, "", 1), "field schema is missing"},
		"second verdict":  {good, "has a verdict already on line 1"},
		"other params":    {strings.Replace(strings.Replace(good, `"b"`, `"c"`, 1), `"trial":0`, `"trial":1`, 1), "cell 0 has params"},
		"negative number": {strings.Replace(good, `"seed":1`, `"seed":1,"connect_s":-1`, 1), "connect_s is -1"},
	} {
		dir, w := begin(t)
		if err := w.Finish(true, time.Now()); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, TrialsFile)
		if err := os.WriteFile(path, []byte(good+"\n"+c.line+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		_, err := Read(dir)
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), path+":2: ") {
			t.Errorf("%s: %v", name, err)
		}
		if _, _, err := Open(dir); err == nil {
			t.Errorf("%s: resumed", name)
		}
	}
}

func TestReadManifestRefuses(t *testing.T) {
	dir, w := begin(t)
	if err := w.Finish(true, time.Now()); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, ManifestFile)
	for text, want := range map[string]string{
		"{\n\"schema\": \"punchlab/run/1\",\n\"seed\": \"one\"}":                               path + ":3: ",
		"{\n\"schema\": \"punchlab/run/1\",\n}":                                                path + ":3: ",
		`{"schema":"punchlab/run/9"}`:                                                          `want "punchlab/run/1"`,
		`{"schema":"punchlab/run/1","engine":"sim"}`:                                           "scenario.name is missing",
		`{"schema":"punchlab/run/1","engine":"sim","scenario":{"name":"x"},"cells":-1}`:        "cells is -1",
		`{"schema":"punchlab/run/1","engine":"sim","scenario":{"name":"x"},"late_limit_s":-1}`: "late_limit_s is -1",
	} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := Read(dir); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
	if _, err := Read(t.TempDir()); err == nil || !strings.Contains(err.Error(), "not the folder of a run") {
		t.Errorf("an empty folder: %v", err)
	}
}

func TestCheckResume(t *testing.T) {
	if err := manifest().CheckResume(manifest()); err != nil {
		t.Error(err)
	}
	for want, change := range map[string]func(*Manifest){
		"seed is 1, this one's 2":              func(m *Manifest) { m.Seed = 2 },
		"trials per cell is 3":                 func(m *Manifest) { m.TrialsPerCell = 4 },
		"its scenario is nat-matrix sha256:ab": func(m *Manifest) { m.Scenario.Digest = "sha256:0" },
		"shard is the whole, this one's 1/2":   func(m *Manifest) { m.Shard = "1/2" },
		"stop rule is none, this one's sprt":   func(m *Manifest) { m.Stop = "sprt" },
		"late limit is 0, this one's 0.1":      func(m *Manifest) { m.LateLimitS = 0.1 },
		"kernel is Linux 6.12":                 func(m *Manifest) { m.Kernel = "Linux 7" },
		"commit is 3ef995d":                    func(m *Manifest) { m.Versions.Commit = "0" },
		"its axes set is map[], this one":      func(m *Manifest) { m.Set = map[string][]string{"link": {"lte"}} },
	} {
		m := manifest()
		change(&m)
		if err := manifest().CheckResume(m); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}

// TestWall: a run that did not end took until its last trial.
func TestWall(t *testing.T) {
	r := &Run{Manifest: manifest()}
	if r.Wall() != 0 {
		t.Errorf("wall of nothing is %v", r.Wall())
	}
	r.Trials = []Trial{{EndedAt: r.Manifest.Start.Add(5 * time.Second)}, {EndedAt: r.Manifest.Start.Add(3 * time.Second)}}
	if r.Wall() != 5*time.Second {
		t.Errorf("wall is %v", r.Wall())
	}
}

// FuzzParseTrial: what parses is valid, and reads back from its own encoding as it was.
func FuzzParseTrial(f *testing.F) {
	for _, t := range measured() {
		b, err := json.Marshal(t)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte(`{"schema":"punchlab/trial/1","cell":0,"trial":0,"seed":18446744073709551615,"params":{},"outcome":"failed","oracle":""}`))
	f.Add([]byte(`{"Cell":1,"cell":null}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		a, err := parseTrial(line)
		if q, ok := newParser().quick(line); ok {
			if qerr := q.Validate(); fmt.Sprint(qerr) != fmt.Sprint(err) || err == nil && !reflect.DeepEqual(q, a) {
				t.Fatalf("%s\nread quickly %+v, %v\nand else %+v, %v", line, q, qerr, a, err)
			}
		}
		if err != nil {
			return
		}
		b, err := json.Marshal(a)
		if err != nil {
			t.Fatalf("encode %+v: %v", a, err)
		}
		again, err := parseTrial(b)
		if err != nil {
			t.Fatalf("%s: %v", b, err)
		}
		c, err := json.Marshal(again)
		if err != nil || !bytes.Equal(b, c) {
			t.Fatalf("%s became %s: %v", b, c, fmt.Sprint(err))
		}
	})
}
