package work

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/punchlab/punchlab/lab/record"
	"github.com/punchlab/punchlab/lab/runner"
)

// slot is a trial: what the log has of it, as far as this worker knows. The desk's mu guards it.
type slot struct {
	first    int    // its first attempt in this unit
	attempts int    // number of the next
	sequence uint64 // of its last record in the log; 0: none
	closed   bool
	conflict bool          // a record was not taken: another worker's came first
	unknown  bool          // the server knows the record's identity, and has lost the record
	stored   chan struct{} // closed when the record on its way is stored; nil: none is on its way
}

// wait waits for the record on its way; false: ctx has ended.
func (s *slot) wait(ctx context.Context, mu *sync.Mutex) bool {
	mu.Lock()
	stored := s.stored
	mu.Unlock()
	if stored == nil {
		return true
	}
	select {
	case <-stored:
		return true
	case <-ctx.Done():
		return false
	}
}

// found notes the last record of the trial in the log.
func (s *slot) found(sequence uint64, t record.Trial) {
	s.sequence, s.conflict = sequence, false
	s.attempts = max(s.attempts, t.Attempt+1)
	s.closed = t.Outcome.HasVerdict() || runner.Final(t) && t.Attempt >= s.first
}

// lost notes that the log has no record of the trial.
func (s *slot) lost() {
	s.sequence, s.conflict, s.closed, s.attempts = 0, false, false, s.first
}

func (d *desk) slot(cell, n int) *slot {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.trials[[2]int{cell, n}]
}

// done is the plan's Done: what is left out of a unit that runs.
func (d *desk) done(cell, n int) (bool, int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.trials[[2]int{cell, n}]
	if s == nil {
		return true, 0
	}
	return s.closed, s.attempts
}

// conflicts reports whether others have stored records of a unit's trials meanwhile.
func (d *desk) conflicts(u unit) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, n := range u.Trials {
		if d.trials[[2]int{u.Cell, n}].conflict {
			return true
		}
	}
	return false
}

// lookUp reads what the log has of a unit's trials, all at once; false: ctx has ended before.
func (d *desk) lookUp(ctx context.Context, u unit) bool {
	var wg sync.WaitGroup
	for _, n := range u.Trials {
		s := d.slot(u.Cell, n)
		wg.Go(func() {
			m := d.last(ctx, d.job.record(u.Cell, n))
			if m == nil {
				d.mu.Lock()
				defer d.mu.Unlock()
				s.lost()
				return
			}
			t, err := decodeRecord(m.Header, m.Data)
			if err != nil { // the coordinator refuses it too, and says whose it is
				d.log.Error("cannot read a record in the log", "cell", u.Cell, "trial", n, "error", err)
				return
			}
			d.mu.Lock()
			defer d.mu.Unlock()
			s.found(m.Sequence, t)
		})
	}
	wg.Wait()
	return ctx.Err() == nil
}

// last reads the last message of a subject of the log; nil: there is none, or ctx has ended.
func (d *desk) last(ctx context.Context, subject string) *jetstream.RawStreamMsg {
	for ctx.Err() == nil {
		m, err := d.records.GetLastMsgForSubject(ctx, subject)
		switch {
		case err == nil:
			return m
		case errors.Is(err, jetstream.ErrMsgNotFound):
			return nil
		}
		d.log.Debug("cannot read the log", "error", err)
		pause(ctx, retryWait)
	}
	return nil
}

// keep is the runner's sink: it sends a record on its way. The attempts of a trial go one after another.
func (d *desk) keep(ctx context.Context, t record.Trial) error {
	s := d.slot(t.Cell, t.Trial)
	if s == nil {
		return fmt.Errorf("trial %d of cell %d was not asked for", t.Trial, t.Cell)
	}
	if !s.wait(ctx, &d.mu) {
		return context.Cause(ctx)
	}
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case d.publishing <- struct{}{}:
	}
	stored := make(chan struct{})
	d.mu.Lock()
	s.stored = stored
	late := s.conflict
	d.mu.Unlock()
	d.under.Go(func() {
		defer func() { <-d.publishing }()
		if late || d.store(ctx, s, t) {
			close(stored)
		}
	})
	return nil
}

// store puts a record into the log as the successor of what the slot knows, however long that takes; false: ctx has ended before.
func (d *desk) store(ctx context.Context, s *slot, t record.Trial) bool {
	subject := d.job.record(t.Cell, t.Trial)
	m, err := encodeRecord(subject, d.Name, t)
	if err == nil && int64(len(m.Data)) > d.nc.MaxPayload() && d.nc.MaxPayload() > 0 {
		err = fmt.Errorf("the record has %d bytes, and the NATS server takes %d: raise its max_payload", len(m.Data), d.nc.MaxPayload())
	}
	if err != nil {
		t = unkeepable(t, err)
		if m, err = encodeRecord(subject, d.Name, t); err != nil {
			panic("work: a record of plain data always encodes: " + err.Error())
		}
	}
	o := []jetstream.PublishOpt{jetstream.WithExpectStream(d.stream("records")), jetstream.WithExpectLastSequencePerSubject(s.sequence)}
	if !s.unknown {
		o = append(o, jetstream.WithMsgID(d.messageID(t)))
	}
	for ctx.Err() == nil {
		ack, err := d.js.PublishMsg(ctx, m, o...)
		switch {
		case err == nil && !ack.Duplicate:
			d.mu.Lock()
			s.found(ack.Sequence, t)
			d.mu.Unlock()
			return true
		case err == nil || wrongLast(err):
			return d.compare(ctx, s, t, m)
		}
		d.log.Debug("cannot store a record", "error", err)
		pause(ctx, retryWait)
	}
	return false
}

// compare finds out whose record the log has: this one, whose confirmation was lost, or another worker's.
func (d *desk) compare(ctx context.Context, s *slot, t record.Trial, m *nats.Msg) bool {
	last := d.last(ctx, m.Subject)
	if ctx.Err() != nil {
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if last != nil && last.Header.Get(workerHeader) == d.Name && bytes.Equal(last.Data, m.Data) {
		s.found(last.Sequence, t)
	} else {
		s.conflict, s.unknown = true, last == nil
	}
	return true
}

// unkeepable is what is left of a record that cannot be sent.
func unkeepable(t record.Trial, err error) record.Trial {
	return record.Trial{
		Schema: record.TrialSchema, Cell: t.Cell, Trial: t.Trial, Attempt: t.Attempt, Seed: t.Seed, Params: t.Params, Oracle: t.Oracle,
		Possible: t.Possible,
		Outcome:  record.HarnessError, Cause: "the record could not be sent", Error: err.Error(), StartedAt: t.StartedAt, EndedAt: t.EndedAt,
	}
}
