package reports

import (
	"fmt"
	"math"
	"slices"
	"sort"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"github.com/punchlab/punchlab/lab/record"
	"github.com/punchlab/punchlab/lab/stats"
)

// curve is an empirical distribution: how many of a number of trials had a value up to x.
type curve struct {
	name  string
	order int       // its color and dash
	xs    []float64 // ascending
	of    int       // trials that could have had a value: a curve of len(xs) < of ends below 100 %
}

// mark is a vertical line, or a band where from < to.
type mark struct {
	from, to float64
	label    string
}

// distribution is a figure of curves.
type distribution struct {
	curves []curve
	marks  []mark
	x      string // what the axis shows
	of     string // what 100 % is
	unit   string // of n: trial or frame
	band   bool   // the values do not depend on one another, so a band can be drawn
	print  func(float64) string
	never  string // what trials without a value did not do, written where their curve ends
}

// maxSteps bounds the points of a curve; more cannot be seen.
const maxSteps = 240

// maxBands is how many confidence bands can be told apart.
const maxBands = 3

// span returns the range of the axis, and whether it must be logarithmic to show it. A few values far from all others
// are left beyond its end, where beyond tells of them, or they would press the rest together.
func (d distribution) span() (low, high float64, log bool) {
	low, high = math.Inf(1), math.Inf(-1)
	most := math.Inf(-1) // where 99 % of every curve end
	for _, c := range d.curves {
		last := c.xs[len(c.xs)-1]
		low, high = math.Min(low, c.xs[0]), math.Max(high, last)
		if len(c.xs) >= minForP99 {
			last = stats.Quantile(c.xs, 0.99)
		}
		most = math.Max(most, last)
	}
	for _, m := range d.marks {
		low, most = math.Min(low, m.from), math.Max(most, m.to)
	}
	if end := low + 1.2*(most-low); high > low+1.8*(most-low) && most > low {
		high = end
	}
	high = math.Max(high, most)
	if log = low > 0 && high/low > 6; log {
		pad := math.Pow(high/low, 0.03)
		return low / pad, high * pad, true
	}
	pad := 0.03 * (high - low)
	if low >= 0 && low-pad < 0 {
		return 0, high + pad, false
	}
	return low - pad, high + pad, false
}

// beyond counts the values after the axis's end and names the last, "" if there are none.
func (d distribution) beyond(unit string) string {
	_, high, _ := d.span()
	n, last := 0, math.Inf(-1)
	for _, c := range d.curves {
		i, _ := slices.BinarySearch(c.xs, high)
		n, last = n+len(c.xs)-i, math.Max(last, c.xs[len(c.xs)-1])
	}
	if n == 0 || last <= high {
		return ""
	}
	return fmt.Sprintf("beyond the axis: %s, up to %s", plural(n, unit), d.print(last))
}

const (
	legendLine = vg.Length(13)
	legendIcon = vg.Length(20)
	markRoom   = vg.Length(14)
	axisRoom   = vg.Length(60) // beside the axis of a plot, about
)

// paint draws the curves with their legend above them.
func (d distribution) paint(c draw.Canvas) {
	top := d.paintLegend(c)
	if len(d.marks) > 0 {
		top -= markRoom
	}
	p := plot.New()
	p.BackgroundColor = nil
	low, high, log := d.span()
	p.X.Min, p.X.Max, p.Y.Min, p.Y.Max = low, high, 0, 1
	p.X.Label.Text, p.Y.Label.Text = d.x, d.of
	p.X.Tick.Marker = ticks{d.print, log, c.Max.X - c.Min.X - axisRoom}
	p.Y.Tick.Marker = rateTicks
	if log {
		p.X.Scale = plot.LogScale{}
		p.X.Label.Text += " (log scale)"
	}
	dress(p)
	p.Add(&paper{})
	p.Add(markLines(d.marks))
	for i := len(d.curves) - 1; i >= 0; i-- {
		p.Add(&steps{d.curves[i], d.band && len(d.curves) <= maxBands})
	}
	p.Add(ends(d))
	if s := d.beyond(d.unit); s != "" {
		p.Add(remark(s + " →"))
	}
	p.Draw(draw.Canvas{Canvas: c.Canvas, Rectangle: vg.Rectangle{Min: vg.Point{X: c.Min.X, Y: c.Min.Y + 2}, Max: vg.Point{X: c.Max.X - 4, Y: top}}})
}

