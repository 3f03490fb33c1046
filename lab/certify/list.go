package certify

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/punchlab/punchlab/lab"
)

// Digest is "sha256:…" of the catalogue: two suites with one digest ask for the same.
func Digest() string {
	text, err := json.Marshal(struct {
		Version string `json:"version"`
		Cases   []Case `json:"cases"`
	}{SuiteVersion, Catalogue()})
	if err != nil {
		panic("certify: encode the catalogue: " + err.Error())
	}
	return fmt.Sprintf("sha256:%x", sha256.Sum256(text))
}

// Row is a case in a list.
type Row struct {
	ID      string `json:"id"`
	Level   Level  `json:"level"`
	Title   string `json:"title"`
	Applies string `json:"applies,omitempty"` // with a declaration: yes, no; without: what it needs, or always
	Origin  string `json:"origin"`            // names of its clauses
}

// List is the catalogue as rows; with a declaration they say which cases apply.
func List(d *Declaration) []Row {
	var rows []Row
	for _, c := range Catalogue() {
		row := Row{ID: c.ID, Level: c.Level, Title: c.Title, Applies: "always"}
		if len(c.Needs) > 0 {
			row.Applies = join(c.Needs)
		}
		if d != nil {
			row.Applies = map[bool]string{true: "yes", false: "no"}[selectCase(c, d.Features).Applicable]
		}
		var names []string
		for _, o := range c.Origin {
			if !slices.Contains(names, o.Name()) {
				names = append(names, o.Name())
			}
		}
		row.Origin = strings.Join(names, "; ")
		rows = append(rows, row)
	}
	return rows
}

// Show describes a case in full, as plain text that ends in a line feed. An ID that there is not gets the nearest one proposed.
func Show(id string) (string, error) {
	c, ok := Lookup(id)
	if !ok {
		var known []string
		for _, c := range Catalogue() {
			known = append(known, c.ID)
		}
		p := lab.Unknown("", "case", id, known)
		for _, k := range known {
			if strings.EqualFold(strings.ReplaceAll(k, "-", ""), strings.ReplaceAll(id, "-", "")) {
				p.Suggestion = k
			}
		}
		return "", p
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s  %s\n\n", c.ID, c.Title)
	for _, f := range c.sheet() {
		name := f.name
		for _, text := range f.texts {
			for _, line := range wrap(text, 100) {
				fmt.Fprintf(&b, "%-10s %s\n", name, line)
				name = ""
			}
		}
	}
	return b.String(), nil
}

// field is an entry of a case's sheet; one without texts is left out.
type field struct {
	name  string
	texts []string
}

func (c Case) sheet() []field {
	var origins, needs []string
	for _, o := range c.Origin {
		origins = append(origins, o.String())
	}
	for _, n := range c.Observed {
		needs = append(needs, fmt.Sprintf("%s: %d at least", n.What, n.Min))
	}
	units := ""
	if c.Units > 1 {
		units = strconv.Itoa(c.Units)
	}
	return []field{
		{"level", texts(c.level())}, {"since", texts(c.Since)}, {"origin", origins}, {"bounds", texts(join(c.Bounds))},
		{"procedure", texts(c.Procedure)}, {"passes if", texts(c.Criterion)}, {"nonstrict", texts(c.Nonstrict)}, {"claim", texts(c.claim())},
		{"must see", needs}, {"actions", texts(join(c.Actions))}, {"units", texts(units)}, {"takes", texts("about " + about(c.Takes))},
		{"evidence", texts(strings.Join(c.Evidence, ", "))},
	}
}

// texts is a field's one text, or none.
func texts(text string) []string {
	if text == "" {
		return nil
	}
	return []string{text}
}

func (c Case) level() string {
	if len(c.Needs) == 0 {
		return string(c.Level)
	}
	return fmt.Sprintf("%s: for a camera that declares %s", c.Level, join(c.Needs))
}

func (c Case) claim() string {
	if c.Rate == 0 {
		return ""
	}
	s := fmt.Sprintf("≥ %s at %s confidence: %d tries without a failure", percent(c.Rate), percent(Confidence), c.Tries())
	if c.Absolute {
		s += "; a single one fails"
	}
	return s
}

// about writes a duration without its zeros: 1h, 10m.
func about(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// wrap breaks text into lines of so many characters, where it has spaces.
func wrap(text string, width int) []string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && len([]rune(line))+1+len([]rune(word)) > width {
			lines, line = append(lines, line), ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	return append(lines, line)
}

// cutID splits an ID into its group and number.
func cutID(id string) (group, number string, ok bool) { return strings.Cut(id, "-") }
