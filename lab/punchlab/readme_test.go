package main

import (
	"bytes"
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the generated part of README.md")

// The README's table of behaviors and engines is what the program prints.
func TestREADMEHasTheTableOfBehaviors(t *testing.T) {
	const file, begin, end = "../../README.md", "<!-- punchlab list nats --engine all --markdown -->\n", "<!-- end of what is generated -->"
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(b), begin)
	got, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("README.md has no place for the table: %q … %q", begin, end)
	}
	var want bytes.Buffer
	markdown(&want, listFeatures(allEngines))
	if *update {
		if err := os.WriteFile(file, []byte(before+begin+want.String()+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if d := cmp.Diff(want.String(), got); d != "" {
		t.Errorf("README.md is out of date: run 'go test ./lab/punchlab -run README -update' (-want +got):\n%s", d)
	}
}
