package reports

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"html/template"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/punchlab/punchlab/lab/gate"
)

// ComparePage is the file that Compare writes.
const ComparePage = "compare.html"

// Compare writes two runs side by side into outDir, ComparePage with its plots, and returns the files written, the page first.
// A run is a folder or a baseline file; the first is the baseline. Runs of unlike environments are shown with what they differ
// in, and not judged.
func Compare(dirA, dirB, outDir string) (files []string, err error) {
	return CompareAs(dirA, dirB, outDir, nil)
}

// CompareAs is Compare with a verdict that has been found already: paired, of two strategies, or with differences of
// environment that were allowed. It is the page's headline.
func CompareAs(dirA, dirB, outDir string, v *gate.Verdict) (files []string, err error) {
	c, err := newComparison(dirA, dirB, v)
	if err != nil {
		return nil, fmt.Errorf("compare runs: %w", err)
	}
	if err := os.MkdirAll(filepath.Join(outDir, "plots"), 0o755); err != nil {
		return nil, fmt.Errorf("compare runs: %w", err)
	}
	w := &writer{dir: outDir}
	for _, f := range c.figures {
		if f.instead == "" {
			w.file("plots/"+f.id+".svg", f.svgFile)
			w.file("plots/"+f.id+".png", f.pngFile)
		}
	}
	w.file(ComparePage, func() ([]byte, error) { return c.html(w.names) })
	if w.err != nil {
		return nil, fmt.Errorf("compare runs: %w", w.err)
	}
	for _, n := range w.names {
		files = append(files, filepath.Join(outDir, n))
	}
	last := len(files) - 1
	return append([]string{files[last]}, files[:last]...), nil
}

// sides is two runs with what a gate makes of them, were their environments alike.
type sides struct {
	a, b    gate.Sample
	unlike  []gate.Difference
	verdict *gate.Verdict
	changes []cellChange // the worst first
	figures []figure
}

// newComparison reads two runs, and judges them where v does not.
func newComparison(dirA, dirB string, v *gate.Verdict) (*sides, error) {
	c := &sides{verdict: v}
	var err error
	if c.a, err = gate.Read(dirA); err != nil {
		return nil, err
	}
	if c.b, err = gate.Read(dirB); err != nil {
		return nil, err
	}
	if v == nil {
		if err := c.judge(); err != nil {
			return nil, err
		}
	} else if v.A.Strategy != "" { // the strategies are what differs: the cells are the same without them
		c.a, c.b = withoutStrategy(c.a), withoutStrategy(c.b)
	}
	c.changes = changesOfCells(c.verdict)
	c.figures = c.overlays()
	return c, nil
}

// judge compares the runs as if what differs in their environments did not matter, and remembers what does.
func (c *sides) judge() (err error) {
	c.unlike = gate.Differences(c.a.Manifest, c.b.Manifest, false)
	var allow []string
	for _, d := range c.unlike {
		allow = append(allow, d.Field)
	}
	c.verdict, err = gate.Compare(c.a, c.b, gate.Options{Allow: allow})
	return err
}

// withoutStrategy names the cells of a run by their other parameters.
func withoutStrategy(s gate.Sample) gate.Sample {
	s.Cells = slices.Clone(s.Cells)
	for i := range s.Cells {
		s.Cells[i].Params = maps.Clone(s.Cells[i].Params)
		delete(s.Cells[i].Params, gate.StrategyKey)
	}
	return s
}

// headline is the answer. Runs that are not alike have none.
func (c *sides) headline() (mark, text string) {
	if len(c.unlike) == 0 {
		return c.verdict.Decision.Mark(), c.verdict.Why
	}
	var fields []string
	for _, d := range c.unlike {
		fields = append(fields, d.Field)
	}
	return "?", fmt.Sprintf("Not judged: the runs differ in %s, and the candidate would be blamed for it.", list(fields))
}

// list joins words as a sentence does.
func list(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " and " + words[len(words)-1]
}

var (
	//go:embed assets/compare.gohtml
	comparePage     string
	compareTemplate = template.Must(template.New("compare").Parse(comparePage))
)

// compareData is what the template reads.
type compareData struct {
	Scenario, Mark, Headline string
	CSS                      template.CSS
	Notes                    []pageNote
	A, B                     string
	RunsSay                  string
	Differ, Same             []runField
	Key                      []matrixKey
	Matrices                 []diffTopic
	Findings                 template.HTML
	FindingsSay              string
	Figures                  []pageFigure
	Cells                    template.HTML
	CellsSay                 string
	Unseen                   []string
}

func (c *sides) html(files []string) ([]byte, error) {
	d := compareData{
		Scenario: c.b.Manifest.Scenario.Name, CSS: template.CSS(pageCSS + compareCSS),
		A: printable(sideOf(c.verdict.A)), B: printable(sideOf(c.verdict.B)),
		Key: matrixKeys, Matrices: c.matrices(),
	}
	if d.Scenario == "" {
		return nil, errors.New("the candidate has no scenario")
	}
	d.Differ, d.Same = c.fields()
	d.RunsSay = fieldsSay(d.Differ)
	var headline string
	d.Mark, headline = c.headline()
	d.Headline = tie(printable(headline))
	if len(c.unlike) > 0 {
		d.Notes = append(d.Notes, pageNote{Class: "note warning", Text: printable("What follows describes; it does not decide. " +
			"Were the environments alike, a gate would say: " + string(c.verdict.Decision) + ". " + c.verdict.Why)})
	}
	for _, x := range c.verdict.Allowed {
		if len(c.unlike) == 0 {
			text := fmt.Sprintf("Allowed to differ: %s (%s, %s).", x.Field, orDash(x.Baseline), orDash(x.Candidate))
			d.Notes = append(d.Notes, pageNote{Class: "note", Text: printable(text)})
		}
	}
	for _, p := range c.verdict.Problems {
		d.Notes = append(d.Notes, pageNote{Class: "note warning", Text: printable(p)})
	}
	for _, l := range unseen(c.verdict) {
		d.Unseen = append(d.Unseen, printable(l))
	}
	d.FindingsSay, d.Findings = c.findings()
	d.CellsSay, d.Cells = c.cellTable()
	for _, f := range c.figures {
		p := pageFigure{Title: f.title, Caption: tie(f.caption), Instead: tie(f.instead), SVG: svgUnless(f)}
		if f.instead == "" {
			p.Links = linksTo(f.id, files)
		}
		d.Figures = append(d.Figures, p)
	}
	var b bytes.Buffer
	if err := compareTemplate.Execute(&b, d); err != nil {
		return nil, fmt.Errorf("render page: %w", err)
	}
	return b.Bytes(), nil
}
