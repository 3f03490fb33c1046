package reports

import (
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
	"html"
	"html/template"
	"regexp"
	"slices"
	"strings"

	"github.com/punchlab/punchlab/lab/record"
)

//go:embed assets/page.gohtml
var pageText string

//go:embed assets/page.css
var pageCSS string

//go:embed assets/page.js assets/filter.js assets/trials.js assets/timeline.js
var scripts embed.FS

// pageJS is the page's scripts, one after the other: timeline.js ends with what begins when all are there.
var pageJS = func() string {
	var all strings.Builder
	for _, name := range []string{"page.js", "filter.js", "trials.js", "timeline.js"} {
		b, err := scripts.ReadFile("assets/" + name)
		if err != nil {
			panic(err) // it is embedded
		}
		all.Write(b)
	}
	return all.String()
}()

var pageTemplate = template.Must(template.New("page").Parse(pageText))

var loose = regexp.MustCompile(`(\d) (%|×|[kMG]?B\b|µs|ms|s\b|[kM]?bit/s)|n = `)

// tie keeps a number and its unit on one line.
func tie(s string) string {
	return loose.ReplaceAllStringFunc(s, func(m string) string { return strings.ReplaceAll(m, " ", "\u00a0") })
}

func escape(s string) string { return html.EscapeString(s) }

// pageData is what the template reads.
type pageData struct {
	Scenario, Verdict, Badge    string
	CSS                         template.CSS
	JS, Run                     template.JS
	Thresholds                  *pageTopic // nil without
	Notes                       []pageNote
	Meta                        []pair
	Strategies                  template.HTML
	Matrices, Relays            []pageMatrix
	MatrixSays, RelaySays       string
	OracleKey                   []oracleMark
	MatrixLinks                 []pair
	Strips                      bool // some cell has one
	Leaks, Shorts               bool
	Topics                      []pageTopic
	Cells, Trials               template.HTML
	CellsSay, TrialsSay         string
	Brief                       bool // see brief
	Texts                       []string
	Fixed, Environment, Modules []pair
	Sysctls                     []pair
	Provenance                  string
	Ramp                        template.CSS
}

type pair struct{ Key, Value string }

type pageNote struct {
	Class, Text, To, Link string
}

type pageMatrix struct {
	Title, Caption, Files string
	Wide                  bool
	Table                 template.HTML
	Links                 []pair
}

type pageTopic struct {
	ID, Title, Says string
	Table           template.HTML
	Figures         []pageFigure
}

type pageFigure struct {
	Title, Caption, Instead string
	SVG, Numbers            template.HTML
	Links                   []pair
}

// pageLimit is the size that a page stays under; trialsFloor is kept for trials whatever else is on it.
const (
	pageLimit   = 4_800_000
	trialsFloor = 200_000
)

// manyCells is from where on a page leaves out what it says twice.
const manyCells = 2_000

// brief reports whether the run has so many cells that tooltips, strips and the relay's matrices would take the room of its trials.
func (m *model) brief() bool { return len(m.cells) > manyCells }

// html renders report.html. files says which plots were also written.
func (m *model) html(files []string) ([]byte, error) {
	d := pageData{
		Scenario: m.summary.Scenario, Verdict: tie(m.verdict()), Badge: m.badge(),
		CSS: template.CSS(pageCSS), JS: template.JS(pageJS),
		Meta: m.meta(), Strategies: template.HTML(m.strategyTable()),
		Fixed: m.fixedPairs(), Environment: m.environment(), Provenance: m.provenance(),
		Modules: sortedPairs(m.run.Manifest.Versions.Modules), Sysctls: sortedPairs(m.run.Manifest.Sysctls),
		MatrixSays: m.matrixSays(), OracleKey: m.oracleKey(),
		Strips: !m.brief() && len(m.where(func(c *cell) bool { return c.rest() != "" && !c.unsupported() })) > 0,
		Leaks:  len(m.where((*cell).leak)) > 0, Shorts: len(m.where((*cell).shortfall)) > 0, Ramp: rampCSS(cividis),
	}
	run, err := m.runJSON()
	if err != nil {
		return nil, fmt.Errorf("render page: %w", err)
	}
	d.Run, d.Thresholds, d.Brief = template.JS(run), m.thresholdPart(), m.brief()
	for _, n := range m.notes() {
		class := "note"
		if n.warning {
			class = "note warning"
		}
		d.Notes = append(d.Notes, pageNote{class, tie(n.text), n.to, n.link})
	}
	for _, f := range m.facets {
		d.Matrices = append(d.Matrices, m.matrix(directHeat, f, files))
	}
	if f, ok := m.heatFigures(directHeat); ok {
		d.MatrixLinks = linksTo(f.id, files)
	}
	d.RelaySays = tie(m.relaySays())
	if m.brief() {
		d.RelaySays += " With as many cells as here, the matrices of the relay are left out: the table of cells has its figures."
	} else {
		for _, f := range m.relayFacets() {
			d.Relays = append(d.Relays, m.matrix(relayHeat, f, files))
		}
	}
	for _, t := range m.topics() {
		d.Topics = append(d.Topics, t.page(files))
	}
	d.CellsSay, d.Cells = m.cellTable()
	var b bytes.Buffer
	if err := pageTemplate.Execute(&b, d); err != nil {
		return nil, fmt.Errorf("render page: %w", err)
	}
	part := m.trialLists(max(trialsFloor, pageLimit-b.Len()))
	d.TrialsSay, d.Trials, d.Texts = part.says, part.lists, part.texts
	b.Reset()
	if err := pageTemplate.Execute(&b, d); err != nil {
		return nil, fmt.Errorf("render page: %w", err)
	}
	return b.Bytes(), nil
}

