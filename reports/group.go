package reports

import (
	"slices"
	"strings"

	"github.com/punchlab/punchlab/lab/record"
)

// group is a strategy over all the cells in which it ran.
type group struct {
	name     string // "" where no strategy is told
	order    int    // among the run's strategies: its color
	cells    []*cell
	outcomes map[record.Outcome]int
	judged   []*trial
}

// groupBy splits cells by strategy, in the axis's order.
func (m *model) groupBy(cells []*cell) []*group {
	var names []string
	for _, a := range slices.Concat(m.axes, m.fixed) {
		if a.Key == strategyKey {
			names = a.Values
		}
	}
	if len(names) == 0 {
		names = []string{""}
	}
	var groups []*group
	for i, name := range names {
		g := &group{name: name, order: i, outcomes: map[record.Outcome]int{}}
		for _, c := range cells {
			if c.Params[strategyKey] != name {
				continue
			}
			g.take(c)
		}
		if len(g.cells) > 0 {
			groups = append(groups, g)
		}
	}
	return groups
}

// take adds a cell.
func (g *group) take(c *cell) {
	g.cells = append(g.cells, c)
	for i := range c.trials {
		t := &c.trials[i]
		g.outcomes[t.outcome]++
		if t.outcome.HasVerdict() {
			g.judged = append(g.judged, t)
		}
	}
}

// title names the group in a sentence.
func (g *group) title() string {
	if g.name == "" {
		return "all trials"
	}
	return g.name
}

func (g *group) connected() int { return g.outcomes[record.Direct] + g.outcomes[record.Relayed] }

// supported counts the trials that could have connected.
func (g *group) supported() int { return len(g.judged) - g.outcomes[record.Unsupported] }

// sample collects a value of each judged trial that has it, ascending.
func (g *group) sample(value func(*trial) float64) []float64 {
	var xs []float64
	for _, t := range g.judged {
		if v := value(t); has(v) {
			xs = append(xs, v)
		}
	}
	slices.Sort(xs)
	return xs
}

// sample collects a value of each judged trial of a cell that has it, in their order.
func (c *cell) sample(value func(*trial) float64) []float64 {
	var xs []float64
	for i := range c.trials {
		if t := &c.trials[i]; t.outcome.HasVerdict() {
			if v := value(t); has(v) {
				xs = append(xs, v)
			}
		}
	}
	return xs
}

// frames collects the latencies kept of frames, ascending.
func (g *group) frames() []float64 {
	var xs []float64
	for _, c := range g.cells {
		xs = append(xs, c.latencies()...)
	}
	slices.Sort(xs)
	return xs
}

// oracleKind is an oracle's verdict without its parameters: "birthday(0.9, 256)" is "birthday".
func oracleKind(oracle string) string {
	kind, _, _ := strings.Cut(oracle, "(")
	return strings.TrimSpace(kind)
}

// byHand is the strategy for which an owner has opened the router: the oracle speaks of routers as they come.
const byHand = "port-forward"

// leak reports whether a direct path was found where the oracle says that none can be: the lab is then suspected.
func (c *cell) leak() bool {
	return oracleKind(c.Oracle) == "relay-only" && c.Params[strategyKey] != byHand && c.Outcomes[record.Direct] > 0
}

// relayOnly are the strategies that do not look for a direct path.
var relayOnly = []string{"relay", "tls443", "cloud"}

// shortfall reports whether the oracle promises a direct path that not every trial found.
func (c *cell) shortfall() bool {
	return oracleKind(c.Oracle) == "direct" && !slices.Contains(relayOnly, c.Params[strategyKey]) && c.Trials > 0 &&
		c.Outcomes[record.Direct] < c.Trials-c.Outcomes[record.Unsupported]
}

// unsupported reports whether the cell's strategy cannot run there at all.
func (c *cell) unsupported() bool { return c.Trials > 0 && c.Outcomes[record.Unsupported] == c.Trials }

// name tells the cell from the others of the run.
func (m *model) name(c *cell) string {
	var s []string
	for _, a := range m.axes {
		s = append(s, a.Key+"="+c.Params[a.Key])
	}
	if len(s) == 0 {
		return m.summary.Scenario
	}
	return strings.Join(s, " ")
}
