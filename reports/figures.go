package reports

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/punchlab/punchlab/lab/record"
	"github.com/punchlab/punchlab/lab/stats"
)

// topic is a question and the figures that answer it, one for each panel.
type topic struct {
	id, title, says string
	figures         []figure
	head            []string // of a table, where the topic has one
	rows            [][]string
}

// quantity is something measured in every trial (or frame) and drawn as a distribution.
type quantity struct {
	id, title string
	axis      string
	values    func(*group) []float64
	of        func(*group, []float64) int // how many could have had a value
	share     string                      // what 100 % is
	unit      string                      // of n: trials or frames
	print     func(float64) string
	bound     func(*group) []float64 // drawn as a mark: the range of a bound
	boundName string
	fixed     []mark
	goal      float64 // the caption tells the share up to it, where there is one
	never     string  // what trials without a value did not do
}

func ofSupported(g *group, _ []float64) int { return g.supported() }
func ofValues(_ *group, xs []float64) int   { return len(xs) }

func sampler(f func(*trial) float64) func(*group) []float64 {
	return func(g *group) []float64 { return g.sample(f) }
}

// nearBound is the goal: a tenth over the bound.
const nearBound = 1.1

// atBound marks what a perfect protocol would reach, and the goal.
var atBound = []mark{{1, 1, "bound 1×"}, {nearBound, nearBound, "goal 1.1×"}}

var quantities = map[string]quantity{
	"connect": {"connect-time", "Time to connect", "time to connect", sampler(connectS), ofSupported, "share of trials", "trials",
		seconds, sampler(triangleS), "triangle bound", nil, 0, "never connected"},
	"frame": {"first-frame-time", "Time to the first whole frame", "time to the first frame", sampler(firstFrameS), ofSupported, "share of trials", "trials",
		seconds, sampler(boundS), "bound", nil, 0, "had no frame"},
	"packet ratio": {"first-packet-ratio", "First media packet ÷ triangle bound", "ratio to the triangle bound", sampler(packetRatio), ofValues,
		"share of trials with a packet", "trials", ratio, nil, "", atBound, nearBound, ""},
	"frame ratio": {"first-frame-ratio", "First whole frame ÷ its bound", "ratio to the bound", sampler(frameRatio), ofValues,
		"share of trials with a frame", "trials", ratio, nil, "", atBound, nearBound, ""},
	"latency": {"frame-latency", "One-way frame latency", "one-way latency", (*group).frames, ofValues, "share of frames", "frames", seconds, nil, "", nil, 0, ""},
	"goodput": {"goodput", "Goodput", "goodput", sampler(goodputBps), ofValues, "share of trials with media", "trials", bits, nil, "", nil, 0, ""},
}

// topics are the page's questions, in its order. They are made once.
func (m *model) topics() []topic {
	if m.asked == nil {
		m.asked = m.makeTopics()
	}
	return append(slices.Clip(m.asked), m.extra...)
}

// thinned says that not every frame's latency was kept, where it was not.
func (m *model) thinned() string {
	if m.stride <= 1 {
		return ""
	}
	return fmt.Sprintf(" Of the latencies every %s one is kept.", ordinal(m.stride))
}

func (m *model) makeTopics() []topic {
	pooled := ""
	ask := func(id, title, says string, names ...string) topic {
		t := topic{id: id, title: title, says: says + pooled}
		for _, p := range m.panels {
			for _, n := range names {
				t.figures = append(t.figures, m.figure(quantities[n], p))
			}
		}
		return t
	}
	if m.pooled() {
		ns := []string{}
		for _, a := range m.axes {
			if !isNAT(a.Key) && a.Key != strategyKey {
				ns = append(ns, a.Key)
			}
		}
		pooled = " These curves pool all of " + strings.Join(ns, ", ") + "."
	}
	var ts []topic
	for _, t := range []func() (topic, bool){m.setup, m.waiting, m.populations, m.possible, m.birthdayCurve, m.byAxis, m.fleet, m.versus, m.agree, m.cost} {
		if t, ok := t(); ok {
			ts = append(ts, t)
		}
	}
	return append(ts,
		ask("time", "How soon?", "Trials that never connected count too: their curve ends below 100 %. The dashed line is the least time that the links allow.", "connect", "frame"),
		ask("ratio", "How close to the bound?", "Each time divided by the least that the links of its own cell allow: 1 is perfect, whatever the link.", "packet ratio", "frame ratio"),
		ask("media", "How well does video flow?", "Latency is one-way, from the camera's capture to the viewer's whole frame, on one clock. Goodput counts whole frames."+m.thinned(), "latency", "goodput"),
		m.idle(),
		m.lateness(),
	)
}

