package cases

import (
	"slices"
	"testing"

	"github.com/punchlab/punchlab/lab/certify/stage"
)

// A unit that names another address than its card's is held to both.
func TestHoldsIdentifiersToTheCardsAddress(t *testing.T) {
	u := unitFacts{Identity: stage.Identity{MAC: "02:00:00:00:00:01"}, card: "02:00:00:00:00:99"}
	for _, facts := range [][]fact{u.forms(), u.neighbours()} {
		values := []string{}
		for _, f := range facts {
			values = append(values, f.value)
		}
		if len(u.macs()) != 2 || !slices.ContainsFunc(values, func(v string) bool { return v == "020000000001" || v == "020000000000" }) ||
			!slices.ContainsFunc(values, func(v string) bool { return v == "020000000099" || v == "020000000098" }) {
			t.Errorf("held to %q", values)
		}
	}
}
