package reports

import (
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/punchlab/punchlab/lab/gate"
	"github.com/punchlab/punchlab/lab/record"
)

// model is what the formats print: the run, its summary, and how its axes fall into matrices and curves. It is
// computed once and never changed.
type model struct {
	run      *record.Run // without its trials
	summary  record.Summary
	attempts int           // trials recorded, harness errors too
	stride   int           // of the frames' latencies every so manieth is kept
	axes     []record.Axis // those that vary, in order
	fixed    []record.Axis // those with a single value
	cells    []*cell       // in scenario order

	rowKey, colKey string           // the axes of a matrix, "" where there is none
	facets         []*facet         // a matrix for each combination of the other axes
	groups         []*group         // the strategies, in order; one without a name where they do not vary
	panels         []*panel         // what curves are drawn apart for: links and other conditions
	judged         []gate.Judgement // of the run's thresholds
	asked          []topic          // made by topics
	extra          []topic          // sections from other files of the run's folder
}

// cell is a record.Cell with the trials behind it.
type cell struct {
	record.Cell
	index  int       // in the scenario
	trials []trial   // by number and attempt
	frames []float32 // latencies in seconds, of the judged trials
	passed int       // how many there were
}

// facet is one matrix.
type facet struct {
	params     []param
	rows, cols []string
	at         [][]*cell // [row][column]; nil where no trial was recorded
}

// panel is one set of curves.
type panel struct {
	params []param
	groups []*group
}

// param is one axis at one value.
type param struct{ key, value string }

func label(ps []param) string {
	var s []string
	for _, p := range ps {
		s = append(s, p.value)
	}
	return strings.Join(s, " · ")
}

// named is label for a title, where "direct" alone would not say that it is a strategy.
func named(ps []param) string {
	var s []string
	for _, p := range ps {
		if p.key == strategyKey {
			p.value = "strategy " + p.value
		}
		s = append(s, p.value)
	}
	return strings.Join(s, " · ")
}

// slug names a file after params.
func slug(name string, ps []param) string {
	for _, p := range ps {
		name += "." + p.value
	}
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '.', r == '-', r == '_':
			return r
		}
		return '-'
	}, name)
}

const strategyKey = "strategy"

// newModel is the model of a run that is in memory.
func newModel(run *record.Run) *model {
	k := newColumns()
	j, err := newJudging(run.Manifest)
	for _, t := range run.Trials {
		if err == nil {
			err = errors.Join(k.add(t), j.add(t))
		}
	}
	if err != nil {
		panic(err) // it was checked when it was read
	}
	return modelOfColumns(run, k, j)
}

// readModel is the model of the run in a folder. It reads a trial at a time and keeps columns of them.
func readModel(dir string) (*model, error) {
	man, err := record.ReadManifest(dir)
	if err != nil {
		return nil, err
	}
	j, err := newJudging(man)
	if err != nil {
		return nil, err
	}
	k := newColumns()
	run, err := record.Scan(dir, func(t record.Trial) error { return errors.Join(k.add(t), j.add(t)) })
	if err != nil {
		return nil, err
	}
	return modelOfColumns(run, k, j), nil
}

func modelOfColumns(run *record.Run, k *columns, j *judging) *model {
	man := run.Manifest
	m := &model{run: run, cells: k.done(), attempts: k.attempts, stride: k.stride, judged: j.judgements(run), summary: record.Summary{
		Schema: record.SummarySchema, Scenario: man.Scenario.Name, Engine: man.Engine, Seed: man.Seed, WallS: run.Wall().Seconds(),
	}}
	for _, c := range m.cells {
		m.summary.Trials += c.Trials
	}
	m.collectAxes()
	m.chooseMatrix()
	m.fillFacets()
	m.groups = m.groupBy(m.cells)
	m.fillPanels()
	return m
}

// collectAxes takes keys and values in the manifest's order, and those it does not name in the order of the cells.
func (m *model) collectAxes() {
	var all []record.Axis
	for _, a := range m.run.Manifest.Axes {
		all = append(all, record.Axis{Key: a.Key, Values: slices.Clone(a.Values)})
	}
	for _, c := range m.cells {
		for _, k := range slices.SortedFunc(maps.Keys(c.Params), compareKeys) {
			i := slices.IndexFunc(all, func(a record.Axis) bool { return a.Key == k })
			if i < 0 {
				i = len(all)
				all = append(all, record.Axis{Key: k})
			}
			if v := c.Params[k]; !slices.Contains(all[i].Values, v) {
				all[i].Values = append(all[i].Values, v)
			}
		}
	}
	for _, a := range all {
		if len(a.Values) > 1 {
			m.axes = append(m.axes, a)
		} else if len(a.Values) == 1 {
			m.fixed = append(m.fixed, a)
		}
	}
}