// figure draws one quantity for one panel.
func (m *model) figure(q quantity, p *panel) figure {
	f := figure{id: slug(q.id, p.params), title: q.title, w: 460, h: 270}
	if len(p.params) > 0 {
		f.title += ", " + label(p.params)
	}
	d := distribution{x: q.axis, of: q.share, unit: strings.TrimSuffix(q.unit, "s"), band: q.unit == "trials", print: q.print, marks: slices.Clone(q.fixed), never: q.never}
	var alt, ns, single, near []string
	var bounds []float64
	low, high := math.Inf(1), math.Inf(-1)
	for _, g := range p.groups {
		xs := q.values(g)
		if len(xs) == 0 {
			ns = append(ns, g.title()+": none")
			continue
		}
		low, high = math.Min(low, xs[0]), math.Max(high, xs[len(xs)-1])
		k := curve{g.title(), g.order, xs, q.of(g, xs)}
		d.curves = append(d.curves, k)
		n := k.n()
		ns = append(ns, g.title()+" "+n)
		alt = append(alt, fmt.Sprintf("%s: median %s, p95 %s, %s", g.title(), q.quantile(xs, 0.5), q.quantile(xs, 0.95), n))
		single = append(single, fmt.Sprintf("%s (%s)", g.title(), n))
		if q.goal > 0 {
			near = append(near, g.title()+" "+upTo(xs, q.goal))
		}
		if q.bound != nil {
			bounds = append(bounds, q.bound(g)...)
		}
	}
	if len(d.curves) == 0 {
		f.instead = "Not measured in this run."
		return f
	}
	if low == high {
		f.instead = fmt.Sprintf("%s, and nothing else: %s. %s", q.print(low), strings.Join(single, ", "), m.provenance())
		return f
	}
	if len(bounds) > 0 {
		from, to := slices.Min(bounds), slices.Max(bounds)
		name := q.boundName + " " + span(q.print(from), q.print(to))
		d.marks = append(d.marks, mark{from, to, name})
		alt = append(alt, name)
	}
	if len(near) > 0 {
		ns[len(ns)-1] += fmt.Sprintf("); within %s: %s", q.print(q.goal), strings.Join(near, ", "))
	} else {
		ns[len(ns)-1] += ")"
	}
	f.caption = fmt.Sprintf("%s (%s. %s %s", q.unit, strings.Join(ns, ", "), d.bandText(), m.provenance())
	f.caption = strings.ToUpper(f.caption[:1]) + f.caption[1:]
	if s := d.beyond(d.unit); s != "" {
		f.caption += " " + strings.ToUpper(s[:1]) + s[1:] + "."
	}
	f.alt = fmt.Sprintf("Cumulative distribution of %s. %s.", q.axis, strings.Join(alt, "; "))
	f.head, f.rows = d.numbers()
	f.h += legendLine * lineOf(len(d.curves))
	f.paint = d.paint
	return f
}

// upTo prints the share of an ascending sample that is at most limit, with its interval.
func upTo(sorted []float64, limit float64) string {
	k, _ := slices.BinarySearchFunc(sorted, limit, func(x, limit float64) int {
		if x <= limit {
			return -1
		}
		return 1
	})
	return percent(k, len(sorted)) + " (" + interval(k, len(sorted)) + ")"
}

// quantile prints a quantile with its interval where the values are independent: a trial's frames are not.
func (q quantity) quantile(xs []float64, p float64) string {
	if q.unit != "trials" {
		return plainQuantile(xs, p, q.print)
	}
	return quantile(xs, p, q.print)
}

// provenance says where a figure comes from.
func (m *model) provenance() string {
	s := fmt.Sprintf("%s, seed %d, engine %s", m.summary.Scenario, m.summary.Seed, m.summary.Engine)
	if c := m.run.Manifest.Versions.Commit; c != "" {
		s += ", commit " + c[:min(12, len(c))]
	}
	if !m.run.Manifest.Complete {
		s += ", incomplete run"
	}
	return s + "."
}

// bandText says how sure the curves are.
func (d distribution) bandText() string {
	if !d.band {
		return "No interval: the " + d.unit + "s of one trial depend on one another."
	}
	var s []string
	for _, c := range d.curves {
		e := stats.DKW(c.of, record.Confidence)
		if e >= 0.5 {
			s = append(s, c.name+" "+tooFew)
		} else {
			s = append(s, fmt.Sprintf("%s ±%s points", c.name, number(100*e, 1)))
		}
	}
	what := "95 % band (DKW): "
	if len(d.curves) > maxBands {
		what = "95 % band (DKW, not drawn): "
	}
	return what + strings.Join(s, ", ") + "."
}
