package evidence

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// startsOfTest writes a list in which NAT-1 was begun so often, and BW-1 once.
func startsOfTest(t testing.TB, times int) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), StartsFile)
	at := time.Date(2026, 11, 23, 6, 0, 0, 0, time.UTC)
	for n := range times {
		s, err := OpenStarts(name) // each in a run of its own
		if err != nil {
			t.Fatal(err)
		}
		if got, err := s.Begin("NAT-1", at); err != nil || got != n+1 {
			t.Fatal(got, err)
		}
		if n == times-1 {
			_, err = s.Begin("BW-1", at)
			for _, id := range []string{"BW-1", "NAT-1"} {
				if err == nil {
					err = s.End(id, at.Add(time.Minute), "pass", "")
				}
			}
		}
		if err != nil || s.Close() != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// withStarts is testManifest and its files, as of a run that counted.
func withStarts(t testing.TB, listed, said int) (map[string]string, Manifest) {
	files, m := map[string]string{StartsFile: startsOfTest(t, listed)}, testManifest()
	for name, text := range testFiles {
		files[name] = text
	}
	m.Cases[0].Starts, m.Cases[1].Starts = said, 1
	if said > 1 {
		m.Cases[0].Outcome = Warned
	}
	return files, m
}

// How often a case was begun is signed, in the statement, and read by who verifies.
func TestStartsAreSigned(t *testing.T) {
	files, m := withStarts(t, 2, 2)
	dir := sealedAs(t, files, m, issuer(t))
	r, err := Verify(t.Context(), dir, everyone(t))
	if err != nil {
		t.Fatal(err)
	}
	if text := r.Text(); !strings.Contains(text, "started more than once: NAT-1 (2 times)") {
		t.Error(text)
	}
	if s := payloadOf(t, dir); !strings.Contains(s, `"starts":{"BW-1":"1","NAT-1":"2"}`) {
		t.Error(s)
	}
}

// Nobody signs, nor is believed to have signed, other counts than the list's.
func TestStartsAreHeldToTheList(t *testing.T) {
	files, m := withStarts(t, 2, 1)
	dir := t.TempDir()
	write(t, dir, files)
	_, err := Seal(t.Context(), dir, m, issuer(t))
	if err == nil || !strings.Contains(err.Error(), "NAT-1 was started 2 times by it; certified is 1") {
		t.Errorf("sealed: %v", err)
	}
	// A list that goes with the manifest, and is no list.
	for old, c := range map[string]struct{ new, says string }{
		`"start":2`: {`"start":1`, "line 2: start 1 of NAT-1, which was begun 1 times"},
		`"BW-1"`:    {`"BW-2"`, "does not follow the lines before it"},
	} {
		files, m := withStarts(t, 2, 2)
		files[StartsFile] = strings.Replace(files[StartsFile], old, c.new, 1)
		dir := t.TempDir()
		write(t, dir, files)
		if _, err := Seal(t.Context(), dir, m, issuer(t)); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s → %s: %v, want … %s", old, c.new, err, c.says)
		}
	}
}

// An issuer who signs another count than his own list's is found out by who verifies, by the list's name.
func TestStartsOfALiar(t *testing.T) {
	files, m := withStarts(t, 2, 2)
	dir := sealedAs(t, files, m, issuer(t))
	if err := json.Unmarshal([]byte(tree(t, dir)[ManifestFile]), &m); err != nil {
		t.Fatal(err)
	}
	m.Cases[0].Starts, m.Cases[0].Outcome = 1, Passed
	manifest, payload, err := documents(&m)
	if err != nil {
		t.Fatal(err)
	}
	resign(t, dir, manifest, payload, issuer(t))
	wantMismatch(t, dir, everyone(t), Disagreement, StartsFile, "NAT-1 was started 2 times by it; certified is 1")
}

// A machine that stopped while a line was written has begun nothing by it.
func TestTornStart(t *testing.T) {
	name := filepath.Join(t.TempDir(), StartsFile)
	text := startsOfTest(t, 1)
	if err := os.WriteFile(name, []byte(text+`{"case":"NAT-1","sta`), 0o644); err != nil {
		t.Fatal(err)
	}
	s, err := OpenStarts(name)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if n, err := s.Begin("NAT-1", time.Now()); n != 2 || err != nil {
		t.Error(n, err)
	}
	if b, err := os.ReadFile(name); err != nil {
		t.Error(err)
	} else if all, err := ReadStarts(b); err != nil || len(all) != 3 {
		t.Errorf("%+v %v", all, err)
	}
}
