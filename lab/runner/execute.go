package runner

import (
	"context"
	"fmt"
)

// Unit is a stretch of a cell's trials: what is handed out to whoever runs part of a plan.
type Unit struct {
	Cell int `json:"cell"` // Index of one of the plan's cells
	From int `json:"from"` // its first trial
	To   int `json:"to"`   // the one after its last
}

// Execute runs units as they come, as many at once as there are jobs, until the channel is closed or ctx ends: one after
// another would leave most of the machine idle, for most of a trial is waiting. The trials of a unit run one after another on one lab. done
// is told of a unit once the sink has kept a record of each trial that is Final; it may be called from many goroutines, and
// is not called for a unit that was cut short. The records are those that Run would make of the same trials.
//
// The plan's Stop is not asked: it takes a whole cell, which its coordinator sees. Progress.Total counts what has come so far.
func Execute(ctx context.Context, p Plan, c Config, units <-chan Unit, done func(Unit)) (Progress, error) {
	p.Stop = nil
	byIndex := map[int]*Cell{}
	for i := range p.Cells {
		byIndex[p.Cells[i].Index] = &p.Cells[i]
	}
	r, err := newRun(p, c)
	if err != nil {
		return Progress{}, err
	}
	r.next = func(ctx context.Context) *batch {
		for {
			select {
			case <-ctx.Done():
				return nil
			case u, ok := <-units:
				if !ok {
					return nil
				}
				b, err := r.batchOf(byIndex[u.Cell], u)
				if err != nil {
					r.stop(err)
					return nil
				}
				b.done = func() { done(u) }
				return b
			}
		}
	}
	return r.run(ctx, r.Jobs)
}

// batchOf lists a unit's trials.
func (r *run) batchOf(c *Cell, u Unit) (*batch, error) {
	if c == nil || u.From < 0 || u.To < u.From {
		return nil, fmt.Errorf("execute unit: the plan has no trials %d to %d of cell %d", u.From, u.To, u.Cell)
	}
	b := &batch{}
	for n := u.From; n < u.To; n++ {
		if t, open := r.task(c, n); open {
			b.tasks = append(b.tasks, t)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.progress.Total += len(b.tasks)
	return b, nil
}
