package runner

import (
	"context"
	"errors"
	"testing"
	"time"
)

// clock is moved by hand.
type clock struct{ t time.Time }

func (c *clock) now() time.Time { return c.t }

func TestAdmissionGrowsWhilePunctual(t *testing.T) {
	c := &clock{time.Unix(0, 0)}
	a := newAdmission(20, c.now)
	for range 200 {
		if err := a.enter(t.Context()); err != nil {
			t.Fatal(err)
		}
		a.leave(100*time.Microsecond, true)
	}
	if _, limit := a.load(); limit != 20 {
		t.Errorf("limit %d after 200 punctual trials, want the maximum, 20", limit)
	}
}

func TestAdmissionShrinksOncePerPause(t *testing.T) {
	c := &clock{time.Unix(0, 0)}
	a := newAdmission(100, c.now)
	a.limit = 100
	late := func(n int) {
		for range n {
			if err := a.enter(t.Context()); err != nil {
				t.Fatal(err)
			}
			a.leave(5*time.Millisecond, true)
		}
	}
	c.t = c.t.Add(time.Hour)
	late(10) // all of one burst: one cut
	if _, limit := a.load(); limit != 90 {
		t.Errorf("limit %d after a burst of late trials, want one cut to 90", limit)
	}
	for range 80 {
		c.t = c.t.Add(cutPause)
		late(1)
	}
	if _, limit := a.load(); limit != 1 {
		t.Errorf("limit %d when always late, want 1: the run must go on", limit)
	}
}

func TestAdmissionLearnsNothingFromTheUnmeasured(t *testing.T) {
	a := newAdmission(100, (&clock{time.Unix(0, 0)}).now)
	_, before := a.load()
	if err := a.enter(t.Context()); err != nil {
		t.Fatal(err)
	}
	a.leave(0, false)
	if _, after := a.load(); after != before {
		t.Errorf("limit went from %d to %d without a measurement", before, after)
	}
}

func TestAdmissionHoldsTheLimitAndLetsGo(t *testing.T) {
	a := newAdmission(1, time.Now)
	if err := a.enter(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	second := make(chan error, 1)
	go func() { second <- a.enter(ctx) }()
	select {
	case err := <-second:
		t.Fatalf("a second trial got in past a limit of 1 (%v)", err)
	default:
	}
	cancel()
	if err := <-second; !errors.Is(err, context.Canceled) {
		t.Errorf("waiting trial returned %v when the run ended, want %v", err, context.Canceled)
	}
	a.leave(0, true)
	if err := a.enter(t.Context()); err != nil {
		t.Errorf("the place of the trial that left was not free: %v", err)
	}
}
