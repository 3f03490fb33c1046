// Package runner turns a plan into records: every trial of every cell, many at once, each admitted when the machine has room.
//
//	Plan ─▶ batches of one topology ─▶ workers ─▶ lab.Pool ─▶ System.Try ─▶ record.Trial ─▶ Sink
//	                                      ▲                                     │
//	                                  admission ◀── lateness of the fabric ─────┘
//
// Without a fabric the trials are simulated, in virtual time and in this process: no pool, no admission, nothing to be late.
//
// Most of a trial is waiting, so many run at once; how many is decided by how late the fabric delivers. A trial during which
// it ran late, or a device queue dropped, says nothing about the system under test: it is kept as a harness error and run
// again. The runner measures and records. It never judges, averages or draws.
//
// Which trials run where and when makes no difference to what they are: a trial's seed is of its cell and number alone, and a stop rule
// sees a cell's trials in their order (Order). Run takes the trials of a plan, or of a shard; Execute takes units of them as they come.
package runner

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/punchlab/punchlab/lab"
	"github.com/punchlab/punchlab/lab/record"
	"github.com/punchlab/punchlab/lab/stack"
)

// The hosts that a topology must have for a trial.
const (
	Camera     = "camera"
	Viewer     = "viewer"
	Rendezvous = "rendezvous"
)

// Plan is what to run.
type Plan struct {
	Cells  []Cell
	Trials int // per cell
	Seed   uint64

	Idle     time.Duration // in each cell's first trial: the camera is left alone so long before the viewer asks
	Media    time.Duration // video to receive; zero: connect only
	Timeout  time.Duration // of a trial
	Stranger bool          // somebody from elsewhere tries to reach the camera at the end of each trial
	Events   []lab.Event   // what happens to the network in each trial

	// Stop ends a cell before its last trial; nil: none ends. See Order, which asks it. A plan that has one leaves no cell to
	// several shards.
	Stop func(cell int, prefix []record.Trial) bool

	// Done says which trials already have a verdict, and how often others were tried; nil: none.
	Done func(cell, trial int) (verdict bool, attempts int)
	// Mine says which trials are this shard's; nil: all.
	Mine func(cell, trial int) bool

	past *past
}

// past is what an earlier part of the run recorded.
type past struct {
	tried    map[[2]int]tried
	recorded []record.Trial // with a verdict, where a stop rule wants to see them
}

type tried struct {
	verdict  bool
	attempts int
}

// Resume tells the plan, whose Stop is set, of a record that an earlier part of the run kept, so that it is not run again: give it to
// record.Reopen. It sets Done.
func (p *Plan) Resume(r record.Trial) error {
	if p.past == nil {
		p.past = &past{tried: map[[2]int]tried{}}
		known := p.past
		p.Done = func(cell, trial int) (bool, int) {
			t := known.tried[[2]int{cell, trial}]
			return t.verdict, t.attempts
		}
	}
	k := [2]int{r.Cell, r.Trial}
	t := p.past.tried[k]
	p.past.tried[k] = tried{t.verdict || r.Outcome.HasVerdict(), max(t.attempts, r.Attempt+1)}
	if p.Stop != nil && r.Outcome.HasVerdict() {
		p.past.recorded = append(p.past.recorded, r)
	}
	return nil
}

// Cell is one combination of the axes.
type Cell struct {
	Index    int // in the scenario's order
	Params   map[string]string
	System   stack.System      // under test
	Strategy string            // one of the system's
	Options  map[string]string // see stack.Trial
	Topology *lab.Topology     // resolved
}

func (p Plan) validate() error {
	switch {
	case len(p.Cells) == 0:
		return fmt.Errorf("validate plan: no cells")
	case p.Trials < 1:
		return fmt.Errorf("validate plan: %d trials a cell: give at least 1", p.Trials)
	case p.Timeout <= 0:
		return fmt.Errorf("validate plan: timeout %v: give a positive one", p.Timeout)
	}
	for _, c := range p.Cells {
		if c.System == nil {
			return fmt.Errorf("validate plan: cell %d has no system under test", c.Index)
		}
		if err := p.checkWhole(c.Index); err != nil {
			return fmt.Errorf("validate plan: %w", err)
		}
		for _, h := range []string{Camera, Viewer, Rendezvous} {
			if c.Topology.HostAddr(h) == nil {
				return fmt.Errorf("validate plan: topology %s has no host %q: a trial needs one", c.Topology.Name, h)
			}
		}
	}
	if err := p.CheckEvents(); err != nil {
		return fmt.Errorf("validate plan: %w", err)
	}
	return nil
}

