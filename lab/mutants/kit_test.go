package mutants

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

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
	table := right(t, ms, Options{Dir: t.TempDir(), Told: func(r Row) {
		t.Logf("%s %s (%s): %s %s %s p %s; fails too: %v", r.mark(), r.Name, r.Job, r.shown(), r.values(), r.effect(), r.p(), r.others())
	}})
	if err := table.Write(out); err != nil {
		t.Fatal(err)
	}
}

// TestSome runs the kit on a few mutants of different parts, each of a kind of its own: the gate finds them.
func TestSome(t *testing.T) {
	some := []Mutant{{Name: "twice-punch", Job: "punch"}}
	for _, name := range []string{"key-frame-delayed", "wrong-port-to-viewer", "frames-corrupted"} {
		m, err := Find(name)
		if err != nil {
			t.Fatal(err)
		}
		some = append(some, m)
	}
	dir := t.TempDir()
	table := right(t, some, Options{Dir: dir, Trials: 16})
	if err := table.Write(dir); err != nil {
		t.Fatal(err)
	}
	var back Table
	b, err := os.ReadFile(filepath.Join(dir, "mutants.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(table, back); diff != "" {
		t.Errorf("mutants.json is not the table (-table +file):\n%s", diff)
	}
	md, err := os.ReadFile(filepath.Join(dir, "mutants.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"finds 3 of 3", "in 1 of 1 comparisons", "| ✓ | **frames-corrupted**", "intact_rate", "-100.0 points"} {
		if !strings.Contains(string(md), want) {
			t.Errorf("mutants.md lacks %q:\n%s", want, md)
		}
	}
}

// TestNull has the gate pass a changed comment.
func TestNull(t *testing.T) {
	table := right(t, nulls[:1], Options{Dir: t.TempDir()})
	if d := table.Rows[0].Decision; d != gate.Pass {
		t.Errorf("the gate says %q of a changed comment", d)
	}
}

// TestNotFound shows what the table says of a fault that the gate does not find, and of one that is not where it was.
func TestNotFound(t *testing.T) {
	lost := Mutant{Name: "lost", Part: Camera, Job: "punch", Metric: "direct_rate", File: "impl/camera/camera.go", Find: "no such text", Replace: "x"}
	harmless := nulls[0]
	harmless.Metric, harmless.Job = "direct_rate", "punch"
	table, err := Check(t.Context(), []Mutant{lost, harmless}, Options{Dir: t.TempDir(), Trials: 4})
	if err != nil {
		t.Fatal(err)
	}
	if len(table.Wrong()) != 2 {
		t.Fatalf("%d of 2 rows are wrong", len(table.Wrong()))
	}
	if got := table.Rows[0].Error; !strings.Contains(got, "occurs 0 times in impl/camera/camera.go") {
		t.Errorf("the error says %q", got)
	}
	md := table.Markdown()
	for _, want := range []string{"finds 0 of 2", "error: mutant lost", "; not in direct_rate"} {
		if !strings.Contains(md, want) {
			t.Errorf("the table lacks %q:\n%s", want, md)
		}
	}
}

// right checks that the gate does as it has to with every mutant.
func right(t *testing.T, ms []Mutant, o Options) Table {
	t.Helper()
	table, err := Check(t.Context(), ms, o)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range table.Wrong() {
		t.Errorf("mutant %s (job %s): the gate says %q, and fails in %v; it has to in %q. %s", r.Name, r.Job, r.Decision, r.By, r.Metric, r.Error)
	}
	return table
}
