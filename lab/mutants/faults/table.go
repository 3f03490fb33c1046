package faults

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/punchlab/punchlab/lab/certify"
	"github.com/punchlab/punchlab/reports"
)

// TableSchema names the JSON form of a Table.
const TableSchema = "punchlab/faults/1"

// Table is what became of each fault.
type Table struct {
	Schema string `json:"schema"`
	Rows   []Row  `json:"faults"`
}

// Row is what a case said of the right program and of the faulty one.
type Row struct {
	Case    string          `json:"case"`
	Fault   string          `json:"fault"`
	Role    string          `json:"role,omitempty"`
	Summary string          `json:"summary"`
	Control certify.Verdict `json:"control"`          // without the fault: has to pass
	Faulty  certify.Verdict `json:"faulty,omitempty"` // with it: has to fail; empty: not run
	Reason  string          `json:"reason,omitempty"` // why it fails
	Seconds float64         `json:"seconds"`          // of both runs
	OK      bool            `json:"ok"`               // told apart, and for the fault's own reason
	Why     string          `json:"why,omitempty"`    // it is not OK
	First   string          `json:"first,omitempty"`  // it was checked again, alone: what the first time, beside others, came to
}

// Wrong lists the rows that are not OK.
func (t Table) Wrong() (rows []Row) {
	for _, r := range t.Rows {
		if !r.OK {
			rows = append(rows, r)
		}
	}
	return rows
}

// Cases counts the cases in the table, and those of them whose faults are all found.
func (t Table) Cases() (all, found int) {
	ok := map[string]bool{}
	for _, r := range t.Rows {
		before, seen := ok[r.Case]
		ok[r.Case] = r.OK && (before || !seen)
	}
	for _, good := range ok {
		if good {
			found++
		}
	}
	return len(ok), found
}

// JSON is the table for machines.
func (t Table) JSON() ([]byte, error) {
	b, err := json.MarshalIndent(t, "", " ")
	return append(b, '\n'), err
}

// Heading is the sentence above the rows.
func (t Table) Heading() string {
	all, found := t.Cases()
	return fmt.Sprintf("%d of %d faults are found by their case and for their own reason; %d of %d cases find all of theirs.",
		len(t.Rows)-len(t.Wrong()), len(t.Rows), found, all)
}

// Text is the table for a terminal.
func (t Table) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\n   %-7s %-34s %-10s %-14s %-14s %6s  reason\n", t.Heading(), "case", "fault", "role", "control", "faulty", "s")
	for _, r := range t.Rows {
		fmt.Fprintf(&b, " %s %-7s %-34s %-10s %-14s %-14s %6.1f  %s\n", r.Mark(), r.Case, r.Fault, or(r.Role, "all"), r.Control,
			or(string(r.Faulty), "–"), r.Seconds, r.Said())
	}
	return b.String()
}

// Mark is ✓ of a fault that is found.
func (r Row) Mark() string {
	if r.OK {
		return "✓"
	}
	return "✗"
}

// Said is the reason, and what is wrong with it.
func (r Row) Said() string {
	said := strings.Join(strings.Fields(r.Reason), " ")
	if !r.OK {
		said = strings.TrimSuffix(strings.Join(strings.Fields(r.Why), " ")+": "+said, ": ")
	}
	if r.First != "" {
		said += " (checked again, alone; the first time: " + r.First + ")"
	}
	return said
}

func or(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// HTML is the table as a page that needs nothing else.
func (t Table) HTML() (string, error) {
	b, err := t.JSON()
	if err != nil {
		return "", err
	}
	read, err := reports.ReadFaults(bytes.NewReader(b))
	if err != nil {
		return "", err
	}
	var page strings.Builder
	err = reports.FaultsPage(&page, read)
	return page.String(), err
}

// Write writes faults.json, faults.txt and faults.html into a folder.
func (t Table) Write(dir string) error {
	b, err := t.JSON()
	if err != nil {
		return err
	}
	html, err := t.HTML()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	write := func(name, text string) error { return os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644) }
	return errors.Join(write("faults.json", string(b)), write("faults.txt", t.Text()), write("faults.html", html))
}
