package faults

import (
	"context"
	"encoding/json"
	"flag"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/punchlab/punchlab/lab/certify"
	"github.com/punchlab/punchlab/lab/mutants"
)

var update = flag.Bool("update", false, "write the golden files")

// TestEveryCaseHasAFault: a case that no fault is found by may as well not be there.
func TestEveryCaseHasAFault(t *testing.T) {
	missing := Missing()
	for _, c := range certify.Catalogue() {
		why, excused := missing[c.ID]
		switch n := len(Of(c.ID)); {
		case n == 0 && !excused:
			t.Errorf("case %s has no fault: add one to the file of its group, or say in missing.go why there is none yet", c.ID)
		case n > 0 && excused:
			t.Errorf("case %s has %d faults, and missing.go says: %s", c.ID, n, why)
		}
		delete(missing, c.ID)
	}
	for id := range missing {
		t.Errorf("missing.go excuses %s, which is no case", id)
	}
}

func TestEntries(t *testing.T) {
	names := map[string]bool{}
	for _, f := range Catalogue() {
		if err := f.Check(); err != nil {
			t.Error(err)
		}
		if names[f.Name] {
			t.Errorf("two faults are called %s", f.Name)
		}
		names[f.Name] = true
	}
}

// TestPlaces: every text occurs once, no two faults change the same bytes, and what comes out parses.
func TestPlaces(t *testing.T) {
	root, err := mutants.Root(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range Catalogue() { // each alone first, for errors that name one
		edits, err := Edits(root, []Fault{f})
		if err == nil {
			_, err = mutants.Apply(root, edits...)
		}
		if err != nil {
			t.Error(err)
		}
	}
	edits, err := Edits(root, Catalogue())
	if err != nil {
		t.Fatal(err)
	}
	texts, err := mutants.Apply(root, edits...)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range texts {
		if _, err := parser.ParseFile(token.NewFileSet(), name, text, parser.SkipObjectResolution); err != nil {
			t.Errorf("with all faults: %v", err)
		}
	}
}

// TestBuild: all faults compile together, and the program answers.
func TestBuild(t *testing.T) {
	program := build(t)
	c := exec.Command(program)
	c.Env = []string{"PUNCHLAB_CONTRACT=1", "PUNCHLAB_CASE=" + certify.UnknownCase(1), "PUNCHLAB_ROLE=camera", "PUNCHLAB_ACTION=run"}
	out, err := c.CombinedOutput()
	if code := c.ProcessState.ExitCode(); code != 127 {
		t.Errorf("asked for a case that there is not, the program says %d (%v), not 127: %s", code, err, out)
	}
}

func build(t *testing.T) string {
	t.Helper()
	root, err := mutants.Root(".")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(root, filepath.FromSlash(Package))); err != nil {
		t.Skip(err)
	}
	program, err := Build(t.Context(), root, t.TempDir(), Catalogue())
	if err != nil {
		t.Fatal(err)
	}
	return program
}

// seen is a result that has seen all that its case has to see, brief.
func seen(c certify.Case, r certify.Result) certify.Result {
	r.Case, r.Observed = c.ID, map[string]int{}
	for _, n := range c.Observed {
		r.Observed[n.Name] = 1
	}
	if c.Rate > 0 {
		r.Claim = &certify.Claim{Tries: 1}
	}
	return r
}

// said has a Runner answer by the name of the fault that the program has; "" is the control. An answer that says nothing of it has seen enough.
func said(answers map[string]certify.Result) Runner {
	return func(ctx context.Context, trial Trial) certify.Result {
		name := ""
		for _, e := range trial.Env {
			if v, ok := strings.CutPrefix(e, EnvFault+"="); ok {
				name = v
			}
		}
		r, ok := answers[name]
		if !ok {
			<-ctx.Done()
			r = certify.Result{Verdict: certify.Fail, Reason: "it came to its end"}
		}
		if r.Observed == nil {
			return seen(trial.Case, r)
		}
		r.Case = trial.Case.ID
		return r
	}
}

