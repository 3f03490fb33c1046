package stage

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/punchlab/punchlab/lab/certify"
)

// Unsupported means that the vendor's program, or hook, exited with 127.
type Unsupported struct {
	Role   certify.Role
	Action certify.Action
	Why    string // empty: it exited with 127
}

func (u *Unsupported) Error() string {
	why := u.Why
	if why == "" {
		why = "it exited with 127"
	}
	if u.Action == certify.ActionRun {
		return fmt.Sprintf("the vendor's %s says that it cannot do this: %s", u.Role, why)
	}
	return fmt.Sprintf("the vendor's %s says that it cannot do %s: %s", u.Role, u.Action, why)
}

// Fault means that a vendor's program did what no program may: it crashed, flooded its log, was never ready, wrote nonsense.
type Fault struct {
	Role   certify.Role
	Unit   int
	Device string // a phrase, as of Result.Device: "crashed: segmentation fault"
}

func (f *Fault) Error() string {
	if f.Unit > 1 {
		return fmt.Sprintf("the vendor's %s %d %s", f.Role, f.Unit, f.Device)
	}
	return fmt.Sprintf("the vendor's %s %s", f.Role, f.Device)
}

// Timeout means that what was waited for had not come when the context's deadline had.
type Timeout struct {
	What  string // was waited for: "the first frame at viewer"
	After time.Duration
}

func (t *Timeout) Error() string {
	return fmt.Sprintf("timed out after %v waiting for %s", t.After.Round(time.Millisecond), t.What)
}

// Is makes it a context.DeadlineExceeded for errors.Is.
func (t *Timeout) Is(target error) bool { return target == context.DeadlineExceeded }

// Ended means that a program ended in order, before what was waited for had come: a viewer that could not connect exits with 1.
type Ended struct {
	Role certify.Role
	Code int
	What string // was waited for
}

func (e *Ended) Error() string {
	how := fmt.Sprintf("exited with code %d", e.Code)
	switch e.Code {
	case certify.ExitDone:
		how = "ended by itself, as if it were done (exit code 0),"
	case certify.ExitFailed:
		how = "gave up (exit code 1: it tried and could not)"
	}
	return fmt.Sprintf("the %s %s while the lab waited for %s", e.Role, how, e.What)
}

// Saw adds to Result.Observed: n more of what the case's Observed calls name.
func (s *Stage) Saw(name string, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.observed[name] += n
}

// Observed is how much was seen so far.
func (s *Stage) Observed(name string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.observed[name]
}

// Try counts a try of Result.Claim. Of an attack, failed is one that got through.
func (s *Stage) Try(failed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.claim == nil {
		s.claim = &certify.Claim{}
	}
	s.claim.Tries++
	if failed {
		s.claim.Failures++
	}
}

// Claim is the tries so far.
func (s *Stage) Claim() certify.Claim {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.claim == nil {
		return certify.Claim{}
	}
	return *s.claim
}

// Pass is the verdict that all that the criterion asks for was seen.
func (s *Stage) Pass() certify.Result { return s.result(certify.Pass, "", "") }

// PassNonstrict is a pass of the case's Nonstrict, and why it is no other.
func (s *Stage) PassNonstrict(format string, args ...any) certify.Result {
	return s.result(certify.PassNonstrict, fmt.Sprintf(format, args...), "")
}

// Informational is the verdict that something was measured and nothing judged.
func (s *Stage) Informational(format string, args ...any) certify.Result {
	return s.result(certify.Informational, fmt.Sprintf(format, args...), "")
}

// Fail is the verdict that the criterion is missed, in a sentence with the figures.
func (s *Stage) Fail(format string, args ...any) certify.Result {
	return s.result(certify.Fail, fmt.Sprintf(format, args...), "")
}

// Unsupported is the verdict that the camera says that it cannot do it.
func (s *Stage) Unsupported(format string, args ...any) certify.Result {
	return s.result(certify.Unsupported, fmt.Sprintf(format, args...), "")
}

// Inconclusive is the verdict that too little was seen to say.
func (s *Stage) Inconclusive(format string, args ...any) certify.Result {
	return s.result(certify.Inconclusive, fmt.Sprintf(format, args...), "")
}

// Judge makes a verdict of an error from this package, and of nil a pass:
//
//	*Unsupported        unsupported
//	*Fault              fail, by what became of the device
//	*Timeout, *Ended    fail: what was waited for did not come
//	context.Canceled    inconclusive: it was interrupted
//	any other           harness-error
func (s *Stage) Judge(err error) certify.Result {
	var unsupported *Unsupported
	var fault *Fault
	var timeout *Timeout
	var ended *Ended
	switch {
	case err == nil:
		return s.Pass()
	case errors.As(err, &unsupported):
		return s.Unsupported("%v", err)
	case errors.As(err, &fault):
		return s.result(certify.Fail, err.Error(), fault.Device)
	case errors.As(err, &timeout), errors.As(err, &ended):
		return s.Fail("%v", err)
	case errors.Is(err, context.Canceled):
		return s.Inconclusive("interrupted: %v", err)
	}
	return s.result(certify.HarnessError, err.Error(), "")
}

// result is a verdict with what was seen and claimed so far.
func (s *Stage) result(v certify.Verdict, reason, device string) certify.Result {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := certify.Result{Case: s.o.Case.ID, Verdict: v, Reason: reason, Device: device, Observed: maps.Clone(s.observed)}
	if s.claim != nil {
		c := *s.claim
		r.Claim = &c
	}
	return r
}

// tear keeps that a tape was not the whole of what passed.
func (s *Stage) tear(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.torn == nil {
		s.torn = fmt.Errorf("the packets that were judged are not all that passed: %w", err)
	}
}

// Finish closes the Stage and holds a verdict to what became of the vendor's programs up to their end: one that crashed, hung, passed a
// limit or ignored SIGTERM fails the case, and so does one that flooded the network, whatever could not be judged for that. Else a tape that is not whole, or an error of the lab's while it closes, makes a pass a
// harness-error.
func (s *Stage) Finish(r certify.Result) certify.Result {
	s.Note("verdict: %s %s", r.Verdict, r.Reason)
	err := s.Close()
	s.mu.Lock()
	faults, flood := s.faults, s.flood
	err = errors.Join(err, s.torn)
	s.mu.Unlock()
	switch {
	case flood != nil && r.Device == "":
		r.Verdict, r.Device = certify.Fail, flood.Device
		r.Reason = strings.TrimSuffix(flood.Error()+"; "+r.Reason, "; ")
	case len(faults) > 0 && (r.Verdict.Passed() || r.Verdict == certify.Informational):
		r.Verdict, r.Device = certify.Fail, faults[0].Device
		r.Reason = strings.TrimPrefix(r.Reason+"; "+faults[0].Error(), "; ")
	case len(faults) > 0 && r.Verdict == certify.Fail && r.Device == "":
		r.Device = faults[0].Device
	case err != nil && r.Verdict.Passed():
		r.Verdict, r.Reason = certify.HarnessError, err.Error()
	}
	return r
}
