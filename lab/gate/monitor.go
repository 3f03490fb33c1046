package gate

import (
	"errors"
	"fmt"

	"gonum.org/v1/gonum/stat/distuv"

	"github.com/punchlab/punchlab/lab/record"
	"github.com/punchlab/punchlab/lab/stats"
)

// MonitorAlpha is the chance that a Monitor ends a run that keeps all its thresholds: over the whole run, all thresholds and
// groups together, however often it looked.
const MonitorAlpha = 0.01

// Aborted says why a run need not go on.
type Aborted struct {
	Threshold Threshold
	Group     string // of `by`; "" for all cells together
	Good, N   int    // trials that keep to the threshold, of those that tell
	Why       string
}

func (a *Aborted) Error() string {
	group := ""
	if a.Group != "" {
		group = " [" + a.Group + "]"
	}
	return fmt.Sprintf("threshold missed: %s%s: %s", a.Threshold.Expect(), group, a.Why)
}

// Monitor holds a run to its thresholds while it goes on, and ends it when one is sure to be missed:
//
//   - because so many trials have missed it that the rest could all be good and Judge would still fail the run: this takes the plan to be
//     known and nothing of the trials' order; or
//   - because of what is left of the plan, each cell not yet tried taken for flawless and each other one for as good as its confidence
//     sequence lets it be (stats.ConfidenceSequence, which holds at all times at once), not enough is good. Cells have rates of their
//     own and are tried in some order, so that the first ones say nothing of the others.
//
// Both together are wrong in MonitorAlpha of all runs at most. harness_error_rate has no plan: its rate is taken to be the machine's,
// one for all cells. A minimum or maximum is missed with the first trial beyond it. Monitor is not safe for concurrent use.
type Monitor struct {
	watches []*watch
}

// watch is one threshold.
type watch struct {
	t      Threshold
	alpha  float64                // of a cell's sequence
	cells  map[string]*watchCell  // by its parameters
	groups map[string]*watchGroup // by name
	finite float64                // what the first of both rules may err in a group
}

// watchCell is what is known of a cell. Until it has been tried, its oracle is not, and it may belong to several groups.
type watchCell struct {
	tried       bool
	left        int // trials that are planned and have no verdict
	good, n     int
	groups      []*watchGroup
	groupsShare float64 // of the cell in its groups' balance
}

// watchGroup is what is pooled. balance is how many more trials could be good, at best, than the threshold asks for.
type watchGroup struct {
	name    string
	balance float64
	most    int // trials that can still tell, or have told
	good, n int
}

// NewMonitor watches the thresholds that have Abort; the others are Judge's alone. It wants to know the run's axes and its trials a cell.
func NewMonitor(m record.Manifest, thresholds []Threshold) (*Monitor, error) {
	var aborting []Threshold
	for _, t := range thresholds {
		if t.Abort {
			aborting = append(aborting, t)
		}
	}
	if len(aborting) > 0 && (len(m.Axes) == 0 || m.TrialsPerCell < 1) {
		return nil, errors.New("monitor: the manifest names no axes or no trials a cell: a threshold cannot end a run whose plan is not known")
	}
	cells := combine(m.Axes)
	mon := &Monitor{}
	for _, t := range aborting {
		mon.watches = append(mon.watches, newWatch(t, cells, m.TrialsPerCell, MonitorAlpha/float64(len(aborting))))
	}
	return mon, nil
}

func newWatch(t Threshold, cells []map[string]string, trials int, alpha float64) *watch {
	w := &watch{t: t, cells: map[string]*watchCell{}, groups: map[string]*watchGroup{}}
	for _, params := range cells {
		s := &CellSample{Params: params}
		if !t.matches(s) {
			continue
		}
		c := &watchCell{left: trials}
		if t.By == oracleAxis {
			for _, kind := range oracleKinds {
				s.Oracle = kind
				if t.matches(s) {
					c.groups = append(c.groups, w.group(t.groupOf(s)))
				}
			}
		} else {
			c.groups = []*watchGroup{w.group(t.groupOf(s))}
		}
		w.cells[key(params)] = c
		for _, g := range c.groups {
			g.most += trials
		}
	}
	w.alpha = alpha / 2 / float64(max(1, len(w.cells)))
	w.finite = alpha / 2 / float64(max(1, len(w.groups)))
	for _, c := range w.cells {
		w.weigh(c)
	}
	return w
}

func (w *watch) group(name string) *watchGroup {
	if w.groups[name] == nil {
		w.groups[name] = &watchGroup{name: name}
	}
	return w.groups[name]
}

