package cases

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/punchlab/punchlab/lab/certify"
	"github.com/punchlab/punchlab/lab/certify/stage"
	"github.com/punchlab/punchlab/lab/certify/tape"
)

// unreached means that no viewer got a frame in time.
type unreached struct {
	what   string // after what
	within time.Duration
	took   time.Duration // the frame that came too late; 0: none did
	asked  int           // times
	last   error
}

func (u *unreached) Error() string {
	times := "the one time that a viewer asked"
	if u.asked != 1 {
		times = fmt.Sprintf("the %d times that a viewer asked", u.asked)
	}
	switch {
	case u.took > 0:
		return fmt.Sprintf("%s the first frame came after %v, and %v are declared", u.what, u.took.Round(time.Millisecond), u.within)
	case u.last != nil:
		return fmt.Sprintf("%s no connect succeeded within the declared %v, %s: %v", u.what, u.within, times, u.last)
	}
	return fmt.Sprintf("%s no connect succeeded within the declared %v, %s", u.what, u.within, times)
}

// Between two times that somebody asks for a camera that did not answer; and how much later a viewer may write that it had a frame.
const (
	askAgain  = 300 * time.Millisecond
	writeLate = 2 * time.Second
)

// reach has a viewer ask for the camera, and ask again where it is turned away, until it has a whole frame: at most within a time from
// a moment on. It returns the viewer, which goes on, and after how long the frame was there. The error is *unreached, or the stage's.
func reach(ctx context.Context, x *stage.Set, v stage.Viewing, what string, from time.Time, within time.Duration) (*stage.View, time.Duration, error) {
	s := x.Stage()
	limit, cancel := context.WithDeadline(ctx, from.Add(within+v.For+writeLate))
	defer cancel()
	late := &unreached{what: what, within: within}
	for {
		w, err := x.View(ctx, v)
		if err != nil {
			return nil, 0, err
		}
		s.Saw("connects", 1)
		late.asked++
		f, err := w.FirstFrame(limit)
		if err == nil {
			took := f.T.Sub(from)
			s.Note("%s a frame was there after %v", what, took.Round(time.Millisecond))
			if took > within {
				late.took = took
				return w, took, errors.Join(late, leave(s, w))
			}
			return w, took, nil
		}
		if stopped := w.Stop(); stopped != nil {
			return nil, 0, stopped
		}
		var ended *stage.Ended
		if ctx.Err() != nil || !errors.As(err, &ended) && !errors.Is(err, context.DeadlineExceeded) {
			return nil, 0, err
		}
		if ended != nil {
			late.last = err
		}
		if time.Now().Add(askAgain).After(from.Add(within)) {
			return nil, 0, late
		}
		if err := s.Pause(ctx, askAgain); err != nil {
			return nil, 0, err
		}
	}
}

// leave ends a viewer in order, and counts the frames that it got intact; of a box, whose frames nobody knows, all.
func leave(s *stage.Stage, w *stage.View) error {
	err := w.Stop()
	n := 0
	for _, f := range w.Frames() {
		if s.Way() == stage.Box || s.Source().Intact(f) {
			n++
		}
	}
	s.Saw("frames", n)
	return err
}

// glance reaches a camera, watches it for as long as v says, and leaves.
func glance(ctx context.Context, x *stage.Set, v stage.Viewing, what string, from time.Time, within time.Duration) (time.Duration, error) {
	w, took, err := reach(ctx, x, v, what, from, within)
	if err != nil {
		return took, err
	}
	_, err = w.Wait(ctx)
	return took, errors.Join(err, leave(x.Stage(), w))
}

// outcome makes a verdict of what reach says.
func outcome(s *stage.Stage, err error) certify.Result {
	var late *unreached
	if errors.As(err, &late) {
		return s.Fail("%v", late)
	}
	return s.Judge(err)
}

// mediaTo matches the camera's media as it comes to a viewer.
func mediaTo(w *stage.View) tape.Match { return tape.All(tape.CameTo(w.Host()), tape.Media) }
