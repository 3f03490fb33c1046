package work

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/punchlab/punchlab/lab"
	"github.com/punchlab/punchlab/lab/record"
	"github.com/punchlab/punchlab/lab/runner"
)

// desk is where a worker has the units of one job that it holds.
//
//	queue ─fetch─▶ held ─▶ runner.Execute ─Sink─▶ log: each record, confirmed ─▶ all of a unit's trials closed ─▶ ack
//	         ▲      └─ InProgress every AckWait/3                            └─ some were another worker's ─▶ run again
//	         └──────── Nak: the worker was told to stop
//
// A unit that was delivered before may have killed who had it. It is a suspect: it waits until nothing else is in hand, nothing is
// taken beside it, and a second one goes back to the queue.
//
// It is safe for concurrent use.
type desk struct {
	*worker
	*assignment
	records jetstream.Stream
	queue   jetstream.Consumer
	limit   int // units that run at once

	mu      sync.Mutex
	held    map[[2]int]*holding // by cell and number
	suspect *holding            // the one of them that is run alone; nil: none is
	trials  map[[2]int]*slot    // of the units held, by cell and trial

	ready      chan runner.Unit // for the runner; it has room for all that are held
	freed      chan struct{}    // has something when a unit was finished
	publishing chan struct{}    // a place for each record on its way
	under      sync.WaitGroup   // records on their way, and units that wait for them
}

// holding is a unit that the server has given to this worker.
type holding struct {
	unit
	msg   jetstream.Msg
	waits bool   // to be run alone
	alone alone  // what the log was told when it was
	said  uint64 // sequence of that in the log; 0: nothing was
}

// Bounds of a desk.
const (
	ahead         = 1 // units held beyond those that run, so that none waits for the server
	fetchWait     = time.Second
	recordsAtOnce = 256 // on their way to the log
)

// Why the work on a job ends.
var (
	errOver = errors.New("the job is over")
	errTurn = errors.New("another job's turn")
)

// work works on a job until it is over, or another one wants its turn and this one has no unit to give.
func (w *worker) work(ctx context.Context, a *assignment) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	d, config := w.newDesk(ctx, a)
	if err := d.open(ctx); err != nil {
		w.log.Debug("cannot begin", "run", a.Run, "error", err)
		pause(ctx, retryWait) // the job is over, or the server away: choose finds out
		return nil
	}
	plan := a.plan
	plan.Done, plan.Mine = d.done, nil
	var wg sync.WaitGroup
	wg.Go(func() { d.watch(ctx, cancel) })
	wg.Go(func() { d.feed(ctx, cancel) })
	_, err := runner.Execute(ctx, plan, config, d.ready, func(u runner.Unit) { d.under.Go(func() { d.finish(ctx, u) }) })
	over := context.Cause(ctx)
	cancel(nil)
	wg.Wait()
	d.under.Wait()
	if errors.Is(over, errOver) {
		w.served = true
	} else {
		d.giveBack()
	}
	if over == nil {
		return fmt.Errorf("work on run %s: %w", a.Run, err)
	}
	return nil
}

// newDesk lays out a desk, and what the runner has to know.
func (w *worker) newDesk(ctx context.Context, a *assignment) (*desk, runner.Config) {
	d := &desk{
		worker: w, assignment: a, held: map[[2]int]*holding{}, trials: map[[2]int]*slot{},
		publishing: make(chan struct{}, recordsAtOnce), freed: make(chan struct{}, 1), limit: w.Config.Jobs,
	}
	config := w.Config
	config.Sink, config.Watch, config.Abort = func(t record.Trial) error { return d.keep(ctx, t) }, nil, nil
	config.Late = time.Duration(a.Manifest.LateLimitS * float64(time.Second))
	if a.Manifest.Engine == lab.EngineSim {
		config.Fabric = nil
	}
	switch {
	case d.limit == 0 && config.Fabric == nil:
		d.limit = runtime.GOMAXPROCS(0)
	case d.limit == 0:
		d.limit = runner.DefaultJobs
	}
	config.Jobs = d.limit
	d.ready = make(chan runner.Unit, d.limit+ahead)
	return d, config
}

// open finds the job's streams.
func (d *desk) open(ctx context.Context) (err error) {
	if d.records, err = d.js.Stream(ctx, d.stream("records")); err != nil {
		return err
	}
	d.queue, err = d.js.Consumer(ctx, d.stream("units"), consumerName)
	return err
}

// watch keeps the units that are held, and ends the work when the job is over.
func (d *desk) watch(ctx context.Context, cancel context.CancelCauseFunc) {
	heartbeat := time.NewTicker(time.Duration(d.AckWaitNS) / 3)
	defer heartbeat.Stop()
	look := time.NewTicker(jobsEvery)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-heartbeat.C:
			for _, h := range d.holdings() {
				_ = h.msg.InProgress() // the next one may come through
			}
			continue
		case <-look.C:
		case m := <-d.news:
			if string(m.Data) == d.overNews() {
				cancel(errOver)
				return
			}
		}
		if d.isOver(ctx) {
			cancel(errOver)
			return
		}
	}
}

// isOver reports whether the job is gone from the server, or its streams are others.
func (d *desk) isOver(ctx context.Context) bool {
	if d.nc.IsClosed() {
		return true
	}
	s, err := d.js.Stream(ctx, jobsStream)
	if err != nil {
		return errors.Is(err, jetstream.ErrStreamNotFound)
	}
	j, err := getJob(ctx, s, d.job.Run)
	return err == nil && (j == nil || j.Epoch != d.Epoch)
}

func (d *desk) holdings() (all []*holding) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, h := range d.held {
		all = append(all, h)
	}
	return all
}

