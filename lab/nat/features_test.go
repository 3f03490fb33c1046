package nat_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/punchlab/punchlab/lab/nat"
)

// Every cell names a test that exists, or says why not.
func TestFeaturesNameTests(t *testing.T) {
	seen := map[string]bool{}
	for _, f := range nat.Features() {
		if f.ID == "" || f.Title == "" || seen[f.ID] || len(f.Engines) != 2 {
			t.Errorf("%+v: want an ID of its own, a title and two engines", f)
		}
		seen[f.ID] = true
		for engine, s := range f.Engines {
			if s.Test == "" && s.Reason == "" {
				t.Errorf("%s on %s: neither test nor reason", f.ID, engine)
			}
			if s.Test != "" && !testExists(t, s.Test) {
				t.Errorf("%s on %s: no test %q", f.ID, engine, s.Test)
			}
		}
	}
}

// testExists looks for "lab/x TestName/script" in the sources.
func testExists(t *testing.T, name string) bool {
	pkg, test, _ := strings.Cut(name, " ")
	test, script, sub := strings.Cut(test, "/")
	dir := filepath.Join("..", "..", pkg)
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(b), "func "+test+"(") {
			continue
		}
		scripts, _ := filepath.Glob(filepath.Join(dir, "testdata", "*", script))
		return !sub || len(scripts) > 0 || strings.Contains(string(b), `"`+script+`"`)
	}
	return false
}
