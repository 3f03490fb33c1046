// Package spell finds the word that somebody meant:
//
//	ful-cone ── Nearest(known) ──► full-cone ── DidYouMean ──►  (did you mean "full-cone"?)
//
// Every refusal of an unknown word, of a topology, a scenario or a threshold, ends with it.
package spell

import (
	"slices"
	"strconv"
	"strings"
)

// DidYouMean is ` (did you mean "…"?)`, or nothing for an empty suggestion.
func DidYouMean(suggestion string) string {
	if suggestion == "" {
		return ""
	}
	return " (did you mean " + strconv.Quote(suggestion) + "?)"
}

// Quote quotes a word of a document for an error message, and shortens it if someone put a novel there.
func Quote(word string) string {
	const limit = 60
	if r := []rune(word); len(r) > limit {
		word = string(r[:limit]) + "…"
	}
	return strconv.Quote(word)
}

// Nearest returns the known word that word is most likely a misspelling of, or "" if none is near. Near is one edit
// (insertion, deletion, substitution, exchange of neighbors) for every three letters begun, or a beginning of three letters or
// more.
func Nearest(word string, known []string) string {
	word = strings.ToLower(word)
	if word == "" || len(word) > 64 {
		return ""
	}
	best, limit := "", (len(word)+2)/3+1
	for _, k := range known {
		if d := editDistance(word, k); d < limit {
			best, limit = k, d
		}
	}
	if best != "" {
		return best
	}
	for _, k := range known {
		if len(word) >= 3 && (strings.HasPrefix(k, word) || strings.HasSuffix(k, "-"+word)) {
			return k
		}
	}
	return ""
}

// editDistance is the optimal string alignment distance: Levenshtein's with exchanges of neighbors.
func editDistance(a, b string) int {
	before, above := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range above {
		above[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row := make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			same := 1
			if a[i-1] == b[j-1] {
				same = 0
			}
			row[j] = slices.Min([]int{above[j] + 1, row[j-1] + 1, above[j-1] + same})
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, above = above, row
	}
	return above[len(b)]
}
