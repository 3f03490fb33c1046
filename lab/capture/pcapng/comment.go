package pcapng

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// Change is an endpoint that a router rewrote. The zero value: it was left alone.
type Change struct{ Old, New netip.AddrPort }

// Comment is what the lab says about a packet at one tap. The package's documentation has its grammar.
type Comment struct {
	ID       uint64        // the same at every tap that the packet passes, and for its duplicates; zero: none is known
	Parent   uint64        // the packet that this one was made of or is an answer to; zero: none
	At       string        // which point of the tap, a word; empty: the tap has only one
	Late     time.Duration // how much later than its time the packet was delivered; not negative
	Held     bool          // it waits here, a fragment for the first one
	Src, Dst Change        // what translation did
	Drop     string        // why the packet ended here; empty: it went on
}

// The items' keys, in their order.
const (
	keyID    = "id="
	keyOf    = "parent="
	keyAt    = "at="
	keyLate  = "late="
	keyHeld  = "held"
	keySrc   = "translated "
	keyDst   = "translated to "
	keyDrop  = "dropped: "
	itemList = "id, parent, at, late, held, translated, translated to, dropped"
)

// AppendTo appends the comment's text to b. It does not allocate if b has room.
func (c Comment) AppendTo(b []byte) []byte {
	at := len(b)
	if c.ID != 0 {
		b = strconv.AppendUint(append(b, keyID...), c.ID, 10)
	}
	if c.Parent != 0 {
		b = strconv.AppendUint(append(space(b, at), keyOf...), c.Parent, 10)
	}
	if c.At != "" {
		b = append(append(space(b, at), keyAt...), c.At...)
	}
	if c.Late > 0 {
		b = strconv.AppendInt(append(space(b, at), keyLate...), int64(c.Late), 10)
	}
	if c.Held {
		b = append(space(b, at), keyHeld...)
	}
	if c.Src != (Change{}) {
		b = c.Src.appendTo(append(space(b, at), keySrc...))
	}
	if c.Dst != (Change{}) {
		b = c.Dst.appendTo(append(space(b, at), keyDst...))
	}
	if c.Drop != "" {
		b = append(append(space(b, at), keyDrop...), c.Drop...)
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
			return Comment{}, fmt.Errorf("parse comment %q: items are repeated or in another order than %s", s, itemList)
		}
		seen = n
	}
	return c, nil
}

// item reads the first item of s and returns its place in the order of items and what follows.
func (c *Comment) item(s string) (place int, rest string, err error) {
	if reason, ok := strings.CutPrefix(s, keyDrop); ok {
		if reason == "" {
			return 0, "", errors.New("dropped without a reason")
		}
		c.Drop = reason
		return 8, "", nil
	}
	if after, ok := strings.CutPrefix(s, keyDst); ok {
		rest, err = c.Dst.parse(after)
		return 7, rest, err
	}
	if after, ok := strings.CutPrefix(s, keySrc); ok {
		rest, err = c.Src.parse(after)
		return 6, rest, err
	}
	word, rest, err := next(s)
	if err != nil {
		return 0, "", err
	}
	place, err = c.word(word)
	return place, rest, err
}

// word reads an item without a space in it.
func (c *Comment) word(s string) (place int, err error) {
	if s == keyHeld {
		c.Held = true
		return 5, nil
	}
	if at, ok := strings.CutPrefix(s, keyAt); ok && at != "" {
		c.At = at
		return 3, nil
	}
	for i, k := range []string{keyID, keyOf, keyLate} {
		text, ok := strings.CutPrefix(s, k)
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil || text[0] == '0' || text[0] == '+' || k == keyLate && n > math.MaxInt64 {
			return 0, fmt.Errorf("%q is not %s and a number from 1", s, k)
		}
		switch i {
		case 0:
			c.ID = n
		case 1:
			c.Parent = n
		case 2:
			c.Late = time.Duration(n)
			return 4, nil
		}
		return i + 1, nil
	}
	return 0, fmt.Errorf("%q is no item: want %s", s, itemList)
}

// next splits off the first word. A space must be followed by another item.
func next(s string) (word, rest string, err error) {
	word, rest, more := strings.Cut(s, " ")
	if more && rest == "" {
		return "", "", errors.New("ends in a space")
	}
	return word, rest, nil
}

func (c *Change) parse(s string) (rest string, err error) {
	s, rest, err = next(s)
	if err != nil {
		return "", err
	}
	before, after, ok := strings.Cut(s, "→")
	if !ok {
		return "", fmt.Errorf("%q is not a change of an endpoint: write OLD→NEW", s)
	}
	if c.Old, err = netip.ParseAddrPort(before); err == nil {
		c.New, err = netip.ParseAddrPort(after)
	}
	return rest, err
}
