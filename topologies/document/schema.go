package document

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"golang.org/x/text/language"
	"golang.org/x/text/message"

	"github.com/punchlab/punchlab/lab"
)

// Schema is a compiled JSON Schema (draft 2020-12). Titles in it are read out in error messages: give each definition a noun,
// such as "a name" or "a time such as 500ms".
type Schema struct{ root *jsonschema.Schema }

// MustCompile compiles a schema that is part of the program; it panics on a fault.
func MustCompile(text []byte) *Schema {
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		panic("document: parse schema: " + err.Error())
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	if err := c.AddResource("schema.json", v); err != nil {
		panic("document: add schema: " + err.Error())
	}
	root, err := c.Compile("schema.json")
	if err != nil {
		panic("document: compile schema: " + err.Error())
	}
	return &Schema{root}
}

// Check compares the document's shape with the schema. What it finds is part of Err.
func (d *Document) Check(s *Schema) {
	err := s.root.Validate(d.Value)
	var invalid *jsonschema.ValidationError
	if !errors.As(err, &invalid) {
		if err != nil {
			d.fault(d.Position(""), "", err.Error())
		}
		return
	}
	var leaves []*jsonschema.ValidationError
	collect(invalid, &leaves)
	// Unknown keys first: a key that they explain is not also reported as missing.
	slices.SortStableFunc(leaves, func(a, b *jsonschema.ValidationError) int { return rank(a) - rank(b) })
	for _, leaf := range leaves {
		d.checkLeaf(s, leaf)
	}
}

func collect(e *jsonschema.ValidationError, leaves *[]*jsonschema.ValidationError) {
	if len(e.Causes) == 0 {
		*leaves = append(*leaves, e)
	}
	for _, c := range e.Causes {
		collect(c, leaves)
	}
}

func rank(e *jsonschema.ValidationError) int {
	if _, ok := e.ErrorKind.(*kind.AdditionalProperties); ok {
		return 0
	}
	return 1
}

func (d *Document) checkLeaf(s *Schema, leaf *jsonschema.ValidationError) {
	path := d.path(leaf.InstanceLocation)
	at := schemaAt(s.root, leaf.InstanceLocation)
	switch k := leaf.ErrorKind.(type) {
	case *kind.AdditionalProperties:
		var known []string
		if at != nil {
			known = slices.Sorted(maps.Keys(at.Properties))
		}
		for _, name := range k.Properties {
			child := Member(path, name)
			p := lab.Unknown(child, "key", name, known)
			e := d.at(d.keys[child], child, p.Msg, p.Suggestion)
			d.shape = append(d.shape, e)
			d.weak[e] = true
			if p.Suggestion != "" {
				d.explained[Member(path, p.Suggestion)] = true
			}
		}
	case *kind.Required:
		for _, name := range k.Missing {
			child := Member(path, name)
			if !d.explained[child] {
				d.shape = append(d.shape, d.at(d.Position(path), child, "missing", ""))
			}
		}
	case *kind.UniqueItems:
		item := Index(path, k.Duplicates[1])
		d.fault(d.Position(item), item, "the same again: item "+strconv.Itoa(k.Duplicates[0])+" is equal")
	case *kind.Type:
		if !d.refused[path] {
			d.fault(d.Position(path), path, describe(k, at))
		}
	default:
		e := d.at(d.Position(path), path, describe(leaf.ErrorKind, at), "")
		d.shape = append(d.shape, e)
		switch leaf.ErrorKind.(type) {
		case *kind.Enum, *kind.Pattern:
			d.weak[e] = true
		}
	}
}

func (d *Document) at(p Position, path, msg, suggestion string) *Error {
	return &Error{File: d.File, Line: p.Line, Column: p.Column, Path: path, Msg: msg, Suggestion: suggestion}
}

// path turns the validator's location into ours: it does not say which parts are indexes.
func (d *Document) path(location []string) string {
	path, v := "", d.Value
	for _, part := range location {
		switch in := v.(type) {
		case []any:
			i, err := strconv.Atoi(part)
			if err != nil || i < 0 || i >= len(in) {
				return path
			}
			path, v = Index(path, i), in[i]
		case map[string]any:
			path, v = Member(path, part), in[part]
		default:
			return path
		}
	}
	return path
}

// schemaAt follows a location through a schema; nil where the schema does not go along.
func schemaAt(s *jsonschema.Schema, location []string) *jsonschema.Schema {
	for _, part := range location {
		s = deref(s)
		if s == nil {
			return nil
		}
		next := s.Properties[part]
		for re, p := range s.PatternProperties {
			if next == nil && re.MatchString(part) {
				next = p
			}
		}
		if next == nil {
			next = s.Items2020
		}
		s = next
	}
	return deref(s)
}

func deref(s *jsonschema.Schema) *jsonschema.Schema {
	for s != nil && s.Ref != nil && s.Types == nil && len(s.Properties) == 0 {
		s = s.Ref
	}
	return s
}

// describe says in words what a schema's keyword found.
func describe(k jsonschema.ErrorKind, at *jsonschema.Schema) string {
	noun := ""
	if at != nil {
		noun = at.Title
	}
	switch k := k.(type) {
	case *kind.Type:
		want := strings.Join(words(k.Want), " or ")
		if noun != "" {
			want = noun
		}
		return "want " + want + ", got " + word(k.Got)
	case *kind.Pattern:
		if noun != "" {
			return strconv.Quote(shorten(k.Got)) + " is not " + noun
		}
	case *kind.Enum:
		if got, ok := k.Got.(string); ok {
			var known []string
			for _, w := range k.Want {
				known = append(known, fmt.Sprint(w))
			}
			p := lab.Unknown("", strings.TrimPrefix(strings.TrimPrefix(noun, "a "), "an "), got, known)
			return p.Msg + lab.DidYouMean(p.Suggestion)
		}
	case *kind.MinItems:
		return fmt.Sprintf("%d entries are too few: %d at least", k.Got, k.Want)
	case *kind.MaxItems:
		return fmt.Sprintf("%d entries are too many: %d at most", k.Got, k.Want)
	case *kind.MinProperties:
		return fmt.Sprintf("%d entries are too few: %d at least", k.Got, k.Want)
	case *kind.MaxProperties:
		return fmt.Sprintf("%d entries are too many: %d at most", k.Got, k.Want)
	case *kind.Minimum:
		return fmt.Sprintf("%s is too small: %s at least", k.Got.RatString(), k.Want.RatString())
	case *kind.Maximum:
		return fmt.Sprintf("%s is too large: %s at most", k.Got.RatString(), k.Want.RatString())
	case *kind.MinLength:
		return fmt.Sprintf("%d characters are too few: %d at least", k.Got, k.Want)
	case *kind.MaxLength:
		return fmt.Sprintf("%d characters are too many: %d at most", k.Got, k.Want)
	}
	return k.LocalizedString(message.NewPrinter(language.English))
}

func shorten(s string) string {
	if r := []rune(s); len(r) > 60 {
		return string(r[:60]) + "…"
	}
	return s
}

func words(types []string) []string {
	out := make([]string, len(types))
	for i, t := range types {
		out[i] = word(t)
	}
	return out
}

// word is YAML's word for a JSON type.
func word(jsonType string) string {
	switch jsonType {
	case "object":
		return "a mapping"
	case "array":
		return "a list"
	case "string":
		return "text"
	case "null":
		return "nothing"
	case "boolean":
		return "a boolean"
	case "integer":
		return "an integer"
	default:
		return "a " + jsonType
	}
}
