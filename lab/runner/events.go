package runner

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/punchlab/punchlab/lab"
	"github.com/punchlab/punchlab/lab/record"
	"github.com/punchlab/punchlab/lab/stack"
)

// doer is what events happen to; a *lab.Lab.
type doer interface {
	Do(e lab.Event) (undo func() error, err error)
}

// schedule lets a trial's events happen, each in a goroutine of its own:
//
//	moment told by the System ──► At passes ──► Do ──► For passes ──► undo
//
// What has not come to pass when the trial ends does not happen, and leaves no record.
type schedule struct {
	lab    doer
	start  time.Time
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu       sync.Mutex
	reached  map[stack.Moment]chan struct{}
	happened []record.Event
}

// newSchedule starts the clock of the events. Stop it.
func newSchedule(ctx context.Context, l doer, events []lab.Event) *schedule {
	ctx, cancel := context.WithCancel(ctx)
	s := &schedule{lab: l, start: time.Now(), cancel: cancel, reached: map[stack.Moment]chan struct{}{}}
	for _, m := range []stack.Moment{stack.Requested, stack.Connected, stack.FirstPacket, stack.FirstFrame} {
		s.reached[m] = make(chan struct{})
	}
	for _, e := range events {
		s.wg.Go(func() { s.run(ctx, e) })
	}
	return s
}

// reach is told that a moment has come.
func (s *schedule) reach(m stack.Moment) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ch := s.reached[m]; ch != nil {
		close(ch)
		delete(s.reached, m)
	}
}

// moment returns what is closed when the moment comes; a nil one has come.
func (s *schedule) moment(on string) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ch := s.reached[stack.Moment(on)]; on != "" && ch != nil {
		return ch
	}
	come := make(chan struct{})
	close(come)
	return come
}

func (s *schedule) run(ctx context.Context, e lab.Event) {
	select {
	case <-s.moment(e.On):
	case <-ctx.Done():
		return
	}
	if !pause(ctx, e.At) {
		return
	}
	at := time.Since(s.start)
	undo, err := s.lab.Do(e)
	s.keep(at, e.String(), err)
	if err != nil || e.For == 0 || !pause(ctx, e.For) {
		return // what is not undone is undone by the lab's next Reset
	}
	at = time.Since(s.start)
	s.keep(at, "end of "+e.String(), undo())
}

// pause waits, and tells whether the trial still goes on.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// keep records what began at a time: packets that it costs may be sent before it is done.
func (s *schedule) keep(at time.Duration, what string, err error) {
	r := record.Event{AtS: at.Seconds(), What: what}
	if err != nil {
		r.Error = err.Error()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.happened = append(s.happened, r)
}

// stop ends the schedule and returns what happened, in order. err is the first event's that the lab could not do.
func (s *schedule) stop() (happened []record.Event, err string) {
	s.cancel()
	s.wg.Wait()
	slices.SortStableFunc(s.happened, func(a, b record.Event) int { return cmp.Compare(a.AtS, b.AtS) })
	for _, e := range s.happened {
		if e.Error != "" {
			return s.happened, e.What + ": " + e.Error
		}
	}
	return s.happened, ""
}
