package reports

import (
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"github.com/punchlab/punchlab/lab/record"
	"github.com/punchlab/punchlab/lab/stats"
)

// A dotted is a rate measured at a point of an axis, with its interval.
type dotted struct {
	x, rate, low, high float64
}

// rateLine is one curve of rates, or of what theory expects where order is below 0.
type rateLine struct {
	name   string
	order  int
	points []dotted
}

// rates is a figure of rates over an axis.
type rates struct {
	lines []rateLine
	x, y  string
	at    []float64 // where the axis is labelled
	label []string
	log   bool
	print func(float64) string // nil: they are rates; otherwise of medians, drawn from 0
}

// byAxis draws the direct rate over a condition that has at least three values: what a link's loss does to each strategy.
func (m *model) byAxis() (topic, bool) {
	t := topic{id: "by-axis", title: "How does the direct rate change?", says: "Points are measured rates with their 95 % Wilson intervals; all cells with the same value count together."}
	for _, a := range m.axes {
		if isNAT(a.Key) || a.Key == strategyKey || len(a.Values) < 3 {
			continue
		}
		f := figure{id: slug("direct-rate-by", []param{{a.Key, a.Key}}), title: "Direct rate by " + a.Key, w: 460, h: 270}
		r := rates{x: a.Key, y: "direct", label: a.Values}
		for i := range a.Values {
			r.at = append(r.at, float64(i))
		}
		for _, g := range m.groups {
			l := rateLine{name: g.title(), order: g.order}
			for i, v := range a.Values {
				k, n := 0, 0
				for _, c := range g.cells {
					if c.Params[a.Key] == v {
						k, n = k+c.Outcomes[record.Direct], n+c.Trials-c.Outcomes[record.Unsupported]
					}
				}
				l.add(float64(i), k, n)
			}
			r.lines = append(r.lines, l)
		}
		t.figures = append(t.figures, r.figure(f, m.provenance()))
	}
	return t, len(t.figures) > 0
}

// withSize is a strategy that opens N sockets for M probes: birthday:NxM.
var withSize = regexp.MustCompile(`^birthday:(\d+)x(\d+)$`)

// guessedPorts is how many ports the strategy birthday guesses among, 1025–65535: which of them a NAT gives away it does not know.
const guessedPorts = 64_511

// birthdayCurve sets the measured success of N sockets and M probes beside 1−(1−N/P)^M, of P ports.
func (m *model) birthdayCurve() (topic, bool) {
	t := topic{id: "birthday", title: "Does the birthday bound hold?"}
	bySockets := map[int][]dotted{}
	const ports = guessedPorts
	var head []string
	for _, g := range m.groups {
		s := withSize.FindStringSubmatch(g.name)
		if s == nil {
			continue
		}
		sockets, _ := strconv.Atoi(s[1])
		probes, _ := strconv.Atoi(s[2])
		k, n, sent := 0, 0, []float64(nil)
		for _, c := range g.cells {
			if c.Possible == nil || c.Possible.Ports == 0 {
				continue // there is no port to be guessed
			}
			k, n = k+c.Outcomes[record.Direct], n+c.Trials
			sent = append(sent, c.sample(probe("packets"))...)
		}
		if n == 0 {
			continue
		}
		slices.Sort(sent)
		var l rateLine
		l.add(float64(probes), k, n)
		bySockets[sockets] = append(bySockets[sockets], l.points...)
		want := birthday(sockets, probes, ports)
		head = []string{"sockets", "probes", "ports", "1−(1−N/P)^M", "direct (95 % interval)", "n", "agrees", "packets sent, median"}
		agrees := "yes"
		if low, high := l.points[0].low, l.points[0].high; want < low || want > high {
			agrees = "no"
		}
		t.rows = append(t.rows, []string{
			count(sockets), count(probes), count(ports), number(100*want, 2) + " %", percent(k, n) + " (" + interval(k, n) + ")", count(n), agrees,
			quantile(sent, 0.5, func(v float64) string { return count(int(v + 0.5)) }),
		})
	}
	if len(t.rows) == 0 {
		return t, false
	}
	t.head = head
	t.says = "One side opens N sockets, each of which gets a port of its NAT; the other sends to M of the P ports from 1025 to 65535, all different, since it does not know which of them the NAT uses. Each probe finds one of the N with probability N/P, so that all miss with (1−N/P)^M. " + m.provenance()
	r := rates{x: "probes", y: "direct", log: true}
	var at []float64
	for i, sockets := range slices.Sorted(maps.Keys(bySockets)) {
		points := bySockets[sockets]
		slices.SortFunc(points, func(a, b dotted) int { return compare(a.x, b.x) })
		theory := rateLine{name: fmt.Sprintf("1−(1−%d/%s)^M", sockets, count(ports)), order: -1}
		low, high := points[0].x, points[len(points)-1].x
		for s := range 60 {
			x := low * math.Pow(high/low, float64(s)/59)
			p := birthday(sockets, int(x+0.5), ports)
			theory.points = append(theory.points, dotted{x, p, p, p})
		}
		r.lines = append(r.lines, rateLine{name: fmt.Sprintf("%d sockets", sockets), order: i, points: points}, theory)
		for _, p := range points {
			at = append(at, p.x)
		}
	}
	slices.Sort(at)
	r.at = slices.Compact(at)
	for _, x := range r.at {
		r.label = append(r.label, count(int(x)))
	}
	t.figures = []figure{r.figure(figure{id: "birthday-curve", title: "Birthday punching: measured and expected", w: 460, h: 270}, m.provenance())}
	return t, true
}

