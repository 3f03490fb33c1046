package reports

import (
	"cmp"
	"fmt"
	"image/color"
	"math"
	"slices"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"github.com/punchlab/punchlab/lab/gate"
)

// The panels of a sheet.
const (
	panelWidth  = vg.Length(380)
	panelHeight = vg.Length(150)
	mostPanels  = 24
)

// trendSheet is one figure of all series, two panels abreast, those with changes first.
func trendSheet(t *gate.TrendReport) figure {
	ss := slices.DeleteFunc(changedFirst(t), func(s gate.Series) bool { return len(s.Points) == 0 })
	left := max(0, len(ss)-mostPanels)
	ss = ss[:len(ss)-left]
	rows := max(1, (len(ss)+1)/2)
	f := figure{
		id: "trend", title: "Trend of " + printable(t.Scenario), w: 2 * panelWidth, h: vg.Length(rows) * panelHeight,
		caption: printable(strings.TrimLeft(trendVerdict(t), "✓✗? ")) + ". " + trendKey,
		alt:     trendVerdict(t),
	}
	if left > 0 {
		f.caption += fmt.Sprintf(" %s without a change not drawn.", plural(left, "metric"))
	}
	f.paint = func(c draw.Canvas) {
		if len(ss) == 0 {
			c.FillText(style(11, muted, text.XLeft, text.YTop), vg.Point{X: c.Min.X, Y: c.Max.Y}, "No run has a metric to plot.")
		}
		for i, s := range ss {
			x := c.Min.X + vg.Length(i%2)*(c.Max.X-c.Min.X)/2
			top := c.Max.Y - vg.Length(i/2)*panelHeight
			title := style(9.5, ink, text.XLeft, text.YTop)
			title.Font.Weight = 3 // bold
			c.FillText(title, vg.Point{X: x + 4, Y: top}, printable(seriesName(s)))
			paintSeries(t, s, draw.Canvas{Canvas: c.Canvas, Rectangle: vg.Rectangle{
				Min: vg.Point{X: x, Y: top - panelHeight + 12}, Max: vg.Point{X: x + (c.Max.X-c.Min.X)/2 - 12, Y: top - 14},
			}})
		}
	}
	return f
}

const trendKey = "Points: a run each, with its 95 % interval; lines: the mean between changes; dashed: a change; triangle: a run on another " +
	"environment."

// trendFigure is one series for the page.
func trendFigure(t *gate.TrendReport, s gate.Series) figure {
	f := figure{id: slug("trend", []param{{"", s.Metric}, {"", s.Group}}), title: seriesName(s), w: 460, h: 190}
	if len(s.Points) == 0 {
		f.instead = "Not measured in these runs."
		return f
	}
	var says []string
	for _, c := range s.Changes {
		_, word := (changed{s, c}).direction()
		_, what, _ := strings.Cut(changed{s, c}.sentence(t), ": ")
		says = append(says, strings.ToUpper(word[:1])+word[1:]+": "+what)
	}
	print := printer(s.Metric, s.Unit)
	first, last := s.Points[0], s.Points[len(s.Points)-1]
	f.caption = fmt.Sprintf("First %s (n = %s), last %s (n = %s). ", print(first.Value), count(first.N), print(last.Value), count(last.N))
	switch {
	case len(says) > 0:
		f.caption += strings.Join(says, ". ") + "."
	case s.Why != "" || t.Why != "":
		f.caption += "No change was looked for: " + cmp.Or(s.Why, t.Why) + "."
	default:
		f.caption += "No change found."
	}
	f.alt = fmt.Sprintf("%s over %s, with 95 %% intervals. %s", seriesName(s), plural(len(s.Points), "run"), f.caption)
	f.paint = func(c draw.Canvas) { paintSeries(t, s, c) }
	return f
}

