package pcapng

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// Change is an endpoint that a router rewrote. The zero value: it was left alone.
type Change struct{ Old, New netip.AddrPort }

// Comment is what the lab says about a packet at one tap. The package's documentation has its grammar.
type Comment struct {
	ID       uint64 // the same at every tap that the packet passes, and for its duplicates; zero: none is known
	At       string // which point of the tap, a word; empty: the tap has only one
	Src, Dst Change // what translation did
	Drop     string // why the packet ended here; empty: it went on
}

// AppendTo appends the comment's text to b. It does not allocate if b has room.
func (c Comment) AppendTo(b []byte) []byte {
	at := len(b)
	if c.ID != 0 {
		b = strconv.AppendUint(append(b, "id="...), c.ID, 10)
	}
	if c.At != "" {
		b = append(append(space(b, at), "at="...), c.At...)
	}
	if c.Src != (Change{}) {
		b = c.Src.appendTo(append(space(b, at), "translated "...))
	}
	if c.Dst != (Change{}) {
		b = c.Dst.appendTo(append(space(b, at), "translated to "...))
	}
	if c.Drop != "" {
		b = append(append(space(b, at), "dropped: "...), c.Drop...)
	}
	return b
}

// String is the comment's text.
func (c Comment) String() string { return string(c.AppendTo(nil)) }

func space(b []byte, start int) []byte {
	if len(b) > start {
		return append(b, ' ')
	}
	return b
}

func (c Change) appendTo(b []byte) []byte {
	return c.New.AppendTo(append(c.Old.AppendTo(b), "→"...))
}

// ParseComment reads a comment's text. What the grammar does not allow is an error that names it.
func ParseComment(s string) (c Comment, err error) {
	seen := 0 // items come in one order, each once
	for rest := s; rest != ""; {
		var n int
		if n, rest, err = c.item(rest); err != nil {
			return Comment{}, fmt.Errorf("parse comment %q: %w", s, err)
		}
		if n <= seen {
			return Comment{}, fmt.Errorf("parse comment %q: items are repeated or in another order than id, at, translated, translated to, dropped", s)
		}
		seen = n
	}
	return c, nil
}

// item reads the first item of s and returns its rank and what follows.
func (c *Comment) item(s string) (rank int, rest string, err error) {
	if reason, ok := strings.CutPrefix(s, "dropped: "); ok {
		if reason == "" {
			return 0, "", fmt.Errorf("dropped without a reason")
		}
		c.Drop = reason
		return 5, "", nil
	}
	if after, ok := strings.CutPrefix(s, "translated to "); ok {
		s, rest, err = next(after)
		c.Dst, err = parseChange(s, err)
		return 4, rest, err
	}
	if after, ok := strings.CutPrefix(s, "translated "); ok {
		s, rest, err = next(after)
		c.Src, err = parseChange(s, err)
		return 3, rest, err
	}
	if s, rest, err = next(s); err != nil {
		return 0, "", err
	}
	key, value, _ := strings.Cut(s, "=")
	switch {
	case key == "id":
		c.ID, err = strconv.ParseUint(value, 10, 64)
		if err == nil && (c.ID == 0 || value[0] == '0') {
			err = fmt.Errorf("id %q is not a number from 1", value)
		}
		return 1, rest, err
	case key == "at" && value != "":
		c.At = value
		return 2, rest, nil
	}
	return 0, "", fmt.Errorf("%q is not an item: id=, at=, translated, translated to or dropped:", s)
}

// next splits off the first word. A space must be followed by another item.
func next(s string) (word, rest string, err error) {
	word, rest, more := strings.Cut(s, " ")
	if more && rest == "" {
		return "", "", fmt.Errorf("ends in a space")
	}
	return word, rest, nil
}

func parseChange(s string, err error) (Change, error) {
	if err != nil {
		return Change{}, err
	}
	before, after, ok := strings.Cut(s, "→")
	if !ok {
		return Change{}, fmt.Errorf("%q is not a change of an endpoint: write OLD→NEW", s)
	}
	var c Change
	if c.Old, err = netip.ParseAddrPort(before); err == nil {
		c.New, err = netip.ParseAddrPort(after)
	}
	if err == nil && c == (Change{}) {
		err = fmt.Errorf("%q names no endpoint", s)
	}
	return c, err
}
