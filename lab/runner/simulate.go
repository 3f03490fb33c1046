package runner

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/punchlab/punchlab/lab/record"
	"github.com/punchlab/punchlab/lab/stack"
)

// simulated reports whether a plan is run in virtual time.
func (c Config) simulated() bool { return c.Fabric == nil }

// simulationJobs is how many trials are computed at once: each keeps one processor busy.
func simulationJobs() int { return runtime.GOMAXPROCS(0) }

// checkSimulation says which cell engine sim cannot have.
func (p Plan) checkSimulation() error {
	for _, c := range p.Cells {
		if _, ok := c.System.(stack.Simulator); !ok {
			return fmt.Errorf("validate plan: cell %d: engine sim cannot run system %s (strategy %s): use engine netfilter or table",
				c.Index, c.System.Name(), c.Strategy)
		}
		if err := stack.CheckSim(c.System, c.Topology, p.trial(&c, 0, 0), p.Events); err != nil {
			return fmt.Errorf("validate plan: cell %d: %w", c.Index, err)
		}
	}
	return nil
}

// simulate computes one trial. Nothing in it takes time but the processor's, so nothing can be late: the record is a function of
// the plan, the cell and the trial's number, but for when it was made.
func (r *run) simulate(ctx context.Context, t task) (rec record.Trial) {
	rec = r.begin(t)
	rec.StartedAt = time.Now().UTC()
	defer func() { rec.EndedAt = time.Now().UTC() }()
	obs, events, err := t.cell.System.(stack.Simulator).Simulate(ctx, t.cell.Topology, r.trial(t.cell, t.trial, rec.Seed), r.Events)
	rec.Events = events
	if err != nil {
		return void(rec, "the simulation failed", err)
	}
	fill(&rec, obs, t.cell.Topology)
	rec.IdleS = seconds(r.idle(t.trial))
	for _, e := range events {
		if e.Error != "" {
			return void(rec, "an event could not happen", errors.New(e.What+": "+e.Error))
		}
	}
	return rec
}
