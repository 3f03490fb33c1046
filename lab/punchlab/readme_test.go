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

// The README's tables of behaviors and strategies are what the program prints.
func TestREADMEHasTheTables(t *testing.T) {
	const file, end = "../../README.md", "<!-- end of what is generated -->"
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	strategies, err := listStrategies()
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	for begin, rows := range map[string][][]string{
		"<!-- punchlab list nats --engine all --markdown -->\n": listFeatures(allEngines),
		"<!-- punchlab list strategies --markdown -->\n":        strategies,
	} {
		before, rest, ok := strings.Cut(text, begin)
		got, after, ok2 := strings.Cut(rest, end)
		if !ok || !ok2 {
			t.Fatalf("README.md has no place for the table: %q … %q", begin, end)
		}
		var want bytes.Buffer
		markdown(&want, rows)
		text = before + begin + want.String() + end + after
		if d := cmp.Diff(want.String(), got); d != "" && !*update {
			t.Errorf("README.md is out of date: run 'make docs' (-want +got):\n%s", d)
		}
	}
	if *update {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
