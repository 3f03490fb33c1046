package suite

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"runtime/debug"
	"time"

	"github.com/punchlab/punchlab/lab/certify"
	"github.com/punchlab/punchlab/lab/certify/evidence"
	"github.com/punchlab/punchlab/lab/certify/stage"
	"github.com/punchlab/punchlab/lab/live"
)

// grace is how long a procedure whose time is over, or a stage that is closed, is waited for.
const grace = 20 * time.Second

// noProcedure is why a case is inconclusive that this build cannot run.
const noProcedure = "no procedure in this build"

// runCase runs a case and keeps what it came to. Cut short, it keeps nothing. The error is the lab's, of which no case can be run.
func (r *run) runCase(ctx context.Context, c certify.Case) error {
	began := r.o.Now()
	r.mu.Lock()
	r.running[c.ID] = began
	r.mu.Unlock()
	r.tell(Event{Kind: Started, Case: c.ID, Title: c.Title})
	result, whole, err := r.start(ctx, c, began)
	r.mu.Lock()
	delete(r.running, c.ID)
	r.mu.Unlock()
	if err != nil || !whole {
		return err
	}
	rec := record{Schema: resultSchema, Result: result, Run: r.o.header().digest(), Seed: CaseSeed(r.o.Seed, c.ID), Started: began.UTC(), Finished: r.o.Now().UTC()}
	settled := certify.Settle(r.measure(c), result)
	if err := errors.Join(r.ended(c.ID, string(settled.Verdict), settled.Reason),
		r.dir.writeJSON(filepath.Join(evidence.CasesFolder, c.ID, resultFile), rec)); err != nil {
		return err
	}
	r.mu.Lock()
	r.records[c.ID] = rec
	r.mu.Unlock()
	r.tell(Event{Kind: Finished, Case: c.ID, Title: c.Title, Verdict: settled.Verdict, Text: settled.Reason,
		Seconds: rec.Finished.Sub(rec.Started).Seconds()})
	return nil
}

// start begins a case, and runs it. Cut short, it is not whole, and that is written down.
func (r *run) start(ctx context.Context, c certify.Case, at time.Time) (result certify.Result, whole bool, err error) {
	if _, err := r.begin(c.ID, evidence.CaseFolder(c.ID), at); err != nil {
		return certify.Result{}, false, err
	}
	result, err = r.result(ctx, c)
	switch {
	case err != nil:
		return result, false, errors.Join(err, r.ended(c.ID, interrupted, err.Error()))
	case ctx.Err() != nil:
		return result, false, r.ended(c.ID, interrupted, "after "+About(r.o.Now().Sub(at)))
	}
	return r.counted(result), true, nil
}

// result runs a case's procedure on a stage of its own.
func (r *run) result(ctx context.Context, c certify.Case) (certify.Result, error) {
	procedure := r.o.Procedures[c.ID]
	if procedure == nil {
		return certify.Result{Case: c.ID, Verdict: certify.Inconclusive, Reason: noProcedure}, r.dir.renew(evidence.CaseFolder(c.ID))
	}
	if err := r.dir.renew(evidence.CaseFolder(c.ID)); err != nil {
		return certify.Result{}, err
	}
	s, finish, err := r.o.seam.open(r.stage(c, evidence.CaseFolder(c.ID)))
	if errors.Is(err, live.ErrFabricEnded) {
		return certify.Result{}, err
	}
	if err != nil {
		return harness(c, "open the stage: %v", err), nil
	}
	result := r.proven(c, r.closed(c, finish, r.guard(ctx, c, s, procedure)))
	if r.o.seam.ended(r.o.Fabric) {
		return certify.Result{}, fmt.Errorf("while %s ran: %w", c.ID, live.ErrFabricEnded)
	}
	return result, nil
}

