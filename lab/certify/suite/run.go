package suite

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/punchlab/punchlab/lab/certify"
	"github.com/punchlab/punchlab/lab/certify/evidence"
	"github.com/punchlab/punchlab/reports"
)

// Outcome is what a run came to.
type Outcome struct {
	Certification reports.Certification
	// Ran is the verdict of the cases that were run, by themselves: what the caller of a brief run, or of single cases, asked for.
	// Certification.Suite.Verdict is never better than inconclusive there.
	Ran         certify.Verdict
	Folder      string
	Certificate *evidence.Manifest // nil: not sealed
	Unsealed    string             // why there is no certificate, in a sentence; "" if there is one
}

// Run runs the cases, reports on them, and seals what certifies. A *BadOptions says that nothing was run. With another error there is
// an Outcome of what was done until then, and Resume goes on with it: ErrInterrupted, or the lab's.
func Run(ctx context.Context, o Options) (*Outcome, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	r := &run{o: o, dir: folder(o.Out), records: map[string]record{}, running: map[string]time.Time{}}
	for _, s := range certify.Select(o.Declaration) {
		if o.Asked(s) {
			r.asked = append(r.asked, s)
		}
	}
	if err := r.prepare(); err != nil {
		return nil, err
	}
	defer r.starts.Close()
	r.begun = o.Now()
	r.tell(Event{Kind: Began, Seed: o.Seed})
	err := r.work(ctx)
	out, finish := r.finish(ctx)
	return out, errors.Join(err, finish)
}

// run is a run that goes on.
type run struct {
	o       Options
	dir     folder
	asked   []certify.Selected
	begun   time.Time // this part of it
	started time.Time // the first one

	mu      sync.Mutex // of all below, and of Progress
	starts  *evidence.Starts
	records map[string]record
	probe   *reports.Probe
	fault   error                // of the lab: nothing more can be run
	running map[string]time.Time // since when
}

// waiting are the cases that are not done.
func (r *run) waiting() (list []certify.Selected) {
	for _, s := range r.asked {
		if _, done := r.records[s.Case.ID]; !done {
			list = append(list, s)
		}
	}
	return list
}

// work runs what is not done, so many at once. The error is ErrInterrupted, or the lab's.
func (r *run) work(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	tasks := make(chan task)
	var workers sync.WaitGroup
	for range r.o.Jobs {
		workers.Go(func() {
			for t := range tasks {
				if err := r.do(ctx, t); err != nil {
					cancel()
				}
			}
		})
	}
	for _, t := range plan(r.waiting(), r.o.Seed, r.probe == nil && r.o.seam.asks(r.o.Device)) {
		select {
		case tasks <- t:
			continue
		case <-ctx.Done():
		}
		break
	}
	close(tasks)
	workers.Wait()
	switch {
	case r.fault != nil:
		return r.fault
	case ctx.Err() != nil:
		return ErrInterrupted
	}
	return nil
}

// do runs a task. An error says that no other can be run.
func (r *run) do(ctx context.Context, t task) error {
	if ctx.Err() != nil {
		return nil
	}
	var err error
	if t.probe {
		err = r.ask(ctx, t.Case)
	} else {
		err = r.runCase(ctx, t.Case)
	}
	if err != nil && ctx.Err() == nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.fault = errors.Join(r.fault, err)
	}
	return err
}

// tell says what has happened.
func (r *run) tell(e Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.o.Progress == nil {
		return
	}
	e.At = r.o.Now()
	e.Done, e.Of = len(r.records), len(r.asked)
	for _, s := range r.asked {
		if _, now := r.running[s.Case.ID]; now {
			e.Running = append(e.Running, s.Case.ID)
		}
	}
	e.Left = r.left(e.At)
	r.o.Progress(e)
}

// left is about how long the run goes on.
func (r *run) left(now time.Time) time.Duration {
	var longest time.Duration
	rest := slices.Clone(r.waiting())
	for i, s := range rest {
		spent := time.Duration(0)
		if since, ok := r.running[s.Case.ID]; ok {
			spent = now.Sub(since)
		}
		takes := max(0, Takes(s.Case, r.o.Brief)-spent)
		longest = max(longest, takes)
		rest[i].Case.Takes = takes
	}
	return max(longest, Estimate(rest, r.o.Jobs, false))
}
