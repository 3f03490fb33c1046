// Package document reads the lab's YAML documents so that each fault has a place.
//
//	bytes ── Parse ──► Document ── Check(schema) ──► shape: types, keys, ranges      ┐
//	           │           └─ Value, for the caller to decode ──► meaning: Report     ├─► Err: Errors, all at once,
//	           └─ syntax, duplicate keys, anchors, size ─────────────────────────────┘   by line
//
// A path such as sites[0].nat names a place in a document, and the document knows its line and column. Documents are
// data: anchors, aliases, tags and merge keys are refused, so that nothing in one grows when it is read.
package document

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"

	"github.com/punchlab/punchlab/lab"
)

// Limits of a document. They are generous for people and keep hostile input cheap.
const (
	MaxBytes = 32 << 10
	MaxDepth = 16 // of mappings and sequences within each other
)

// Position is a place in a document, both from 1; columns count characters.
type Position struct{ Line, Column int }

// Document is a parsed file. It is not safe for concurrent use.
type Document struct {
	File  string
	Value any // map[string]any, []any, string, int64, uint64, float64, bool or nil

	lines  []string
	values map[string]Position // by path
	keys   map[string]Position // of a mapping's key, by the path of its value
	order  map[string][]string // keys of a mapping, by its path
	shape  Errors              // faults of syntax and schema
	sense  Errors              // faults of meaning, from Report
	weak   map[*Error]bool     // of shape, to be left out where sense has more to say

	refused   map[string]bool // places of values that are not read at all: their shape is no further fault
	explained map[string]bool // places of keys that a misspelt one stands for: they are not missing
}

// Parse reads a document. It fails with Errors if the bytes are no YAML at all; everything milder is kept for Err.
func Parse(file string, data []byte) (*Document, error) {
	d := &Document{
		File: file, values: map[string]Position{}, keys: map[string]Position{}, order: map[string][]string{},
		weak: map[*Error]bool{}, refused: map[string]bool{}, explained: map[string]bool{},
	}
	switch {
	case len(data) > MaxBytes:
		return nil, d.fatal(Position{}, fmt.Sprintf("%d bytes are too many for a document: %d at most", len(data), MaxBytes))
	case !utf8.Valid(data):
		return nil, d.fatal(Position{}, "not text in UTF-8")
	}
	if p, found := tooDeep(data); found {
		return nil, d.fatal(p, fmt.Sprintf("nested too deeply: %d levels at most", MaxDepth))
	}
	file0, err := parse(data)
	if err != nil {
		var syntax yaml.Error
		if errors.As(err, &syntax) && syntax.GetToken() != nil {
			return nil, d.fatal(position(syntax.GetToken()), "not YAML: "+syntax.GetMessage())
		}
		return nil, d.fatal(Position{}, "not YAML: "+err.Error())
	}
	var body ast.Node
	for _, doc := range file0.Docs {
		if doc.Body == nil {
			continue
		}
		if body != nil {
			return nil, d.fatal(position(doc.Body.GetToken()), "a second document: write one a file")
		}
		body = doc.Body
	}
	if body == nil {
		return nil, d.fatal(Position{1, 1}, "empty: nothing is described")
	}
	d.lines = strings.Split(string(data), "\n")
	d.Value = d.read("", body, 0)
	return d, nil
}

// parse shields callers from the parser: what it cannot take is an error, whatever way it says so.
func parse(data []byte) (f *ast.File, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("the parser gave up: %v", r)
		}
	}()
	return parser.ParseBytes(data, 0, parser.AllowDuplicateMapKey())
}

// tooDeep finds nesting that costs the parser much: brackets within brackets, and dash after dash on one line. It counts
// brackets in text too, and text with that many open ones is refused.
func tooDeep(data []byte) (Position, bool) {
	brackets, dashes, line, column := 0, 0, 1, 0
	before := ' '
	for _, r := range string(data) {
		column++
		switch r {
		case '\n':
			line, column, dashes = line+1, 0, 0
		case '[', '{':
			brackets++
		case ']', '}':
			brackets = max(0, brackets-1)
		case ' ':
			if before == '-' || before == '?' {
				dashes++
			}
		}
		before = r
		if brackets > 4*MaxDepth || dashes > 4*MaxDepth {
			return Position{line, column}, true
		}
	}
	return Position{}, false
}

func (d *Document) fatal(p Position, msg string) error {
	return Errors{{File: d.File, Line: p.Line, Column: p.Column, Msg: msg}}
}

func (d *Document) fault(p Position, path, msg string) {
	d.shape = append(d.shape, &Error{File: d.File, Line: p.Line, Column: p.Column, Path: path, Msg: msg})
}

func position(t *token.Token) Position {
	if t == nil || t.Position == nil {
		return Position{1, 1}
	}
	return Position{t.Position.Line, t.Position.Column}
}

