package certify_test

import (
	"fmt"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/punchlab/punchlab/lab/certify"
)

// frozen has a line for each case that there ever was: its ID, and what it is about. A line is never changed or removed; that of a
// case which is dropped stays, with "dropped" before its title. Certificates name cases by these IDs for ever.
const frozen = "testdata/frozen.txt"

func TestIDsAreNeverReused(t *testing.T) {
	text, err := os.ReadFile(frozen)
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for line := range strings.Lines(string(text)) {
		id, title, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		if !ok {
			t.Fatalf("%s: %q is not an ID and a title", frozen, line)
		}
		if strings.HasPrefix(title, "dropped ") {
			if _, there := certify.Lookup(id); there {
				t.Errorf("%s was dropped and is there again: take a new number", id)
			}
			continue
		}
		want = append(want, id+" "+title)
	}
	var got []string
	for _, c := range certify.Catalogue() {
		got = append(got, c.ID+" "+c.Title)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("a case changed, vanished or is new (-%s +catalogue). A new one gets a new number and a line at its place;\n"+
			"one that means something else than before is a new one\n%s", frozen, d)
	}
}

// The groups and their sizes are those of the issue.
func TestGroups(t *testing.T) {
	sizes := map[string]int{}
	for _, c := range certify.Catalogue() {
		sizes[c.Group()]++
		if want := fmt.Sprintf("%s-%d", c.Group(), sizes[c.Group()]); c.ID != want {
			t.Errorf("%s stands where %s should", c.ID, want)
		}
	}
	want := map[string]int{"ID": 6, "REG": 6, "NAT": 10, "MED": 8, "BW": 6, "SEC": 12, "RES": 5, "STD": 3}
	if d := cmp.Diff(want, sizes); d != "" {
		t.Error(d)
	}
}

func TestCasesAreWhole(t *testing.T) {
	for _, c := range certify.Catalogue() {
		for _, fault := range faults(c) {
			t.Errorf("%s: %s", c.ID, fault)
		}
	}
}

// sentence ends in a full stop, with or without a bracket.
var sentence = regexp.MustCompile(`^[\p{Lu}0-9].*\.\)?$`)

func faults(c certify.Case) (found []string) {
	fault := func(wrong bool, format string, args ...any) {
		if wrong {
			found = append(found, fmt.Sprintf(format, args...))
		}
	}
	fault(c.Title == "" || strings.HasSuffix(c.Title, "."), "title %q", c.Title)
	fault(c.Level == certify.Must && len(c.Needs) > 0, "a must-case that needs features: nobody would have to pass it")
	fault(c.Level == certify.Conditional && len(c.Needs) == 0, "conditional, on nothing")
	fault(!slices.Contains([]certify.Level{certify.Must, certify.Should, certify.Conditional}, c.Level), "level %q", c.Level)
	fault(c.Since == "" || c.Since > certify.SuiteVersion, "since %q, but the suite is %s", c.Since, certify.SuiteVersion)
	fault(!sentence.MatchString(c.Procedure), "procedure is no sentence: %q", c.Procedure)
	fault(!sentence.MatchString(c.Criterion), "criterion is no sentence: %q", c.Criterion)
	fault(len(c.Origin) == 0, "no origin")
	fault(len(c.Observed) == 0, "it could pass though nothing was observed")
	fault(len(c.Evidence) == 0, "no evidence")
	fault(c.Takes <= 0, "takes no time")
	fault(c.Absolute && c.Rate == 0, "no failure may be among tries that are not counted")
	fault(c.Rate != 0 && !slices.ContainsFunc(c.Observed, func(n certify.Need) bool { return n.Min >= c.Tries() }),
		"claims %v, which takes %d tries, and observes fewer of everything", c.Rate, c.Tries())
	names := map[string]bool{}
	for _, n := range c.Observed {
		fault(n.Name == "" || n.What == "" || n.Min < 1 || names[n.Name], "observed %+v", n)
		names[n.Name] = true
	}
	for _, o := range c.Origin {
		fault(o.Document == "" || o.Quote == "", "origin %+v", o)
		fault(o.Verified == strings.Contains(o.String(), "(not verified)"), "origin is shown as %s", o)
	}
	for _, f := range c.Evidence {
		fault(f != path.Base(f) || strings.HasPrefix(f, "."), "evidence %q is no file's name", f)
	}
	for _, b := range c.Bounds {
		i := slices.IndexFunc(certify.Limits(), func(l certify.Limit) bool { return l.Bound == b })
		fault(i < 0, "bound %q is none", b)
		if i >= 0 {
			for _, need := range certify.Limits()[i].Needs {
				fault(!slices.Contains(c.Needs, need), "is held to %s, which only cameras with %s have", b, need)
			}
		}
	}
	return found
}

