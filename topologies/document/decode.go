package document

import (
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// Node is a value in a document, for decoding by hand. What is missing or of another type reads as empty: the schema reports
// it, and decoding goes on, so that all faults are found at once.
type Node struct {
	d    *Document
	path string
	v    any
}

// Root is the document's value.
func (d *Document) Root() Node { return Node{d, "", d.Value} }

// Path is where the node is.
func (n Node) Path() string { return n.path }

// Get returns a member of a mapping.
func (n Node) Get(key string) Node {
	m, _ := n.v.(map[string]any)
	return Node{n.d, Member(n.path, key), m[key]}
}

// Exists says whether the document has a value here.
func (n Node) Exists() bool { return n.v != nil }

// Keys lists a mapping's keys in the order of the file.
func (n Node) Keys() []string { return n.d.Keys(n.path) }

// Items lists a sequence.
func (n Node) Items() []Node {
	list, _ := n.v.([]any)
	items := make([]Node, len(list))
	for i, v := range list {
		items[i] = Node{n.d, Index(n.path, i), v}
	}
	return items
}

// String returns text.
func (n Node) String() string {
	s, _ := n.v.(string)
	return s
}

// Int returns an integer that fits an int.
func (n Node) Int() int {
	switch v := n.v.(type) {
	case int64:
		return int(v)
	case uint64:
		return int(min(v, 1<<62))
	}
	return 0
}

// Uint returns an integer that is not negative.
func (n Node) Uint() uint64 {
	switch v := n.v.(type) {
	case int64:
		return uint64(max(v, 0))
	case uint64:
		return v
	}
	return 0
}

// Float returns a number.
func (n Node) Float() float64 {
	switch v := n.v.(type) {
	case int64:
		return float64(v)
	case uint64:
		return float64(v)
	case float64:
		return v
	}
	return 0
}

// Bool returns a boolean, and otherwise what stands for a missing one.
func (n Node) Bool(missing bool) bool {
	if b, ok := n.v.(bool); ok {
		return b
	}
	return missing
}

// Text returns a plain value as it is written: text, a number, true or false; a list of them with commas.
func (n Node) Text() string {
	switch v := n.v.(type) {
	case nil, map[string]any:
		return ""
	case []any:
		words := make([]string, len(v))
		for i, item := range n.Items() {
			words[i] = item.Text()
		}
		return strings.Join(words, ",")
	default:
		return fmt.Sprint(v)
	}
}

// Duration parses text such as 500ms, and reports what it cannot parse.
func (n Node) Duration() time.Duration {
	s := n.String()
	if s == "" {
		return 0
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		n.report(fmt.Sprintf("%q is not a time: write one such as 500ms, 1s or 2m30s", shorten(s)))
	}
	return d
}

// Addr parses an IP address, and reports what it cannot parse.
func (n Node) Addr() netip.Addr {
	s := n.String()
	if s == "" {
		return netip.Addr{}
	}
	a, err := netip.ParseAddr(s)
	if err != nil {
		n.report(fmt.Sprintf("%q is not an IP address: write one such as 192.168.1.2", shorten(s)))
	}
	return a
}

// Prefix parses an IP network, and reports what it cannot parse.
func (n Node) Prefix() netip.Prefix {
	s := n.String()
	if s == "" {
		return netip.Prefix{}
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		n.report(fmt.Sprintf("%q is not an IP network: write one such as 192.168.1.0/24", shorten(s)))
	}
	return p
}

func (n Node) report(msg string) { n.d.fault(n.d.Position(n.path), n.path, msg) }