func birthday(sockets, probes, ports int) float64 {
	return 1 - math.Pow(1-float64(sockets)/float64(ports), float64(probes))
}

func (l *rateLine) add(x float64, k, n int) {
	if n == 0 {
		return
	}
	low, high := stats.Wilson(k, n, record.Confidence)
	l.points = append(l.points, dotted{x, float64(k) / float64(n), low, high})
}

func (r rates) figure(f figure, provenance string) figure {
	var alt []string
	for _, l := range r.lines {
		if l.order < 0 {
			continue
		}
		var s []string
		for _, p := range l.points {
			name := number(p.x, 0)
			if i := slices.Index(r.at, p.x); i >= 0 {
				name = r.label[i]
			}
			value, sure := r.say(p.rate), span(r.say(p.low), r.say(p.high))
			s = append(s, name+" "+value)
			f.rows = append(f.rows, []string{l.name, name, value, sure})
		}
		alt = append(alt, l.name+": "+strings.Join(s, ", "))
	}
	f.head = []string{"line", r.x, r.y, "95 % interval"}
	what, kind := "Direct rate", "Wilson intervals"
	if r.print != nil {
		what, kind = strings.ToUpper(r.y[:1])+r.y[1:], "intervals, where there are enough trials for one"
	}
	f.alt = fmt.Sprintf("%s over %s. %s.", what, r.x, strings.Join(alt, "; "))
	f.caption = "Bars are 95 % " + kind + ". " + provenance
	f.h += legendLine * lineOf(len(r.lines))
	f.paint = r.paint
	return f
}

// say prints a value of the y axis.
func (r rates) say(v float64) string {
	if r.print != nil {
		return r.print(v)
	}
	return number(100*v, 1) + " %"
}

// top is the end of the y axis of medians.
func (r rates) top() (high float64) {
	for _, l := range r.lines {
		for _, p := range l.points {
			high = math.Max(high, p.high)
		}
	}
	return 1.08 * high
}

func (l rateLine) style() draw.LineStyle {
	if l.order < 0 {
		return line(1, muted, 3, 2)
	}
	return curve{order: l.order}.style()
}

func (r rates) paint(c draw.Canvas) {
	top := r.paintLegend(c)
	p := plot.New()
	p.BackgroundColor = nil
	p.X.Min, p.X.Max, p.Y.Min, p.Y.Max = r.at[0], r.at[len(r.at)-1], -0.02, 1.02 // room for a dot at either end
	if r.log {
		p.X.Scale = plot.LogScale{}
		p.X.Min, p.X.Max = p.X.Min/1.1, p.X.Max*1.1
	} else {
		p.X.Min, p.X.Max = p.X.Min-0.3, p.X.Max+0.3
	}
	p.X.Label.Text, p.Y.Label.Text = r.x, r.y
	var marks plot.ConstantTicks
	for i, x := range r.at {
		marks = append(marks, plot.Tick{Value: x, Label: r.label[i]})
	}
	p.X.Tick.Marker = marks
	if r.print != nil {
		p.Y.Min, p.Y.Max = 0, r.top()
		p.Y.Tick.Marker = ticks{r.print, false, c.Max.Y - c.Min.Y}
	} else {
		p.Y.Tick.Marker = rateTicks
	}
	dress(p)
	p.Add(&paper{})
	for i, l := range r.lines {
		p.Add(dots{l, (float64(i) - float64(len(r.lines)-1)/2) * 1.6})
	}
	p.Draw(draw.Canvas{Canvas: c.Canvas, Rectangle: vg.Rectangle{Min: vg.Point{X: c.Min.X, Y: c.Min.Y + 2}, Max: vg.Point{X: c.Max.X - 4, Y: top}}})
}

// rateTicks are those of shares.
var rateTicks = plot.ConstantTicks{{Value: 0, Label: "0 %"}, {Value: 0.25, Label: "25 %"}, {Value: 0.5, Label: "50 %"}, {Value: 0.75, Label: "75 %"}, {Value: 1, Label: "100 %"}}

func (r rates) paintLegend(c draw.Canvas) vg.Length {
	var items []legendItem
	for _, l := range r.lines {
		items = append(items, legendItem{l.name, l.style()})
	}
	return legend(c, items)
}

// dots draws a line through its points, each with its interval, a little beside those of other lines.
type dots struct {
	rateLine
	shift float64 // points
}

func (d dots) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	var pts []vg.Point
	st := d.style()
	for _, q := range d.points {
		at := x(q.x)
		if d.order >= 0 {
			at += vg.Length(d.shift)
			bar := line(1, st.Color)
			c.StrokeLine2(bar, at, y(q.low), at, y(q.high))
			c.StrokeLine2(bar, at-2, y(q.low), at+2, y(q.low))
			c.StrokeLine2(bar, at-2, y(q.high), at+2, y(q.high))
			c.DrawGlyph(draw.GlyphStyle{Color: st.Color, Radius: 2.4, Shape: draw.CircleGlyph{}}, vg.Point{X: at, Y: y(q.rate)})
		}
		pts = append(pts, vg.Point{X: at, Y: y(q.rate)})
	}
	c.StrokeLines(st, pts)
}