// runJSON is what the page's scripts know of the run: its axes, and each cell's place on them with its outcomes.
func (m *model) runJSON() ([]byte, error) {
	type cellJSON struct {
		Values []int `json:"values"` // indices into the axes' values
		N      []int `json:"n"`      // by outcome, in the order of record.Outcomes
	}
	type axisJSON struct {
		Key    string   `json:"key"`
		Values []string `json:"values"`
	}
	data := struct {
		Scenario string           `json:"scenario"`
		Seed     string           `json:"seed"` // JavaScript's numbers are too short
		Engine   string           `json:"engine"`
		Axes     []axisJSON       `json:"axes"`
		Fixed    []pair           `json:"fixed"`
		Cells    map[int]cellJSON `json:"cells"`
	}{m.scenarioArgument(), fmt.Sprint(m.summary.Seed), m.summary.Engine, []axisJSON{}, append([]pair{}, m.fixedPairs()...), map[int]cellJSON{}}
	for _, a := range m.axes {
		data.Axes = append(data.Axes, axisJSON{a.Key, a.Values})
	}
	for _, c := range m.cells {
		var k cellJSON
		for _, a := range m.axes {
			k.Values = append(k.Values, slices.Index(a.Values, c.Params[a.Key]))
		}
		for _, o := range record.Outcomes {
			k.N = append(k.N, c.Outcomes[o])
		}
		data.Cells[c.index] = k
	}
	return json.Marshal(data)
}

// scenarioArgument is the scenario as the run's command named it: a file's path, where it is none of the built-in ones.
func (m *model) scenarioArgument() string {
	if c := m.run.Manifest.Command; len(c) > 2 && c[1] == "run" && !strings.HasPrefix(c[2], "-") {
		return c[2]
	}
	return m.summary.Scenario
}

func (t topic) page(files []string) pageTopic {
	p := pageTopic{ID: t.id, Title: t.title, Says: tie(t.says)}
	if len(t.rows) > 0 {
		p.Table = template.HTML(dataTable(t.head, t.rows))
	}
	for _, f := range t.figures {
		pf := pageFigure{Title: f.title, Caption: tie(f.caption), Instead: tie(f.instead)}
		if f.instead == "" {
			pf.SVG = template.HTML(f.svg())
			pf.Links = linksTo(f.id, files)
			if len(f.rows) > 0 {
				pf.Numbers = template.HTML(dataTable(f.head, f.rows))
			}
		}
		p.Figures = append(p.Figures, pf)
	}
	return p
}

// linksTo lists the files of a figure among those written.
func linksTo(id string, files []string) []pair {
	var ps []pair
	for _, kind := range []string{"svg", "png"} {
		if name := "plots/" + id + "." + kind; slices.Contains(files, name) {
			ps = append(ps, pair{strings.ToUpper(kind), name})
		}
	}
	return ps
}

func rampCSS(r ramp) template.CSS {
	var s []string
	for i := range 11 {
		s = append(s, hex(r.at(float64(i)/10)))
	}
	return template.CSS("linear-gradient(90deg," + strings.Join(s, ",") + ")")
}

func (m *model) badge() string {
	if m.run.Manifest.Complete {
		return ""
	}
	return "incomplete"
}

// matrixSays explains the matrices' axes, and what is not plotted because it has one value.
func (m *model) matrixSays() string {
	var s string
	switch {
	case m.rowKey == "":
		s = "One cell: nothing varies in this run."
	case m.colKey == "":
		s = fmt.Sprintf("One row for each %s.", m.rowKey)
	default:
		s = fmt.Sprintf("Rows are %s, columns are %s.", m.rowKey, m.colKey)
	}
	var fixed []string
	for _, p := range m.fixedPairs() {
		fixed = append(fixed, p.Key+" is "+p.Value)
	}
	if len(fixed) > 0 {
		s += " Everywhere, " + strings.Join(fixed, " and ") + "."
	}
	return s
}

func (m *model) fixedPairs() []pair {
	var ps []pair
	for _, a := range m.fixed {
		ps = append(ps, pair{a.Key, a.Values[0]})
	}
	return ps
}

// oracleKey lists the marks that occur.
func (m *model) oracleKey() []oracleMark {
	var key []oracleMark
	for _, o := range oracleMarks {
		if slices.ContainsFunc(m.cells, func(c *cell) bool { return oracleKind(c.Oracle) == o.Kind }) {
			key = append(key, o)
		}
	}
	return key
}

// relayFacets are the matrices in which anything was relayed.
func (m *model) relayFacets() []*facet {
	var fs []*facet
	for _, f := range m.facets {
		if f.any(func(c *cell) bool { return c.Outcomes[record.Relayed] > 0 }) {
			fs = append(fs, f)
		}
	}
	return fs
}

func (f *facet) any(is func(*cell) bool) bool {
	for _, row := range f.at {
		if slices.ContainsFunc(row, func(c *cell) bool { return c != nil && is(c) }) {
			return true
		}
	}
	return false
}

func (m *model) relaySays() string {
	relayed, bytes := 0, int64(0)
	for _, c := range m.cells {
		relayed += c.Outcomes[record.Relayed]
		bytes += c.Bytes["relay"]
	}
	if relayed == 0 {
		return "No trial was relayed."
	}
	s := fmt.Sprintf("%s of %s trials with a verdict were relayed (%s, 95 %% interval %s)", count(relayed), count(m.summary.Trials), percent(relayed, m.summary.Trials), interval(relayed, m.summary.Trials))
	if bytes > 0 {
		s += fmt.Sprintf("; the relay carried %s in all", size(float64(bytes)))
	}
	if n := len(m.facets) - len(m.relayFacets()); n > 0 {
		s += ". A matrix in which nothing was relayed is not drawn"
	}
	return s + "."
}