// read turns a node into a value and notes where everything is.
func (d *Document) read(path string, n ast.Node, depth int) any {
	if n == nil {
		return nil
	}
	d.values[path] = position(n.GetToken())
	if depth > MaxDepth {
		d.fault(d.values[path], path, fmt.Sprintf("nested too deeply: %d levels at most", MaxDepth))
		return nil
	}
	switch n := n.(type) {
	case *ast.MappingNode:
		return d.mapping(path, n.Values, depth)
	case *ast.MappingValueNode:
		return d.mapping(path, []*ast.MappingValueNode{n}, depth)
	case *ast.SequenceNode:
		items := make([]any, len(n.Values))
		for i, v := range n.Values {
			items[i] = d.read(Index(path, i), v, depth+1)
		}
		return items
	case *ast.NullNode:
		return nil
	case *ast.BoolNode:
		return n.Value
	case *ast.IntegerNode:
		return n.Value
	case *ast.FloatNode:
		return n.Value
	case *ast.StringNode:
		return n.Value
	case *ast.LiteralNode:
		if n.Value == nil {
			return ""
		}
		return n.Value.Value
	case *ast.AnchorNode, *ast.AliasNode, *ast.MergeKeyNode:
		d.fault(d.values[path], path, "anchors and aliases are not supported: write the value out")
	case *ast.TagNode:
		d.fault(d.values[path], path, "tags are not supported: write the plain value")
	default:
		d.fault(d.values[path], path, "not supported here: write a plain value ("+n.Type().String()+")")
	}
	d.refused[path] = true
	return nil
}

func (d *Document) mapping(path string, members []*ast.MappingValueNode, depth int) any {
	m := make(map[string]any, len(members))
	for i, member := range members {
		name, at, ok := d.key(path, member.Key)
		if i == 0 {
			d.values[path] = at
		}
		if !ok {
			continue
		}
		child := Member(path, name)
		if _, twice := m[name]; twice {
			first := d.keys[child]
			d.fault(at, child, fmt.Sprintf("duplicate key: it is set in line %d already", first.Line))
			continue
		}
		d.keys[child] = at
		d.order[path] = append(d.order[path], name)
		m[name] = d.read(child, member.Value, depth+1)
		if _, null := member.Value.(*ast.NullNode); null {
			d.values[child] = at // a value that is not written has no place of its own
		}
	}
	return m
}

// key reads a mapping's key, which must be a plain one.
func (d *Document) key(path string, n ast.MapKeyNode) (string, Position, bool) {
	if n == nil || n.GetToken() == nil {
		return "", Position{1, 1}, false
	}
	at := position(n.GetToken())
	switch k := n.(type) {
	case *ast.StringNode:
		return k.Value, at, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.NullNode:
		return n.GetToken().Value, at, true
	case *ast.MergeKeyNode, *ast.AliasNode, *ast.AnchorNode:
		d.fault(at, path, "anchors, aliases and merge keys are not supported: write the value out")
	default:
		d.fault(at, path, "not supported as a key: write a plain word ("+n.Type().String()+")")
	}
	return "", at, false
}

// Member is the path of a mapping's member.
func Member(path, key string) string { return lab.Member(path, key) }

// Index is the path of a sequence's item.
func Index(path string, i int) string { return fmt.Sprintf("%s[%d]", path, i) }

// Keys lists the keys of the mapping at a path, in the order of the file.
func (d *Document) Keys(path string) []string { return d.order[path] }

// Position is where the value at path is; if there is none, where the nearest thing around it is.
func (d *Document) Position(path string) Position {
	for {
		if p, ok := d.values[path]; ok {
			return p
		}
		cut := strings.LastIndexAny(path, ".[")
		if cut < 0 {
			if p, ok := d.values[""]; ok {
				return p
			}
			return Position{1, 1}
		}
		path = path[:cut]
	}
}

// Report adds faults of meaning: an error from the lab, or any other. One at a place whose shape is wrong already is
// left out, for it would only say so again.
func (d *Document) Report(path string, err error) {
	var many lab.Problems
	var one *lab.Problem
	switch {
	case err == nil:
	case errors.As(err, &many):
		for _, p := range many {
			d.Report(path, p)
		}
	case errors.As(err, &one):
		d.report(join(path, one.Path), one)
	default:
		d.report(path, &lab.Problem{Msg: err.Error()})
	}
}

func join(path, rest string) string {
	if path == "" || rest == "" {
		return path + rest
	}
	return path + "." + rest
}

func (d *Document) report(path string, what *lab.Problem) {
	p := d.Position(path)
	if key, ok := d.keys[path]; ok && what.Key {
		p = key
	}
	d.sense = append(d.sense, d.at(p, path, what.Msg, what.Suggestion))
}

// Err is every fault found so far, as Errors; nil if there is none.
func (d *Document) Err() error {
	said := map[string]bool{} // places about which there is something better to say than a weak fault
	for _, e := range d.sense {
		said[e.Path] = true
	}
	wrong := maps.Clone(d.explained) // places whose shape is wrong
	for _, e := range d.shape {
		if !d.weak[e] {
			said[e.Path], wrong[e.Path] = true, true
		}
	}
	var all Errors
	for _, e := range d.shape {
		if !d.weak[e] || !said[e.Path] {
			wrong[e.Path] = true
			all = append(all, e)
		}
	}
	for _, e := range d.sense {
		if !under(wrong, e.Path) {
			all = append(all, e)
		}
	}
	return all.err()
}

// under says whether path or anything around it is in the set.
func under(set map[string]bool, path string) bool {
	for {
		if set[path] {
			return true
		}
		cut := strings.LastIndexAny(path, ".[")
		if cut < 0 {
			return set[""]
		}
		path = path[:cut]
	}
}
