package work

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/punchlab/punchlab/lab/record"
	"github.com/punchlab/punchlab/lab/runner"
)

// Times of a coordinator.
const (
	lookEvery  = time.Second      // at the queue, at the latest: is a unit lost or given up?
	idleAfter  = 10 * time.Second // without a record, after which Idle is told, and as often from then on
	endTimeout = 10 * time.Second // of tidying up
	maxLost    = 4                // how often what the server has lost is looked for without a record in between
)

// Coordinate spreads a run and returns when every trial has a verdict or was given up, ctx ends, the sink fails or Abort says so.
// In each case it takes what is stored and then removes the run from the server. Only when its process is killed the run stays
// there: workers go on, and a coordinator of the same run (the same folder's Manifest, Done of what is in it) takes up what they did.
//
// Errors are those of runner.Run: runner.ErrUnfilled, runner.ErrAborted, ctx's, the sink's; and what is wrong with the server.
func Coordinate(ctx context.Context, o Options) (p Progress, err error) {
	if o, err = o.withDefaults(); err != nil {
		return p, err
	}
	c := &coordinator{
		Options: o, ledger: newLedger(o.Plan), workers: map[string]record.Worker{}, stopped: map[int]bool{}, toKeep: map[int]int{}, start: time.Now(),
	}
	for i, cell := range o.Plan.Cells {
		c.toKeep[cell.Index] = c.ledger.left[i]
	}
	c.order = &runner.Order{Stop: o.Plan.Stop, Keep: c.keep}
	defer func() { p = c.state() }()
	if err := c.connect(ctx); err != nil {
		return p, err
	}
	err = c.open(ctx)
	if err == nil {
		err = c.run(ctx)
	}
	err = errors.Join(err, c.close(ctx))
	if err == nil && c.progress.Unfilled > 0 {
		err = fmt.Errorf("%w: %d; their records say why", runner.ErrUnfilled, c.progress.Unfilled)
	}
	return p, err
}

func (o Options) withDefaults() (Options, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	total := len(o.Plan.Cells) * o.Plan.Trials
	if o.UnitTrials == 0 {
		o.UnitTrials = max(1, min(20, total/600))
	}
	for _, d := range []struct {
		v    *time.Duration
		zero time.Duration
	}{{&o.AckWait, 30 * time.Second}, {&o.MaxAge, 7 * 24 * time.Hour}} {
		if *d.v == 0 {
			*d.v = d.zero
		}
	}
	if o.MaxDeliver == 0 {
		o.MaxDeliver = 8
	}
	o.Replicas = max(o.Replicas, 1)
	switch {
	case total == 0:
		return o, errors.New("coordinate run: the plan has no trials")
	case o.Sink == nil:
		return o, errors.New("coordinate run: there is no sink")
	case o.UnitTrials < 0 || o.MaxDeliver < 0 || o.AckWait < 100*time.Millisecond || o.MaxAge < o.AckWait || o.Replicas > 5:
		return o, fmt.Errorf("coordinate run: units of %d trials, %d deliveries, %v without a sign, %v of age, %d replicas: "+
			"give positive numbers, at least 100ms and at most 5 replicas",
			o.UnitTrials, o.MaxDeliver, o.AckWait, o.MaxAge, o.Replicas)
	case o.URL == "" && o.Store == "":
		return o, errors.New("coordinate run: a NATS server of its own needs a folder: give Store, or the URL of a server")
	}
	return o, nil
}

type coordinator struct {
	Options
	*client
	server *Server // nil: it is another process
	job    *job
	units  jetstream.Stream
	reader *logReader

	ledger   *ledger
	order    *runner.Order
	progress runner.Progress
	toKeep   map[int]int // trials of each cell whose last record the sink has not been given
	workers  map[string]record.Worker
	from     string // worker of the record that is being taken
	start    time.Time

	held     int          // units with workers
	last     time.Time    // when a record came
	told     time.Time    // when Idle was
	leased   time.Time    // when the job was put
	lost     int          // how often units were put again since the last record
	stopped  map[int]bool // cells that the rule has ended
	stopping []int        // those whose units are still in the queue
}