// TestJudge: a fault is found only if the control passes and the faulty program fails for the fault's reason.
func TestJudge(t *testing.T) {
	pass := certify.Result{Verdict: certify.Pass}
	fail := func(reason string) certify.Result { return certify.Result{Verdict: certify.Fail, Reason: reason} }
	crash := certify.Result{Verdict: certify.Fail, Reason: "the camera crashed", Device: "crashed"}
	o := Options{
		Declaration: func() (*certify.Declaration, error) {
			return &certify.Declaration{Features: map[certify.Feature]bool{certify.FeatureIdentifier: true}}, nil
		},
		Run: said(map[string]certify.Result{
			"": pass, "found": fail("3 ports are open"), "found-too": fail("1 port is open"), "other-reason": fail("nobody answered"), "not-found": pass, "crash": crash,
			"broken-control": fail("no login"), "right": pass, "wrong": fail("ports: a blank password was taken"), "crash-found": crash,
			"lab": {Verdict: certify.HarnessError, Reason: "ports: no namespace"}, "vague": {Verdict: certify.Inconclusive, Reason: "ports"},
			"nonstrict": {Verdict: certify.PassNonstrict, Reason: "a declared port is closed"},
			"unseen":    {Verdict: certify.Fail, Reason: "3 ports are open", Observed: map[string]int{"seconds": 3}},
		}),
	}
	fault := func(name string, change ...func(*Fault)) Fault {
		f := Fault{Case: "SEC-9", Name: name, Role: "camera", Summary: "a door that nobody knows of", Reason: "port"}
		for _, c := range change {
			c(&f)
		}
		return f
	}
	password := func(f *Fault) {
		f.Case, f.Control = "ID-3", "right"
		f.Declare = func(d *certify.Declaration) { d.Features[certify.FeaturePassword] = true }
	}
	faults := []Fault{
		fault("found"),
		fault("other-reason"),
		fault("not-found"),
		fault("crash", func(f *Fault) { f.Reason = "crash" }),
		fault("crash-found", func(f *Fault) { f.Reason, f.Device = "crash", "^crashed$" }),
		fault("found", func(f *Fault) { f.Device = "crashed" }),
		fault("found", func(f *Fault) { f.Control, f.Declare = "broken-control", nil }),
		fault("found-too", func(f *Fault) { f.Control = "nonstrict" }),
		fault("lab"),
		fault("vague"),
		fault("wrong", password),
		fault("wrong", password, func(f *Fault) { f.Declare = nil }),
		fault("found", func(f *Fault) { f.Case = "SEC-99" }),
	}
	want := []bool{true, false, false, false, true, false, false, true, false, false, true, false, false, false}
	table := CheckAll(t.Context(), faults, o)
	if r := Check(t.Context(), fault("unseen"), o); r.OK || r.Faulty != certify.Inconclusive {
		t.Errorf("a fail that has seen nothing: %+v", r)
	}
	o.Timeout = 50 * time.Millisecond
	table.Rows = append(table.Rows, Check(t.Context(), fault("hangs"), o))
	for i := range table.Rows {
		r := &table.Rows[i]
		if r.OK != want[i] {
			t.Errorf("fault %s of %s: found is %v: %+v", r.Fault, r.Case, r.OK, *r)
		}
		if r.Seconds < 0 || r.Seconds > 30 {
			t.Errorf("fault %s took %v s", r.Fault, r.Seconds)
		}
		r.Seconds = float64(i)
	}
	dir := t.TempDir()
	if err := table.Write(dir); err != nil {
		t.Fatal(err)
	}
	golden(t, dir, "faults.txt")
	if page, err := os.ReadFile(filepath.Join(dir, "faults.html")); err != nil || strings.Count(string(page), faults[0].Name) == 0 { // reports tests the rest
		t.Errorf("faults.html: %v: %s", err, page)
	}
	b, err := os.ReadFile(filepath.Join(dir, "faults.json"))
	var back Table
	if err != nil || json.Unmarshal(b, &back) != nil {
		t.Fatalf("faults.json: %v: %s", err, b)
	}
	if diff := cmp.Diff(table, back); diff != "" {
		t.Errorf("faults.json is not the table (-table +file):\n%s", diff)
	}
	if all, found := table.Cases(); all != 3 || found != 0 {
		t.Errorf("%d of %d cases find all of theirs", found, all)
	}
}

