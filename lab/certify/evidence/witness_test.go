package evidence

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// countersigned lets the test's witness countersign with its run, after change.
func countersigned(t *testing.T, dir string, change func(map[string]string, *Manifest)) (*Witness, error) {
	t.Helper()
	return Countersign(context.Background(), dir, rerun(t, dir, change), witness(t), issuer(t).Public())
}

func TestWitnessAgrees(t *testing.T) {
	dir := sealed(t)
	before := payloadOf(t, dir)
	w, err := countersigned(t, dir, nil)
	if err != nil || !w.Agrees() || w.Cases != 3 || w.Of != 3 || w.Key != witness(t).Public().ID() {
		t.Fatalf("Countersign = %+v, %v", w, err)
	}
	r, err := Verify(context.Background(), dir, everyone(t))
	if err != nil || len(r.Witnesses) != 1 || payloadOf(t, dir) != before {
		t.Fatalf("Verify = %+v, %v", r, err)
	}
	if diff := cmp.Diff(*w, r.Witnesses[0]); diff != "" {
		t.Errorf("what Countersign and Verify say (-countersign +verify):\n%s", diff)
	}
	if w.Report.Manifest.WitnessOf != r.Statement || w.Report.Statement == r.Statement {
		t.Errorf("%+v", w.Report)
	}
}

// A witness who comes to another verdict leaves its statement and not its signature.
func TestWitnessDisagrees(t *testing.T) {
	dir := sealed(t)
	w, err := countersigned(t, dir, func(_ map[string]string, m *Manifest) {
		m.Verdict, m.Cases[0].Verdict, m.Cases[0].Outcome, m.Cases[0].Why = "fail", "fail", Failed, "80 of 81 pairs"
	})
	if err != nil || w.Agrees() || !slices.Equal(w.Differences, []Difference{{"NAT-1", "pass", "fail"}}) {
		t.Fatalf("Countersign = %+v, %v", w, err)
	}
	r, err := Verify(context.Background(), dir, everyone(t))
	if err != nil || len(r.Witnesses) != 1 || r.Witnesses[0].Agrees() {
		t.Fatalf("Verify = %+v, %v", r, err)
	}
	if text := r.Text(); !strings.Contains(text, "3 of 3 cases again: 1 other\n            NAT-1: issued as pass, witnessed as fail\n") {
		t.Errorf("text:\n%s", text)
	}
	payload := []byte(payloadOf(t, dir))
	resign(t, dir, nil, payload, issuer(t), witness(t))
	wantMismatch(t, dir, everyone(t), Disagreement, "certificate.json", "has signed it, though NAT-1 came out as fail and not as pass")
}

// A witness may run a part, and says which.
func TestWitnessOfAPart(t *testing.T) {
	dir := sealed(t)
	w, err := countersigned(t, dir, func(files map[string]string, m *Manifest) {
		m.Cases = m.Cases[1:2]
		for name := range files {
			if strings.HasPrefix(name, "cases/") && !strings.HasPrefix(name, "cases/BW-1/") {
				delete(files, name)
			}
		}
	})
	if err != nil || !w.Agrees() || w.Cases != 1 || w.Of != 3 {
		t.Errorf("Countersign = %+v, %v", w, err)
	}
}

// What is no run of what was certified is not taken in, and Verify does not believe it where it was put by hand.
func TestNoWitness(t *testing.T) {
	for name, c := range map[string]struct {
		change func(files map[string]string, m *Manifest)
		text   string
	}{
		"of another":     {func(_ map[string]string, m *Manifest) { m.WitnessOf = digest(nil) }, "it repeats the statement"},
		"of nothing":     {func(_ map[string]string, m *Manifest) { m.WitnessOf = "" }, `it repeats the statement ""`},
		"unmeasured":     {func(_ map[string]string, m *Manifest) { m.Subjects[0].Basis, m.Subjects[0].Size = Declared, 0 }, "only declared when it was run again"},
		"other firmware": {func(_ map[string]string, m *Manifest) { m.Subjects[0].SHA256 = digest(nil) }, "certified is"},
		"other suite":    {func(_ map[string]string, m *Manifest) { m.Suite.Version = "1.0.1" }, "its suite is punchlab/certify 1.0.1"},
		"declaration":    {func(files map[string]string, _ *Manifest) { files["declaration.yaml"] += "relay: false\n" }, "its declaration"},
		"other seed":     {func(_ map[string]string, m *Manifest) { m.Cases[1].Seed = 8 }, "it ran BW-1 with seed 8; certified was seed 7"},
		"other scenario": {func(files map[string]string, _ *Manifest) { files["scenarios/nat.yaml"] += "#" }, "its scenario of NAT-1"},
		"without it":     {func(_ map[string]string, m *Manifest) { m.Cases[1].Scenario = "" }, "its scenario of BW-1"},
		"other case":     {func(_ map[string]string, m *Manifest) { m.Cases[2].ID = "SEC-11" }, "it ran SEC-11, which was not certified"},
	} {
		t.Run(name, func(t *testing.T) {
			change := func(files map[string]string, m *Manifest) {
				delete(files, "cases/SEC-12/camera.log") // so that the case can be another
				c.change(files, m)
			}
			dir := sealed(t)
			before := tree(t, dir)
			_, err := countersigned(t, dir, change)
			wantError(t, err, Disagreement, "manifest.json", c.text)
			if diff := cmp.Diff(before, tree(t, dir)); diff != "" {
				t.Errorf("the certificate changed:\n%s", diff)
			}
			id := "witnesses/" + witness(t).Public().ID()
			write(t, filepath.Join(dir, id), tree(t, rerun(t, dir, change)))
			wantMismatch(t, dir, everyone(t), Disagreement, id+"/manifest.json", c.text)
		})
	}
}