// connect begins the server, or connects to one.
func (c *coordinator) connect(ctx context.Context) (err error) {
	at := c.Connection
	if at.URL == "" {
		if c.server, err = Embed(c.Store, c.Listen); err != nil {
			return err
		}
		at = c.server.connection()
	}
	if c.client, err = at.connect("coordinator", false, c.Log); err != nil {
		if c.server != nil {
			err = errors.Join(err, c.server.Close())
		}
		return err
	}
	if c.Ready != nil {
		url := c.URL
		if c.server != nil {
			url = c.server.URL()
		}
		c.Ready(url)
	}
	if err := c.sweep(ctx, time.Now()); err != nil {
		c.log.Warn("could not look for what earlier runs have left on the server", "error", err)
	}
	return nil
}

// open makes the run's streams, or finds them; takes the records that are in the log already; and puts what is open in the queue.
func (c *coordinator) open(ctx context.Context) error {
	jobs, err := c.openJobs(ctx, c.MaxAge, c.Replicas)
	if err != nil {
		return fmt.Errorf("coordinate run: %w", err)
	}
	run := RunID(c.Manifest)
	if c.job, err = getJob(ctx, jobs, run); err != nil {
		return fmt.Errorf("coordinate run: %w", explain(err))
	}
	again := c.job != nil && c.job.Schema == jobSchema && c.job.UnitTrials > 0
	if !again {
		c.job = &job{
			Schema: jobSchema, Run: run, Epoch: strconv.FormatInt(time.Now().UnixNano(), 36), Manifest: c.Manifest, Build: build(c.Manifest.Versions),
			UnitTrials: c.UnitTrials, AckWaitNS: c.AckWait.Nanoseconds(), MaxDeliver: c.MaxDeliver,
		}
	}
	c.AckWait, c.UnitTrials = time.Duration(c.job.AckWaitNS), c.job.UnitTrials
	units, records, err := c.openStreams(ctx, c.job, c.Options)
	if err != nil {
		return err
	}
	c.units, c.reader = units, &logReader{stream: records}
	c.progress.Total = c.ledger.open
	for _, r := range c.Recorded {
		c.order.Recorded(r)
		c.stopIfEnded(r.Cell)
	}
	if err := c.catchUp(ctx); err != nil {
		return err
	}
	if err := c.lease(ctx); err != nil {
		return fmt.Errorf("coordinate run: %w", err)
	}
	return c.put(ctx, c.ledger.units(c.UnitTrials), again)
}

// lease shows the job to workers for as long as MaxAge.
func (c *coordinator) lease(ctx context.Context) error {
	if err := c.putJob(ctx, c.job); err != nil {
		return err
	}
	c.leased = time.Now()
	return nil
}

// catchUp takes what the log has by now.
func (c *coordinator) catchUp(ctx context.Context) error {
	info, err := c.reader.stream.Info(ctx)
	if err != nil {
		return fmt.Errorf("coordinate run: %w", explain(err))
	}
	for c.reader.read < info.State.LastSeq && info.State.Msgs > 0 {
		if err := c.readOn(ctx, time.Second); err != nil {
			return err
		}
		if err := context.Cause(ctx); err != nil {
			return err
		}
	}
	return nil
}

// run takes records until nothing is open.
func (c *coordinator) run(ctx context.Context) error {
	c.last, c.told = time.Now(), time.Now()
	looked := time.Now()
	every := min(lookEvery, c.AckWait/2)
	for c.ledger.open > 0 {
		if err := c.readOn(ctx, every); err != nil {
			return err
		}
		if err := context.Cause(ctx); err != nil {
			return err
		}
		now := time.Now()
		if now.Sub(looked) < every {
			continue
		}
		looked = now
		if err := c.look(ctx, now); err != nil {
			return err
		}
	}
	return nil
}

// readOn takes the records that follow. A server that is away is waited for.
func (c *coordinator) readOn(ctx context.Context, wait time.Duration) error {
	msgs, err := c.reader.next(ctx, wait)
	for _, m := range msgs {
		if err := c.take(m); err != nil {
			return err
		}
	}
	if err == nil || ctx.Err() != nil {
		return nil
	}
	if err := c.gone(); err != nil {
		return err
	}
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return fmt.Errorf("coordinate run: its streams are gone from the server: %w: go on with --resume", err)
	}
	c.log.Debug("cannot read records", "error", err)
	select {
	case <-ctx.Done():
	case <-time.After(retryWait):
	}
	return nil
}

