package reports

import (
	"fmt"
	"slices"
	"strings"

	"github.com/punchlab/punchlab/lab/gate"
	"github.com/punchlab/punchlab/lab/record"
)

// overlay is a value that is drawn as two distributions.
type overlay struct {
	name, title, axis string
	print             func(float64) string
	all               bool   // every trial could have had a value: a curve may end below 100 %
	never             string // what trials without one did not do
	marks             []mark
}

var overlaid = []overlay{
	{"connect_s", "Time to connect", "time to connect", seconds, true, "never connected", nil},
	{"first_frame_s", "Time to the first whole frame", "time to the first frame", seconds, true, "had no frame", nil},
	{"first_packet_ratio", "First media packet ÷ triangle bound", "ratio to the triangle bound", ratio, false, "", atBound},
	{"first_frame_ratio", "First whole frame ÷ its bound", "ratio to the bound", ratio, false, "", atBound},
	{"latency_s", "Median frame latency of a trial", "one-way latency", seconds, false, "", nil},
	{"gap_s", "Longest standstill of a trial", "longest standstill", seconds, false, "", nil},
	{"goodput_bps", "Goodput", "goodput", bits, false, "", nil},
}

// overlays draws each value of each strategy once for both runs, over the cells that both have.
func (c *sides) overlays() []figure {
	both := map[string]bool{}
	for i := range c.a.Cells {
		both[c.a.Cells[i].Key()] = true
	}
	common := map[string]bool{}
	for i := range c.b.Cells {
		k := c.b.Cells[i].Key()
		common[k] = both[k]
	}
	groups := c.b.Groups()
	for _, g := range c.a.Groups() {
		if !slices.Contains(groups, g) {
			groups = append(groups, g)
		}
	}
	var fs []figure
	for _, o := range overlaid {
		for _, g := range groups {
			a, b := o.curve(c.a, g, common), o.curve(c.b, g, common)
			a.name, b.name, b.order = "baseline", "candidate", 1
			if len(a.xs)+len(b.xs) > 0 {
				fs = append(fs, o.figure(g, a, b))
			}
		}
	}
	return fs
}

// curve is one run's distribution, over the cells in common.
func (o overlay) curve(s gate.Sample, group string, common map[string]bool) curve {
	var k curve
	for i := range s.Cells {
		c := &s.Cells[i]
		if c.Group() != group || !common[c.Key()] {
			continue
		}
		k.xs = append(k.xs, c.Sample(o.name)...)
		for _, out := range c.Outcomes {
			if o.all && out != record.Unsupported {
				k.of++
			}
		}
	}
	if k.of < len(k.xs) {
		k.of = len(k.xs)
	}
	slices.Sort(k.xs)
	return k
}

func (o overlay) figure(group string, a, b curve) figure {
	f := figure{id: slug(o.name, []param{{"", group}}), title: o.title, w: 460, h: 270}
	if group != "" {
		f.title += ", " + printable(group)
	}
	d := distribution{x: o.axis, of: "share of trials", unit: "trial", band: true, print: o.print, marks: slices.Clone(o.marks), never: o.never}
	var says []string
	for _, k := range []curve{a, b} {
		if len(k.xs) == 0 {
			says = append(says, k.name+": none")
			continue
		}
		d.curves = append(d.curves, k)
		says = append(says, fmt.Sprintf("%s: median %s, p95 %s, %s", k.name, quantile(k.xs, 0.5, o.print), quantile(k.xs, 0.95, o.print), k.n()))
	}
	if len(d.curves) == 0 {
		f.instead = "Not measured."
		return f
	}
	low, high := d.curves[0].xs[0], d.curves[0].xs[0]
	for _, k := range d.curves {
		low, high = min(low, k.xs[0]), max(high, k.xs[len(k.xs)-1])
	}
	if low == high {
		f.instead = fmt.Sprintf("%s in both, and nothing else (%s).", o.print(low), strings.Join(says, "; "))
		return f
	}
	f.caption = strings.Join(says, ". ")
	f.caption = strings.ToUpper(f.caption[:1]) + f.caption[1:] +
		". Over the cells that both runs have; bands hold the whole curve with 95 % confidence (DKW)."
	f.alt = fmt.Sprintf("Cumulative distributions of %s of both runs. %s.", o.axis, strings.Join(says, "; "))
	f.paint = d.paint
	return f
}
