package mutants

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/punchlab/punchlab/lab/gate"
)

// TableSchema names the JSON form of a Table.
const TableSchema = "punchlab/mutants/1"

// Table is what became of each mutant.
type Table struct {
	Schema string `json:"schema"`
	Rows   []Row  `json:"mutants"`
}

// Row is what the gate said of one mutant.
type Row struct {
	Mutant
	Decision gate.Decision `json:"decision,omitempty"`
	Why      string        `json:"why,omitempty"`    // the verdict's sentence
	Paired   bool          `json:"paired,omitempty"` // pair by pair on common seeds: trial by trial nothing failed
	Found    bool          `json:"found"`            // the gate fails, and in Metric
	By       []string      `json:"by,omitempty"`     // all metrics that fail, the strongest first
	Shown    string        `json:"shown,omitempty"`  // the metric that the rest is about: Metric if it fails, else the strongest that does
	Where    string        `json:"where,omitempty"`  // the strategy, or the cell's parameters
	Before   *float64      `json:"before,omitempty"`
	After    *float64      `json:"after,omitempty"`
	Effect   *float64      `json:"effect,omitempty"` // points of a rate in 0–1, or a ratio less 1
	P        *float64      `json:"p,omitempty"`      // adjusted by Holm
	Error    string        `json:"error,omitempty"`  // it could not be built, run or compared
}

// Right reports whether the gate does as it has to: a fault is found in its metric, and a null mutant passes, or at least does not fail
// where only the seed is another.
func (r Row) Right() bool {
	if r.Error != "" {
		return false
	}
	if r.Null() {
		return r.Decision == gate.Pass || r.File == "" && r.Decision == gate.Undecided
	}
	return r.Found && r.Decision == gate.Fail
}

// Wrong lists the rows that are not Right.
func (t Table) Wrong() (rows []Row) {
	for _, r := range t.Rows {
		if !r.Right() {
			rows = append(rows, r)
		}
	}
	return rows
}

// JSON is the table for machines.
func (t Table) JSON() ([]byte, error) {
	b, err := json.MarshalIndent(t, "", " ")
	return append(b, '\n'), err
}

// Write writes mutants.json and mutants.md into a folder.
func (t Table) Write(dir string) error {
	b, err := t.JSON()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return errors.Join(os.WriteFile(filepath.Join(dir, "mutants.json"), b, 0o644),
		os.WriteFile(filepath.Join(dir, "mutants.md"), []byte(t.Markdown()), 0o644))
}

// Markdown is the table for people.
func (t Table) Markdown() string {
	var b strings.Builder
	faults, found, nulls, passed := 0, 0, 0, 0
	for _, r := range t.Rows {
		switch {
		case r.Null():
			nulls++
			if r.Right() {
				passed++
			}
		default:
			faults++
			if r.Right() {
				found++
			}
		}
	}
	fmt.Fprintf(&b, "# Mutants\n\nThe gate finds %d of %d seeded faults, and lets the product alone in %d of %d comparisons with itself.\n\n",
		found, faults, passed, nulls)
	b.WriteString("| | fault | part | job | found by | where | before → after | effect | p | fails too |\n" + strings.Repeat("|---", 10) + "|\n")
	for _, r := range t.Rows {
		fmt.Fprintf(&b, "| %s | **%s**: %s | %s | %s | %s | %s | %s | %s | %s | %s |\n", r.mark(), r.Name, r.Summary, r.Part, r.Job,
			r.shown(), or(r.Where), r.values(), r.effect(), r.p(), or(strings.Join(r.others(), ", ")))
	}
	return b.String()
}

func (r Row) mark() string {
	if r.Right() {
		return "✓"
	}
	return "✗"
}

// shown says in which metric the gate fails, or what happened instead.
func (r Row) shown() string {
	switch {
	case r.Error != "":
		return "error: " + strings.Join(strings.Fields(r.Error), " ")
	case r.Null() && r.Shown == "":
		return string(r.Decision)
	case r.Found:
		return r.Shown
	case r.Shown == "":
		return fmt.Sprintf("%s; not in %s", r.Decision, r.Metric)
	}
	return fmt.Sprintf("%s, not in %s", r.Shown, or(r.Metric))
}

func (r Row) others() []string {
	return slices.DeleteFunc(slices.Clone(r.By), func(s string) bool { return s == r.Shown })
}

func (r Row) values() string {
	m, err := gate.ParseMetric(r.Shown)
	if err != nil || r.Before == nil || r.After == nil {
		return "–"
	}
	return m.Format(*r.Before) + " → " + m.Format(*r.After)
}

func (r Row) effect() string {
	if r.Effect == nil {
		return "–"
	}
	if m, err := gate.ParseMetric(r.Shown); err == nil && m.IsRate() {
		return fmt.Sprintf("%+.1f points", 100**r.Effect)
	}
	return fmt.Sprintf("%+.0f %%", 100**r.Effect)
}

func (r Row) p() string {
	if r.P == nil {
		return "–"
	}
	return fmt.Sprintf("%.1g", *r.P)
}

func or(s string) string {
	if s == "" {
		return "–"
	}
	return s
}

// params writes a cell's parameters in the order of their names.
func params(p map[string]string) string {
	var s []string
	for _, k := range slices.Sorted(maps.Keys(p)) {
		s = append(s, k+"="+p[k])
	}
	return strings.Join(s, " ")
}
