package spell_test

import (
	"testing"

	"github.com/punchlab/punchlab/lab/internal/spell"
)

func TestNearest(t *testing.T) {
	known := []string{"full-cone", "restricted-cone", "symmetric", "adaptive"}
	for word, want := range map[string]string{
		"ful-cone": "full-cone", "Adaptve": "adaptive", "symetric": "symmetric", "sym": "symmetric", "satellite": "", "": "", "ab": "",
		"adpative": "adaptive",
	} {
		if got := spell.Nearest(word, known); got != want {
			t.Errorf("%q is taken for %q, want %q", word, got, want)
		}
	}
}

func TestQuoteShortens(t *testing.T) {
	long := ""
	for range 100 {
		long += "ä"
	}
	if got := []rune(spell.Quote(long)); len(got) != 63 || got[61] != '…' {
		t.Errorf("%d letters: %s", len(got), string(got))
	}
}
