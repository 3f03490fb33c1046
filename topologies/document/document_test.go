package document_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/punchlab/punchlab/lab"
	"github.com/punchlab/punchlab/topologies/document"
)

// Hostile documents of the greatest size are refused or read soon, and their faults stay countable.
func TestHostileDocuments(t *testing.T) {
	fill := func(s string) string { return strings.Repeat(s, document.MaxBytes/len(s)) }
	each := func(line func(i int) string) string {
		var b strings.Builder
		for i := 0; b.Len()+len(line(i)) <= document.MaxBytes; i++ {
			b.WriteString(line(i))
		}
		return b.String()
	}
	laughs := "a: &a [x,x,x,x,x,x,x,x]\n"
	for c := 'b'; c <= 'z'; c++ {
		before := string(c - 1)
		laughs += fmt.Sprintf("%c: &%c [*%s,*%s,*%s,*%s,*%s,*%s]\n", c, c, before, before, before, before, before, before)
	}
	for name, c := range map[string]struct{ text, want string }{
		"billion laughs":   {laughs, "anchors and aliases are not supported"},
		"open brackets":    {fill("["), "nested too deeply"},
		"open braces":      {fill("{"), "nested too deeply"},
		"dashes":           {fill("- "), "nested too deeply"},
		"question marks":   {fill("? "), "nested too deeply"},
		"indented keys":    {each(func(i int) string { return strings.Repeat(" ", i) + "a:\n" }), "nested too deeply"},
		"indented dashes":  {each(func(i int) string { return strings.Repeat(" ", i) + "-\n" }), "nested too deeply"},
		"one key":          {fill("a: b\n"), "duplicate key: it is set in line 1 already"},
		"one empty key":    {fill("a:\n"), "more faults follow"},
		"many keys":        {each(func(i int) string { return fmt.Sprintf("k%d:\n", i) }), ""},
		"long list":        {"[" + strings.Repeat("a,", document.MaxBytes/2-1) + "]", ""},
		"anchors":          {fill("&a "), "not YAML"},
		"documents":        {fill("--- a\n"), "a second document"},
		"open quote":       {"\"" + strings.Repeat("a", document.MaxBytes-1), "not YAML"},
		"digits":           {fill("9"), ""},
		"not a number":     {"a: .nan", "a: not supported here"},
		"infinity":         {"a: .inf", "a: not supported here"},
		"no text":          {"a: \xff", "not text in UTF-8"},
		"too many bytes":   {fill("#") + "#", "32769 bytes are too many"},
		"nothing but tabs": {fill("\t"), "empty"},
	} {
		start := time.Now()
		d, err := document.Parse("x", []byte(c.text))
		if err == nil {
			err = d.Err()
		}
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("%s: took %v", name, took)
		}
		switch {
		case (err == nil) != (c.want == ""):
			t.Errorf("%s: error %v, want %q", name, err, c.want)
		case err != nil && !strings.Contains(err.Error(), c.want):
			t.Errorf("%s: %.200s, want %q in it", name, err, c.want)
		case err != nil && strings.Count(err.Error(), "\n") > 100:
			t.Errorf("%s: %d lines of errors", name, strings.Count(err.Error(), "\n"))
		}
	}
}

const text = `# a comment
name: "x"
list:
  - {a: 1, b: -2}
  - |
    block
  - [true, 1.5, 18446744073709551615]
"quoted.key": ~
`

func TestValues(t *testing.T) {
	d, err := document.Parse("x", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"name":       "x",
		"list":       []any{map[string]any{"a": uint64(1), "b": int64(-2)}, "block\n", []any{true, 1.5, uint64(1<<64 - 1)}},
		"quoted.key": nil,
	}
	if diff := cmp.Diff(want, d.Value); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"name", "list", "quoted.key"}, d.Root().Keys()); diff != "" {
		t.Errorf("keys are not in the file's order:\n%s", diff)
	}
	if err := d.Err(); err != nil {
		t.Error(err)
	}
}

func TestPositions(t *testing.T) {
	d, err := document.Parse("x", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]document.Position{
		"":                {2, 1},
		"name":            {2, 7},
		"list":            {4, 3},
		"list[0]":         {4, 6},
		"list[0].b":       {4, 15},
		"list[0].missing": {4, 6},
		"list[2][1]":      {7, 12},
		"list[9].x.y":     {4, 3},
		"quoted.key":      {8, 1},
		"nowhere":         {2, 1},
	} {
		if got := d.Position(path); got != want {
			t.Errorf("%q is at %v, want %v", path, got, want)
		}
	}
}

// What --json prints, and what a person reads.
func TestErrorForms(t *testing.T) {
	d, err := document.Parse("dir/x.yaml", []byte("name: a\nsites:\n- nat: ful-cone\n"))
	if err != nil {
		t.Fatal(err)
	}
	d.Report("", lab.Problems{
		{Path: "sites[0].nat", Msg: `unknown preset "ful-cone"`, Suggestion: "full-cone"},
		{Path: "name", Msg: "no"},
	})
	err = d.Err()
	want := "dir/x.yaml:1:7: name: no\n" + `dir/x.yaml:3:8: sites[0].nat: unknown preset "ful-cone" (did you mean "full-cone"?)`
	if diff := cmp.Diff(want, err.Error()); diff != "" {
		t.Error(diff)
	}
	var es document.Errors
	if !errors.As(fmt.Errorf("load: %w", err), &es) {
		t.Fatal("not found by errors.As")
	}
	b, err := json.Marshal(es[1])
	if err != nil {
		t.Fatal(err)
	}
	wantJSON := `{"file":"dir/x.yaml","line":3,"column":8,"path":"sites[0].nat","msg":"unknown preset \"ful-cone\"","suggestion":"full-cone"}`
	if diff := cmp.Diff(wantJSON, string(b)); diff != "" {
		t.Error(diff)
	}
}
