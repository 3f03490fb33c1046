package reports

import (
	"fmt"
	"html/template"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/punchlab/punchlab/lab/gate"
	"github.com/punchlab/punchlab/lab/record"
)

// What a difference is, told by a sign before it is told by a color.
type matrixKey struct{ Class, Sign, Says string }

var matrixKeys = []matrixKey{
	{"fails", "✗", "worse: more than chance explains over all comparisons together, and more than the margin"},
	{"worse", "▼", "worse: the interval of this cell alone excludes no difference; among many cells a few such are chance"},
	{"better", "▲", "better: likewise"},
	{"same", "=", "the same: a regression as large as the tolerance is excluded"},
	{"unsure", "?", "cannot tell: the interval holds both no difference and one that would matter"},
	{"none", "·", "not in both runs"},
}

// signOf is what a finding is.
func signOf(f gate.Finding) matrixKey {
	key := func(class string) matrixKey {
		return matrixKeys[slices.IndexFunc(matrixKeys, func(k matrixKey) bool { return k.Class == class })]
	}
	switch away := awayFromZero(f); {
	case f.Effect == nil:
		return key("none")
	case f.Decision == gate.Fail:
		return key("fails")
	case away > 0:
		return key("worse")
	case away < 0:
		return key("better")
	case f.Decision == gate.Pass:
		return key("same")
	}
	return key("unsure")
}

// awayFromZero is above 0 where the whole interval is worse, below where it is better, 0 where it holds no difference or the
// metric has no better direction.
func awayFromZero(f gate.Finding) int {
	r := f.Range
	if r == nil || f.Better == "" {
		return 0
	}
	worse := 1
	if f.Better == "higher" {
		worse = -1
	}
	switch {
	case r.Low != nil && *r.Low > 0:
		return worse
	case r.High != nil && *r.High < 0:
		return -worse
	}
	return 0
}

// diffTopic is the matrices of one metric.
type diffTopic struct {
	Metric, Says string
	Tables       []diffMatrix
}

type diffMatrix struct {
	Caption string
	Table   template.HTML
}

// shownInMatrix are the metrics that have matrices, where both runs have them: the first two of these.
var shownInMatrix = []string{"direct_rate", "first_frame_s.p50", "first_frame_ratio.p50", "connect_s.p50", "connected_rate"}

const mostMatrixMetrics = 2

// matrices are the differences of the first metrics that any cell has on both sides.
func (c *sides) matrices() []diffTopic {
	var ts []diffTopic
	layout := newLayout(c.verdict.Cells, slices.Concat(c.a.Manifest.Axes, c.b.Manifest.Axes))
	for _, metric := range shownInMatrix {
		known := func(v gate.CellVerdict) bool { f, ok := findingOf(v, metric); return ok && f.Effect != nil }
		if len(ts) == mostMatrixMetrics || !slices.ContainsFunc(c.verdict.Cells, known) {
			continue
		}
		t := diffTopic{Metric: metric, Says: "The candidate's less the baseline's, in points of the rate."}
		if !isRate(metric) {
			t.Says = "The candidate's over the baseline's, less 1, in percent."
		}
		for _, facet := range layout.facets {
			t.Tables = append(t.Tables, c.diffTable(layout, facet, metric))
		}
		ts = append(ts, t)
	}
	return ts
}

func findingOf(c gate.CellVerdict, metric string) (gate.Finding, bool) {
	i := slices.IndexFunc(c.Findings, func(f gate.Finding) bool { return f.Metric == metric })
	if i < 0 {
		return gate.Finding{}, false
	}
	return c.Findings[i], true
}

// layout is how cells fall into matrices: NATs as rows and columns where they vary, a facet for each combination of the rest.
type layout struct {
	row, col record.Axis
	facets   []diffFacet
	cells    []gate.CellVerdict
}

type diffFacet struct {
	params []param
	cells  []int
}

// newLayout takes axes in the order in which the runs tell them, and those that they do not tell as cells have them.
func newLayout(cells []gate.CellVerdict, told []record.Axis) layout {
	var axes []record.Axis
	at := func(key string) int {
		i := slices.IndexFunc(axes, func(a record.Axis) bool { return a.Key == key })
		if i < 0 {
			i, axes = len(axes), append(axes, record.Axis{Key: key})
		}
		return i
	}
	add := func(i int, v string) {
		ran := slices.ContainsFunc(cells, func(c gate.CellVerdict) bool { return c.Params[axes[i].Key] == v })
		if ran && !slices.Contains(axes[i].Values, v) {
			axes[i].Values = append(axes[i].Values, v)
		}
	}
	for _, a := range told {
		for _, v := range a.Values {
			add(at(a.Key), v)
		}
	}
	for _, c := range cells {
		for _, k := range slices.SortedFunc(maps.Keys(c.Params), compareKeys) {
			add(at(k), c.Params[k])
		}
	}
	axes = slices.DeleteFunc(axes, func(a record.Axis) bool { return len(a.Values) < 2 })
	slices.SortStableFunc(axes, func(a, b record.Axis) int { return natFirst(a.Key) - natFirst(b.Key) })
	l := layout{row: record.Axis{Values: []string{""}}, col: record.Axis{Values: []string{""}}, cells: cells}
	if len(axes) > 0 {
		l.row, axes = axes[0], axes[1:]
	}
	if len(axes) > 0 {
		l.col, axes = axes[0], axes[1:]
	}
	l.split(axes)
	return l
}

