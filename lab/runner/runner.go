package runner

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/punchlab/punchlab/lab"
	"github.com/punchlab/punchlab/lab/live"
	"github.com/punchlab/punchlab/lab/record"
	"golang.org/x/sys/unix"
)

// DefaultJobs is how many busy trials may run at once where the machine keeps up. The fabric would bear more: with 48 of them on two
// cores the hosts are late, and a tenth of first packets comes after 1.23 times the bound instead of 1.09.
const DefaultJobs = 32

// descriptorsEach is the most that a trial holds: some 25 of its lab, and the sockets of the probe.
const descriptorsEach = 48

// affordable returns how many trials may run at once before this process runs out of descriptors.
func affordable() int {
	var lim unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &lim) != nil {
		return math.MaxInt
	}
	const own = 64 // standard files, records, the fabric's control socket, what the report opens
	return max(1, int((min(lim.Cur, math.MaxInt32)-min(lim.Cur, own))/descriptorsEach))
}

// Config says where and how a plan is run.
type Config struct {
	Fabric *live.Fabric                 // nil: trials are simulated, each System being a stack.Simulator
	Jobs   int                          // most trials at once, where enough files may be open; zero: DefaultJobs, or a processor each in simulation
	Late   time.Duration                // p99 lateness of the fabric that voids a trial; zero: LateLimit
	Sink   func(record.Trial) error     // keeps a record; called from many goroutines
	Watch  func(record.Trial, Progress) // after each record; may be nil; called from one goroutine at a time
	Pcap   Keep                         // which captures to keep
	Dir    string                       // the run's folder, where captures go

	// Abort is asked after each record that was kept, by one goroutine at a time: its error ends the run, and is Run's, wrapped in
	// ErrAborted. Which trials have ended by then depends on the machine; a Stop does not. nil: nothing aborts.
	Abort func(record.Trial) error
}

// Progress is how far a run is.
type Progress struct {
	Done, Total    int // trials with a verdict, and trials in all; those of a resumed run's earlier part are not counted
	Void           int // harness errors so far
	Unfilled       int // trials given up after repeated harness errors
	Stopped        int // cells that the plan's stop rule ended; Total is without what they had left
	Running, Limit int // trials now, and as many as admission lets run
	Elapsed        time.Duration
}

// Rate returns trials with a verdict per second.
func (p Progress) Rate() float64 {
	if p.Elapsed <= 0 {
		return 0
	}
	return float64(p.Done) / p.Elapsed.Seconds()
}

// Left estimates the time to the end; zero when it can't be told.
func (p Progress) Left() time.Duration {
	if p.Done == 0 {
		return 0
	}
	return time.Duration(float64(p.Elapsed) / float64(p.Done) * float64(p.Total-p.Done-p.Unfilled))
}

// ErrUnfilled means that some trials have no verdict: the lab failed them each time.
var ErrUnfilled = errors.New("trials without a verdict")

// ErrAborted means that Config.Abort ended the run.
var ErrAborted = errors.New("run aborted")

type run struct {
	Plan
	Config
	pool   *lab.Pool
	oracle oracle
	gate   *admission
	order  *Order
	next   func(context.Context) *batch // nil: nothing is left
	start  time.Time

	mu       sync.Mutex
	progress Progress
	open     map[int]int // trials of each cell that have no final record yet
	fatal    error
	cancel   context.CancelFunc
}

// Run runs the plan and returns when every trial has a verdict, ctx ends, the sink fails, Config.Abort says so or the fabric dies.
// Records that the sink has taken stay valid in every case.
func Run(ctx context.Context, p Plan, c Config) (Progress, error) {
	r, err := newRun(p, c)
	if err != nil {
		return Progress{}, err
	}
	rest := r.rest()
	q := newQueue(p, r.Jobs, rest)
	r.next = func(context.Context) *batch { return q.next() }
	r.progress.Total = q.left
	for _, row := range slices.Concat(q.rows, [][]task{q.quiet}) {
		for _, t := range row {
			r.open[t.cell.Index]++
		}
	}
	if p.past != nil {
		for _, rec := range p.past.recorded {
			r.order.Recorded(rec)
		}
	}
	return r.run(ctx, min(r.Jobs+rest, q.left))
}

// rest is how many trials may leave their camera alone beside those that are busy. They need a lab and no processor.
func (r *run) rest() int {
	if r.simulated() || r.Idle == 0 {
		return 0
	}
	return min(r.Jobs/2, affordable()-r.Jobs)
}

