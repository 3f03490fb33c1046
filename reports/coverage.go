package reports

import (
	"fmt"
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"github.com/punchlab/punchlab/lab/record"
	"github.com/punchlab/punchlab/lab/stats"
)

// coverageFigure is the operating curve of the intervals: how often that of n trials holds the true rate, exactly (by enumeration),
// where rates of traversal live.
func coverageFigure(n int) figure {
	const from, points = 0.7, 301
	at := make([]float64, points)
	for i := range at {
		at[i] = from + (1-from)*float64(i)/(points-1)
	}
	v := covering{n: n, at: at}
	for _, k := range []struct {
		name     string
		interval func(k, n int, confidence float64) (low, high float64)
	}{{"Wilson", stats.Wilson}, {"Clopper–Pearson", stats.ClopperPearson}} {
		c := coverageCurve{name: k.name, least: 1}
		for _, p := range at {
			y := stats.Coverage(k.interval, n, p, record.Confidence)
			c.ys = append(c.ys, y)
			c.least, c.mean = math.Min(c.least, y), c.mean+y/points
		}
		v.curves = append(v.curves, c)
	}
	w, cp := v.curves[0], v.curves[1]
	says := fmt.Sprintf("Of the 95 %% intervals of %s and a true rate of %s–100 %%: Wilson's hold it in %s %% on average, %s %% at worst; Clopper and Pearson's in %s %%, %s %% at worst.",
		plural(n, "trial"), number(100*from, 1), number(100*w.mean, 1), number(100*w.least, 1), number(100*cp.mean, 1), number(100*cp.least, 1))
	return figure{
		id: "interval-coverage", title: fmt.Sprintf("How often an interval of %s holds the truth", plural(n, "trial")), w: 460, h: 230,
		alt: says, caption: says + " Computed by enumeration, not simulated.", paint: v.paint,
	}
}

// covering is the plot.
type covering struct {
	n      int
	at     []float64
	curves []coverageCurve
}

type coverageCurve struct {
	name        string
	ys          []float64
	least, mean float64
}

func (v covering) paint(c draw.Canvas) {
	var items []legendItem
	least := 1.0
	for i, k := range v.curves {
		items = append(items, legendItem{k.name, coverageStyle(i)})
		least = math.Min(least, k.least)
	}
	top := legend(c, items)
	p := plot.New()
	p.BackgroundColor = nil
	p.X.Min, p.X.Max, p.Y.Min, p.Y.Max = v.at[0], 1, math.Floor(20*least)/20, 1
	p.X.Label.Text, p.Y.Label.Text = "true rate", "intervals that hold it"
	percents := func(x float64) string { return number(100*x, 1) + " %" }
	p.X.Tick.Marker = ticks{percents, false, c.Max.X - c.Min.X - axisRoom}
	p.Y.Tick.Marker = ticks{percents, false, 120}
	dress(p)
	p.Add(&paper{})
	p.Add(v)
	p.Draw(draw.Canvas{Canvas: c.Canvas, Rectangle: vg.Rectangle{Min: vg.Point{X: c.Min.X, Y: c.Min.Y + 2}, Max: vg.Point{X: c.Max.X - 4, Y: top}}})
}

func coverageStyle(i int) draw.LineStyle { return line(1.4, curves[i], dashes[i]...) }

// Plot draws the curves over what they promise.
func (v covering) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	c.StrokeLine2(line(1, ink, 3, 2), c.Min.X, y(record.Confidence), c.Max.X, y(record.Confidence))
	c.FillText(style(8.5, ink, text.XLeft, text.YTop), vg.Point{X: c.Min.X + 4, Y: y(record.Confidence) - 3}, "95 % promised")
	for i, k := range v.curves {
		pts := make([]vg.Point, len(v.at))
		for j, at := range v.at {
			pts[j] = vg.Point{X: x(at), Y: y(k.ys[j])}
		}
		c.StrokeLines(coverageStyle(i), pts)
	}
}