// weigh brings the cell's share in the balance of its groups up to date: its trials, as many as serve the threshold best, times how far
// over it their rate can be.
func (w *watch) weigh(c *watchCell) {
	best := 1.0
	if c.n > 0 {
		_, best = stats.ConfidenceSequence(c.good, c.n, w.alpha)
	}
	trials := c.n
	if over := best - w.t.target(); over > 0 {
		trials += c.left
	}
	share := float64(trials) * (best - w.t.target())
	for _, g := range c.groups {
		g.balance += share - c.groupsShare
	}
	c.groupsShare = share
}

// Add takes the next trial, in whatever order trials end. Its error is *Aborted as soon as a threshold is sure to be missed.
// It is what runner.Config.Abort asks for.
func (m *Monitor) Add(t record.Trial) error {
	if len(m.watches) == 0 {
		return nil
	}
	row, err := rowOf(t)
	if err != nil {
		return fmt.Errorf("monitor: %w", err)
	}
	for _, w := range m.watches {
		if a := w.add(row); a != nil {
			return a
		}
	}
	return nil
}

// rowOf is a sample of a single trial: one row, or none with a harness error.
func rowOf(t record.Trial) (*CellSample, error) {
	b := NewBuilder(record.Manifest{})
	if err := b.Add(t); err != nil {
		return nil, err
	}
	return &b.Sample().Cells[0], nil
}

func (w *watch) add(row *CellSample) *Aborted {
	c := w.cells[row.Key()]
	if c == nil {
		return nil
	}
	if !c.tried {
		w.place(c, row)
	}
	if len(c.groups) == 0 {
		return nil
	}
	g := c.groups[0]
	if w.t.Metric.Name == harnessErrorRate {
		return w.addAttempt(g, row)
	}
	if row.Trials() == 0 {
		return nil
	}
	if c.left > 0 {
		c.left--
	} else {
		g.most++ // more than was planned
	}
	good, tells := w.t.good(row, 0)
	switch {
	case !tells:
		g.most--
	case good:
		c.good, c.n = c.good+1, c.n+1
		g.good, g.n = g.good+1, g.n+1
	default:
		c.n++
		g.n++
	}
	if w.t.extreme() {
		return w.beyond(g, tells && !good)
	}
	w.weigh(c)
	return w.decide(g)
}

// place finds out, with its first trial, to which group a cell belongs, if to any.
func (w *watch) place(c *watchCell, row *CellSample) {
	c.tried = true
	var own []*watchGroup
	for _, g := range c.groups {
		if w.t.matches(row) && g.name == w.t.groupOf(row) {
			own = append(own, g)
			continue
		}
		g.most -= c.left
		g.balance -= c.groupsShare
	}
	c.groups = own
}

// decide applies both rules to a group.
func (w *watch) decide(g *watchGroup) *Aborted {
	missed := g.n - g.good
	const rounding = 1e-9
	switch {
	case missed > 0 && w.lost(g, missed):
		return w.abort(g, fmt.Sprintf("%d of %d trials miss it, and no end of the run could make up for that", missed, g.n))
	case g.balance < -rounding:
		return w.abort(g, fmt.Sprintf("%d of %d trials miss it: too many for chance, whatever cells that are left are like", missed, g.n))
	}
	return nil
}

// lost says whether Judge would fail the group if all trials that are left were good.
func (w *watch) lost(g *watchGroup, missed int) bool {
	return distuv.Binomial{N: float64(g.most), P: w.t.target()}.CDF(float64(g.most-missed)) <= w.finite
}

// beyond ends the run at the first trial beyond a limit that none may be beyond.
func (w *watch) beyond(g *watchGroup, missed bool) *Aborted {
	none := (w.t.Metric.P() == 1) != w.t.atLeast() // max <= x, or min >= x
	if !missed || !none {
		return nil
	}
	return w.abort(g, "a trial is beyond it")
}

// addAttempt counts an attempt for harness_error_rate.
func (w *watch) addAttempt(g *watchGroup, row *CellSample) *Aborted {
	k, n := row.Rate(harnessErrorRate)
	bad := k
	if w.t.atLeast() {
		bad = n - k
	}
	g.n, g.good = g.n+n, g.good+n-bad
	if _, best := stats.ConfidenceSequence(g.good, g.n, w.finite); best < w.t.target() {
		return w.abort(g, fmt.Sprintf("%d of %d attempts miss it: too many for chance", g.n-g.good, g.n))
	}
	return nil
}

func (w *watch) abort(g *watchGroup, why string) *Aborted {
	return &Aborted{Threshold: w.t, Group: g.name, Good: g.good, N: g.n, Why: why}
}
