package reports

import (
	"bytes"
	"cmp"
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"math"
	"slices"
	"strings"

	"github.com/punchlab/punchlab/lab/gate"
)

// TrendFormats lists what RenderTrend can write.
var TrendFormats = []string{"text", "md", "json", "svg", "png", "html"}

// RenderTrend writes the history of a scenario's runs in one of TrendFormats; html is one offline page.
func RenderTrend(w io.Writer, t *gate.TrendReport, format string) error {
	var b []byte
	var err error
	switch format {
	case "text":
		b = trendText(t)
	case "md":
		b = trendMarkdown(t)
	case "json":
		b, err = indentJSON(t)
	case "svg":
		b, err = trendSheet(t).svgFile()
	case "png":
		b, err = trendSheet(t).pngFile()
	case "html":
		b, err = trendHTML(t)
	default:
		return unknownFormat("trend", format, TrendFormats)
	}
	if err == nil {
		_, err = w.Write(b)
	}
	if err != nil {
		return fmt.Errorf("render trend as %s: %w", format, err)
	}
	return nil
}

// changed is a change point with its series.
type changed struct {
	gate.Series
	gate.TrendChange
}

// changesOf lists all change points: for the worse first, then by run.
func changesOf(t *gate.TrendReport) []changed {
	var cs []changed
	for _, s := range t.Series {
		for _, c := range s.Changes {
			cs = append(cs, changed{s, c})
		}
	}
	worse := func(c changed) int {
		if c.Worse != nil && *c.Worse {
			return 0
		}
		return 1
	}
	slices.SortStableFunc(cs, func(a, b changed) int { return cmp.Or(worse(a)-worse(b), cmp.Compare(a.Run, b.Run)) })
	return cs
}

func (c changed) direction() (mark, word string) {
	switch {
	case c.Worse == nil:
		return "•", "changed"
	case *c.Worse:
		return "✗", "worse"
	}
	return "✓", "better"
}

// sentence says what changed, from what to what, and since when.
func (c changed) sentence(t *gate.TrendReport) string {
	print := printer(c.Metric, c.Unit)
	s := fmt.Sprintf("%s: %s → %s since run %d", seriesName(c.Series), print(c.Before), print(c.After), c.Run+1)
	if c.Run >= 0 && c.Run < len(t.Runs) {
		r := t.Runs[c.Run]
		s += " (" + strings.Join(slices.DeleteFunc([]string{day(r), shortCommit(r.Commit)}, func(s string) bool { return s == "" }), ", ") + ")"
	}
	return fmt.Sprintf("%s, adjusted p %s", s, pValue(c.AdjustedP))
}

func seriesName(s gate.Series) string {
	if s.Group == "" {
		return s.Metric
	}
	return s.Metric + ", " + s.Group
}

func day(r gate.TrendRun) string {
	if r.Start.IsZero() {
		return ""
	}
	return r.Start.UTC().Format("2006-01-02")
}

// when is a run's day, or where all are of one day its time of that day.
func when(t *gate.TrendReport, i int) string {
	if n := len(t.Runs); n > 1 && day(t.Runs[0]) != "" && day(t.Runs[0]) == day(t.Runs[n-1]) {
		return t.Runs[i].Start.UTC().Format("15:04 UTC")
	}
	return day(t.Runs[i])
}

func shortCommit(c string) string { return c[:min(9, len(c))] }

func pValue(p float64) string {
	if p < 0.0001 {
		return "< 0.0001"
	}
	return fmt.Sprintf("%.2g", p)
}