// The same verdict counts the same: the suite is the same.
func TestWitnessCountsTheSame(t *testing.T) {
	m := testManifest()
	m.Cases = append(m.Cases, Case{ID: "RES-5", Verdict: "unsupported", Outcome: Warned})
	dir := sealedAs(t, testFiles, m, issuer(t))
	again := m.Cases[3]
	again.Outcome = Failed
	_, err := countersigned(t, dir, func(_ map[string]string, m *Manifest) {
		m.Verdict, m.Cases = "fail", append(m.Cases, again)
	})
	wantError(t, err, Disagreement, "manifest.json", "it counts the unsupported of RES-5 as FAILED; certified as WARNED")
}

func TestCountersignRefuses(t *testing.T) {
	ctx := context.Background()
	dir := sealed(t)
	own := rerun(t, dir, nil)
	if _, err := Countersign(ctx, dir, own, issuer(t), issuer(t).Public()); err == nil || !strings.Contains(err.Error(), "second party") {
		t.Errorf("its own witness: %v", err)
	}
	_, err := Countersign(ctx, dir, own, stranger(t), issuer(t).Public())
	wantError(t, err, Untrusted, "certificate.json", "signed by key "+witness(t).Public().ID())
	_, err = Countersign(ctx, dir, own, witness(t), stranger(t).Public())
	wantError(t, err, Untrusted, "certificate.json", "signed by key "+issuer(t).Public().ID())

	write(t, own, map[string]string{"cases/NAT-1/timeline.txt": strings.ToUpper(testFiles["cases/NAT-1/timeline.txt"])})
	_, err = Countersign(ctx, dir, own, witness(t), issuer(t).Public())
	wantError(t, err, Hash, "cases/NAT-1/timeline.txt", "the manifest says")
	if _, err := os.Stat(filepath.Join(dir, "witnesses")); err == nil {
		if entries, _ := os.ReadDir(filepath.Join(dir, "witnesses")); len(entries) > 0 {
			t.Errorf("it left %v", entries)
		}
	}
	write(t, dir, map[string]string{"scenarios/nat.yaml": "scenario: TAN\n"})
	_, err = Countersign(ctx, dir, rerun(t, sealed(t), nil), witness(t), issuer(t).Public())
	wantError(t, err, Hash, "scenarios/nat.yaml", "the manifest says")
}

// Killed at any step, a countersignature is finished by doing it again; done twice it is the same.
func TestCountersignAgain(t *testing.T) {
	want := tree(t, witnessed(t))
	id := "witnesses/" + witness(t).Public().ID()
	for name, killed := range map[string]func(dir, own string){
		"not": func(string, string) {},
		"while it copies": func(dir, _ string) {
			write(t, dir, map[string]string{"witnesses/." + filepath.Base(id) + ".partial/manifest.json": "{"})
		},
		"before it signs":  func(dir, own string) { write(t, filepath.Join(dir, id), tree(t, own)) },
		"while it signs":   func(dir, own string) { write(t, dir, map[string]string{".certificate.json.partial": "{"}) },
		"after everything": func(dir, own string) { write(t, dir, want) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := sealed(t)
			own := rerun(t, dir, nil)
			killed(dir, own)
			if _, err := Countersign(context.Background(), dir, own, witness(t), issuer(t).Public()); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, tree(t, dir)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
	dir := sealed(t)
	write(t, filepath.Join(dir, id), tree(t, rerun(t, dir, nil)))
	wantMismatch(t, dir, everyone(t), Signature, "certificate.json", "its witness "+filepath.Base(id)+" agrees and has not signed it")
	_, err := countersigned(t, dir, func(_ map[string]string, m *Manifest) { m.Cases[0].Why = "another run" })
	if err == nil || !strings.Contains(err.Error(), "holds another run by this witness") {
		t.Errorf("another run: %v", err)
	}
}

// Two witnesses stand beside each other.
func TestTwoWitnesses(t *testing.T) {
	dir := witnessed(t)
	r, err := Verify(context.Background(), dir, everyone(t))
	if err != nil {
		t.Fatal(err)
	}
	m := testManifest()
	m.WitnessOf = r.Statement
	own := sealedAs(t, testFiles, m, stranger(t))
	if _, err := Countersign(context.Background(), dir, own, stranger(t), issuer(t).Public()); err != nil {
		t.Fatal(err)
	}
	trust := everyone(t)
	wantMismatch(t, dir, trust, Untrusted, "certificate.json", "its witness "+stranger(t).Public().ID())
	trust.Witnesses = append(trust.Witnesses, stranger(t).Public())
	if r, err = Verify(context.Background(), dir, trust); err != nil || len(r.Witnesses) != 2 || r.Witnesses[0].Key > r.Witnesses[1].Key {
		t.Errorf("%+v, %v", r, err)
	}
}
