package reports

import (
	"fmt"
	"image/color"
	"math"
	"slices"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// Sizes of a matrix's file.
const (
	tileW   = vg.Length(54)
	tileH   = vg.Length(36)
	keyRoom = vg.Length(46)
)

// heatFigure is a matrix as a plot.
func (m *model) heatFigure(h heat, f *facet) figure {
	fig := figure{id: slug(h.id, f.params), title: h.title, caption: m.facetCaption(h, f)}
	if len(f.params) > 0 {
		fig.title += ", " + named(f.params)
	}
	fig.alt = fig.title + ". " + fig.caption
	t := &tiles{m: m, heat: h, facet: f}
	w, height := f.size()
	fig.w = max(w, 330)
	fig.h = height + keyRoom
	fig.paint = func(c draw.Canvas) {
		t.paint(c, w)
		t.paintKey(c)
	}
	return fig
}

// size is the room of a matrix with its labels.
func (f *facet) size() (w, h vg.Length) {
	rowW, colH := vg.Length(20), vg.Length(20)
	st := style(9, ink, text.XRight, text.YCenter)
	for _, r := range f.rows {
		rowW = max(rowW, st.Width(r)+10)
	}
	for _, c := range f.cols {
		colH = max(colH, 10*vg.Length(len(foldName(c)))+4)
	}
	return rowW + 16 + tileW*vg.Length(len(f.cols)), colH + 18 + tileH*vg.Length(len(f.rows))
}

// Room of matrices side by side.
const (
	besideGap  = vg.Length(16)
	besideRoom = vg.Length(20) // for a matrix's title
)

// heatFigures is two or three matrices side by side, with the names of rows at the first alone. ok is false for other
// numbers of them, or where they are too wide.
func (m *model) heatFigures(h heat) (fig figure, ok bool) {
	n := len(m.facets)
	if n < 2 || n > 3 || m.colKey == "" || len(m.facets[0].cols)*n > 18 {
		return figure{}, false
	}
	first, height := m.facets[0].size()
	others := tileW*vg.Length(len(m.facets[0].cols)) + 4
	fig = figure{
		id: h.id, title: fmt.Sprintf("%s, %s × %s", h.title, m.rowKey, m.colKey),
		w: max(first+vg.Length(n-1)*(besideGap+others), 430), h: height + keyRoom + besideRoom,
	}
	var parts []string
	for _, f := range m.facets {
		parts = append(parts, named(f.params)+": "+m.facetShare(h, f))
	}
	fig.caption = strings.Join(parts, "; ") + ". " + m.provenance()
	fig.caption = strings.ToUpper(fig.caption[:1]) + fig.caption[1:]
	fig.alt = fig.title + ". " + fig.caption
	fig.paint = func(c draw.Canvas) {
		title := style(10.5, ink, text.XLeft, text.YTop)
		title.Font.Weight = 3 // bold
		x, w := c.Min.X, first
		for i, f := range m.facets {
			t := &tiles{m: m, heat: h, facet: f, bare: i > 0}
			c.FillText(title, vg.Point{X: x + w - others + 4, Y: c.Max.Y}, named(f.params))
			t.paint(draw.Canvas{Canvas: c.Canvas, Rectangle: vg.Rectangle{
				Min: vg.Point{X: x, Y: c.Min.Y}, Max: vg.Point{X: x + w, Y: c.Max.Y - besideRoom},
			}}, w)
			x, w = x+w+besideGap, others
		}
		(&tiles{m: m, heat: h, facet: m.facets[0]}).paintKey(c)
	}
	return fig, true
}

// foldName breaks a name after its hyphens into lines that fit a column.
func foldName(s string) []string {
	var lines []string
	st := style(9, ink, text.XCenter, text.YCenter)
	for _, part := range strings.SplitAfter(s, "-") {
		if n := len(lines); n > 0 && st.Width(lines[n-1]+part) <= tileW-4 {
			lines[n-1] += part
			continue
		}
		lines = append(lines, part)
	}
	return lines
}

// tiles is the plotter of a matrix: column c at x = c, the first row on top.
type tiles struct {
	m     *model
	heat  heat
	facet *facet
	bare  bool // without the names of rows
}

func (t *tiles) paint(c draw.Canvas, w vg.Length) {
	f := t.facet
	p := plot.New()
	p.BackgroundColor = nil
	dress(p)
	p.X.Min, p.X.Max = -0.5, float64(len(f.cols))-0.5
	p.Y.Min, p.Y.Max = -0.5, float64(len(f.rows))-0.5
	var xs, ys plot.ConstantTicks
	lines := 1
	for _, v := range f.cols {
		lines = max(lines, len(foldName(v)))
	}
	for i, v := range f.cols {
		folded := foldName(v)
		blank := slices.Repeat([]string{" "}, lines-len(folded)) // labels of one height begin at one height
		xs = append(xs, plot.Tick{Value: float64(i), Label: strings.Join(append(folded, blank...), "\n")})
	}
	for i, v := range f.rows {
		if t.bare {
			v = ""
		}
		ys = append(ys, plot.Tick{Value: float64(len(f.rows) - 1 - i), Label: v})
	}
	p.X.Tick.Marker, p.Y.Tick.Marker = xs, ys
	p.X.LineStyle.Width, p.X.Tick.LineStyle.Width, p.X.Tick.Length, p.Y.Tick.Length = 0, 0, 0, 0
	p.X.Tick.Label.Color, p.Y.Tick.Label.Color = ink, ink
	p.X.Label.Text, p.Y.Label.Text = t.m.colKey, t.m.rowKey
	if t.bare {
		p.Y.Label.Text = ""
	}
	p.X.Label.TextStyle.Color, p.Y.Label.TextStyle.Color = muted, muted
	p.Add(t)
	p.Draw(draw.Canvas{Canvas: c.Canvas, Rectangle: vg.Rectangle{
		Min: vg.Point{X: c.Min.X, Y: c.Min.Y + keyRoom}, Max: vg.Point{X: c.Min.X + w, Y: c.Max.Y},
	}})
}

// Plot implements plot.Plotter.
func (t *tiles) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	rows := len(t.facet.rows)
	for r, row := range t.facet.at {
		for i, k := range row {
			cy := float64(rows - 1 - r)
			box := vg.Rectangle{
				Min: vg.Point{X: x(float64(i)-0.5) + 0.75, Y: y(cy-0.5) + 0.75},
				Max: vg.Point{X: x(float64(i)+0.5) - 0.75, Y: y(cy+0.5) - 0.75},
			}
			t.tile(c, box, k)
		}
	}
}

