package gate

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// TestBaselines: a file grows by a line for each run, and gives each back.
func TestBaselines(t *testing.T) {
	path := filepath.Join(t.TempDir(), "baselines", "nat-matrix.jsonl")
	w := world{pairs: 6, trials: 20, calm: true}
	a, b := sampleOf(t, w.manifest(), w.draw(seeded(1))), sampleOf(t, w.manifest(), w.draw(seeded(2)))
	b.Manifest.Kernel = "Linux 7"
	for i, s := range []Sample{a, b} {
		before, _ := os.ReadFile(path)
		if err := AppendBaseline(path, s, "why"); err != nil {
			t.Fatal(err)
		}
		after, err := os.ReadFile(path)
		if err != nil || !bytes.HasPrefix(after, before) || bytes.Count(after, []byte("\n")) != i+1 {
			t.Fatalf("append %d: %v", i, err)
		}
	}
	entries, err := ReadBaselines(path)
	if err != nil || len(entries) != 2 || entries[0].Note != "why" || entries[1].Source != path+":2" {
		t.Fatalf("%v, %d entries", err, len(entries))
	}
	want := a.trimmed()
	want.Source = path + ":1"
	if diff := cmp.Diff(want, entries[0].Sample, cmpopts.EquateNaNs()); diff != "" {
		t.Error(diff)
	}
	last, err := Read(path)
	if err != nil || last.Manifest.Kernel != "Linux 7" {
		t.Errorf("%v, %s", err, last.Manifest.Kernel)
	}
	c := sampleOf(t, small.manifest(), small.draw(seeded(3)))
	if v := compared(t, entries[0].Sample, c, Options{}); v.Decision != Pass {
		t.Errorf("%s: %s", v.Decision, v.Why)
	}
	if picked, err := PickBaseline(entries, c, nil); err != nil || picked.Source != path+":1" {
		t.Errorf("%v, %s", err, picked.Source)
	}
	if _, err := PickBaseline(entries[:1], a, nil); err == nil || !strings.Contains(err.Error(), "run itself") {
		t.Errorf("a run is its own baseline: %v", err)
	}
	if picked, err := PickBaseline(append(entries[:1:1], entries[0], entries[1]), b, []string{"kernel"}); err != nil || picked.Source != path+":1" {
		t.Errorf("a run that was added already is not passed over: %v, %s", err, picked.Source)
	}
	c.Manifest.Kernel = "Linux 8"
	var u *Unlike
	if _, err := PickBaseline(entries, c, nil); !errors.As(err, &u) || u.Baseline != path+":2" {
		t.Error(err)
	}
	if picked, err := PickBaseline(entries, c, []string{"kernel"}); err != nil || picked.Source != path+":2" {
		t.Errorf("%v, %s", err, picked.Source)
	}
	if _, err := PickBaseline(nil, a, nil); err == nil {
		t.Error("picked of none")
	}
}

func TestBaselinesRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.jsonl")
	s := small.sample(seeded(1))
	if err := AppendBaseline(path, s, ""); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	spoilt := func(spoil func(e map[string]any)) string {
		var e map[string]any
		if err := json.Unmarshal(good, &e); err != nil {
			t.Fatal(err)
		}
		spoil(e)
		b, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		return string(b) + "\n"
	}
	cell := func(e map[string]any) map[string]any { return e["cells"].([]any)[0].(map[string]any) }
	for name, c := range map[string]struct{ line, want string }{
		"other schema":   {spoilt(func(e map[string]any) { e["schema"] = "punchlab/baseline/2"; e["more"] = 1 }), `schema is "punchlab/baseline/2"`},
		"a trial":        {`{"schema":"punchlab/trial/1"}` + "\n", `want "punchlab/baseline/1"`},
		"no schema":      {spoilt(func(e map[string]any) { delete(e, "schema") }), "field schema is missing"},
		"unknown field":  {spoilt(func(e map[string]any) { e["more"] = 1 }), "another version"},
		"no cells":       {spoilt(func(e map[string]any) { delete(e, "cells") }), "field cells is missing"},
		"no numbers":     {spoilt(func(e map[string]any) { delete(cell(e), "numbers") }), "cells[0]: field numbers is missing"},
		"no outcomes":    {spoilt(func(e map[string]any) { delete(cell(e), "outcomes") }), "cells[0]: field outcomes is missing"},
		"short outcomes": {spoilt(func(e map[string]any) { cell(e)["outcomes"] = "dd" }), "20 trials, 2 outcomes"},
		"odd outcome":    {spoilt(func(e map[string]any) { cell(e)["outcomes"] = "x" }), "none of d, r, f, u"},
		"no engine":      {spoilt(func(e map[string]any) { e["manifest"].(map[string]any)["engine"] = "" }), "engine is missing"},
		"NaN":            {strings.Replace(string(good), `"connect_s":[0`, `"connect_s":[NaN0`, 1), "invalid character"},
		"empty line":     {"\n", "no baseline file"},
		"torn":           {string(good[:len(good)/2]), "torn"},
	} {
		if err := os.WriteFile(path, append(slices.Clone(good), c.line...), 0o644); err != nil {
			t.Fatal(err)
		}
		_, err := Read(path)
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), path+":2") {
			t.Errorf("%s: %v", name, err)
		}
		if err := AppendBaseline(path, s, ""); err == nil {
			t.Errorf("%s: appended to", name)
		}
	}
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(path); err == nil || !strings.Contains(err.Error(), "is empty") {
		t.Error(err)
	}
}

// TestNoBaselineOfHalfARun: what did not end, or was not all run, is no baseline.
func TestNoBaselineOfHalfARun(t *testing.T) {
	for want, spoil := range map[string]func(s *Sample){
		"did not end":          func(s *Sample) { s.Manifest.Complete = false },
		"resume it first":      func(s *Sample) { s.Truncated = 1 },
		"nothing was executed": func(s *Sample) { s.Cells = nil },
		"merge its shards":     func(s *Sample) { s.Cells = s.Cells[:3] },
	} {
		s := small.sample(seeded(1))
		spoil(&s)
		path := filepath.Join(t.TempDir(), "x.jsonl")
		if err := AppendBaseline(path, s, ""); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
		if _, err := os.Stat(path); err == nil {
			t.Errorf("%s: a file was left", want)
		}
	}
}
