package suite

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/punchlab/punchlab/lab/certify"
	"github.com/punchlab/punchlab/lab/certify/stage"
	"github.com/punchlab/punchlab/reports"
)

// unknownCase is the case that there is not.
func unknownCase(seed uint64) certify.Case {
	return certify.Case{ID: certify.UnknownCase(seed), Title: "A case that there is not", Level: certify.Must, Takes: time.Minute}
}

// ask is the honesty probe: the vendor's programs are started for a case that there is not, as for any other.
func (r *run) ask(ctx context.Context, c certify.Case) error {
	if err := r.dir.renew(probeFolder); err != nil {
		return err
	}
	timed, cancel := context.WithTimeout(ctx, r.o.seam.limit(c, r.o.Brief))
	defer cancel()
	p := reports.Probe{Case: c.ID, Role: certify.RoleCamera}
	var err error
	p.Exit, p.Note, err = r.o.seam.ask(timed, r.stage(c, probeFolder))
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return fmt.Errorf("ask the camera's program for a case that there is not: %w", err)
	}
	if err := r.dir.writeJSON(filepath.Join(probeFolder, probeFile), p); err != nil {
		return err
	}
	r.mu.Lock()
	r.probe = &p
	r.mu.Unlock()
	text := "the camera's program says that it does not know " + c.ID
	if !p.Passed() {
		text = dishonest(&p)
	}
	r.tell(Event{Kind: Probed, Case: c.ID, Text: text})
	return nil
}

// dishonest says what is wrong with a probe that was not passed.
func dishonest(p *reports.Probe) string {
	how := fmt.Sprintf("it exited with %d", p.Exit)
	if p.Note != "" {
		how = p.Note
	}
	return fmt.Sprintf("asked for %s, a case that there is not, the camera's program has to exit with %d: %s. A program that does not look at "+
		"what it is asked for is not believed elsewhere: no certificate is issued", p.Case, certify.ExitUnsupported, how)
}

// seam is what tests replace.
type seam struct {
	open  func(stage.Options) (s *stage.Stage, finish func(certify.Result) certify.Result, err error)
	ask   func(context.Context, stage.Options) (exit int, note string, err error)
	asks  func(stage.Device) bool // there is a program to ask
	limit func(certify.Case, bool) time.Duration
	grace time.Duration
}

func (s *seam) fill() {
	if s.open == nil {
		s.open = openStage
	}
	if s.ask == nil {
		s.ask = askCamera
	}
	if s.asks == nil {
		s.asks = func(d stage.Device) bool { return d.Way != stage.Box || len(d.Hook)+len(d.Program) > 0 }
	}
	if s.limit == nil {
		s.limit = limit
	}
	if s.grace == 0 {
		s.grace = grace
	}
}

func openStage(o stage.Options) (*stage.Stage, func(certify.Result) certify.Result, error) {
	s, err := stage.Open(o)
	if err != nil {
		return nil, nil, err
	}
	return s, s.Finish, nil
}

// askCamera starts the camera in the simplest lab there is.
func askCamera(ctx context.Context, o stage.Options) (exit int, note string, err error) {
	s, err := stage.Open(o)
	if err != nil {
		return 0, "", err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	set, err := s.Set(ctx, "two-homes")
	if err != nil {
		return 0, "", err
	}
	_, err = set.Camera(ctx, 1)
	var fault *stage.Fault
	switch {
	case err == nil:
		return 0, "it was ready, as for a case that it knows", nil
	case errors.As(err, new(*stage.Unsupported)):
		return certify.ExitUnsupported, "", nil
	case errors.As(err, &fault):
		return 0, err.Error(), nil
	}
	return 0, "", err
}