// trendVerdict is the answer in a sentence.
func trendVerdict(t *gate.TrendReport) string {
	cs := changesOf(t)
	looked := 0
	for _, s := range t.Series {
		if s.Why == "" {
			looked++
		}
	}
	switch {
	case t.Why != "":
		return "? no change was looked for: " + t.Why
	case looked == 0:
		return "? no change was looked for: no metric has enough runs"
	case len(cs) == 0:
		return fmt.Sprintf("✓ no change in %s over %s (chance of finding one where nothing changed: %s %%)", plural(looked, "metric"),
			plural(len(t.Runs), "run"), number(100*t.Alpha, 2))
	}
	n := map[string]int{}
	for _, c := range cs {
		_, word := c.direction()
		n[word]++
	}
	var parts []string
	for _, word := range []string{"worse", "better", "changed"} {
		if k := n[word]; k > 0 && word == "changed" {
			parts = append(parts, count(k)+" in metrics without a better direction")
		} else if k > 0 {
			parts = append(parts, count(k)+" for the "+word)
		}
	}
	mark := "✓"
	if n["worse"] > 0 {
		mark = "✗"
	}
	return fmt.Sprintf("%s %s over %s: %s (chance of any where nothing changed: %s %%)", mark, plural(len(cs), "change"),
		plural(len(t.Runs), "run"), strings.Join(parts, ", "), number(100*t.Alpha, 2))
}

func trendTitle(t *gate.TrendReport) string {
	s := fmt.Sprintf("%s, engine %s: %s", t.Scenario, t.Engine, plural(len(t.Runs), "run"))
	if n := len(t.Runs); n > 1 && day(t.Runs[0]) != "" {
		if from, to := day(t.Runs[0]), day(t.Runs[n-1]); from == to {
			s += " on " + from
		} else {
			s += fmt.Sprintf(" from %s to %s", from, to)
		}
	}
	return s
}

var (
	seriesHead = []string{"", "metric", "group", "first", "last", "range", "over time", "note"}
	runsHead   = []string{"run", "start", "commit", "trials", "source", "changed since the run before"}
)

func seriesRows(t *gate.TrendReport) [][]string {
	var rows [][]string
	for _, s := range t.Series {
		mark, note := "", s.Why
		for _, c := range s.Changes {
			if m, _ := (changed{s, c}).direction(); mark != "✗" {
				mark = m
			}
		}
		r := []string{mark, s.Metric, orDash(s.Group), "–", "–", "–", spark(s), note}
		if n := len(s.Points); n > 0 {
			print := printer(s.Metric, s.Unit)
			low, high := s.Points[0].Value, s.Points[0].Value
			for _, p := range s.Points {
				low, high = math.Min(low, p.Value), math.Max(high, p.Value)
			}
			r[3], r[4], r[5] = print(s.Points[0].Value), print(s.Points[n-1].Value), span(print(low), print(high))
		}
		rows = append(rows, r)
	}
	return rows
}

func runRows(t *gate.TrendReport) [][]string {
	var rows [][]string
	for i, r := range t.Runs {
		start := "–"
		if !r.Start.IsZero() {
			start = r.Start.UTC().Format("2006-01-02 15:04")
		}
		rows = append(rows, []string{count(i + 1), start, orDash(shortCommit(r.Commit)), count(r.Trials), r.Source, strings.Join(r.Changed, "; ")})
	}
	return rows
}

// spark draws a series in a word, with a bar where a change is.
func spark(s gate.Series) string {
	low, high := math.Inf(1), math.Inf(-1)
	for _, p := range s.Points {
		low, high = math.Min(low, p.Value), math.Max(high, p.Value)
	}
	points := s.Points
	const most = 60
	points = points[max(0, len(points)-most):]
	var b strings.Builder
	for _, p := range points {
		if slices.ContainsFunc(s.Changes, func(c gate.TrendChange) bool { return c.Run == p.Run }) {
			b.WriteRune('│')
		}
		level := 3
		if high > low {
			level = int(math.Round(7 * (p.Value - low) / (high - low)))
		}
		b.WriteRune([]rune("▁▂▃▄▅▆▇█")[level])
	}
	return b.String()
}

