package reports

import (
	"fmt"
	"math"
	"strings"

	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// forest is a figure of differences with their intervals, a line each, about a line at 0:
//
//	netfilter → table, symmetric × firewall   ────┼──●──────
//	netfilter → table, full-cone × symmetric  ──●─┼──
type forest struct {
	rows  []forestRow
	x     string // what the axis shows
	print func(float64) string
}

type forestRow struct {
	label            string
	value, low, high float64
	said             string // the difference with its interval
}

const (
	forestLine = vg.Length(15)
	forestRoom = vg.Length(34) // for the axis
	forestAlt  = 6             // lines that are told to who cannot see them before the table
)

// figure completes f with the forest's drawing.
func (r forest) figure(f figure, provenance string) figure {
	var alt []string
	for _, row := range r.rows {
		if len(alt) < forestAlt {
			alt = append(alt, row.label+" "+row.said)
		}
		f.rows = append(f.rows, []string{row.label, row.said})
	}
	f.head = []string{"comparison", r.x + " (95 % interval)"}
	f.w, f.h = 620, forestLine*vg.Length(len(r.rows))+forestRoom
	f.alt = fmt.Sprintf("Differences of %s. %s.", r.x, strings.Join(alt, "; "))
	if n := len(r.rows) - len(alt); n > 0 {
		f.alt += fmt.Sprintf(" %s more in the table below.", count(n))
	}
	f.caption = "Bars are 95 % intervals; one that does not meet the line at 0 is a difference. " + provenance
	f.paint = r.paint
	return f
}

// span is the range of the axis, 0 in it.
func (r forest) span() (low, high float64) {
	for _, row := range r.rows {
		low, high = math.Min(low, row.low), math.Max(high, row.high)
	}
	pad := 0.06 * (high - low)
	if pad == 0 {
		pad = 1
	}
	return low - pad, high + pad
}

func (r forest) paint(c draw.Canvas) {
	words := style(9, ink, text.XRight, text.YCenter)
	labels := vg.Length(0)
	for _, row := range r.rows {
		labels = max(labels, words.Width(row.label))
	}
	labels = min(labels+8, (c.Max.X-c.Min.X)*0.6)
	from, to := c.Min.X+labels, c.Max.X-8
	low, high := r.span()
	x := func(v float64) vg.Length { return from + (to-from)*vg.Length((v-low)/(high-low)) }
	bottom := c.Min.Y + forestRoom
	small := style(9, muted, text.XCenter, text.YTop)
	for _, v := range (ticks{r.print, false, to - from}).values(low, high) {
		c.StrokeLine2(line(0.6, rule), x(v), bottom, x(v), c.Max.Y)
		c.FillText(small, vg.Point{X: x(v), Y: bottom - 3}, r.print(v))
	}
	c.FillText(style(9.5, ink, text.XCenter, text.YTop), vg.Point{X: (from + to) / 2, Y: bottom - 16}, r.x)
	c.StrokeLine2(line(1, ink, 3, 2), x(0), bottom, x(0), c.Max.Y)
	for i, row := range r.rows {
		y := c.Max.Y - forestLine*(vg.Length(i)+0.5)
		c.FillText(words, vg.Point{X: from - 6, Y: y}, shorten(row.label, words, labels-8))
		st := line(1.4, curves[0])
		if row.low > 0 || row.high < 0 {
			st = line(1.4, curves[1])
		}
		c.StrokeLine2(st, x(row.low), y, x(row.high), y)
		for _, end := range []float64{row.low, row.high} {
			c.StrokeLine2(st, x(end), y-2.5, x(end), y+2.5)
		}
		shape := draw.GlyphDrawer(draw.CircleGlyph{})
		if row.low > 0 || row.high < 0 {
			shape = draw.BoxGlyph{} // told apart without color
		}
		c.DrawGlyph(draw.GlyphStyle{Color: st.Color, Radius: 2.8, Shape: shape}, vg.Point{X: x(row.value), Y: y})
	}
}

// shorten cuts a text that is wider than w at its beginning, where names are alike.
func shorten(s string, st text.Style, w vg.Length) string {
	if st.Width(s) <= w {
		return s
	}
	runes := []rune(s)
	for len(runes) > 1 && st.Width("…"+string(runes)) > w {
		runes = runes[1:]
	}
	return "…" + string(runes)
}