// paintSeries draws one series over the runs.
func paintSeries(t *gate.TrendReport, s gate.Series, c draw.Canvas) {
	p := plot.New()
	p.BackgroundColor = nil
	p.X.Min, p.X.Max = -0.5, float64(max(1, len(t.Runs)))-0.5
	p.Y.Min, p.Y.Max = rangeOfSeries(s)
	p.X.Tick.Marker = plot.ConstantTicks(runTicks(t, s, c.Max.X-c.Min.X-axisRoom))
	p.Y.Tick.Marker = ticks{printer(s.Metric, s.Unit), false, c.Max.Y - c.Min.Y}
	dress(p)
	p.Add(&paper{})
	p.Add(history{t, s})
	p.Draw(c)
}

// rangeOfSeries is that of the values and their intervals, never so narrow that noise looks like change.
func rangeOfSeries(s gate.Series) (low, high float64) {
	low, high = math.Inf(1), math.Inf(-1)
	for _, p := range s.Points {
		low, high = math.Min(low, p.Value), math.Max(high, p.Value)
		if r := p.Range; r != nil && r.Low != nil && r.High != nil {
			low, high = math.Min(low, *r.Low), math.Max(high, *r.High)
		}
	}
	least := 0.02 * math.Max(math.Abs(low), math.Abs(high))
	if least == 0 {
		least = 0.01
	}
	pad := math.Max(0.06*(high-low), (least-(high-low))/2)
	return low - pad, high + pad
}

// runTicks name the first run, those with a change, and the last, as far as they do not touch.
func runTicks(t *gate.TrendReport, s gate.Series, width vg.Length) []plot.Tick {
	n := len(t.Runs)
	if n == 0 {
		return nil
	}
	at := []int{0, n - 1}
	for _, c := range s.Changes {
		at = append(at, c.Run)
	}
	at = append(at, n/2)
	st := style(9, muted, text.XCenter, text.YTop)
	type box struct{ low, high vg.Length }
	var taken []box
	var out []plot.Tick
	for _, i := range at {
		if i < 0 || i >= n {
			continue
		}
		label := when(t, i)
		if label == "" {
			label = fmt.Sprintf("run %d", i+1)
		}
		x, half := (vg.Length(i)+0.5)/vg.Length(n)*width, st.Width(label)/2+4
		if slices.ContainsFunc(taken, func(b box) bool { return x-half < b.high && x+half > b.low }) {
			continue
		}
		taken = append(taken, box{x - half, x + half})
		out = append(out, plot.Tick{Value: float64(i), Label: label})
	}
	return out
}

// history draws runs, means and changes.
type history struct {
	t *gate.TrendReport
	s gate.Series
}

func (h history) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	begin, value := -0.5, math.NaN()
	mean := func(to, v float64) {
		c.StrokeLine2(line(1.6, curves[1]), x(begin), y(v), x(to), y(v))
	}
	for _, k := range h.s.Changes {
		at := float64(k.Run) - 0.5
		mean(at, k.Before)
		c.StrokeLine2(line(1, alarm, 3, 2), x(at), c.Min.Y, x(at), c.Max.Y)
		begin, value = at, k.After
	}
	if len(h.s.Changes) > 0 {
		mean(p.X.Max, value)
	}
	for _, q := range h.s.Points {
		at := vg.Point{X: x(float64(q.Run)), Y: y(q.Value)}
		if r := q.Range; r != nil && r.Low != nil && r.High != nil {
			c.StrokeLine2(line(1, withAlpha(curves[0], 0x80)), at.X, y(*r.Low), at.X, y(*r.High))
		}
		c.DrawGlyph(draw.GlyphStyle{Color: curves[0], Radius: 2.2, Shape: draw.CircleGlyph{}}, at)
	}
	for i, r := range h.t.Runs {
		if len(r.Changed) > 0 {
			triangle(c, vg.Point{X: x(float64(i)), Y: c.Min.Y + 1}, muted)
		}
	}
}

// triangle stands on the axis.
func triangle(c draw.Canvas, at vg.Point, col color.NRGBA) {
	c.FillPolygon(col, []vg.Point{{X: at.X - 3, Y: at.Y}, {X: at.X + 3, Y: at.Y}, {X: at.X, Y: at.Y + 5}})
}
