package gate

import (
	"fmt"
	"strings"
)

// Difference is a field of the environment in which two runs are not alike.
type Difference struct {
	Field     string `json:"field"` // as Options.Allow takes it: "kernel", "cpu.model"
	Baseline  string `json:"baseline"`
	Candidate string `json:"candidate"`
	Do        string `json:"do"` // what to do about it
}

func (d Difference) String() string {
	return fmt.Sprintf("%s: baseline %s, candidate %s: %s", d.Field, d.Baseline, d.Candidate, d.Do)
}

// Unlike says that two runs cannot be compared.
type Unlike struct {
	Baseline, Candidate string // sources
	Differences         []Difference
}

func (u *Unlike) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "compare %s with %s: their environments differ, and a gate would blame the candidate for it", u.Candidate, u.Baseline)
	for _, d := range u.Differences {
		b.WriteString("\n  " + d.String())
	}
	return b.String()
}
