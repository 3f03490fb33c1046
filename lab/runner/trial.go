package runner

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/punchlab/punchlab/lab"
	"github.com/punchlab/punchlab/lab/live"
	"github.com/punchlab/punchlab/lab/record"
	"github.com/punchlab/punchlab/lab/stack"
)

// begin is a trial's record before anything has happened.
func (r *run) begin(t task) record.Trial {
	rec := record.Trial{
		Cell: t.cell.Index, Trial: t.trial, Attempt: t.attempt, Seed: Seed(r.Seed, t.cell.Params, t.trial), Params: t.cell.Params,
	}
	rec.Oracle, rec.Possible = r.oracle.of(t.cell.Topology)
	return rec
}

// try runs one trial on a lab of the pool. late is the fabric's p99 during it; ok says whether it was measured.
func (r *run) try(ctx context.Context, t task) (rec record.Trial, late time.Duration, ok bool) {
	rec = r.begin(t)
	defer func() { rec.EndedAt = time.Now().UTC() }()
	l, err := r.pool.Get(ctx, t.cell.Topology, rec.Seed)
	if err != nil {
		r.checkFabric(err)
		return void(rec, "the lab could not be set up", err), 0, false
	}
	tape, err := r.tape(l, rec)
	if err != nil {
		return void(rec, "the trial could not be captured", errors.Join(err, l.Close())), 0, false
	}
	events := newSchedule(ctx, l, r.Events)
	rec.StartedAt = events.start.UTC()
	ask := r.trial(t.cell, t.trial, rec.Seed)
	ask.Reached = events.reach
	obs, err := t.cell.System.Try(ctx, l, ask)
	var failed string
	rec.Events, failed = events.stop()
	stats, statsErr := l.Stats()
	if err = errors.Join(err, statsErr, tape.stop()); err != nil {
		r.checkFabric(err)
		tape.discard()
		return void(rec, "the lab failed during the trial", errors.Join(err, l.Close())), 0, false
	}
	if err := r.pool.Put(l); err != nil {
		tape.discard()
		return void(rec, "the lab could not be put back", err), 0, false
	}
	fill(&rec, obs, t.cell.Topology)
	rec.IdleS = seconds(r.idle(t.trial))
	rec.Lateness = &record.Lateness{
		P50: stats.Lateness.P50.Seconds(), P99: stats.Lateness.P99.Seconds(), Max: stats.Lateness.Max.Seconds(),
	}
	if cause := overload(stats, r.Late); cause != "" {
		rec.Outcome, rec.Cause = record.HarnessError, cause
	}
	if failed != "" {
		rec.Outcome, rec.Cause, rec.Error = record.HarnessError, "an event could not happen", failed
	}
	rec.Pcap = tape.keep(rec)
	return rec, stats.Lateness.P99, true
}

// checkFabric ends the run when the fabric's process is gone: no trial can follow.
func (r *run) checkFabric(err error) {
	if errors.Is(err, live.ErrFabricEnded) {
		r.stop(err)
	}
}

// overload says in what the lab failed the trial by being slow; empty: in nothing.
func overload(s live.Stats, limit time.Duration) string {
	switch {
	case s.DeviceDrops() > 0:
		return fmt.Sprintf("a device queue dropped %d packets: the fabric did not keep up", s.DeviceDrops())
	case s.Lateness.P99 > limit:
		return fmt.Sprintf("the fabric delivered late: p99 %v is over the limit of %v", s.Lateness.P99.Round(10*time.Microsecond), limit)
	}
	return ""
}

// void marks a trial that says nothing about the system under test.
func void(rec record.Trial, cause string, err error) record.Trial {
	rec.Outcome, rec.Cause, rec.Error = record.HarnessError, cause, err.Error()
	if errors.Is(err, lab.ErrMisclassified) {
		rec.Cause = "a NAT is not what the topology says"
	}
	return rec
}

// fill copies what was observed. What did not happen stays absent.
func fill(rec *record.Trial, o stack.Observation, t *lab.Topology) {
	rec.Outcome, rec.Cause, rec.Error = o.Outcome, o.Cause, o.Error
	tri := triangle(t).Seconds()
	rec.TriangleS = &tri
	if o.FirstFrameWire > 0 {
		b := bound(t, o.FirstFrameWire).Seconds()
		rec.BoundS = &b
	}
	rec.ConnectS = seconds(o.Connect)
	rec.FirstPacketS = seconds(o.FirstPacket)
	rec.FirstFrameS = seconds(o.FirstFrame)
	rec.PathChanges = o.PathChanges
	rec.Media, rec.Bytes, rec.Probes = o.Media, o.Bytes, o.Probes
}

func seconds(d time.Duration) *float64 {
	if d <= 0 {
		return nil
	}
	s := d.Seconds()
	return &s
}
