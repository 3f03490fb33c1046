package stage

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// look is how often a wait looks at what a program has written.
const look = 5 * time.Millisecond

// wait waits until done says so. It ends before with done's error, or with ctx: then the error says what was waited for.
func wait(ctx context.Context, what string, done func() (bool, error)) error {
	began := time.Now()
	tick := time.NewTicker(look)
	defer tick.Stop()
	for {
		ok, err := done()
		if ok || err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return expired(ctx, what, time.Since(began))
		}
	}
}

// expired is the error of a wait that ctx has ended.
func expired(ctx context.Context, what string, after time.Duration) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return &Timeout{What: what, After: after}
	}
	return fmt.Errorf("waiting for %s: %w", what, ctx.Err())
}

// Pause waits for a time, unless ctx ends it: for what a case watches, and nothing that it waits for.
func (s *Stage) Pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	began := time.Now()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return expired(ctx, fmt.Sprintf("%v to pass", d), time.Since(began))
	}
}
