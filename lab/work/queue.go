package work

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/punchlab/punchlab/lab/record"
	"github.com/punchlab/punchlab/lab/runner"
)

// putAtOnce is how many units are on their way to the server at once.
const putAtOnce = 32

// put puts units in the queue, unless they are there. again says that records of them may be in the log.
func (c *coordinator) put(ctx context.Context, units []unit, again bool) error {
	next := make(chan unit)
	var wg sync.WaitGroup
	for range min(putAtOnce, len(units)) {
		wg.Go(func() {
			for u := range next {
				u.Again = again
				c.putOne(ctx, u)
			}
		})
	}
	for _, u := range units {
		next <- u
	}
	close(next)
	wg.Wait()
	if err := c.gone(); err != nil {
		return err
	}
	return context.Cause(ctx)
}

// putOne puts a unit in the queue, however long that takes.
func (c *coordinator) putOne(ctx context.Context, u unit) {
	b, err := json.Marshal(u)
	if err != nil {
		panic("work: a unit is plain data and always encodes: " + err.Error())
	}
	for ctx.Err() == nil && !c.nc.IsClosed() {
		_, err := c.js.Publish(ctx, c.job.subject("unit", u.Cell, u.Number), b, jetstream.WithExpectStream(c.job.stream("units")))
		if err == nil || isCode(err, storeFailed) { // it is there already
			return
		}
		c.log.Debug("cannot put a unit", "error", err)
		pause(ctx, retryWait)
	}
}

// pause waits, or for ctx to end.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// look sees whether the queue is in order, and puts it in order. A server that is away is waited for.
func (c *coordinator) look(ctx context.Context, now time.Time) error {
	if now.Sub(c.last) >= idleAfter && now.Sub(c.told) >= idleAfter && c.Idle != nil {
		c.told = now
		c.Idle(now.Sub(c.last))
	}
	if now.Sub(c.leased) > c.MaxAge/4 {
		if err := c.lease(ctx); err != nil {
			c.log.Warn("cannot repeat the job", "error", err)
		}
	}
	for len(c.stopping) > 0 {
		if err := c.units.Purge(ctx, jetstream.WithPurgeSubject(c.job.subject("unit", c.stopping[0], "*"))); err != nil {
			c.log.Debug("cannot take out units", "error", err)
			break
		}
		c.stopping = c.stopping[1:]
	}
	info, err := c.units.Info(ctx)
	if err != nil {
		c.log.Debug("cannot look at the queue", "error", err)
		return nil
	}
	if info.State.Msgs == 0 {
		return c.findLost(ctx)
	}
	c.count(ctx)
	return nil
}

// findLost sees to what is open though nobody has it: a server that crashed may lose the last it has confirmed. All records of the
// units were stored before the queue was seen empty, so what the log does not have by now it will never have. The log is read from
// the start once more, lest records stand where others stood before the crash; then the trials are put into the queue again.
func (c *coordinator) findLost(ctx context.Context) error {
	c.held = 0
	info, err := c.reader.stream.Info(ctx)
	if err != nil || c.reader.read < info.State.LastSeq || c.ledger.open == 0 {
		return nil // a later look
	}
	if c.lost++; c.lost == 1 {
		for name, w := range c.workers {
			w.Trials = 0 // counted again
			c.workers[name] = w
		}
		c.reader.restart()
		return nil
	}
	if c.lost > maxLost {
		return fmt.Errorf("coordinate run: the records of %d trials are lost, however often they are asked for: "+
			"see the NATS server's store, and go on with --resume", c.ledger.open)
	}
	c.log.Warn("the server has lost records: their trials are run again", "trials", c.ledger.open)
	return c.put(ctx, c.ledger.units(c.UnitTrials), true)
}

// count notes how many units workers have.
func (c *coordinator) count(ctx context.Context) {
	consumer, err := c.units.Consumer(ctx, consumerName)
	if err != nil {
		c.log.Debug("cannot look at the queue", "error", err)
		return
	}
	c.held = consumer.CachedInfo().NumAckPending // of just now
}

// giveUp records the open trials of a unit as harness errors, the last attempt of each.
func (c *coordinator) giveUp(a alone) error {
	u := a.Unit
	c.log.Warn("gave up a unit: every worker that ran it alone died", "cell", u.Cell, "trials", u.Trials, "workers", a.Begun)
	for _, n := range u.Trials {
		s := c.ledger.find(u.Cell, n)
		if s == nil || s.closed {
			continue
		}
		cell := c.ledger.plan.Cells[c.ledger.index[u.Cell]]
		params := cell.Params
		t := record.Trial{
			Schema: record.TrialSchema, Cell: u.Cell, Trial: n, Attempt: int(s.attempts), Seed: runner.Seed(c.Plan.Seed, params, n), Params: params,
			Oracle:  cell.Topology.Chance(runner.Camera, runner.Viewer).Prospect.String(),
			Outcome: record.HarnessError, Cause: "the workers that tried it died", EndedAt: time.Now().UTC(),
			Error: fmt.Sprintf("its unit (trials %d to %d of cell %d) was run alone by %d workers, after one that had others besides, and none finished it: "+
				"run it alone to see why", u.Trials[0], u.Trials[len(u.Trials)-1], u.Cell, a.Begun),
		}
		for !runner.Final(t) {
			t.Attempt++
		}
		if c.ledger.take(t) {
			if err := c.order.Add(t); err != nil {
				return err
			}
		}
	}
	c.stopIfEnded(u.Cell)
	return nil
}

// digestFile is the SHA-256 of a file, or "unknown".
func digestFile(name string) string {
	f, err := os.Open(name)
	if err != nil {
		return "unknown"
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "unknown"
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil))
}