// dress gives a plot the report's quiet axes.
func dress(p *plot.Plot) {
	for _, a := range []*plot.Axis{&p.X, &p.Y} {
		a.LineStyle = line(0.75, muted)
		a.Padding = 0
		a.Tick.LineStyle = line(0.75, muted)
		a.Tick.Length = 3
		align := a.Tick.Label
		a.Tick.Label = style(9, muted, align.XAlign, align.YAlign)
		a.Label.TextStyle = style(9.5, ink, text.XCenter, text.YBottom)
		a.Label.Padding = 3
	}
	p.Y.LineStyle.Width = 0
	p.Y.Tick.LineStyle.Width = 0
}

// lineOf is how many lines more than one a legend of n items may take.
func lineOf(n int) vg.Length { return vg.Length(max(0, (n-1)/3)) }

// numbers are what a distribution's curves are in numbers: the plot's text alternative.
func (d distribution) numbers() (head []string, rows [][]string) {
	head = []string{"curve", "n", "of", "least", "5 %", "25 %", "median", "75 %", "95 %", "99 %", "most"}
	for _, k := range d.curves {
		r := []string{k.name, count(len(k.xs)), count(k.of)}
		for _, p := range []float64{0, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1} {
			switch {
			case (p == 0.95 || p == 0.05) && len(k.xs) < minForP95, p == 0.99 && len(k.xs) < minForP99:
				r = append(r, tooFew)
			default:
				r = append(r, d.print(stats.Quantile(k.xs, p)))
			}
		}
		rows = append(rows, r)
	}
	return head, rows
}

// paintLegend writes the curves' names in lines and returns where they end.
func (d distribution) paintLegend(c draw.Canvas) vg.Length {
	var items []legendItem
	for _, k := range d.curves {
		items = append(items, legendItem{fmt.Sprintf("%s (%s)", k.name, k.n()), k.style()})
	}
	return legend(c, items)
}

// legendItem is a name and the line that it is drawn with.
type legendItem struct {
	name  string
	style draw.LineStyle
}

// legend writes items at the top of a canvas, in as many lines as they take, and returns where they end.
func legend(c draw.Canvas, items []legendItem) vg.Length {
	x, y := c.Min.X+4, c.Max.Y-legendLine/2
	st := style(9.5, ink, text.XLeft, text.YCenter)
	for _, i := range items {
		w := legendIcon + 5 + st.Width(i.name) + 14
		if x+w > c.Max.X && x > c.Min.X+4 {
			x, y = c.Min.X+4, y-legendLine
		}
		c.StrokeLine2(i.style, x, y, x+legendIcon, y)
		c.FillText(st, vg.Point{X: x + legendIcon + 5, Y: y}, i.name)
		x += w
	}
	return y - legendLine/2 - 3
}

// n prints how many values there are, and of how many.
func (k curve) n() string {
	if k.of != len(k.xs) {
		return "n = " + count(len(k.xs)) + " of " + count(k.of)
	}
	return "n = " + count(len(k.xs))
}

func (k curve) style() draw.LineStyle {
	i := k.order % len(curves)
	return line(1.6, curves[i], dashes[(i+k.order/len(curves))%len(dashes)]...) // no two of 64 are alike
}

// paper is the grid.
type paper struct{}

func (*paper) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	for _, t := range p.Y.Tick.Marker.Ticks(p.Y.Min, p.Y.Max) {
		c.StrokeLine2(line(0.6, rule), c.Min.X, y(t.Value), c.Max.X, y(t.Value))
	}
	for _, t := range p.X.Tick.Marker.Ticks(p.X.Min, p.X.Max) {
		if t.Label != "" && t.Value >= p.X.Min && t.Value <= p.X.Max {
			c.StrokeLine2(line(0.6, rule), x(t.Value), c.Min.Y, x(t.Value), c.Max.Y)
		}
	}
}

// remark is written into the corner that a distribution leaves empty.
type remark string

func (r remark) Plot(c draw.Canvas, _ *plot.Plot) {
	c.FillText(style(8.5, muted, text.XRight, text.YBottom), vg.Point{X: c.Max.X - 3, Y: c.Min.Y + 4}, string(r))
}

// markLines draws marks; their labels stand above the plot.
type markLines []mark

