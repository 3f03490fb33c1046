package mutants

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Edit changes one place of a file of the product, or adds a file to it.
//
//	file:  … Find …            what Find and Replace have in common at either end is no part of the change, so that several
//	         │└┘│              edits may name the same lines to say where they are, as long as they do not change
//	       … Replace …         the same bytes; what is put in at one place is there in the edits' order
type Edit struct {
	File    string `json:"file"`           // below the module's root, with slashes
	Find    string `json:"find,omitempty"` // occurs exactly once in the file as it is; "": the file is new
	Replace string `json:"replace"`
	Of      string `json:"-"` // whose it is, for errors: "mutant media-late"
}

// span is what an edit does to a text: bytes from start to end become put.
type span struct {
	start, end int
	put        string
	of         string
}

// Apply returns the texts of the files that edits change or add, by their names below the module's root.
func Apply(root string, edits ...Edit) (map[string][]byte, error) {
	byFile := map[string][]Edit{}
	for _, e := range edits {
		byFile[e.File] = append(byFile[e.File], e)
	}
	texts := map[string][]byte{}
	for _, file := range slices.Sorted(maps.Keys(byFile)) {
		es, path := byFile[file], filepath.Join(root, filepath.FromSlash(file))
		text, err := os.ReadFile(path)
		switch {
		case es[0].Find == "" && err == nil:
			return nil, fmt.Errorf("%s adds %s, which is there: give it another name", es[0].Of, file)
		case es[0].Find == "" && len(es) > 1:
			return nil, fmt.Errorf("%s and %s both have to do with %s, which the first adds: give it another name", es[0].Of, es[1].Of, file)
		case es[0].Find == "":
			texts[file] = []byte(es[0].Replace)
		case err != nil:
			return nil, fmt.Errorf("%s: %w", es[0].Of, err)
		default:
			if texts[file], err = compose(text, es); err != nil {
				return nil, err
			}
		}
	}
	return texts, nil
}

// compose makes several edits of one text.
func compose(text []byte, edits []Edit) ([]byte, error) {
	var spans []span
	for _, e := range edits {
		s, err := e.span(text)
		if err != nil {
			return nil, err
		}
		spans = append(spans, s)
	}
	slices.SortStableFunc(spans, func(a, b span) int { return cmp.Or(a.start-b.start, a.end-b.end) })
	var out []byte
	at := 0
	for i, s := range spans {
		if s.start < at {
			return nil, fmt.Errorf("%s and %s change the same bytes of %s: put one of them elsewhere", spans[i-1].of, s.of, edits[0].File)
		}
		out = append(append(out, text[at:s.start]...), s.put...)
		at = s.end
	}
	return append(out, text[at:]...), nil
}

// span finds an edit's place.
func (e Edit) span(text []byte) (span, error) {
	if n := bytes.Count(text, []byte(e.Find)); n != 1 || e.Find == e.Replace || e.Find == "" {
		return span{}, fmt.Errorf("%s: its text occurs %d times in %s, not once: the product has changed there; write the fault anew\n%s",
			e.Of, n, e.File, e.Find)
	}
	find, put := e.Find, e.Replace
	start := bytes.Index(text, []byte(find))
	before := 0
	for before < min(len(find), len(put)) && find[before] == put[before] {
		before++
	}
	find, put = find[before:], put[before:]
	after := 0
	for after < min(len(find), len(put)) && find[len(find)-1-after] == put[len(put)-1-after] {
		after++
	}
	return span{start + before, start + before + len(find) - after, put[:len(put)-after], e.Of}, nil
}

// overlay writes edited files and the overlay of them (go help build) into a folder.
func overlay(root, dir string, edits ...Edit) (file string, err error) {
	texts, err := Apply(root, edits...)
	if err != nil {
		return "", err
	}
	replaced := map[string]string{}
	for name, text := range texts {
		at := filepath.Join(dir, strings.ReplaceAll(name, "/", "_"))
		if err := os.WriteFile(at, text, 0o600); err != nil {
			return "", err
		}
		replaced[filepath.Join(root, filepath.FromSlash(name))] = at
	}
	b, err := json.Marshal(map[string]any{"Replace": replaced})
	if err != nil {
		return "", err
	}
	file = filepath.Join(dir, "overlay.json")
	return file, os.WriteFile(file, b, 0o600)
}
