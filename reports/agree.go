package reports

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/punchlab/punchlab/lab/record"
	"github.com/punchlab/punchlab/lab/stats"
)

// isEngine reports whether an axis says only what realises the NATs: "camera.engine". Its values must not matter.
func isEngine(key string) bool { return key == "engine" || strings.HasSuffix(key, ".engine") }

// engines names the engines of a cell: "table", or "netfilter/table" where its sides may differ.
func (m *model) engines(c *cell) string {
	var s []string
	for _, a := range m.axes {
		if isEngine(a.Key) {
			s = append(s, c.Params[a.Key])
		}
	}
	return strings.Join(s, "/")
}

// agreement is two cells that differ in engine alone, a with the engine that its axis lists first.
type agreement struct {
	name             string
	a, b             *cell
	diff, low, high  float64 // direct rate of b − a
	direct, distance float64 // p of Fisher's test, and of Kolmogorov's and Smirnov's on first frames; NaN: none
	ks               float64 // the largest distance of the distributions
}

const (
	maxAgreements = 24 // lines of the drawing
	mostRows      = 24 // of the table
)

// agree compares the engines: each cell with its like under the first engine, the biggest difference first.
func (m *model) agree() (topic, bool) {
	t := topic{id: "engines", title: "Do the engines agree?"}
	first := slices.IndexFunc(m.axes, func(a record.Axis) bool { return isEngine(a.Key) })
	if first < 0 {
		return t, false
	}
	as := m.agreements()
	if len(as) == 0 {
		return t, false
	}
	pooled := map[string][]stats.Stratum{}
	var order []string
	for _, a := range as {
		name := m.engines(a.a) + " → " + m.engines(a.b)
		if pooled[name] == nil {
			order = append(order, name)
		}
		pooled[name] = append(pooled[name], a.stratum())
	}
	slices.Sort(order)
	f := forest{x: "direct rate, points", print: points}
	t.head = []string{"engines", "cell", "n", "direct rate, difference (95 % interval)", "p (Fisher)", "first frame: largest distance", "p (Kolmogorov–Smirnov)"}
	for _, name := range order {
		diff, low, high := stats.StrataDiff(pooled[name], record.Confidence)
		less, greater := stats.ExactStrata(pooled[name])
		f.rows = append(f.rows, forestRow{name + ", all cells", 100 * diff, 100 * low, 100 * high, pointsInterval(diff, low, high)})
		t.rows = append(t.rows, []string{name, fmt.Sprintf("all %s", plural(len(pooled[name]), "pair")), "–", pointsInterval(diff, low, high), probability(min(1, 2*min(less, greater))), "–", "–"})
	}
	shown := 0
	for _, a := range as {
		if shown++; shown <= mostRows {
			t.rows = append(t.rows, a.row(m))
		}
		if len(f.rows) < maxAgreements {
			f.rows = append(f.rows, forestRow{a.name, 100 * a.diff, 100 * a.low, 100 * a.high, pointsInterval(a.diff, a.low, a.high)})
		}
	}
	t.says = fmt.Sprintf("%s of cells that differ in engine alone, the biggest difference first. The interval of a pair is Newcombe's, that of all pairs is stratified by cell (Mantel and Haenszel); "+
		"p is adjusted for the number of pairs (Holm). ", plural(len(as), "pair"))
	if n := len(as) - mostRows; n > 0 {
		t.says += fmt.Sprintf("The %s with the smallest differences are not in the table. ", plural(n, "pair"))
	}
	t.says += m.provenance()
	t.figures = []figure{f.figure(figure{id: "engines-agreement", title: "Difference of the direct rate between engines"}, m.provenance())}
	return t, true
}

// agreements pairs each cell with its like under the first engines, the biggest difference first.
func (m *model) agreements() (as []agreement) {
	var firsts, others []*cell
	for _, c := range m.cells {
		reference := true
		for _, a := range m.axes {
			reference = reference && (!isEngine(a.Key) || c.Params[a.Key] == a.Values[0])
		}
		if reference {
			firsts = append(firsts, c)
		} else {
			others = append(others, c)
		}
	}
	var direct, distance []float64
	for _, b := range others {
		a := m.otherwise(firsts, b, isEngine)
		if a == nil || a.Trials == 0 || b.Trials == 0 {
			continue
		}
		g := agreement{name: m.engines(a) + " → " + m.engines(b) + ", " + m.conditionsOf(b), a: a, b: b, ks: absent, distance: 1}
		s := g.stratum()
		g.diff = float64(s.K2)/float64(s.N2) - float64(s.K1)/float64(s.N1)
		g.low, g.high = stats.Newcombe(s.K1, s.N1, s.K2, s.N2, record.Confidence)
		_, _, g.direct = stats.Fisher(s.K1, s.N1, s.K2, s.N2)
		if x, y := a.sample(firstFrameS), b.sample(firstFrameS); len(x) > 0 && len(y) > 0 {
			g.ks, g.distance = stats.KolmogorovSmirnov(x, y)
		}
		as, direct, distance = append(as, g), append(direct, g.direct), append(distance, g.distance)
	}
	direct, distance = stats.Holm(direct), stats.Holm(distance)
	for i := range as {
		as[i].direct, as[i].distance = direct[i], distance[i]
	}
	slices.SortStableFunc(as, func(a, b agreement) int { return cmp.Compare(math.Abs(b.diff), math.Abs(a.diff)) })
	return as
}

func (a agreement) stratum() stats.Stratum {
	return stats.Stratum{K1: a.a.Outcomes[record.Direct], N1: a.a.Trials, K2: a.b.Outcomes[record.Direct], N2: a.b.Trials}
}

func (a agreement) row(m *model) []string {
	far, p := "–", "–"
	if has(a.ks) {
		far, p = number(100*a.ks, 1)+" points", probability(a.distance)
	}
	return []string{
		m.engines(a.a) + " → " + m.engines(a.b), m.conditionsOf(a.b), count(a.a.Trials) + " and " + count(a.b.Trials),
		pointsInterval(a.diff, a.low, a.high), probability(a.direct), far, p,
	}
}

// conditionsOf names a cell by all but its engines.
func (m *model) conditionsOf(c *cell) string {
	var nats, rest []string
	for _, a := range m.axes {
		switch {
		case isEngine(a.Key):
		case isNAT(a.Key):
			nats = append(nats, c.Params[a.Key])
		default:
			rest = append(rest, c.Params[a.Key])
		}
	}
	return strings.Join(append([]string{strings.Join(nats, " × ")}, rest...), ", ")
}

// points prints a number of percentage points with its sign.
func points(v float64) string {
	if s := number(math.Abs(v), 1); s == "0" {
		return "0"
	} else if v < 0 {
		return "−" + s
	} else {
		return "+" + s
	}
}

// pointsInterval prints a difference of rates.
func pointsInterval(diff, low, high float64) string {
	return fmt.Sprintf("%s points (%s to %s)", points(100*diff), points(100*low), points(100*high))
}