func (ms markLines) Plot(c draw.Canvas, p *plot.Plot) {
	x, _ := p.Transforms(&c)
	st, words := line(1, ink, 3, 2), style(9, ink, text.XLeft, text.YBottom)
	end := c.Min.X - 24 // of the label before
	for _, m := range ms {
		from, to := x(m.from), x(m.to)
		c.StrokeLine2(st, from, c.Min.Y, from, c.Max.Y+4)
		if to-from > 1.5 {
			c.FillPolygon(withAlpha(muted, 0x30), []vg.Point{{X: from, Y: c.Min.Y}, {X: to, Y: c.Min.Y}, {X: to, Y: c.Max.Y}, {X: from, Y: c.Max.Y}})
			c.StrokeLine2(st, to, c.Min.Y, to, c.Max.Y+4)
		}
		w := words.Width(m.label)
		at := max(end, min((from+to)/2-w/2, c.Max.X-w))
		c.FillText(words, vg.Point{X: at, Y: c.Max.Y + 6}, m.label)
		end = at + w + 6
	}
}

// steps draws a curve, and around it the band that holds the true distribution with 95 % confidence.
type steps struct {
	curve
	band bool
}

func (s *steps) Plot(c draw.Canvas, p *plot.Plot) {
	if len(s.xs) == 0 || s.of == 0 {
		return
	}
	x, y := p.Transforms(&c)
	top := float64(len(s.xs)) / float64(s.of)
	at := func(f float64) vg.Length { return y(math.Max(0, math.Min(1, f))) }
	idx := s.indices()
	if i := slices.IndexFunc(idx, func(i int) bool { return s.xs[i] > p.X.Max }); i >= 0 {
		idx = idx[:i]
		top = 0
		if i > 0 {
			top = float64(idx[i-1]+1) / float64(s.of)
		}
	}
	if e := stats.DKW(s.of, record.Confidence); s.band && e < 0.5 {
		var upper, lower []vg.Point
		before := 0.0
		for _, i := range idx {
			f := float64(i+1) / float64(s.of)
			px := x(s.xs[i])
			upper = append(upper, vg.Point{X: px, Y: at(before + e)}, vg.Point{X: px, Y: at(f + e)})
			lower = append(lower, vg.Point{X: px, Y: at(before - e)}, vg.Point{X: px, Y: at(f - e)})
			before = f
		}
		upper = append(upper, vg.Point{X: c.Max.X, Y: at(top + e)})
		lower = append(lower, vg.Point{X: c.Max.X, Y: at(top - e)})
		slices.Reverse(lower)
		c.FillPolygon(withAlpha(curves[s.order%len(curves)], 0x22), append(upper, lower...))
	}
	pts := []vg.Point{{X: c.Min.X, Y: y(0)}}
	before := 0.0
	for _, i := range idx {
		f := float64(i+1) / float64(s.of)
		px := x(s.xs[i])
		pts = append(pts, vg.Point{X: px, Y: y(before)}, vg.Point{X: px, Y: y(f)})
		before = f
	}
	pts = append(pts, vg.Point{X: c.Max.X, Y: y(top)})
	c.StrokeLines(s.style(), pts)
}

// ends says at the right of each curve that stops under 100 % how many trials never had a value.
type ends distribution

func (d ends) Plot(c draw.Canvas, p *plot.Plot) {
	if d.never == "" {
		return
	}
	x, y := p.Transforms(&c)
	st := style(8.5, ink, text.XRight, text.YTop)
	at := c.Max.Y + 12 // of the text before
	sorted := slices.SortedFunc(slices.Values(d.curves), func(a, b curve) int { return compare(share(len(b.xs), b.of), share(len(a.xs), a.of)) })
	for _, k := range sorted {
		missing := k.of - len(k.xs)
		says := fmt.Sprintf("%s: %s of %s %s", k.name, count(missing), count(k.of), d.never)
		begin := c.Max.X - 6 - st.Width(says) // where the curve is lowest above the text
		before := sort.Search(len(k.xs), func(i int) bool { return x(k.xs[i]) > begin })
		level := y(float64(before)/float64(k.of)) - 4
		if missing <= 0 || k.xs[len(k.xs)-1] > p.X.Max || level > at-11 || level < c.Min.Y+26 {
			continue
		}
		at = level
		c.FillText(st, vg.Point{X: c.Max.X - 3, Y: level}, says)
	}
}

// indices picks the steps to draw: the last of equal values, the extremes, and at most maxSteps between.
func (s *steps) indices() []int {
	n := len(s.xs)
	var idx []int
	for j := range min(n, maxSteps) {
		i := j
		if n > maxSteps {
			i = j * (n - 1) / (maxSteps - 1)
		}
		for i+1 < n && s.xs[i+1] == s.xs[i] {
			i++
		}
		if len(idx) == 0 || idx[len(idx)-1] < i {
			idx = append(idx, i)
		}
	}
	return idx
}
