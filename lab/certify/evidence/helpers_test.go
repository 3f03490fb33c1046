package evidence

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// testKey returns the key drawn from 32 bytes n.
func testKey(t testing.TB, n byte) *Key {
	t.Helper()
	k, err := NewKey(strings.NewReader(strings.Repeat(string(rune(n)), 32)))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// The parties of all tests.
func issuer(t testing.TB) *Key   { return testKey(t, 1) }
func second(t testing.TB) *Key   { return testKey(t, 2) }
func witness(t testing.TB) *Key  { return testKey(t, 3) }
func stranger(t testing.TB) *Key { return testKey(t, 4) }

// everyone trusts the issuer to issue and the witness to witness.
func everyone(t testing.TB) Trust {
	return Trust{Issuers: []PublicKey{issuer(t).Public()}, Witnesses: []PublicKey{witness(t).Public()}}
}

// testFiles are a run's evidence.
var testFiles = map[string]string{
	"declaration.yaml":           "name: Doorbell 3\nrelay: true\n",
	"scenarios/nat.yaml":         "scenario: nat\n",
	"scenarios/bandwidth.yaml":   "scenario: bandwidth\n",
	"cases/NAT-1/capture.pcapng": "\x0a\x0d\x0d\x0a\x00\x00\x00\x1c<packets>\x00\x01",
	"cases/NAT-1/timeline.txt":   "0.000 viewer → rendezvous connect\n",
	"cases/BW-1/capture.pcapng":  "\x0a\x0d\x0d\x0a\x00\x00\x00\x1c<silence>\x00\x01",
	"cases/BW-1/camera.log":      "",
	"cases/SEC-12/camera.log":    "update: no\n",
}

// testManifest is what the caller of Seal says about testFiles.
func testManifest() Manifest {
	at := time.Date(2026, 11, 23, 6, 0, 0, 0, time.UTC)
	return Manifest{
		Subjects: []Artifact{{"doorbell-3.1.bin", digest([]byte("firmware")), Measured, 8}},
		Suite:    Suite{Name: "punchlab/certify", Version: "1.0.0", SHA256: digest([]byte("catalogue")), Command: "punchlab certify -- ./camera"},

		Declaration: "declaration.yaml",
		Verdict:     "pass-nonstrict",
		Started:     at,
		Finished:    at.Add(90 * time.Minute),
		Cases: []Case{
			{ID: "NAT-1", Verdict: "pass", Outcome: Passed, Why: "81 of 81 pairs", Seed: 18446744073709551615,
				Scenario: "scenarios/nat.yaml", Replay: "punchlab certify --case NAT-1 --seed 18446744073709551615 -- ./camera"},
			{ID: "BW-1", Verdict: "pass-nonstrict", Outcome: Warned, Why: "3 keepalives \"too soon\"", Seed: 7,
				Scenario: "scenarios/bandwidth.yaml", Replay: "punchlab certify --case BW-1 --seed 7 -- ./camera"},
			{ID: "SEC-12", Verdict: "not-applicable", Outcome: None, Why: "declares no update"},
		},
	}
}

func write(t testing.TB, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		p := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(p), 0o755), os.WriteFile(p, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
}

// sealed writes testFiles and seals them with the issuer's key, or those given.
func sealed(t testing.TB, keys ...*Key) string {
	t.Helper()
	if keys == nil {
		keys = []*Key{issuer(t)}
	}
	return sealedAs(t, testFiles, testManifest(), keys...)
}

func sealedAs(t testing.TB, files map[string]string, m Manifest, keys ...*Key) string {
	t.Helper()
	dir := t.TempDir()
	write(t, dir, files)
	if _, err := Seal(context.Background(), dir, m, keys...); err != nil {
		t.Fatal(err)
	}
	return dir
}

// rerun seals the witness's own run of what dir certifies, after change.
func rerun(t testing.TB, dir string, change func(files map[string]string, m *Manifest)) string {
	t.Helper()
	r, err := Verify(context.Background(), dir, Trust{Issuers: []PublicKey{issuer(t).Public(), second(t).Public()}, IgnoreWitnesses: true})
	if err != nil {
		t.Fatal(err)
	}
	files, m := map[string]string{}, testManifest()
	for name, text := range testFiles {
		files[name] = text
	}
	files["cases/NAT-1/capture.pcapng"] = "other packets, the same verdict"
	m.WitnessOf = r.Statement
	m.Started, m.Finished = m.Started.Add(24*time.Hour), m.Finished.Add(24*time.Hour)
	if change != nil {
		change(files, &m)
	}
	return sealedAs(t, files, m, witness(t))
}

// witnessed is sealed, countersigned by a witness who agrees.
func witnessed(t testing.TB) string {
	t.Helper()
	dir := sealed(t)
	if _, err := Countersign(context.Background(), dir, rerun(t, dir, nil), witness(t), issuer(t).Public()); err != nil {
		t.Fatal(err)
	}
	return dir
}

// wantMismatch checks what Verify says first about dir.
func wantMismatch(t testing.TB, dir string, trust Trust, kind Kind, path, text string) {
	t.Helper()
	_, err := Verify(context.Background(), dir, trust)
	wantError(t, err, kind, path, text)
}

func wantError(t testing.TB, err error, kind Kind, path, text string) {
	t.Helper()
	var m *Mismatch
	if !errors.As(err, &m) {
		t.Errorf("error %v; want %s: %s: …%s…", err, path, kind, text)
		return
	}
	if m.Kind != kind || m.Path != path || !strings.Contains(m.Text, text) {
		t.Errorf("got  %v\nwant %s: %s: …%s…", m, path, kind, text)
	}
}

// tree reads a folder's files.
func tree(t testing.TB, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	root := os.DirFS(dir)
	if err := fs.WalkDir(root, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := fs.ReadFile(root, p)
		all[p] = string(b)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return all
}