func (t *tiles) tile(c draw.Canvas, box vg.Rectangle, k *cell) {
	mid := vg.Point{X: (box.Min.X + box.Max.X) / 2, Y: (box.Min.Y + box.Max.Y) / 2}
	if k == nil || k.Trials == 0 || k.unsupported() {
		c.SetColor(color.NRGBA{0xee, 0xf0, 0xf3, 0xff})
		c.Fill(box.Path())
		says := "no trial"
		if k != nil {
			says = "no verdict\nn 0"
			if k.unsupported() {
				says = fmt.Sprintf("n/a\nn %d", k.Trials)
			}
		}
		c.FillText(style(8, muted, text.XCenter, text.YCenter), mid, says)
		return
	}
	n := t.heat.count(k)
	bg := t.heat.palette.at(float64(n) / float64(k.Trials))
	fg := textOn(bg)
	c.SetColor(bg)
	c.Fill(box.Path())
	big := style(11, fg, text.XCenter, text.YBottom)
	big.Font.Weight = 3 // bold
	says, at := fmt.Sprintf("n %d", k.Trials), vg.Point{X: mid.X, Y: mid.Y - 1.5}
	if rest := k.rest(); rest != "" && t.heat.id == directHeat.id {
		says += "\n" + rest
		at.Y += 5
	}
	c.FillText(big, at, short(n, k.Trials))
	c.FillText(style(8, fg, text.XCenter, text.YTop), at, says)
	if o, ok := markOf(k.Oracle); ok && o.Class != "od" {
		oracleDot(c, vg.Point{X: box.Max.X - 6, Y: box.Max.Y - 6}, o.Class, fg)
	}
	if k.leak() {
		c.StrokeLines(line(2, alarm), outline(box, 1))
		c.StrokeLines(line(0.75, color.White), outline(box, 2.4))
	} else if k.shortfall() {
		c.StrokeLines(line(1.25, fg, 3, 2), outline(box, 1.5))
	}
}