// feed takes units from the queue for as long as there is room and none has to be run alone, and gives others a turn when there
// are none.
func (d *desk) feed(ctx context.Context, cancel context.CancelCauseFunc) {
	for ctx.Err() == nil {
		suspect, others := d.suspicion()
		if suspect != nil && suspect.waits && others == 0 {
			d.runAlone(ctx, suspect)
			continue
		}
		free := d.limit + ahead - others
		if suspect != nil || free <= 0 {
			select {
			case <-ctx.Done():
			case <-d.freed:
			}
			continue
		}
		msgs := d.fetch(ctx, free)
		for _, m := range msgs {
			d.hold(ctx, m)
		}
		if len(msgs) > 0 || others > 0 {
			continue
		}
		if jobs, err := d.listJobs(ctx); err == nil && len(jobs) > 1 {
			cancel(errTurn)
		}
	}
}

// fetch takes up to so many units: few where few are left, so that other workers have some too.
func (d *desk) fetch(ctx context.Context, free int) (all []jetstream.Msg) {
	wait, cancel := context.WithTimeout(ctx, fetchWait)
	defer cancel()
	all = d.collect(d.queue.Fetch(1, jetstream.FetchContext(wait)))
	if len(all) == 0 {
		if wait.Err() == nil { // not for want of units: the server is away, or the job over
			pause(wait, retryWait)
		}
		return nil
	}
	about, err := all[0].Metadata()
	if more := min(free-1, int(min(about.NumPending, 1<<20))/8); err == nil && more > 0 {
		all = append(all, d.collect(d.queue.FetchNoWait(more))...)
	}
	return all
}

func (d *desk) collect(b jetstream.MessageBatch, err error) (all []jetstream.Msg) {
	if err == nil {
		for m := range b.Messages() {
			all = append(all, m)
		}
		err = b.Error()
	}
	if err != nil && !quiet(err) {
		d.log.Debug("cannot take units", "error", err)
	}
	return all
}

// hold takes a unit in hand. One that may have been in other hands goes on from what is in the log.
func (d *desk) hold(ctx context.Context, m jetstream.Msg) {
	u, err := decodeUnit(m.Data())
	about, e := m.Metadata()
	if err = errors.Join(err, e); err != nil {
		d.log.Error("cannot read a unit; its coordinator will see that it is missing", "error", err)
		_ = m.Term()
		return
	}
	suspect := about.NumDelivered > 1
	if u.Again && !suspect { // it may have been in the queue before
		was, _, _ := d.lastAlone(ctx, u)
		suspect = was.Begun > 0
	}
	if d.keepUnit(u, m, suspect) && (!(u.Again || suspect) || d.lookUp(ctx, u)) {
		d.settle(ctx, u)
	}
}

// keepUnit notes a unit that has come; false: it is in hand already, or goes back.
func (d *desk) keepUnit(u unit, m jetstream.Msg, suspect bool) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	key := [2]int{u.Cell, u.Number}
	if h := d.held[key]; h != nil { // it was taken from us for being silent too long, and came back
		h.msg = m
		return false
	}
	if suspect && d.suspect != nil {
		_ = m.Nak()
		return false
	}
	h := &holding{unit: u, msg: m, waits: suspect}
	if d.held[key] = h; suspect {
		d.suspect = h
	}
	for i, n := range u.Trials {
		d.trials[[2]int{u.Cell, n}] = &slot{attempts: u.attempts(i), first: u.attempts(i)}
	}
	return true
}

// finish waits for the records of a unit that has been run.
func (d *desk) finish(ctx context.Context, r runner.Unit) {
	u, ok := d.find(r)
	if !ok {
		return
	}
	for _, n := range u.Trials {
		if !d.slot(u.Cell, n).wait(ctx, &d.mu) {
			return
		}
	}
	if d.conflicts(u) && !d.lookUp(ctx, u) {
		return
	}
	d.settle(ctx, u)
}

// settle acknowledges a unit whose trials are closed, and has the runner run what is open of another, if it need not wait.
func (d *desk) settle(ctx context.Context, u unit) {
	d.mu.Lock()
	defer d.mu.Unlock()
	h := d.held[[2]int{u.Cell, u.Number}]
	for _, n := range u.Trials {
		if !d.trials[[2]int{u.Cell, n}].closed {
			if !h.waits {
				d.ready <- u.runner() // has room
			}
			return
		}
	}
	d.release(h)
}

// release acknowledges a unit that is done with. The caller holds mu.
func (d *desk) release(h *holding) {
	if err := h.msg.Ack(); err != nil {
		d.log.Debug("cannot acknowledge a unit", "error", err) // it comes back, and is found done
	}
	delete(d.held, [2]int{h.Cell, h.Number})
	for _, n := range h.Trials {
		delete(d.trials, [2]int{h.Cell, n})
	}
	if d.suspect == h {
		d.suspect = nil
	}
	select {
	case d.freed <- struct{}{}:
	default:
	}
}

// find returns the unit that the runner was given.
func (d *desk) find(r runner.Unit) (unit, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	h := d.held[[2]int{r.Cell, r.From / d.UnitTrials}]
	if h == nil {
		return unit{}, false
	}
	return h.unit, true
}

// giveBack returns what is held to the queue, so that others need not wait until it is missed.
func (d *desk) giveBack() {
	held := d.holdings()
	d.withdraw(d.suspect) // nothing else works on the desk any more
	for _, h := range held {
		_ = h.msg.Nak()
	}
	if len(held) > 0 && d.nc.IsConnected() {
		_ = d.nc.FlushTimeout(fetchWait)
	}
}
