package certify

import (
	"fmt"
	"strings"
)

// Selected is a case and whether a camera is held to it.
type Selected struct {
	Case       Case   `json:"case"`
	Applicable bool   `json:"applicable"`
	Why        string `json:"why"` // a phrase: "must, for every camera"; "declared: relay"; "not declared: relay"
}

// Select says of every case of the catalogue, in its order, whether it applies to the camera of a declaration. There is no other
// way to choose cases for a certificate.
func Select(d *Declaration) []Selected {
	var all []Selected
	for _, c := range Catalogue() {
		all = append(all, selectCase(c, d.Features))
	}
	return all
}

func selectCase(c Case, has map[Feature]bool) Selected {
	if len(c.Needs) == 0 {
		return Selected{c, true, fmt.Sprintf("%s, for every camera", c.Level)}
	}
	var missing []string
	for _, f := range c.Needs {
		if !has[f] {
			missing = append(missing, string(f))
		}
	}
	if len(missing) > 0 {
		return Selected{c, false, "not declared: " + strings.Join(missing, ", ")}
	}
	return Selected{c, true, "declared: " + join(c.Needs)}
}

// join writes names with commas.
func join[T ~string](names []T) string {
	words := make([]string, len(names))
	for i, n := range names {
		words[i] = string(n)
	}
	return strings.Join(words, ", ")
}
