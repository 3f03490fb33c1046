package mutants

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// TestKit has the gate find every fault of the catalogue, and writes mutants.json and mutants.md into the folder PUNCHLAB_MUTANTS.
// Minutes of two processors: with PUNCHLAB_SOAK only.
func TestKit(t *testing.T) {
	out := os.Getenv("PUNCHLAB_MUTANTS")
	if os.Getenv("PUNCHLAB_SOAK") == "" || out == "" {
		t.Skip("minutes; set PUNCHLAB_SOAK=1 and PUNCHLAB_MUTANTS to the folder for the table")
	}
	table, err := Check(t.Context(), Catalogue(), Options{Dir: t.TempDir(), Told: func(r Row) {
		t.Logf("%s %s (%s): %s %s %s p %s; fails too: %v", r.mark(), r.Name, r.Job, r.shown(), r.values(), r.effect(), r.p(), r.others())
	}})
	if err != nil {
		t.Fatal(err)
	}
	if err := table.Write(out); err != nil {
		t.Fatal(err)
	}
	for _, r := range table.Wrong() {
		t.Errorf("mutant %s (job %s): the gate says %q, and fails in %v; it has to in %q. %s", r.Name, r.Job, r.Decision, r.By, r.Metric, r.Error)
	}
}

// TestSome runs the kit on a few mutants of different parts, and on those that change nothing.
func TestSome(t *testing.T) {
	some := slices.Clone(nulls[:1])
	for _, name := range []string{"key-frame-delayed", "wrong-port-to-viewer", "frames-corrupted"} {
		m, err := Find(name)
		if err != nil {
			t.Fatal(err)
		}
		some = append(some, m)
	}
	dir := t.TempDir()
	table, err := Check(t.Context(), some, Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range table.Wrong() {
		t.Errorf("mutant %s (job %s): the gate says %q, and fails in %v; it has to in %q. %s", r.Name, r.Job, r.Decision, r.By, r.Metric, r.Error)
	}
	if err := table.Write(dir); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"mutants.json", "mutants.md"} {
		if info, err := os.Stat(filepath.Join(dir, file)); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v", file, err)
		}
	}
}