// split makes the facets, in the order of the axes' values.
func (l *layout) split(rest []record.Axis) {
	l.facets = []diffFacet{{}}
	for _, a := range rest {
		var next []diffFacet
		for _, f := range l.facets {
			for _, v := range a.Values {
				next = append(next, diffFacet{params: append(slices.Clone(f.params), param{a.Key, v})})
			}
		}
		l.facets = next
	}
	for i, c := range l.cells {
		for j := range l.facets {
			if !slices.ContainsFunc(l.facets[j].params, func(p param) bool { return c.Params[p.key] != p.value }) {
				l.facets[j].cells = append(l.facets[j].cells, i)
			}
		}
	}
	l.facets = slices.DeleteFunc(l.facets, func(f diffFacet) bool { return len(f.cells) == 0 })
}

func (l *layout) at(f diffFacet, row, col string) int {
	for _, i := range f.cells {
		if p := l.cells[i].Params; (l.row.Key == "" || p[l.row.Key] == row) && (l.col.Key == "" || p[l.col.Key] == col) {
			return i
		}
	}
	return -1
}

// diffTable is one facet.
func (c *sides) diffTable(l layout, f diffFacet, metric string) diffMatrix {
	var b strings.Builder
	fmt.Fprintf(&b, `<table class="heat diff" style="--cols:%d"><thead><tr><th class="corner" scope="col"><span>%s</span><span>%s</span></th>`,
		len(l.col.Values), arrow(l.row.Key, "↓"), arrow(l.col.Key, "→"))
	for _, v := range l.col.Values {
		fmt.Fprintf(&b, `<th scope="col">%s</th>`, breakable(printable(v)))
	}
	b.WriteString("</tr></thead><tbody>")
	tally := map[string]int{}
	for _, r := range l.row.Values {
		fmt.Fprintf(&b, `<tr><th scope="row">%s</th>`, breakable(printable(r)))
		for _, v := range l.col.Values {
			i := l.at(f, r, v)
			if i < 0 {
				b.WriteString(`<td class="none"><span class="sr">no such cell</span></td>`)
				continue
			}
			finding, _ := findingOf(c.verdict.Cells[i], metric)
			key := signOf(finding)
			tally[key.Class]++
			b.WriteString(c.diffCell(i, finding, key))
		}
		b.WriteString("</tr>")
	}
	b.WriteString("</tbody></table>")
	return diffMatrix{Caption: strings.Trim(named(f.params)+": "+tallyText(tally), ": "), Table: template.HTML(b.String())}
}

func arrow(key, sign string) string {
	if key == "" {
		return ""
	}
	return escape(key) + " " + sign
}

func tallyText(tally map[string]int) string {
	words := map[string]string{"fails": "surely worse", "worse": "worse alone", "better": "better alone", "same": "the same",
		"unsure": "cannot tell", "none": "not in both"}
	var parts []string
	for _, k := range matrixKeys {
		if n := tally[k.Class]; n > 0 {
			parts = append(parts, fmt.Sprintf("%s %s %s", k.Sign, count(n), words[k.Class]))
		}
	}
	return strings.Join(parts, ", ")
}

// deepest is the difference of the deepest color.
const deepest = 0.5

func (c *sides) diffCell(i int, f gate.Finding, key matrixKey) string {
	v := c.verdict.Cells[i]
	title := printable(cellName(v.Params) + ": " + key.Says)
	if f.Effect == nil {
		return fmt.Sprintf(`<td class="none" title="%s">%s</td>`, escape(title), key.Sign)
	}
	title = printable(cellName(v.Params) + ": " + evidence(f, c.verdict.Confidence) + ". " + key.Says)
	depth := 0
	if key.Class != "unsure" && key.Class != "same" {
		depth = 12 + int(43*math.Min(1, math.Abs(*f.Effect)/deepest))
	}
	inner := fmt.Sprintf(`<b>%s</b> %s<small>%s</small>`, key.Sign, escape(signed(100**f.Effect, 1)), escape(shortRange(f)))
	if j := c.changeOf(i, f.Metric); j >= 0 && j < mostChanges {
		inner = fmt.Sprintf(`<a href="#change-%d">%s</a>`, i, inner)
	} else {
		inner = "<span>" + inner + "</span>"
	}
	return fmt.Sprintf(`<td class="%s" style="--d:%d%%" title="%s">%s</td>`, key.Class, depth, escape(title), inner)
}

// changeOf is where a cell stands among those that changed by a metric, -1 where it does not.
func (c *sides) changeOf(cell int, metric string) int {
	return slices.IndexFunc(c.changes, func(k cellChange) bool {
		return k.cell == cell && slices.ContainsFunc(k.findings, func(f gate.Finding) bool { return f.Metric == metric })
	})
}

// shortRange is rangeOf without its unit, for a matrix: to a tenth where that is what the ends differ by.
func shortRange(f gate.Finding) string {
	if f.Range == nil {
		return "no interval"
	}
	decimals := 0
	if fine := func(v *float64) bool { return v == nil || math.Abs(*v) < 0.0995 }; fine(f.Range.Low) && fine(f.Range.High) {
		decimals = 1
	}
	end := func(v *float64) string {
		if v == nil {
			return "…"
		}
		return signed(100**v, decimals)
	}
	return end(f.Range.Low) + " to " + end(f.Range.High)
}