// proven holds a pass to the evidence that the case promises.
func (r *run) proven(c certify.Case, result certify.Result) certify.Result {
	if !result.Verdict.Passed() {
		return result
	}
	var missing []string
	for _, name := range c.Evidence {
		info, err := os.Lstat(r.dir.path(path.Join(evidence.CaseFolder(c.ID), name)))
		if err != nil || !info.Mode().IsRegular() || info.Size() == 0 {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		result.Reason = fmt.Sprintf("it said %s, and its evidence lacks %s", result.Verdict, list(missing))
		result.Verdict = certify.HarnessError
	}
	return result
}

// closed closes a case's stage, and holds its result to how the programs ended.
func (r *run) closed(c certify.Case, finish func(certify.Result) certify.Result, result certify.Result) certify.Result {
	done := make(chan certify.Result, 1)
	go func() {
		defer func() {
			if p := recover(); p != nil {
				done <- harness(c, "closing the stage panicked: %v; the procedure said %s %s", p, result.Verdict, result.Reason)
			}
		}()
		done <- finish(result)
	}()
	select {
	case ended := <-done:
		return ended
	case <-time.After(r.o.seam.grace(c)):
		return harness(c, "the stage was not closed within %v; the procedure said %s %s", r.o.seam.grace(c), result.Verdict, result.Reason)
	}
}

// stage are the options of a case's stage, with its evidence in a folder below Out.
func (r *run) stage(c certify.Case, folder string) stage.Options {
	return stage.Options{
		Case: c, Declaration: r.o.Declaration, Device: r.o.Device, Seed: CaseSeed(r.o.Seed, c.ID), Brief: r.o.Brief, Told: r.told(c),
		Folder: r.dir.path(folder), Fabric: r.o.Fabric,
		Say: func(text string) { r.tell(Event{Kind: Said, Case: c.ID, Text: text}) },
	}
}

// told is the case that programs are told that a case is: one that binds the camera and follows from the seed, as they have to do each of those;
// or itself, where they are to know. The honesty probe stays what it is.
func (r *run) told(c certify.Case) string {
	var ids []string
	for _, s := range certify.Select(r.o.Declaration) {
		if s.Applicable && s.Case.Binding() {
			ids = append(ids, s.Case.ID)
		}
	}
	if _, known := certify.Lookup(c.ID); r.o.Named || !known || len(ids) == 0 {
		return c.ID
	}
	rng := rand.New(rand.NewPCG(CaseSeed(r.o.Seed, c.ID), CaseSeed(r.o.Seed, "blind")))
	return ids[rng.IntN(len(ids))]
}

// guard runs a procedure: one that panics, or does not end in its time, is the lab's fault, and a result all the same.
func (r *run) guard(ctx context.Context, c certify.Case, s *stage.Stage, procedure Procedure) certify.Result {
	limit := r.o.seam.limit(c, r.o.Brief)
	timed, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	done := make(chan certify.Result, 1)
	go func() {
		defer func() {
			if p := recover(); p != nil {
				_ = r.dir.write(filepath.Join(evidence.CaseFolder(c.ID), "panic.txt"), fmt.Appendf(nil, "%v\n\n%s", p, debug.Stack()))
				done <- harness(c, "the procedure panicked: %v", p)
			}
		}()
		done <- procedure(timed, s)
	}()
	select {
	case result := <-done:
		return r.inTime(timed, c, result, limit)
	case <-timed.Done():
	}
	select {
	case result := <-done:
		return r.inTime(timed, c, result, limit)
	case <-time.After(r.o.seam.grace(c)):
		return harness(c, "the procedure did not end within %v, nor when it was told to", limit)
	}
}

// inTime takes a result that came in time as it is, and one that did not only where something became of the camera: it is why the
// time was over.
func (r *run) inTime(ctx context.Context, c certify.Case, result certify.Result, limit time.Duration) certify.Result {
	if result.Case == "" {
		result.Case = c.ID
	}
	late := errors.Is(ctx.Err(), context.DeadlineExceeded)
	if !late || result.Verdict == certify.HarnessError || result.Verdict == certify.Fail && result.Device != "" {
		return result
	}
	return harness(c, "the procedure did not end within %v; then it said %s: %s", limit, result.Verdict, result.Reason)
}

func harness(c certify.Case, format string, a ...any) certify.Result {
	return certify.Result{Case: c.ID, Verdict: certify.HarnessError, Reason: fmt.Sprintf(format, a...)}
}
