package document

import (
	"fmt"
	"strings"

	"github.com/punchlab/punchlab/lab"
)

// ReportAt is Report for a fault at a character, from 1, of the node's text. Where the document writes the text otherwise than it
// reads (in quotes with escapes, over several lines), the fault is at its beginning, and says which character it is about.
func (n Node) ReportAt(character int, p *lab.Problem) {
	at := n.d.Position(n.path)
	before, ok := n.d.textAt(at, n.String())
	if ok {
		at.Column += before + character - 1
	} else {
		copied := *p
		copied.Msg = fmt.Sprintf("character %d: %s", character, p.Msg)
		p = &copied
	}
	n.d.sense = append(n.d.sense, n.d.at(at, n.path, p.Msg, p.Suggestion))
}

// textAt says whether the file has the text at a position letter by letter, and behind how many quotes.
func (d *Document) textAt(at Position, text string) (quotes int, ok bool) {
	if at.Line > len(d.lines) {
		return 0, false
	}
	line := []rune(d.lines[at.Line-1])
	if at.Column > len(line) {
		return 0, false
	}
	rest := string(line[at.Column-1:])
	if strings.HasPrefix(rest, text) {
		return 0, true
	}
	return 1, strings.HasPrefix(rest, `"`+text) || strings.HasPrefix(rest, "'"+text)
}