// What a declaration has to answer makes a difference, and what makes a difference can be answered.
func TestFeaturesBoundsAndActionsAreUsed(t *testing.T) {
	features, bounds, actions := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, c := range certify.Catalogue() {
		for _, f := range c.Needs {
			features[string(f)] = true
		}
		for _, b := range c.Bounds {
			bounds[string(b)] = true
		}
		for _, a := range c.Actions {
			actions[string(a)] = true
			if !slices.Contains(certify.Actions, a) {
				t.Errorf("%s: no action %q", c.ID, a)
			}
		}
	}
	for _, f := range certify.Features() {
		if !features[string(f.Feature)] {
			t.Errorf("no case needs feature %s", f.Feature)
		}
		delete(features, string(f.Feature))
	}
	for _, l := range certify.Limits() {
		if !bounds[string(l.Bound)] {
			t.Errorf("no case holds a camera to bound %s", l.Bound)
		}
	}
	for _, a := range certify.Actions {
		if a != certify.ActionRun && !actions[string(a)] {
			t.Errorf("no case needs action %s", a)
		}
	}
	if len(features) > 0 {
		t.Errorf("cases need features that nobody can declare: %v", features)
	}
}

// One clause is quoted in one way, and never both read and not read.
func TestClausesAgree(t *testing.T) {
	verified := map[string]bool{}
	for _, c := range certify.Catalogue() {
		for _, o := range c.Origin {
			if was, seen := verified[o.Name()]; seen && was != o.Verified {
				t.Errorf("%s: %s is verified here and not elsewhere", c.ID, o.Name())
			}
			verified[o.Name()] = o.Verified
		}
	}
	for name, ok := range verified {
		if !ok && name != "RFC 8085 §3.5" && name != "RFC 8085 §3.1" {
			t.Errorf("%s is not verified: read it at its source, or list it here", name)
		}
	}
}

func TestCatalogueIsTheCallers(t *testing.T) {
	before := certify.Digest()
	c := certify.Catalogue()
	c[0].ID, c[0].Observed[0].Min, c[0].Origin[0].Quote = "X-1", 0, "changed"
	if certify.Digest() != before {
		t.Error("what a caller does to its copy changes the catalogue")
	}
}

func TestClauseString(t *testing.T) {
	for want, c := range map[string]certify.Clause{
		"RFC 9000 §8.1 “words”":         {Document: "RFC 9000", Clause: "§8.1", Quote: "words", Verified: true},
		"RFC 1 §2: says (not verified)": {Document: "RFC 1", Clause: "§2", Quote: "says"},
		"CVE-2019-11219 (not verified)": {Document: "CVE-2019-11219"},
		"CVE-2019-11219 “flaw”":         {Document: "CVE-2019-11219", Quote: "flaw", Verified: true},
		"this suite: a rule of its own": {Document: "this suite", Quote: "a rule of its own", Verified: true},
	} {
		if got := c.String(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestShow(t *testing.T) {
	got, err := certify.Show("REG-5")
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile("testdata/show-REG-5.txt")
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Error(d)
	}
	for _, c := range certify.Catalogue() {
		text, err := certify.Show(c.ID)
		if err != nil || !strings.Contains(text, c.Title) || strings.Contains(text, "\n\n\n") {
			t.Errorf("%s: %v\n%s", c.ID, err, text)
		}
		for line := range strings.Lines(text) {
			if strings.TrimRight(line, " \n") != strings.TrimSuffix(line, "\n") {
				t.Errorf("%s: spaces at the end of %q", c.ID, line)
			}
		}
	}
	for id, want := range map[string]string{
		"nat-1": `unknown case "nat-1" (did you mean "NAT-1"?)`, "SEC9": `unknown case "SEC9" (did you mean "SEC-9"?)`,
		"XYZ-77": `unknown case "XYZ-77"`,
	} {
		if _, err := certify.Show(id); err == nil || err.Error() != want {
			t.Errorf("Show(%q) = %v, want %s", id, err, want)
		}
	}
}

func TestList(t *testing.T) {
	rows := certify.List(nil)
	if len(rows) != 56 {
		t.Fatalf("%d rows, want 56", len(rows))
	}
	want := certify.Row{ID: "BW-3", Level: certify.Must, Title: "Media stops within 30 seconds of the viewer's silence",
		Applies: "always", Origin: "RFC 7675 §5.1"}
	i := slices.IndexFunc(rows, func(r certify.Row) bool { return r.ID == "BW-3" })
	if d := cmp.Diff(want, rows[i]); d != "" {
		t.Error(d)
	}
	d := declaration(t, nil)
	for _, r := range certify.List(d) {
		if r.Applies != "yes" && r.Applies != "no" {
			t.Errorf("%s applies: %q", r.ID, r.Applies)
		}
	}
}