func outline(b vg.Rectangle, in vg.Length) []vg.Point {
	return []vg.Point{
		{X: b.Min.X + in, Y: b.Min.Y + in}, {X: b.Max.X - in, Y: b.Min.Y + in},
		{X: b.Max.X - in, Y: b.Max.Y - in}, {X: b.Min.X + in, Y: b.Max.Y - in}, {X: b.Min.X + in, Y: b.Min.Y + in},
	}
}

// oracleDot draws an oracle's mark: a half or empty circle, or a square.
func oracleDot(c draw.Canvas, at vg.Point, class string, fg color.Color) {
	const r = vg.Length(2.6)
	disk := func(from, angle float64) vg.Path {
		var p vg.Path
		p.Move(vg.Point{X: at.X + r*vg.Length(math.Cos(from)), Y: at.Y + r*vg.Length(math.Sin(from))})
		p.Arc(at, r, from, angle)
		p.Close()
		return p
	}
	c.SetColor(fg)
	c.SetLineWidth(0.9)
	c.SetLineDash(nil, 0)
	switch class {
	case "oh":
		c.Fill(disk(math.Pi/2, math.Pi))
		c.Stroke(disk(0, 2*math.Pi))
	case "op":
		c.Stroke(vg.Rectangle{Min: vg.Point{X: at.X - r, Y: at.Y - r}, Max: vg.Point{X: at.X + r, Y: at.Y + r}}.Path())
	default:
		c.Stroke(disk(0, 2*math.Pi))
	}
}

// paintKey draws the color scale and the oracle's marks below the matrix.
func (t *tiles) paintKey(c draw.Canvas) {
	const steps, w, h = 60, vg.Length(110), vg.Length(8)
	x, y := c.Min.X+2, c.Min.Y+keyRoom-22
	for i := range steps {
		c.SetColor(t.heat.palette.at(float64(i) / (steps - 1)))
		c.Fill(vg.Rectangle{Min: vg.Point{X: x + w*vg.Length(i)/steps, Y: y}, Max: vg.Point{X: x + w, Y: y + h}}.Path()) // to the end: seams show where slices only touch
	}
	c.FillText(style(8, ink, text.XLeft, text.YCenter), vg.Point{X: x + w + 5, Y: y + h/2}, fmt.Sprintf("0 to 100 %% of trials %s", t.heat.what))
	x, y = c.Min.X+5, c.Min.Y+8
	st := style(8, ink, text.XLeft, text.YCenter)
	key := t.m.oracleKey()
	if len(key) > 0 {
		c.FillText(st, vg.Point{X: c.Min.X + 2, Y: y}, "Oracle:")
		x += st.Width("Oracle:") + 6
	}
	for _, o := range key {
		says := o.Kind
		if o.Class == "od" {
			says = "no mark: direct"
			x -= 6
		} else {
			oracleDot(c, vg.Point{X: x, Y: y}, o.Class, ink)
		}
		c.FillText(st, vg.Point{X: x + 6, Y: y}, says)
		x += 6 + st.Width(says) + 12
	}
	for _, k := range []struct {
		is   func(*cell) bool
		line draw.LineStyle
		says string
	}{
		{(*cell).leak, line(2, alarm), "direct against the oracle"},
		{(*cell).shortfall, line(1.25, ink, 3, 2), "short of the oracle"},
	} {
		if t.facet.any(k.is) {
			c.StrokeLine2(k.line, x-3, y, x+9, y)
			c.FillText(st, vg.Point{X: x + 13, Y: y}, k.says)
			x += 13 + st.Width(k.says) + 14
		}
	}
}
