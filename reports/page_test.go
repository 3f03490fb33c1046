package reports

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
)

// parse writes the page of a run and reads it as a browser would.
// figured is what a plot says to who cannot see it: numbers, not only what they are of.
var figured = regexp.MustCompile(`median|[0-9] (%|points)`)

func parse(t *testing.T, dir string) (*html.Node, string) {
	t.Helper()
	if _, err := Write(dir, []string{"html"}); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(dir, "report.html"))
	if err != nil {
		t.Fatal(err)
	}
	doc, err := html.Parse(strings.NewReader(string(b)))
	if err != nil {
		t.Fatal(err)
	}
	return doc, string(b)
}

func attr(n *html.Node, key string) string {
	for _, a := range n.Attr {
		if a.Key == key {
			return a.Val
		}
	}
	return ""
}

// TestPages checks each shape of run for what every page must have.
func TestPages(t *testing.T) {
	for name, s := range runs {
		if s.trials*len(s.axes) > 80 && name != "matrix" {
			s.trials = 3 // the large ones are for eyes
		}
		t.Run(name, func(t *testing.T) {
			doc, text := parse(t, s.write(t))
			checkPage(t, doc)
			for _, bad := range []string{"NaN", "%!", "ZgotmplZ", "<no value>", "http://", "https://", "Inf", "<nil>"} {
				if i := strings.Index(text, bad); i >= 0 {
					t.Errorf("%q on the page: …%s…", bad, text[max(0, i-60):min(len(text), i+60)])
				}
			}
		})
	}
}

// checkPage: links lead somewhere, ids are unique, tables and plots can be read aloud, nothing is fetched.
func checkPage(t *testing.T, doc *html.Node) {
	t.Helper()
	ids, links := map[string]int{}, map[string]bool{}
	for n := range doc.Descendants() {
		if n.Type != html.ElementNode {
			continue
		}
		if id := attr(n, "id"); id != "" {
			ids[id]++
		}
		switch {
		case n.DataAtom == atom.A && strings.HasPrefix(attr(n, "href"), "#"):
			links[attr(n, "href")[1:]] = true
		case n.DataAtom == atom.Th && attr(n, "scope") == "":
			t.Errorf("a table header without scope: %v", n.FirstChild)
		case n.Data == "svg" && (attr(n, "role") != "img" || !figured.MatchString(attr(n, "aria-label"))):
			t.Errorf("a plot without its key figures in words: %q", attr(n, "aria-label"))
		case attr(n, "src") != "" || n.DataAtom == atom.Link || n.DataAtom == atom.Img:
			t.Errorf("the page fetches something: %s", n.Data)
		}
	}
	for id, n := range ids {
		if n > 1 {
			t.Errorf("id %s is used %d times", id, n)
		}
	}
	for l := range links {
		if ids[l] == 0 {
			t.Errorf("link to #%s leads nowhere", l)
		}
	}
}

// TestEveryCellLinksToItsTrials: from matrix and table to a list that holds each trial.
func TestEveryCellLinksToItsTrials(t *testing.T) {
	doc, _ := parse(t, small.write(t))
	lists, links := map[string]int{}, map[string]int{}
	for n := range doc.Descendants() {
		if n.DataAtom == atom.Details {
			for d := range n.Descendants() {
				if id := attr(d, "id"); strings.HasPrefix(id, "c") {
					for r := range d.Descendants() {
						if r.DataAtom == atom.Pre {
							lists[id] = strings.Count(r.FirstChild.Data, "\n") - 1 // without its head
						}
					}
				}
			}
		}
		if h := attr(n, "href"); n.DataAtom == atom.A && strings.HasPrefix(h, "#c") && h != "#cells" {
			links[h[1:]]++
		}
	}
	if len(lists) != 18 {
		t.Fatalf("%d lists of trials", len(lists))
	}
	for id, rows := range lists {
		if rows < small.trials {
			t.Errorf("%s lists %d of %d trials", id, rows, small.trials)
		}
		if links[id] < 2 {
			t.Errorf("%s is linked %d times, want from matrix and table", id, links[id])
		}
	}
}

// TestTrialsFitTheirBudget: with less room seeds go first, then trials that went well; those that need explaining stay, and the page
// says where the others are.
func TestTrialsFitTheirBudget(t *testing.T) {
	m, err := readModel(synthetic{seed: 3, axes: natMatrix(sixNATs, []string{"direct", "adaptive"}, []string{"lte"}), trials: 40, harness: 0.02}.write(t))
	if err != nil {
		t.Fatal(err)
	}
	whole := m.trialLists(1 << 30)
	for _, c := range []struct {
		share float64
		says  string
		seeds bool
	}{{1, "Every trial that was run, 2,", true}, {0.9, "seeds and lateness are in trials.jsonl", false}, {0.4, "The full list is trials.jsonl", false}} {
		budget := int(c.share * float64(len(whole.lists)+len(strings.Join(whole.texts, "<li>\n"))+10))
		got := m.trialLists(budget)
		text := string(got.lists)
		if len(text) > budget || !strings.Contains(got.says, c.says) {
			t.Errorf("%v of the room: %d bytes of %d, %q", c.share, len(text), budget, got.says)
		}
		if seed := " " + strconv.FormatUint(m.cells[0].trials[0].seed, 10); strings.Contains(text, seed) != c.seeds {
			t.Errorf("%v of the room: seeds %v", c.share, !c.seeds)
		}
		if n := strings.Count(text, " H "); n < len(m.refused())*4/5 {
			t.Errorf("%v of the room: %d of %d harness errors are listed", c.share, n, len(m.refused()))
		}
		if left := strings.Contains(text, "more in trials.jsonl (lines with “cell”:"); left != (c.share < 0.5) {
			t.Errorf("%v of the room: left out %v", c.share, left)
		}
	}
}

// TestSinglesAreNotPlotted: an axis with one value is said once; a measurement with one value is a sentence.
func TestSinglesAreNotPlotted(t *testing.T) {
	_, text := parse(t, runs["one-trial"].write(t))
	if n := strings.Count(text, "link is lan"); n != 1 {
		t.Errorf("the only link is said %d times", n)
	}
	if !strings.Contains(text, "and nothing else: adaptive (n") {
		t.Error("a single value is not said")
	}
	_, text = parse(t, runs["all-failed"].write(t))
	if !strings.Contains(text, "Not measured in this run.") {
		t.Error("what was not measured is not said")
	}
}
