package document

import (
	"fmt"
	"slices"
	"strings"

	"github.com/punchlab/punchlab/lab"
)

// Error is one fault of a document. Its JSON form is what --json prints.
type Error struct {
	File       string `json:"file"`
	Line       int    `json:"line,omitempty"`   // from 1; 0 if the fault has no place, as with a file that is not there
	Column     int    `json:"column,omitempty"` // from 1, in characters
	Path       string `json:"path,omitempty"`   // sites[0].nat
	Msg        string `json:"msg"`
	Suggestion string `json:"suggestion,omitempty"` // nearest right spelling
}

// Error is FILE:LINE:COLUMN: PATH: MSG (did you mean "SUGGESTION"?), without the parts that are not known.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.File)
	if e.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", e.Line, e.Column)
	}
	b.WriteString(": ")
	if e.Path != "" {
		b.WriteString(e.Path + ": ")
	}
	b.WriteString(e.Msg + lab.DidYouMean(e.Suggestion))
	return b.String()
}

// Errors is every fault of a document, in the order of its lines. Callers find it with errors.As.
type Errors []*Error

// Error is a line for each fault.
func (es Errors) Error() string {
	lines := make([]string, len(es))
	for i, e := range es {
		lines[i] = e.Error()
	}
	return strings.Join(lines, "\n")
}

// maxErrors bounds what a hopeless document says about itself.
const maxErrors = 100

// err sorts the faults by place, and is nil if there is none. Past the first hundred they are only counted.
func (es Errors) err() error {
	if len(es) == 0 {
		return nil
	}
	slices.SortStableFunc(es, func(a, b *Error) int {
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.Column - b.Column
	})
	if more := len(es) - maxErrors; more > 0 {
		es = append(es[:maxErrors:maxErrors], &Error{File: es[0].File, Msg: fmt.Sprintf("%d more faults follow", more)})
	}
	return es
}
