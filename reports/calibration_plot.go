package reports

import (
	"fmt"
	"math"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"github.com/punchlab/punchlab/lab/gate"
)

// calibrationFigure is the operating curve: the share of red gates by the size of the regression in them.
func calibrationFigure(c *gate.Calibration) figure {
	f := figure{id: "operating-curve", title: "Operating curve of the gate", w: 460, h: 270}
	o := operating{false: pointsOf(c, gate.NoEffect)}
	for i, e := range effects {
		if ps := pointsOf(c, e.effect); len(ps) > 0 {
			o.curves = append(o.curves, operatingCurve{e.name, i, ps})
		}
	}
	gates, failed, red := falseRed(c)
	if len(o.curves) == 0 && gates == 0 {
		f.instead = "No gate was tried."
		f.paint = func(c draw.Canvas) {
			c.FillText(style(11, muted, text.XLeft, text.YTop), vg.Point{X: c.Min.X, Y: c.Max.Y}, f.instead)
		}
		return f
	}
	var says []string
	if gates > 0 {
		says = append(says, fmt.Sprintf("without a regression %s of %s red (%s–%s %%)", count(failed), count(gates), number(100*red.Low, 2),
			number(100*red.High, 2)))
	}
	for _, k := range o.curves {
		var parts []string
		for _, p := range k.points {
			parts = append(parts, sizeText(p)+" "+percent(p.Failed, p.Gates))
		}
		says = append(says, k.name+": "+strings.Join(parts, ", "))
	}
	f.alt = printable("Share of red gates by the size of the regression. " + strings.Join(says, "; ") + ".")
	f.caption = printable(fmt.Sprintf("Gates %s. Alpha %s %%. Whiskers: %s %% intervals (Clopper–Pearson).", calibrationFrom(c),
		number(100*c.Alpha, 3), number(100*c.Confidence, 1)))
	f.paint = o.paint
	return f
}

// operating is the plot; the point of the gates without a regression stands at 0 in all curves.
type operating struct {
	false  []gate.CalibrationPoint
	curves []operatingCurve
}

type operatingCurve struct {
	name   string
	order  int
	points []gate.CalibrationPoint
}

func (o operating) paint(c draw.Canvas) {
	var items []legendItem
	for _, k := range o.curves {
		items = append(items, legendItem{k.name, k.style()})
	}
	top := legend(c, items)
	p := plot.New()
	p.BackgroundColor = nil
	p.X.Min, p.X.Max, p.Y.Min, p.Y.Max = 0, 0.01, 0, 1
	for _, k := range o.curves {
		p.X.Max = math.Max(p.X.Max, k.points[len(k.points)-1].Size)
	}
	p.X.Max *= 1.03
	p.X.Label.Text, p.Y.Label.Text = "regression: points of the direct rate, or % of a time", "share of gates that are red"
	p.X.Tick.Marker = ticks{func(v float64) string { return number(100*v, 1) }, false, c.Max.X - c.Min.X - axisRoom}
	p.Y.Tick.Marker = plot.ConstantTicks{{Value: 0, Label: "0 %"}, {Value: 0.25, Label: "25 %"}, {Value: 0.5, Label: "50 %"},
		{Value: 0.75, Label: "75 %"}, {Value: 1, Label: "100 %"}}
	dress(p)
	p.Add(&paper{})
	p.Add(o)
	p.Draw(draw.Canvas{Canvas: c.Canvas, Rectangle: vg.Rectangle{Min: vg.Point{X: c.Min.X, Y: c.Min.Y + 2}, Max: vg.Point{X: c.Max.X - 4, Y: top}}})
}

// Plot draws the curves over the line that they are to reach.
func (o operating) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	c.StrokeLine2(line(1, ink, 3, 2), c.Min.X, y(wanted), c.Max.X, y(wanted))
	c.FillText(style(8.5, ink, text.XLeft, text.YTop), vg.Point{X: c.Min.X + 4, Y: y(wanted) - 3}, "95 % found")
	for _, k := range o.curves {
		var pts []vg.Point
		for _, q := range append(o.false[:len(o.false):len(o.false)], k.points...) {
			at := vg.Point{X: x(q.Size), Y: y(q.Red.Value)}
			pts = append(pts, at)
			c.StrokeLine2(line(1, curves[k.order]), at.X, y(q.Red.Low), at.X, y(q.Red.High))
			c.DrawGlyph(draw.GlyphStyle{Color: curves[k.order], Radius: 2.2, Shape: draw.CircleGlyph{}}, at)
		}
		c.StrokeLines(k.style(), pts)
	}
}

func (k operatingCurve) style() draw.LineStyle { return line(1.6, curves[k.order], dashes[k.order]...) }
