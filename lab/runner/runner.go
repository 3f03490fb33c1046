package runner

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/punchlab/punchlab/lab"
	"github.com/punchlab/punchlab/lab/live"
	"github.com/punchlab/punchlab/lab/record"
	"golang.org/x/sys/unix"
)

// DefaultJobs is how many trials may run at once where the machine keeps up.
const DefaultJobs = 48

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
	Fabric *live.Fabric
	Jobs   int                          // most trials at once, where enough files may be open; zero: DefaultJobs
	Late   time.Duration                // p99 lateness of the fabric that voids a trial; zero: LateLimit
	Sink   func(record.Trial) error     // keeps a record; called from many goroutines
	Watch  func(record.Trial, Progress) // after each record; may be nil; called from one goroutine at a time
	Pcap   Keep                         // which captures to keep
	Dir    string                       // the run's folder, where captures go
}

// Progress is how far a run is.
type Progress struct {
	Done, Total    int // trials with a verdict, and trials in all; those of a resumed run's earlier part are not counted
	Void           int // harness errors so far
	Unfilled       int // trials given up after repeated harness errors
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

type run struct {
	Plan
	Config
	pool   *lab.Pool
	oracle oracle
	gate   *admission
	queue  *queue
	start  time.Time

	mu       sync.Mutex
	progress Progress
	fatal    error
	cancel   context.CancelFunc
}

// Run runs the plan and returns when every trial has a verdict, ctx ends, the sink fails or the fabric dies. Records that the
// sink has taken stay valid in every case.
func Run(ctx context.Context, p Plan, c Config) (Progress, error) {
	if err := p.validate(); err != nil {
		return Progress{}, err
	}
	if c.Jobs == 0 {
		c.Jobs = DefaultJobs
	}
	c.Jobs = min(c.Jobs, affordable())
	if c.Late == 0 {
		c.Late = LateLimit
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	workers := c.Jobs
	r := &run{
		Plan: p, Config: c, pool: &lab.Pool{Fabric: c.Fabric}, gate: newAdmission(c.Jobs, time.Now),
		queue: newQueue(p, workers), start: time.Now(), cancel: cancel,
	}
	r.progress.Total = r.queue.left
	var wg sync.WaitGroup
	var watch sync.WaitGroup
	watch.Go(func() { r.watchFabric(ctx) })
	for range min(workers, r.queue.left) {
		wg.Go(func() { r.work(ctx) })
	}
	wg.Wait()
	interrupted := context.Cause(ctx) // before cancel below makes every run look so
	cancel()
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

// work runs batches until none is left. A worker that runs out goes away: retries are taken up by those that made them.
func (r *run) work(ctx context.Context) {
	for {
		batch := r.queue.next()
		if batch == nil {
			return
		}
		for _, t := range batch {
			if r.gate.enter(ctx) != nil {
				return
			}
			rec, late, ok := r.try(ctx, t)
			r.gate.leave(late, ok)
			if ctx.Err() != nil {
				return // cut short: says nothing
			}
			r.keep(t, rec)
		}
	}
}

// keep records a trial and puts it back if it has no verdict.
func (r *run) keep(t task, rec record.Trial) {
	if err := r.Sink(rec); err != nil {
		r.stop(fmt.Errorf("keep record: %w", err))
		return
	}
	again := !rec.Outcome.HasVerdict() && r.queue.retry(t)
	r.mu.Lock()
	defer r.mu.Unlock()
	p := &r.progress
	switch {
	case rec.Outcome.HasVerdict():
		p.Done++
	case again:
		p.Void++
	default:
		p.Void++
		p.Unfilled++
	}
	p.Running, p.Limit = r.gate.load()
	p.Elapsed = time.Since(r.start)
	if r.Watch != nil {
		r.Watch(rec, *p)
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
