package evidence

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/punchlab/punchlab/lab/certify"
)

// Times of any zone and a manifest used before seal to the same bytes, and the caller's manifest stays as it was.
func TestSealIsAFunction(t *testing.T) {
	want := tree(t, sealed(t, second(t), issuer(t)))
	m := testManifest()
	zone := time.FixedZone("CET", 3600)
	m.Started, m.Finished = m.Started.In(zone), m.Finished.In(zone)
	m.Schema, m.Issuers, m.Files = "?", []string{"?"}, []File{{Path: "?"}}
	before := m
	dir := sealedAs(t, testFiles, m, issuer(t), second(t))
	if diff := cmp.Diff(want, tree(t, dir)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if diff := cmp.Diff(before, m); diff != "" {
		t.Errorf("the caller's manifest changed:\n%s", diff)
	}
}

// What Seal does not sign leaves no certificate behind.
func TestSealRefuses(t *testing.T) {
	ctx := context.Background()
	for name, c := range map[string]struct {
		do     deed
		change func(*Manifest)
		text   string
	}{
		"sealed":             {add("certificate.json", "{}"), nil, "it has been sealed"},
		"witnessed":          {folderAt("witnesses"), nil, "it has been sealed"},
		"link":               {link("/etc/passwd", "cases/NAT-1/more.txt"), nil, "cases/NAT-1/more.txt: forbidden: it is a symbolic link"},
		"pipe":               {pipe("cases/NAT-1/more.txt"), nil, "it is a named pipe"},
		"hidden":             {add("cases/NAT-1/.bashrc", "x"), nil, "hidden"},
		"name":               {add("cases/NAT-1/a\nb", "x"), nil, `the name "cases/NAT-1/a\nb" has the character '\n'`},
		"no UTF-8":           {add("cases/NAT-1/a\xff", "x"), nil, "has the character"},
		"two of a kind":      {add("cases/NAT-1/Timeline.txt", "x"), nil, "one file where case does not count"},
		"huge":               {sparse("cases/NAT-1/timeline.txt", MaxFile+1), nil, "too large"},
		"pass on nothing":    {removeAll("cases/NAT-1"), nil, "NAT-1: pass on no evidence"},
		"warning on nothing": {sparse("cases/BW-1/capture.pcapng", 0), nil, "BW-1: pass-nonstrict on no evidence"},
		"a stray case":       {folderWith("cases/NAT-99/x"), nil, "belongs to no case"},
		"a stray file":       {add("cases/readme.txt", "x"), nil, "belongs to no case"},
		"no declaration":     {remove("declaration.yaml"), nil, "declaration"},
		"text":               {nil, func(m *Manifest) { m.Cases[0].Why = "\xff" }, "UTF-8"},
		"firmware":           {nil, func(m *Manifest) { m.Subjects = nil }, "subjects: empty"},
	} {
		t.Run(name, func(t *testing.T) {
			dir, m := t.TempDir(), testManifest()
			write(t, dir, testFiles)
			if c.do != nil {
				if err := c.do(dir); err != nil {
					t.Fatal(err)
				}
			}
			if c.change != nil {
				c.change(&m)
			}
			_, err := Seal(ctx, dir, m, issuer(t))
			if err == nil || !strings.Contains(err.Error(), c.text) || !strings.Contains(err.Error(), dir) {
				t.Errorf("Seal: %v; want …%s…", err, c.text)
			}
			if b, err := os.ReadFile(filepath.Join(dir, CertificateFile)); err == nil && string(b) != "{}" {
				t.Error("it left a certificate")
			}
		})
	}
	dir := t.TempDir()
	write(t, dir, testFiles)
	if _, err := Seal(ctx, dir, testManifest()); err == nil || !strings.Contains(err.Error(), "issuers") {
		t.Errorf("no key: %v", err)
	}
	if _, err := Seal(ctx, dir, testManifest(), issuer(t), issuer(t)); err == nil || !strings.Contains(err.Error(), "each once") {
		t.Errorf("a key twice: %v", err)
	}
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := Seal(cancelled, dir, testManifest(), issuer(t)); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if _, err := Seal(ctx, filepath.Join(dir, "nowhere"), testManifest(), issuer(t)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no folder: %v", err)
	}
}

// A run killed between its two documents is sealed again.
func TestSealAgain(t *testing.T) {
	want := tree(t, sealed(t))
	files := maps.Clone(testFiles)
	files[ManifestFile], files[".manifest.json.partial"], files[".certificate.json.partial"] = "{", "{", "{"
	if diff := cmp.Diff(want, tree(t, sealedAs(t, files, testManifest(), issuer(t)))); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// A suite may come out worse than its cases, and what is no pass needs no evidence.
func TestSealWorse(t *testing.T) {
	for verdict, want := range map[string]Outcome{"pass-nonstrict": Warned, "inconclusive": Failed, "fail": Failed} {
		m := testManifest()
		m.Verdict, m.Subjects[0].Name = verdict, "fw\x1b[2J.bin"
		m.Cases = append(m.Cases, Case{ID: "RES-5", Verdict: "unsupported", Outcome: Warned, Why: "no week"})
		dir := sealedAs(t, testFiles, m, issuer(t))
		r, err := Verify(context.Background(), dir, everyone(t))
		if err != nil || r.Manifest.Result() != want || !strings.Contains(r.Text(), string(want)+" ("+verdict+"): 1 passed, 2 warned") {
			t.Errorf("%s: %v", verdict, err)
		}
		if text := r.Text(); strings.Contains(text, "\x1b") || !strings.Contains(text, "fw�[2J.bin") {
			t.Errorf("a terminal would obey %q", text)
		}
	}
}

// The suite's verdicts are those that can be certified, each in the predicate's words.
func TestSuitesVerdicts(t *testing.T) {
	if len(certify.Verdicts) != len(verdicts) {
		t.Errorf("the suite has the verdicts %q; certified are %v", certify.Verdicts, verdicts)
	}
	for _, v := range certify.Verdicts {
		if v.Passed() != isPass(string(v)) {
			t.Errorf("%s: is a pass? %t; in the suite %t", v, isPass(string(v)), v.Passed())
		}
		for _, level := range []certify.Level{certify.Must, certify.Should} {
			j := certify.Judged{Result: certify.Result{Verdict: v}}
			j.Case.Level, j.Applicable = level, v != certify.NotApplicable
			if got := Outcome(j.TestResult()); !slices.Contains(verdicts[string(v)], got) {
				t.Errorf("a %s-case's %s is %q; certified can be %q", level, v, got, verdicts[string(v)])
			}
		}
	}
}

func folderWith(p string) deed {
	return both(func(dir string) error { return os.MkdirAll(filepath.Dir(filepath.Join(dir, p)), 0o755) }, add(p, "x"))
}
