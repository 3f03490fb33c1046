package reports

import (
	"strings"

	"gonum.org/v1/plot/vg"

	"github.com/punchlab/punchlab/lab/record"
	"github.com/punchlab/punchlab/lab/stats"
)

// fleetKey is the axis of how many other cameras are registered at the rendezvous.
const fleetKey = "trial.fleet"

// fleet says what a trial takes as the fleet around it grows.
func (m *model) fleet() (topic, bool) {
	t := topic{id: "fleet", title: "What does a larger fleet cost?"}
	sizes := m.values(fleetKey)
	if len(sizes) < 2 {
		return t, false
	}
	t.head = []string{"fleet", "strategy", "n", "connected", "direct (95 % interval)", "connect, median", "connect, p95", "first frame, median", "first frame, p95", "camera sent", "relayed, a trial", "camera, left alone, an hour"}
	drawings := []levels{
		{what: "time to connect", id: "fleet-connect", value: connectS}, {what: "time to the first frame", id: "fleet-first-frame", value: firstFrameS},
	}
	for _, g := range m.groups {
		lines := make([]rateLine, len(drawings))
		for i, size := range sizes {
			part := g.where(fleetKey, size)
			if part == nil {
				continue
			}
			t.rows = append(t.rows, append([]string{fleetSize(size), g.title()}, part.fleetRow()...))
			for j := range drawings {
				lines[j].level(float64(i), part.sample(drawings[j].value))
			}
		}
		for j := range drawings {
			lines[j].name, lines[j].order = g.title(), g.order
			if len(lines[j].points) > 0 {
				drawings[j].lines = append(drawings[j].lines, lines[j])
			}
		}
	}
	for _, d := range drawings {
		if len(d.lines) > 0 {
			t.figures = append(t.figures, m.levelFigure(d, sizes))
		}
	}
	keep := informative(t.head, t.rows)
	for i, r := range t.rows {
		t.rows[i] = only(r, keep)
	}
	t.head = only(t.head, keep)
	t.says = "The fleet is how many other cameras are registered at the same rendezvous and keep their registrations alive; all networks together. " + m.provenance()
	return t, len(t.rows) > 0
}

// levels is a median over an axis, for each strategy.
type levels struct {
	id, what string
	value    func(*trial) float64
	lines    []rateLine
}

// level adds the median of an ascending sample with its interval.
func (l *rateLine) level(x float64, sorted []float64) {
	if len(sorted) == 0 {
		return
	}
	v := stats.Quantile(sorted, 0.5)
	low, high, ok := stats.QuantileInterval(sorted, 0.5, record.Confidence)
	if !ok {
		low, high = v, v
	}
	l.points = append(l.points, dotted{x, v, low, high})
}

func (m *model) levelFigure(d levels, at []string) figure {
	r := rates{lines: d.lines, x: "fleet", y: d.what + ", median", print: seconds}
	for i, v := range at {
		r.at, r.label = append(r.at, float64(i)), append(r.label, fleetSize(v))
	}
	return r.figure(figure{id: d.id, title: strings.ToUpper(d.what[:1]) + d.what[1:] + " over the fleet’s size", w: 460, h: vg.Length(270)}, m.provenance())
}

// fleetSize prints a value of the axis: "10000" is 10,000.
func fleetSize(v string) string {
	n := 0
	for _, r := range v {
		if r < '0' || r > '9' || n > 1e9 {
			return v
		}
		n = 10*n + int(r-'0')
	}
	return count(n)
}

// where is the part of a group whose cells have a value; nil: there is none.
func (g *group) where(key, value string) *group {
	part := &group{name: g.name, order: g.order, outcomes: map[record.Outcome]int{}}
	for _, c := range g.cells {
		if c.Params[key] == value {
			part.take(c)
		}
	}
	if len(part.cells) == 0 {
		return nil
	}
	return part
}

func (g *group) fleetRow() []string {
	n, direct := len(g.judged), g.outcomes[record.Direct]
	rate := tooFew
	if n > 0 {
		rate = percent(direct, n) + " (" + interval(direct, n) + ")"
	}
	idle, alone := idleTime{}, "–"
	idle.add(g.cells)
	if idle.trials > 0 {
		alone = aboutSize(idle.hourly())
	}
	connect, frame := g.sample(connectS), g.sample(firstFrameS)
	return []string{
		count(n), percent(g.connected(), n), rate, quantile(connect, 0.5, seconds), quantile(connect, 0.95, seconds),
		quantile(frame, 0.5, seconds), quantile(frame, 0.95, seconds), g.meanBytes("camera_up"), g.meanBytes("relay"), alone,
	}
}
