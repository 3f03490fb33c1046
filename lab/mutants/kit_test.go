package mutants

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/punchlab/punchlab/lab/gate"
)

// TestKit has the gate find every fault of the catalogue, and writes mutants.json and mutants.md into the folder PUNCHLAB_MUTANTS.
// Minutes of two processors: with PUNCHLAB_SOAK only. PUNCHLAB_MUTANT is a regular expression of the names of those to be run.
func TestKit(t *testing.T) {
	out := os.Getenv("PUNCHLAB_MUTANTS")
	if os.Getenv("PUNCHLAB_SOAK") == "" || out == "" {
		t.Skip("minutes; set PUNCHLAB_SOAK=1 and PUNCHLAB_MUTANTS to the folder for the table")
	}
	wanted, err := regexp.Compile(os.Getenv("PUNCHLAB_MUTANT"))
	if err != nil {
		t.Fatal(err)
	}
	twice, err := Twice()
	if err != nil {
		t.Fatal(err)
	}
	ms := slices.DeleteFunc(append(Catalogue(), twice...), func(m Mutant) bool { return !wanted.MatchString(m.Name) })
	table, err := Check(t.Context(), ms, Options{Dir: t.TempDir(), Told: func(r Row) {
		t.Logf("%s %s (%s): %s %s %s p %s; fails too: %v", r.mark(), r.Name, r.Job, r.shown(), r.values(), r.effect(), r.p(), r.others())
	}})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range table.Wrong() {
		t.Errorf("mutant %s (job %s): the gate says %q, and fails in %v; it has to in %q. %s", r.Name, r.Job, r.Decision, r.By, r.Metric, r.Error)
	}
	if err := table.Write(out); err != nil {
		t.Fatal(err)
	}
}

// TestSome runs the kit on a few mutants: three faults that the gate finds, each in another metric; a changed comment that it passes;
// one that is said to be a fault and is none; and one that is not where it was.
func TestSome(t *testing.T) {
	some := []Mutant{nulls[0]}
	for _, name := range []string{"key-frame-delayed", "wrong-port-to-viewer", "frames-corrupted"} {
		m, err := Find(name)
		if err != nil {
			t.Fatal(err)
		}
		some = append(some, m)
	}
	harmless := nulls[0]
	harmless.Name, harmless.Metric = "harmless", "direct_rate"
	lost := Mutant{Name: "lost", Part: Camera, Job: "same", Metric: "direct_rate", File: "impl/camera/camera.go", Find: "no such text", Replace: "x"}
	dir := t.TempDir()
	table, err := Check(t.Context(), append(some, harmless, lost), Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range table.Rows {
		if r.Right() != (i < len(some)) {
			t.Errorf("mutant %s (job %s): the gate says %q, and fails in %v. %s", r.Name, r.Job, r.Decision, r.By, r.Error)
		}
	}
	if d := table.Rows[0].Decision; d != gate.Pass {
		t.Errorf("the gate says %q of a changed comment", d)
	}
	if err := table.Write(dir); err != nil {
		t.Fatal(err)
	}
	var back Table
	if b, err := os.ReadFile(filepath.Join(dir, "mutants.json")); err != nil || json.Unmarshal(b, &back) != nil {
		t.Fatalf("mutants.json: %v: %s", err, b)
	}
	if diff := cmp.Diff(table, back); diff != "" {
		t.Errorf("mutants.json is not the table (-table +file):\n%s", diff)
	}
	md, err := os.ReadFile(filepath.Join(dir, "mutants.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"finds 3 of 5", "in 1 of 1 comparisons", "| ✓ | **frames-corrupted**", "intact_rate", "-100.0 points",
		"error: mutant lost: its text occurs 0 times in impl/camera/camera.go", "pass; not in direct_rate",
	} {
		if !strings.Contains(string(md), want) {
			t.Errorf("mutants.md lacks %q:\n%s", want, md)
		}
	}
}

// TestHang ends a run in which a core asks for the same moment for ever.
func TestHang(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "trial")
	if err := os.WriteFile(program, []byte("#!/bin/sh\nexec sleep 60\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	k := &kit{Options: Options{Timeout: 50 * time.Millisecond}}
	_, err := k.run(t.Context(), program, Job{Name: "hang"}, filepath.Join(dir, "run"))
	if err == nil || !strings.Contains(err.Error(), "it has not ended within 50ms") {
		t.Errorf("the error is %v", err)
	}
}