// TestVacuous: no case's control passes in vain. It has to have seen something of each kind that its case names, and the row says of what not.
func TestVacuous(t *testing.T) {
	all := map[certify.Feature]bool{}
	for _, trait := range certify.Features() {
		all[trait.Feature] = true
	}
	for _, c := range certify.Catalogue() {
		without := "" // what the control does not see
		o := Options{
			Declaration: func() (*certify.Declaration, error) { return &certify.Declaration{Features: all}, nil },
			Run: func(_ context.Context, trial Trial) certify.Result {
				if len(trial.Env) > 0 {
					return seen(c, certify.Result{Verdict: certify.Fail, Reason: "broken"})
				}
				r := seen(c, certify.Result{Verdict: certify.Pass})
				delete(r.Observed, without)
				return r
			},
		}
		f := Fault{Case: c.ID, Name: "breaks", Summary: "it is broken", Reason: "broken"}
		if r := Check(t.Context(), f, o); !r.OK {
			t.Errorf("%s: its control sees everything: %+v", c.ID, r)
		}
		for _, n := range c.Observed {
			without = n.Name
			if r := Check(t.Context(), f, o); r.OK || r.Control != certify.Inconclusive || !strings.Contains(r.Why, n.What+": 0 of at least 1") {
				t.Errorf("%s: its control does not see %q: %+v", c.ID, n.What, r)
			}
		}
	}
}

// TestAgain: what is not found at first is checked once more, alone, and the row says so; what is found is not.
func TestAgain(t *testing.T) {
	var ran []string
	slow := true
	o := Options{
		Declaration: func() (*certify.Declaration, error) { return &certify.Declaration{}, nil },
		Run: func(_ context.Context, tr Trial) certify.Result {
			ran = append(ran, path.Base(tr.Folder))
			is := func(fault string) bool { return slices.Contains(tr.Env, EnvFault+"="+fault) }
			late := is("late") && slow
			if late {
				slow = false
			}
			if len(tr.Env) == 0 || late || is("never") {
				return seen(tr.Case, certify.Result{Verdict: certify.Pass})
			}
			return seen(tr.Case, certify.Result{Verdict: certify.Fail, Reason: "3 ports are open"})
		},
		Folder: "out", Jobs: 1, Again: true,
	}
	var faults []Fault
	for _, name := range []string{"found", "late", "never"} {
		faults = append(faults, Fault{Case: "SEC-9", Name: name, Summary: "a door", Reason: "port"})
	}
	rows := CheckAll(t.Context(), faults, o).Rows
	if !rows[0].OK || rows[0].First != "" || !rows[1].OK || !strings.Contains(rows[1].First, "not found") || rows[2].OK || rows[2].First == "" {
		t.Errorf("rows %+v", rows)
	}
	if want := "SEC-9-control found late never SEC-9-control late never"; strings.Join(ran, " ") != want {
		t.Errorf("ran %v, want %s", ran, want)
	}
}

func golden(t *testing.T, dir, name string) {
	t.Helper()
	got, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got); -update writes it:\n%s", name, diff)
	}
}

// TestEntryFaults: what an entry can have wrong is said.
func TestEntryFaults(t *testing.T) {
	good := Fault{Case: "SEC-9", Name: "opens-a-port", Role: "camera", Summary: "x", Reason: "port",
		Edits: []mutants.Edit{in("camera/camera.go", "a", `if faulty("opens-a-port") { b } else { a }`)}}
	if err := good.Check(); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*Fault){
		"no such case":       func(f *Fault) { f.Case = "SEC-99" },
		"words-like-these":   func(f *Fault) { f.Name = "Opens_a port" },
		"say in its Summary": func(f *Fault) { f.Summary = "" },
		"no role":            func(f *Fault) { f.Role = "cloud" },
		"say in Reason":      func(f *Fault) { f.Reason = "" },
		"missing closing":    func(f *Fault) { f.Reason = "(" },
		"no edit has faulty": func(f *Fault) { f.Name = "opens-two" },
		"no file of the product": func(f *Fault) {
			f.Edits = append(slices.Clone(f.Edits), mutants.Edit{File: "lab/lab.go", Replace: "package lab"})
		},
		"has no guard": func(f *Fault) { f.Edits = append(slices.Clone(f.Edits), in("camera/camera.go", "a", "b")) },
	} {
		f := good
		change(&f)
		if err := f.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, not %s", err, want)
		}
	}
}
