package lab

import (
	"slices"
	"strconv"
	"strings"

	"github.com/punchlab/punchlab/lab/internal/spell"
)

// Problem is one thing wrong with a topology or scenario. Path says where, in terms of the document: sites[1].nat.
type Problem struct {
	Path       string
	Msg        string
	Suggestion string // nearest right spelling; may be empty
	Key        bool   // it is the last key of Path itself, not what stands behind it
}

// Error is Path, Msg and the suggestion on one line.
func (p *Problem) Error() string {
	s := p.Msg
	if p.Path != "" {
		s = p.Path + ": " + s
	}
	return s + DidYouMean(p.Suggestion)
}

// Problems is everything wrong at once, in the order in which it was found.
type Problems []*Problem

// Error is a line for each problem.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.Error()
	}
	return strings.Join(lines, "\n")
}

// Err returns ps as an error, nil if there is no problem.
func (ps Problems) Err() error {
	if len(ps) == 0 {
		return nil
	}
	return ps
}

func (ps *Problems) add(path, msg string) {
	*ps = append(*ps, &Problem{Path: path, Msg: msg})
}

// Unknown is the problem of a word that is none of the known ones: `unknown preset "ful-cone"` with the nearest spelling,
// or, where nothing is near and they are few, with all of them.
func Unknown(path, what, word string, known []string) *Problem {
	known = slices.DeleteFunc(slices.Clone(known), func(k string) bool { // a document may call things what nobody should repeat
		return k == "" || strings.ContainsFunc(k, func(r rune) bool { return !strconv.IsPrint(r) })
	})
	p := &Problem{Path: path, Msg: "unknown " + what + " " + quote(word), Suggestion: Nearest(word, known)}
	if p.Suggestion == "" && len(known) > 0 && len(known) <= 24 {
		p.Msg += ": it is none of " + strings.Join(known, ", ")
	}
	return p
}

// quote quotes a word of a document for an error message, and shortens it if someone put a novel there.
func quote(word string) string { return spell.Quote(word) }

// Member is the path of a mapping's member, on one line whatever the key is.
func Member(path, key string) string {
	if r := []rune(key); len(r) > 60 {
		key = string(r[:60]) + "…"
	}
	if strings.ContainsFunc(key, func(r rune) bool { return !strconv.IsPrint(r) }) {
		key = strconv.Quote(key)
	}
	if path == "" {
		return key
	}
	return path + "." + key
}

// DidYouMean is ` (did you mean "…"?)`, or nothing for an empty suggestion.
func DidYouMean(suggestion string) string { return spell.DidYouMean(suggestion) }

// Nearest returns the known word that word is most likely a misspelling of, or "" if none is near (lab/internal/spell).
func Nearest(word string, known []string) string { return spell.Nearest(word, known) }