// compareKeys orders the keys of a run that does not tell its axes: NATs, the camera's first, the strategy, the rest.
func compareKeys(a, b string) int {
	rank := func(key string) int {
		switch r := natFirst(key); {
		case key == strategyKey:
			return 3
		case r == 3:
			return 4
		default:
			return r
		}
	}
	if x, y := rank(a), rank(b); x != y {
		return x - y
	}
	return strings.Compare(a, b)
}

// natFirst ranks keys for the axes of a matrix: NATs, then conditions, then the strategy.
func natFirst(key string) int {
	switch {
	case key == "camera.nat":
		return 0
	case key == "viewer.nat":
		return 1
	case isNAT(key):
		return 2
	case key == strategyKey:
		return 4
	}
	return 3
}

func isNAT(key string) bool { return strings.HasSuffix(key, ".nat") || key == "nat" }

// chooseMatrix takes the NATs as rows and columns where they vary, then other conditions, then the strategy.
func (m *model) chooseMatrix() {
	axes := slices.Clone(m.axes)
	slices.SortStableFunc(axes, func(a, b record.Axis) int { return natFirst(a.Key) - natFirst(b.Key) })
	if len(axes) > 0 {
		m.rowKey = axes[0].Key
	}
	if len(axes) > 1 {
		m.colKey = axes[1].Key
	}
}

func (m *model) values(key string) []string {
	for _, a := range m.axes {
		if a.Key == key {
			return a.Values
		}
	}
	return []string{""}
}

func (m *model) fillFacets() {
	var rest []string
	for _, a := range m.axes {
		if a.Key != m.rowKey && a.Key != m.colKey {
			rest = append(rest, a.Key)
		}
	}
	for _, ps := range combinations(m, rest) {
		f := &facet{params: ps, rows: m.values(m.rowKey), cols: m.values(m.colKey)}
		f.at = make([][]*cell, len(f.rows))
		found := false
		for r := range f.rows {
			f.at[r] = make([]*cell, len(f.cols))
			for c := range f.cols {
				f.at[r][c] = m.find(append(slices.Clone(ps), param{m.rowKey, f.rows[r]}, param{m.colKey, f.cols[c]}))
				found = found || f.at[r][c] != nil
			}
		}
		if found {
			m.facets = append(m.facets, f)
		}
	}
}

// combinations returns every combination of the keys' values, the first key varying slowest; without keys, the empty one.
func combinations(m *model, keys []string) [][]param {
	all := [][]param{nil}
	for _, k := range keys {
		var next [][]param
		for _, ps := range all {
			for _, v := range m.values(k) {
				next = append(next, append(slices.Clone(ps), param{k, v}))
			}
		}
		all = next
	}
	return all
}

func (c *cell) matches(ps []param) bool {
	return !slices.ContainsFunc(ps, func(p param) bool { return p.key != "" && c.Params[p.key] != p.value })
}

func (m *model) find(ps []param) *cell {
	if i := slices.IndexFunc(m.cells, func(c *cell) bool { return c.matches(ps) }); i >= 0 {
		return m.cells[i]
	}
	return nil
}

// maxPanels is how many sets of curves a page can hold before they are pooled.
const maxPanels = 8

// fillPanels draws curves apart for each combination of what is neither NAT nor strategy: links above all.
func (m *model) fillPanels() {
	var rest []string
	for _, a := range m.axes {
		if !isNAT(a.Key) && a.Key != strategyKey {
			rest = append(rest, a.Key)
		}
	}
	all := combinations(m, rest)
	if len(all) > maxPanels {
		all = [][]param{nil}
	}
	for _, ps := range all {
		var in []*cell
		for _, c := range m.cells {
			if c.matches(ps) {
				in = append(in, c)
			}
		}
		if len(in) > 0 {
			m.panels = append(m.panels, &panel{params: ps, groups: m.groupBy(in)})
		}
	}
}

// pooled reports whether the curves mix conditions that the matrices tell apart.
func (m *model) pooled() bool {
	return len(m.panels) == 1 && len(m.panels[0].params) == 0 &&
		slices.ContainsFunc(m.axes, func(a record.Axis) bool { return !isNAT(a.Key) && a.Key != strategyKey })
}