func trendText(t *gate.TrendReport) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s\n\n  %s\n", printable(trendVerdict(t)), printable(trendTitle(t)))
	if cs := changesOf(t); len(cs) > 0 {
		b.WriteString("\nChanges\n")
		for _, c := range cs {
			mark, word := c.direction()
			fmt.Fprintf(&b, "  %s %-7s %s\n", mark, word, printable(c.sentence(t)))
		}
	}
	plain := func(_ int, s string) string { return s }
	b.WriteString("\nMetrics\n")
	rows := seriesRows(t)
	for i, r := range rows {
		if r[0] == "" {
			rows[i][0] = " "
		}
	}
	textTable(&b, seriesHead, rows, plain)
	b.WriteString("\nRuns\n")
	textTable(&b, append([]string{""}, runsHead...), prepend(runRows(t)), plain)
	return b.Bytes()
}

func prepend(rows [][]string) [][]string {
	for i, r := range rows {
		rows[i] = append([]string{""}, r...)
	}
	return rows
}

func trendMarkdown(t *gate.TrendReport) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "## punchlab trend\n\n**%s**\n\n%s.\n", inMarkdown(trendVerdict(t)), inMarkdown(trendTitle(t)))
	if cs := changesOf(t); len(cs) > 0 {
		b.WriteString("\n### Changes\n\n")
		for _, c := range cs {
			mark, word := c.direction()
			fmt.Fprintf(&b, "- %s %s: %s\n", mark, word, inMarkdown(c.sentence(t)))
		}
	}
	if len(t.Series) > 0 {
		b.WriteString("\n### Metrics\n\n")
		gateTable(&b, seriesHead, seriesRows(t))
	}
	if len(t.Runs) > 0 {
		b.WriteString("\n<details><summary>Runs</summary>\n\n")
		gateTable(&b, runsHead, runRows(t))
		b.WriteString("\n</details>\n")
	}
	return b.Bytes()
}

// The page of a trend.
var (
	//go:embed assets/trend.gohtml
	trendPage     string
	trendTemplate = template.Must(template.New("trend").Parse(trendPage))
)

type trendData struct {
	Title, Verdict string
	CSS            template.CSS
	Changes        []trendLine
	Figures        []pageFigure
	Runs           template.HTML
	Series         template.HTML
}

type trendLine struct{ Mark, Word, Text string }

func trendHTML(t *gate.TrendReport) ([]byte, error) {
	d := trendData{Title: tie(trendTitle(t)), Verdict: tie(trendVerdict(t)), CSS: template.CSS(pageCSS + compareCSS)}
	for _, c := range changesOf(t) {
		mark, word := c.direction()
		d.Changes = append(d.Changes, trendLine{mark, word, tie(c.sentence(t))})
	}
	for _, s := range changedFirst(t) {
		f := trendFigure(t, s)
		d.Figures = append(d.Figures, pageFigure{Title: f.title, Caption: tie(f.caption), Instead: f.instead, SVG: svgUnless(f)})
	}
	if rows := runRows(t); len(rows) > 0 {
		d.Runs = template.HTML(dataTable(runsHead, rows))
	}
	rows := seriesRows(t)
	for i, r := range rows {
		rows[i] = append([]string{seriesName(t.Series[i]), r[0]}, r[3:]...)
	}
	if len(rows) > 0 {
		d.Series = template.HTML(dataTable([]string{"metric", "", "first", "last", "range", "over time", "note"}, rows))
	}
	var b bytes.Buffer
	if err := trendTemplate.Execute(&b, d); err != nil {
		return nil, fmt.Errorf("render page: %w", err)
	}
	return b.Bytes(), nil
}

func svgUnless(f figure) template.HTML {
	if f.instead != "" {
		return ""
	}
	return template.HTML(f.svg())
}

// changedFirst lists the series: those with changes first.
func changedFirst(t *gate.TrendReport) []gate.Series {
	ss := slices.Clone(t.Series)
	slices.SortStableFunc(ss, func(a, b gate.Series) int { return min(1, len(b.Changes)) - min(1, len(a.Changes)) })
	return ss
}