// ends asks the plan's rule about a cell.
func (r *run) ends(cell int, prefix []record.Trial) bool {
	if !r.Stop(cell, prefix) {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if left := r.open[cell]; left > 0 {
		r.progress.Total -= left
		r.progress.Stopped++
	}
	return true
}

func newRun(p Plan, c Config) (*run, error) {
	if err := p.validate(); err != nil {
		return nil, err
	}
	if c.simulated() {
		if err := p.checkSimulation(); err != nil {
			return nil, err
		}
	}
	switch {
	case c.Jobs == 0 && c.simulated():
		c.Jobs = simulationJobs()
	case c.Jobs == 0:
		c.Jobs = DefaultJobs
	}
	if !c.simulated() {
		c.Jobs = min(c.Jobs, affordable())
	}
	if c.Late == 0 {
		c.Late = LateLimit
	}
	r := &run{Plan: p, Config: c, pool: &lab.Pool{Fabric: c.Fabric}, gate: newAdmission(c.Jobs, time.Now), start: time.Now(), open: map[int]int{}}
	if c.simulated() {
		r.gate.limit = r.gate.max
	}
	r.order = &Order{Keep: r.keep, Drop: r.drop}
	if p.Stop != nil {
		r.order.Stop = r.ends
	}
	return r, nil
}

// run has so many workers take what is next until nothing is.
func (r *run) run(ctx context.Context, workers int) (Progress, error) {
	ctx, r.cancel = context.WithCancel(ctx)
	defer r.cancel()
	var wg, watch sync.WaitGroup
	if !r.simulated() {
		watch.Go(func() { r.watchFabric(ctx) })
	}
	for range workers {
		wg.Go(func() { r.work(ctx) })
	}
	wg.Wait()
	interrupted := context.Cause(ctx) // before cancel below makes every run look so
	r.cancel()
	watch.Wait()
	err := r.pool.Close()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.progress.Elapsed = time.Since(r.start)
	switch {
	case r.fatal != nil:
		return r.progress, r.fatal
	case interrupted != nil:
		return r.progress, interrupted
	case r.progress.Unfilled > 0:
		return r.progress, fmt.Errorf("%w: %d after %d attempts each", ErrUnfilled, r.progress.Unfilled, maxAttempts)
	}
	return r.progress, err
}

// work runs batches until none is left. Trials that the lab failed are run again at the end of their batch.
func (r *run) work(ctx context.Context) {
	for b := r.next(ctx); b != nil; b = r.next(ctx) {
		for len(b.tasks) > 0 {
			t := b.tasks[0]
			b.tasks = b.tasks[1:]
			if r.order.Ended(t.cell.Index) {
				continue
			}
			if d := t.calm(r.Late); d > 0 && !pause(ctx, d) {
				return
			}
			rec, ok := r.attempt(ctx, t)
			if !ok {
				return // cut short: says nothing
			}
			if err := r.order.Add(rec); err != nil {
				r.stop(err)
				return
			}
			if next, ok := t.again(); ok && !rec.Outcome.HasVerdict() {
				next.late = rec.Lateness != nil // it was measured to the end
				b.tasks = append(b.tasks, next)
			}
		}
		if b.done != nil {
			b.done()
		}
	}
}

// attempt runs one trial as soon as there is room. ok is false when ctx ended before it.
func (r *run) attempt(ctx context.Context, t task) (rec record.Trial, ok bool) {
	quiet := r.idle(t.trial) > 0 && r.Jobs > 1 && !r.simulated() // it waits, and takes no room
	if quiet {
		rec, _, _ = r.try(ctx, t)
		return rec, ctx.Err() == nil
	}
	if r.gate.enter(ctx) != nil {
		return rec, false
	}
	var late time.Duration
	var measured bool
	if r.simulated() {
		rec = r.simulate(ctx, t)
	} else {
		rec, late, measured = r.try(ctx, t)
	}
	r.gate.leave(late, measured)
	return rec, ctx.Err() == nil
}

// keep records a trial that counts.
func (r *run) keep(rec record.Trial) error {
	if err := r.Sink(rec); err != nil {
		return fmt.Errorf("keep record: %w", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	p := &r.progress
	if rec.Outcome.HasVerdict() {
		p.Done++
	} else {
		p.Void++
	}
	if Final(rec) {
		r.open[rec.Cell]--
		if !rec.Outcome.HasVerdict() {
			p.Unfilled++
		}
	}
	p.Running, p.Limit = r.gate.load()
	p.Elapsed = time.Since(r.start)
	if r.Watch != nil {
		r.Watch(rec, *p)
	}
	if r.Abort == nil {
		return nil
	}
	if err := r.Abort(rec); err != nil {
		return fmt.Errorf("%w: %w", ErrAborted, err)
	}
	return nil
}

// drop forgets a trial that ran past its cell's end, and its capture.
func (r *run) drop(rec record.Trial) {
	if rec.Pcap != "" {
		_ = os.Remove(filepath.Join(r.Dir, rec.Pcap)) // one that stays is an orphan that no record names
	}
}

// watchFabric ends the run as soon as the fabric's process is gone: trials under way would wait for their packets in vain.
func (r *run) watchFabric(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-r.Fabric.Done():
		_, err := r.Fabric.Lateness() // says how it ended
		r.stop(err)
	}
}

func (r *run) stop(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fatal == nil {
		r.fatal = err
	}
	r.cancel()
}
