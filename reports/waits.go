package reports

import (
	"fmt"
	"strings"
)

// wait is how long people or devices waited for something that a trial brought about, as its probes tell.
type wait struct {
	probe, title, axis, never string
}

var waits = []wait{
	{"scan_s", "From the label's photo to the first frame", "time from the photo to the first frame", "saw nothing"},
	{"gone_told_s", "Camera lost: until the viewer is told", "time until the viewer is told", "was never told"},
	{"back_told_s", "Camera back: until the viewer is told", "time until the viewer is told", "was never told"},
	{"absent_s", "Rendezvous killed: until its camera is registered at another one", "time without a registration", "stayed away"},
}

// waiting tells, for each condition, how long was waited.
func (m *model) waiting() (topic, bool) {
	t := topic{id: "waits", title: "How long does one wait?"}
	t.head = []string{"what", "condition", "trials", "median", "p95", "most"}
	for _, w := range waits {
		d := distribution{x: w.axis, of: "share of trials", unit: "trial", band: true, print: seconds, never: w.never}
		var alt []string
		for _, g := range m.conditions() {
			xs := g.group.sample(probe(w.probe))
			if len(xs) == 0 {
				continue
			}
			d.curves = append(d.curves, curve{g.name, len(d.curves), xs, g.group.supported()})
			t.rows = append(t.rows, []string{w.title, g.name, count(len(xs)), quantile(xs, 0.5, seconds), quantile(xs, 0.95, seconds), seconds(xs[len(xs)-1])})
			alt = append(alt, fmt.Sprintf("%s: median %s", g.name, quantile(xs, 0.5, seconds)))
		}
		if len(d.curves) > 0 {
			t.figures = append(t.figures, m.waitFigure(w, d, alt))
		}
	}
	t.says = "Each line is a condition of the run, all its networks together. " + m.provenance()
	return t, len(t.rows) > 0
}

func (m *model) waitFigure(w wait, d distribution, alt []string) figure {
	f := figure{id: slug(strings.TrimSuffix(strings.ReplaceAll(w.probe, "_", "-"), "-s"), nil), title: w.title, w: 460, h: 270}
	low, high := d.curves[0].xs[0], d.curves[0].xs[0]
	for _, k := range d.curves {
		low, high = min(low, k.xs[0]), max(high, k.xs[len(k.xs)-1])
	}
	if low == high {
		f.instead = fmt.Sprintf("%s, and nothing else. %s", seconds(low), m.provenance())
		return f
	}
	f.caption = d.bandText() + " " + m.provenance()
	f.alt = fmt.Sprintf("Cumulative distribution of %s. %s.", w.axis, strings.Join(alt, "; "))
	f.head, f.rows = d.numbers()
	f.h += legendLine * lineOf(len(d.curves))
	f.paint = d.paint
	return f
}

// condition is what one line of a table is about.
type condition struct {
	name  string
	group *group
}

// conditions are the strategies, each under each set of what is neither NAT nor strategy.
func (m *model) conditions() (all []condition) {
	for _, p := range m.panels {
		for _, g := range p.groups {
			name := label(p.params)
			switch {
			case name == "":
				name = g.title()
			case len(m.groups) > 1:
				name = g.title() + " · " + name
			}
			all = append(all, condition{name, g})
		}
	}
	return all
}

// waitNotes say what the waits come to, the median of each condition.
func (m *model) waitNotes() (ns []note) {
	for _, w := range waits {
		var s []string
		for _, c := range m.conditions() {
			if xs := c.group.sample(probe(w.probe)); len(xs) > 0 {
				s = append(s, fmt.Sprintf("%s %s (n = %s)", c.name, quantile(xs, 0.5, seconds), count(len(xs))))
			}
		}
		if len(s) > 0 {
			ns = append(ns, note{text: w.title + ", median: " + strings.Join(s, "; ") + ".", to: "#waits", link: "all of them"})
		}
	}
	return ns
}