// take takes one message of the log.
func (c *coordinator) take(m jetstream.Msg) error {
	kind := strings.Split(strings.TrimPrefix(m.Subject(), c.job.subject("log")+"."), ".")
	switch kind[0] {
	case "record":
		return c.takeRecord(m)
	case "worker":
		var w record.Worker
		if err := json.Unmarshal(m.Data(), &w); err != nil {
			return fmt.Errorf("read who works: %w", err)
		}
		known := c.workers[w.Name]
		w.Trials = known.Trials
		c.workers[w.Name] = w
		if known.Name == "" {
			c.log.Info("a worker has come", "worker", w.Name, "kernel", w.Kernel, "cores", w.CPU.Cores)
		}
	case "alone":
		return c.takeAlone(m.Data())
	case "refused":
		c.log.Warn("a worker refuses this run", "worker", kind[len(kind)-1], "why", string(m.Data()))
	}
	return nil
}

func (c *coordinator) takeRecord(m jetstream.Msg) error {
	from := m.Headers().Get(workerHeader)
	t, err := decodeRecord(m.Headers(), m.Data())
	if err == nil {
		err = c.ledger.check(t)
	}
	if err != nil {
		return fmt.Errorf("take a record of worker %s: %w: stop that worker, and go on with --resume", from, err)
	}
	w := c.workers[from]
	w.Name = from
	w.Trials++
	c.workers[from] = w
	if !c.ledger.take(t) {
		return nil
	}
	c.last, c.lost, c.from = time.Now(), 0, from
	t.Params = c.ledger.plan.Cells[c.ledger.index[t.Cell]].Params
	if err := c.order.Add(t); err != nil {
		return err
	}
	c.stopIfEnded(t.Cell)
	return nil
}

// stopIfEnded ends a cell that the plan's rule has ended. Its units are taken out of the queue at the next look.
func (c *coordinator) stopIfEnded(cell int) {
	if c.Plan.Stop == nil || c.stopped[cell] || !c.order.Ended(cell) {
		return
	}
	c.stopped[cell] = true
	c.ledger.closeCell(cell)
	c.stopping = append(c.stopping, cell)
	c.progress.Stopped++
	c.progress.Total -= c.toKeep[cell]
}

// keep hands a record that counts to the sink.
func (c *coordinator) keep(t record.Trial) error {
	if err := c.Sink(t); err != nil {
		return fmt.Errorf("keep record: %w", err)
	}
	if t.Outcome.HasVerdict() {
		c.progress.Done++
	} else {
		c.progress.Void++
	}
	if runner.Final(t) {
		c.toKeep[t.Cell]--
		if !t.Outcome.HasVerdict() {
			c.progress.Unfilled++
		}
	}
	if c.Watch != nil {
		c.Watch(t, c.state())
	}
	if c.Abort != nil {
		if err := c.Abort(t); err != nil {
			return fmt.Errorf("%w: %w", runner.ErrAborted, err)
		}
	}
	return nil
}

// state is how far the run is.
func (c *coordinator) state() Progress {
	p := Progress{Progress: c.progress}
	p.Running, p.Limit, p.Elapsed = c.held, c.held, time.Since(c.start)
	for _, name := range slices.Sorted(maps.Keys(c.workers)) {
		p.Workers = append(p.Workers, c.workers[name])
	}
	return p
}

// close takes what is stored by now and removes the run from the server.
func (c *coordinator) close(ended context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ended), endTimeout)
	defer cancel()
	defer c.nc.Close()
	var errs []error
	if ended.Err() != nil && c.reader != nil {
		if err := c.catchUp(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
			errs = append(errs, err)
		}
	}
	if c.job != nil && c.nc.IsConnected() {
		if err := c.removeStreams(ctx, c.job); err != nil {
			c.log.Warn("could not remove the run from the server; it forgets it by itself", "after", c.MaxAge, "error", err)
		}
	}
	if c.server != nil {
		errs = append(errs, c.server.remove())
	}
	return errors.Join(errs...)
}

// build is a digest of this program where its commit does not say what it is; "" where it does.
func build(v record.Versions) string {
	if !v.Dirty && v.Commit != "" && v.Commit != "unknown" {
		return ""
	}
	exe, err := os.Executable()
	if err != nil {
		return "unknown"
	}
	return digestFile(exe)
}
