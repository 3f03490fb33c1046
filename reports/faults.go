package reports

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/punchlab/punchlab/lab/certify"
)

// faultsSchema is what faults.json says it is.
const faultsSchema = "punchlab/faults/1"

// FaultTable is faults.json: what each case said of a program that is right, and of the same with one fault in it. The kit that makes
// it is lab/mutants/faults; nothing of the product imports that.
type FaultTable struct {
	Schema string     `json:"schema"`
	Rows   []FaultRow `json:"faults"`
}

// FaultRow is one fault.
type FaultRow struct {
	Case    string          `json:"case"`
	Fault   string          `json:"fault"`
	Role    string          `json:"role,omitempty"` // "": all
	Summary string          `json:"summary"`
	Control certify.Verdict `json:"control"`
	Faulty  certify.Verdict `json:"faulty,omitempty"` // "": not run
	Reason  string          `json:"reason,omitempty"` // the case's, of the faulty program
	Seconds float64         `json:"seconds"`
	OK      bool            `json:"ok"`              // told apart, and for the fault's own reason
	Why     string          `json:"why,omitempty"`   // it is not OK
	First   string          `json:"first,omitempty"` // it was checked again, alone: what the first time, beside others, came to
}

// ReadFaults reads faults.json.
func ReadFaults(r io.Reader) (t FaultTable, err error) {
	if err := json.NewDecoder(r).Decode(&t); err != nil {
		return t, fmt.Errorf("read table of faults: %w", err)
	}
	if t.Schema != faultsSchema {
		return t, fmt.Errorf("read table of faults: its schema is %q, and this program reads %s", t.Schema, faultsSchema)
	}
	return t, nil
}

// FaultsPage writes a table of faults as one HTML page, by groups of cases: no script, nothing fetched. Cases of the catalogue for
// which there is no fault are named: nothing shows that they can fail.
func FaultsPage(w io.Writer, t FaultTable) error {
	found := 0
	for _, r := range t.Rows {
		if r.OK {
			found++
		}
	}
	bare := t.bare()
	s := sheet{Kind: "certification · faults", Standing: good, Foot: "Made by punchlab from faults.json; the same table gives the same page.",
		Title: fmt.Sprintf("%s of %s found by their case", count(found), plural(len(t.Rows), "fault")),
		Says: "Each fault is a deliberate mistake in one of the bundled programs. Its case has to fail on it, for the fault’s own reason, and to " +
			"pass the same program without it (the control). So a pass of the case means something."}
	switch {
	case found < len(t.Rows) || len(t.Rows) == 0:
		s.Standing = bad
	case len(bare) > 0:
		s.Standing = doubt
	}
	for _, r := range t.Rows {
		if !r.OK {
			s.Problems = append(s.Problems, tie(printable(fmt.Sprintf("%s %s: %s", r.Case, r.Fault, orDash(r.Why)))))
		}
	}
	if len(bare) > 0 {
		s.Problems = append(s.Problems, fmt.Sprintf("No fault in the table, so nothing here shows that it can fail: %s.", list(bare)))
	}
	s.Parts = t.parts()
	return s.write(w)
}

// bare are the cases of the catalogue without a fault.
func (t FaultTable) bare() (ids []string) {
	for _, c := range certify.Catalogue() {
		if !slices.ContainsFunc(t.Rows, func(r FaultRow) bool { return r.Case == c.ID }) {
			ids = append(ids, c.ID)
		}
	}
	return ids
}

// parts are the table's rows by groups of cases, in the order of the catalogue; of cases that it has not, behind them.
func (t FaultTable) parts() (parts []sheetPart) {
	var order []string
	for _, c := range certify.Catalogue() {
		order = append(order, c.ID)
	}
	rows := slices.Clone(t.Rows)
	place := func(r FaultRow) int {
		if i := slices.Index(order, r.Case); i >= 0 {
			return i
		}
		return len(order)
	}
	slices.SortStableFunc(rows, func(a, b FaultRow) int { return place(a) - place(b) })
	for _, r := range rows {
		key, _, _ := strings.Cut(r.Case, "-")
		name := groupNames[key]
		if name == "" {
			key, name = "other", "Other"
		}
		if len(parts) == 0 || parts[len(parts)-1].ID != key {
			parts = append(parts, sheetPart{ID: key, Title: name, Head: []string{"found", "case", "fault", "program", "without it", "with it",
				"what the case said", "time"}})
		}
		last := &parts[len(parts)-1]
		last.Rows = append(last.Rows, r.cells())
	}
	return parts
}

func (r FaultRow) cells() []sheetCell {
	found, role := sheetCell{Text: "✓ yes", Standing: good}, printable(r.Role)
	if !r.OK {
		found = sheetCell{Text: "✗ no", Standing: bad}
	}
	if role == "" {
		role = "all"
	}
	title := ""
	if c, ok := certify.Lookup(r.Case); ok {
		title = c.Title
	}
	said := sheetCell{Text: tie(printable(r.Reason)), Class: "text"}
	if !r.OK {
		said.Small = tie(printable(r.Why))
	} else if r.First != "" {
		said.Small = tie(printable("checked again, alone; the first time: " + r.First))
	}
	return []sheetCell{found, {Text: printable(r.Case), Row: true}, {Text: printable(r.Fault), Small: printable(r.Summary), Class: "name"},
		{Text: role}, faultVerdict(r.Control, certify.Pass), faultVerdict(r.Faulty, certify.Fail), said.or(title),
		{Text: seconds(max(r.Seconds, 0)), Class: "n"}}
}

// or puts a case's title where it said nothing.
func (c sheetCell) or(title string) sheetCell {
	if c.Text == "" {
		c.Text = "– (" + title + ")"
	}
	return c
}

// faultVerdict is a verdict that should have been another, in alarm.
func faultVerdict(v, want certify.Verdict) sheetCell {
	c := sheetCell{Text: orDash(printable(string(v)))}
	if v != want && !(want == certify.Pass && v.Passed()) {
		c.Standing = bad
	}
	return c
}
