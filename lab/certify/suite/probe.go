package suite

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/punchlab/punchlab/lab/certify"
	"github.com/punchlab/punchlab/lab/certify/contain"
	"github.com/punchlab/punchlab/lab/certify/stage"
	"github.com/punchlab/punchlab/lab/live"
	"github.com/punchlab/punchlab/reports"
)

// unknownCase is the case that there is not.
func unknownCase(seed uint64) certify.Case {
	return certify.Case{ID: certify.UnknownCase(seed), Title: "A case that there is not", Level: certify.Must, Takes: time.Minute}
}

// ask is the honesty probe: the vendor's programs are started for a case that there is not, as for any other.
func (r *run) ask(ctx context.Context, c certify.Case) error {
	n, err := r.begin(c.ID, probeFolder, r.o.Now())
	if err != nil {
		return err
	}
	if err := r.dir.renew(probeFolder); err != nil {
		return err
	}
	timed, cancel := context.WithTimeout(ctx, r.o.seam.limit(c, r.o.Brief))
	defer cancel()
	p, err := r.o.seam.ask(timed, r.stage(c, probeFolder))
	if err != nil {
		if ctx.Err() != nil {
			return r.ended(c.ID, interrupted, "")
		}
		return fmt.Errorf("ask the vendor's programs for a case that there is not: %w", err)
	}
	if p.Passed() && r.o.seam.belie != nil {
		if p.Undeclared, err = r.o.seam.belie(timed, r.known(c)); err != nil {
			if ctx.Err() != nil {
				return r.ended(c.ID, interrupted, "")
			}
			return fmt.Errorf("ask the camera for what it declares not to have: %w", err)
		}
	}
	p.Case, p.Starts = c.ID, n
	r.hold(&p)
	verdict := certify.Pass
	if !p.Passed() {
		verdict = certify.Fail
	}
	if err := r.ended(c.ID, string(verdict), p.Note+p.Undeclared); err != nil {
		return err
	}
	if err := r.dir.writeJSON(filepath.Join(probeFolder, probeFile), probed(p)); err != nil {
		return err
	}
	r.mu.Lock()
	r.probe = &p
	r.mu.Unlock()
	text := "asked for " + c.ID + ", a case that there is not, the vendor's programs say that they do not know it"
	if !p.Passed() {
		text = dishonest(&p)
	}
	r.tell(Event{Kind: Probed, Case: c.ID, Text: text})
	return nil
}

// hold holds a probe that was passed to those before it: one that was not is not repeated away, nor is one cut short time and again.
func (r *run) hold(p *reports.Probe) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.starts.Of(p.Case) {
		if s.Ended == string(certify.Fail) && p.Passed() {
			p.Note = fmt.Sprintf("when it was asked for the %d. time it answered otherwise, and that result is gone", s.N)
		}
	}
	if p.Passed() && p.Starts > certify.MostStarts {
		p.Note = fmt.Sprintf("it had to be asked %d times, %d at most: each time but the last it was cut short", p.Starts, certify.MostStarts)
	}
}

// dishonest says what is wrong with a probe that was not passed.
func dishonest(p *reports.Probe) string {
	if p.Undeclared != "" {
		return fmt.Sprintf("the camera %s: the cases that need it would have to be run. Declare what it has; no certificate is issued", p.Undeclared)
	}
	how := fmt.Sprintf("it exited with %d", p.Exit)
	if p.Note != "" {
		how = p.Note
	}
	return fmt.Sprintf("asked for %s, a case that there is not, the vendor's %s has to exit with %d: %s. A program that does not look at "+
		"what it is asked for is not believed elsewhere: no certificate is issued", p.Case, p.Role, certify.ExitUnsupported, how)
}

// seam is what tests replace.
type seam struct {
	open  func(stage.Options) (s *stage.Stage, finish func(certify.Result) certify.Result, err error)
	ask   func(context.Context, stage.Options) (reports.Probe, error)
	belie func(context.Context, stage.Options) (string, error) // what the camera has though it declares that it has not; nil: nobody asks
	asks  func(stage.Device) bool                              // there is a program to ask
	ended func(*live.Fabric) bool                              // no lab can be brought up any more
	limit func(certify.Case, bool) time.Duration
	grace func(certify.Case) time.Duration
}

func (s *seam) fill() {
	if s.open == nil {
		s.open = openStage
	}
	if s.ask == nil {
		s.ask, s.belie = askPrograms, belie
	}
	if s.asks == nil {
		s.asks = func(d stage.Device) bool { return d.Way != stage.Box || len(d.Hook)+len(d.Program) > 0 }
	}
	if s.ended == nil {
		s.ended = fabricEnded
	}
	if s.limit == nil {
		s.limit = limit
	}
	if s.grace == nil {
		s.grace = func(certify.Case) time.Duration { return grace }
	}
}

func fabricEnded(f *live.Fabric) bool {
	if f == nil {
		return false
	}
	select {
	case <-f.Done():
		return true
	default:
		return false
	}
}

func openStage(o stage.Options) (*stage.Stage, func(certify.Result) certify.Result, error) {
	s, err := stage.Open(o)
	if err != nil {
		return nil, nil, err
	}
	return s, s.Finish, nil
}

// askPrograms asks each of the vendor's programs in the simplest lab there is, and reports the first that does not pass, or the last.
func askPrograms(ctx context.Context, o stage.Options) (p reports.Probe, err error) {
	s, err := stage.Open(o)
	if err != nil {
		return p, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	x, err := s.Set(ctx, "two-homes")
	if err != nil {
		return p, err
	}
	for _, role := range rolesOf(o.Device) {
		if p, err = askRole(ctx, x, role); err != nil || !p.Passed() {
			return p, err
		}
	}
	if len(o.Device.Hook) > 0 {
		p, err = askHook(ctx, x)
	}
	return p, err
}

// rolesOf are the roles that the vendor's program is asked for.
func rolesOf(d stage.Device) []certify.Role {
	switch {
	case len(d.Program) == 0:
		return nil
	case d.Way == stage.Endpoint:
		return []certify.Role{certify.RoleCamera}
	case d.Way == stage.Box:
		return []certify.Role{certify.RoleRendezvous, certify.RoleRelay, certify.RoleViewer}
	}
	return certify.Roles
}

func askRole(ctx context.Context, x *stage.Set, role certify.Role) (reports.Probe, error) {
	p := reports.Probe{Role: role}
	report, err := x.Ask(ctx, role)
	switch {
	case err != nil:
		return p, err
	case report.Ending != contain.Exited && report.Ending != contain.ExitedAtOnce:
		p.Exit, p.Note = -1, "it did not exit by itself: "+string(report.Ending)
	default:
		p.Exit = report.Code
	}
	return p, nil
}

// askHook asks a box's hook for an action.
func askHook(ctx context.Context, x *stage.Set) (reports.Probe, error) {
	p := reports.Probe{Role: certify.RoleCamera}
	err := x.AskHook(ctx)
	switch {
	case err == nil:
		p.Note = "its hook did what it was asked for"
	case errors.As(err, new(*stage.Unsupported)):
		p.Exit = certify.ExitUnsupported
	case errors.As(err, new(*stage.Fault)):
		p.Exit, p.Note = -1, "its hook: "+err.Error()
	default:
		return p, err
	}
	return p, nil
}
