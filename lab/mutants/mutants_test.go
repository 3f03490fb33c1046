package mutants

import (
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"

	"github.com/punchlab/punchlab/lab/gate"
)

// TestCatalogue applies every mutant textually, and holds the catalogue to what it promises.
func TestCatalogue(t *testing.T) {
	root, err := Root(".")
	if err != nil {
		t.Fatal(err)
	}
	names, faults := map[string]bool{}, map[Part]int{}
	for _, m := range Catalogue() {
		if names[m.Name] {
			t.Errorf("two mutants are called %s", m.Name)
		}
		names[m.Name] = true
		if !m.Null() {
			faults[m.Part]++
			if _, err := gate.ParseMetric(m.Metric); err != nil {
				t.Errorf("mutant %s: %v", m.Name, err)
			}
		}
		if m.Summary == "" || m.Part == "" || !strings.HasPrefix(m.File, "impl/") {
			t.Errorf("mutant %s lacks a summary, a part, or a file of the product", m.Name)
		}
		if _, err := JobOf(m); err != nil {
			t.Error(err)
		}
		text, err := m.Apply(root)
		if err != nil {
			t.Error(err)
			continue
		}
		if _, err := parser.ParseFile(token.NewFileSet(), m.File, text, parser.SkipObjectResolution); err != nil {
			t.Errorf("mutant %s does not parse: %v", m.Name, err)
		}
	}
	n := 0
	for part, k := range faults {
		if n += k; k < 3 {
			t.Errorf("%d faults in part %s: seed at least 3", k, part)
		}
	}
	if n < 36 {
		t.Errorf("%d faults: the kit has at least 36", n)
	}
}

// TestBuilds type-checks every mutant: those that are at different places of their files are built together.
func TestBuilds(t *testing.T) {
	root, err := Root(".")
	if err != nil {
		t.Fatal(err)
	}
	for round, rest := 0, Catalogue(); len(rest) > 0; round++ {
		var now, later []Mutant
		texts := map[string][]byte{}
		for _, m := range rest {
			text, err := []byte(nil), error(nil)
			if before, ok := texts[m.File]; ok {
				text, err = m.apply(before)
			} else {
				text, err = m.Apply(root)
			}
			if err != nil {
				later = append(later, m)
				continue
			}
			texts[m.File] = text
			now = append(now, m)
		}
		if len(now) == 0 {
			t.Fatalf("mutant %s does not apply", rest[0].Name)
		}
		dir := t.TempDir()
		file, err := overlay(root, dir, edits(now)...)
		if err != nil {
			t.Fatal(err)
		}
		pkgs := map[string]bool{}
		for _, m := range now {
			pkgs["./"+filepath.ToSlash(filepath.Dir(m.File))] = true
		}
		args := []string{"build", "-overlay", file}
		for p := range pkgs {
			args = append(args, p)
		}
		if err := goCommand(t.Context(), root, args...); err != nil {
			t.Errorf("round %d: %v", round, err)
		}
		rest = later
	}
}
