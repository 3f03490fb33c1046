package evidence

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// encode writes v in the one form decode accepts: two spaces of indent, no HTML escapes, a newline at the end.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// decode reads into v what encode wrote, and nothing else: a key given twice, an unknown or differently spelled one, other
// spacing and anything behind the end are errors with their line and column. Two readers cannot see two documents.
func decode(b []byte, v any) error {
	if err := checkKeys(b); err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("%s: %w", at(b, jsonOffset(err, d)), err)
	}
	again, err := encode(v)
	if err != nil {
		return err
	}
	if i := firstDifference(b, again); i >= 0 {
		return fmt.Errorf("%s: not written as punchlab writes it", at(b, int64(i)))
	}
	return nil
}

// checkKeys says where b is not one JSON value whose objects have each key once.
func checkKeys(b []byte) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var open []map[string]bool // the keys of each open object; nil for an array
	isKey := false             // the next string is an object's key
	for {
		t, err := d.Token()
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return fmt.Errorf("%s: %w", at(b, jsonOffset(err, d)), err)
		}
		switch t := t.(type) {
		case json.Delim:
			switch t {
			case '{':
				open = append(open, map[string]bool{})
			case '[':
				open = append(open, nil)
			default:
				open = open[:len(open)-1]
			}
			if len(open) > maxDepth {
				return fmt.Errorf("%s: nested more than %d deep", at(b, d.InputOffset()-1), maxDepth)
			}
		case string:
			if isKey {
				keys := open[len(open)-1]
				if keys[t] {
					return fmt.Errorf("%s: the key %q is there twice", at(b, d.InputOffset()-1), t)
				}
				keys[t] = true
				isKey = false
				continue
			}
		}
		if len(open) == 0 {
			break
		}
		isKey = open[len(open)-1] != nil
	}
	if rest := bytes.TrimSpace(b[d.InputOffset():]); len(rest) > 0 {
		return fmt.Errorf("%s: something follows the end", at(b, d.InputOffset()))
	}
	return nil
}

const maxDepth = 32

func jsonOffset(err error, d *json.Decoder) int64 {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		return max(0, syntax.Offset-1)
	case errors.As(err, &kind):
		return max(0, kind.Offset-1)
	}
	return d.InputOffset()
}

// at writes an offset as "line 3, column 7", columns in bytes from 1.
func at(b []byte, offset int64) string {
	before := b[:min(offset, int64(len(b)))]
	return fmt.Sprintf("line %d, column %d", bytes.Count(before, []byte("\n"))+1, len(before)-bytes.LastIndexByte(before, '\n'))
}

// firstDifference returns where a and b part, or −1.
func firstDifference(a, b []byte) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	if len(a) != len(b) {
		return min(len(a), len(b))
	}
	return -1
}
