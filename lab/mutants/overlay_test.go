package mutants

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestCompose: edits of one text that name the same lines and change other bytes of them make one text; those that change the same
// bytes, or are not where they say, are refused by name.
func TestCompose(t *testing.T) {
	const text = "func f() {\n\ta()\n\tb()\n}\n"
	edit := func(of, find, replace string) Edit { return Edit{File: "f.go", Of: of, Find: find, Replace: replace} }
	before := edit("one", "\ta()\n\tb()\n", "\tif x {\n\t}\n\ta()\n\tb()\n")
	between := edit("two", "\ta()\n\tb()\n", "\ta()\n\tc()\n\tb()\n")
	argument := edit("three", "a()", "a(1)")
	for _, c := range []struct {
		name  string
		edits []Edit
		want  string
	}{
		{"one", []Edit{before}, "func f() {\n\tif x {\n\t}\n\ta()\n\tb()\n}\n"},
		{"all", []Edit{argument, between, before}, "func f() {\n\tif x {\n\t}\n\ta(1)\n\tc()\n\tb()\n}\n"},
		{"twice at one place", []Edit{between, edit("four", "\ta()\n\tb()\n", "\ta()\n\td()\n\tb()\n")}, "func f() {\n\ta()\n\tc()\n\td()\n\tb()\n}\n"},
		{"same bytes", []Edit{edit("one", "b()", "c()"), edit("two", "b()\n}", "d()\n}")}, "error: one and two change the same bytes"},
		{"twice there", []Edit{edit("one", "()", "(1)")}, "error: one: its text occurs 3 times"},
		{"not there", []Edit{edit("one", "z()", "y()")}, "error: one: its text occurs 0 times"},
		{"no change", []Edit{edit("one", "a()", "a()")}, "error: one: "},
	} {
		t.Run(c.name, func(t *testing.T) {
			root := t.TempDir()
			if err := os.WriteFile(filepath.Join(root, "f.go"), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			texts, err := Apply(root, c.edits...)
			got := string(texts["f.go"])
			if err != nil {
				got = "error: " + err.Error()
			}
			if want, isErr := strings.CutPrefix(c.want, "error: "); isErr && !strings.Contains(got, "error: "+want) || !isErr && got != c.want {
				t.Errorf("got %q, not %q", got, c.want)
			}
		})
	}
}

// TestAdded: an edit without a text to find is a new file, and takes no other's place.
func TestAdded(t *testing.T) {
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "there.go"), []byte("package p\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	texts, err := Apply(root, Edit{Of: "one", File: "new.go", Replace: "package p"})
	if err != nil || string(texts["new.go"]) != "package p" {
		t.Errorf("%q, %v", texts, err)
	}
	for want, es := range map[string][]Edit{
		"one adds there.go, which is there": {{Of: "one", File: "there.go", Replace: "package p"}},
		"one and two both have to do with":  {{Of: "one", File: "new.go", Replace: "package p"}, {Of: "two", File: "new.go", Replace: "package p"}},
	} {
		if _, err := Apply(root, es...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, not %s", err, want)
		}
	}
}