// checkWhole says whether a cell that may be stopped is dealt out to several shards.
func (p Plan) checkWhole(cell int) error {
	if p.Stop == nil || p.Mine == nil {
		return nil
	}
	for n := range p.Trials {
		if p.Mine(cell, n) != p.Mine(cell, 0) {
			return fmt.Errorf("cell %d has a stop rule and is dealt out to several shards: deal out whole cells", cell)
		}
	}
	return nil
}

// CheckOptions says which cell asks a system for what its trials cannot have.
func (p Plan) CheckOptions() error {
	for _, c := range p.Cells {
		for name := range c.Options {
			has := func(o stack.Option) bool { return o.Name == name }
			if !slices.ContainsFunc(stack.Options(c.System), has) {
				return fmt.Errorf("cell %d: system %s (strategy %s) has no trial.%s", c.Index, c.System.Name(), c.Strategy, name)
			}
		}
	}
	return nil
}

// CheckEvents says which events a system under test can't take.
func (p Plan) CheckEvents() error {
	for i, e := range p.Events {
		if e.Do != lab.DoKill {
			continue
		}
		for _, c := range p.Cells {
			if can := c.System.Programs(); !slices.Contains(can, e.Host) {
				return fmt.Errorf("event %d, %s: system %s (strategy %s) has nothing on that host that can be killed, only on %v",
					i+1, e, c.System.Name(), c.Strategy, can)
			}
		}
	}
	return nil
}

// idle returns how long a trial leaves the camera alone.
func (p Plan) idle(trial int) time.Duration {
	if trial == 0 {
		return p.Idle
	}
	return 0
}

// trial is what a cell's system is asked to do.
func (p Plan) trial(c *Cell, n int, seed uint64) stack.Trial {
	return stack.Trial{
		Seed: seed, Strategy: c.Strategy, Idle: p.idle(n), Media: p.Media, Timeout: p.Timeout, Stranger: p.Stranger, Options: c.Options,
	}
}

// strategyKey is the parameter that says how the system under test goes about it, and nothing of what it meets.
const strategyKey = "strategy"

// Seed derives a trial's seed from the run's seed, the cell's parameters and the trial's number alone, so that narrowing an
// axis, another number of jobs or another shard leaves each trial the same. The strategy is left out: each strategy meets the
// same ports, losses and delays in a trial of the same number, so that two are compared in pairs (common random numbers), which
// tells smaller differences apart than as many independent trials do.
func Seed(run uint64, params map[string]string, trial int) uint64 {
	h := sha256.New()
	for _, k := range slices.Sorted(maps.Keys(params)) {
		if k == strategyKey {
			continue
		}
		fmt.Fprintf(h, "%q=%q\n", k, params[k])
	}
	var tail [16]byte
	binary.BigEndian.PutUint64(tail[:8], run)
	binary.BigEndian.PutUint64(tail[8:], uint64(trial))
	h.Write(tail[:])
	return binary.BigEndian.Uint64(h.Sum(nil)) >> 11 // fits a JSON number exactly
}

// triangle is the lower bound of the first packet: viewer → rendezvous → camera → viewer.
func triangle(t *lab.Topology) time.Duration {
	return t.Path(Viewer, Rendezvous).Delay + t.Path(Rendezvous, Camera).Delay + t.Path(Camera, Viewer).Delay
}

// bound is the lower bound of the first whole frame: the triangle, and the frame's bytes over the slowest link.
func bound(t *lab.Topology, wire int) time.Duration {
	b := triangle(t)
	if rate := t.Path(Camera, Viewer).Rate; rate > 0 {
		b += time.Duration(float64(wire) * 8 / float64(rate) * float64(time.Second))
	}
	return b
}
