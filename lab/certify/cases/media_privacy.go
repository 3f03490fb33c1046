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

// private is MED-8: the camera is told to give nothing while somebody watches.
func private(ctx context.Context, s *stage.Stage) certify.Result {
	x, camera, err := bring(ctx, s, "two-homes")
	if err != nil {
		return s.Judge(err)
	}
	v, err := x.View(ctx, stage.Viewing{Camera: camera})
	if err != nil {
		return s.Judge(err)
	}
	defer v.Stop()
	if err := errors.Join(streaming(ctx, x, v, v.Mark(), 30), s.Pause(ctx, s.For(3*time.Second, calm))); err != nil {
		return s.Judge(err)
	}
	before := len(v.Frames())
	s.Saw("frames", before)
	if err := camera.Action(ctx, certify.ActionPrivacyOn); err != nil {
		return s.Judge(err)
	}
	on, from := time.Now(), x.Tape().Mark()
	if err := s.Pause(ctx, s.For(5*time.Second, 2*time.Second)); err != nil {
		return s.Judge(err)
	}
	if r, bad := silenced(s, x, camera, on, from, "the viewer that had watched"); bad {
		return r
	}
	if err := v.Stop(); err != nil {
		return s.Judge(err)
	}
	watched := v.Frames()
	s.Saw("frames", len(watched)-before)
	if n := within(watched, on.Add(time.Second), time.Now()); n > 0 {
		return s.Fail("%d frames came to the viewer later than a second after privacy mode was on", n)
	}
	if r, bad := turnedAway(ctx, s, x, camera, on, from); bad {
		return r
	}
	if err := camera.Action(ctx, certify.ActionPrivacyOff); err != nil {
		return s.Judge(err)
	}
	return servesAgain(ctx, s, x, camera)
}

// silenced says what media left the camera since privacy mode was on, a second's grace aside.
func silenced(s *stage.Stage, x *stage.Set, camera *stage.Camera, on time.Time, from int, who string) (certify.Result, bool) {
	late := tape.Streamed(x.Tape().Packets(from, camera.Out(), tape.Between(on.Add(time.Second), time.Time{})))
	if last, any := tape.Last(late); any && len(late) > mediaAMinute {
		return s.Fail("privacy mode was on, and %d packets of media left the camera from a second after that on, the last one %.1f s after (%s)",
			len(late), last.At.Sub(on).Seconds(), who), true
	}
	return certify.Result{}, false
}

// turnedAway has viewers ask while privacy mode is on: one that has watched before, and one that is new.
func turnedAway(ctx context.Context, s *stage.Stage, x *stage.Set, camera *stage.Camera, on time.Time, from int) (certify.Result, bool) {
	for i := range s.N(10, 2) {
		who := []string{"the viewer that had watched", "a viewer that was not there before"}[i%2]
		v, err := x.View(ctx, stage.Viewing{Camera: camera, Unit: 1 + i%2})
		if err != nil {
			return s.Judge(err), true
		}
		short, cancel := context.WithTimeout(ctx, s.For(5*time.Second, 2*time.Second))
		_, err = v.FirstFrame(short)
		cancel()
		stopped := v.Stop()
		s.Saw("connects", 1)
		s.Record(map[string]any{"ask": i + 1, "who": who, "frames": len(v.Frames()), "told": fmt.Sprint(err)})
		switch n := len(v.Frames()); {
		case n > 0:
			return s.Fail("privacy mode was on, and %s asked and got %d frames", who, n), true
		case !none(ctx, err):
			return s.Judge(err), true
		case stopped != nil:
			return s.Judge(stopped), true
		}
		if r, bad := silenced(s, x, camera, on, from, who); bad {
			return r, true
		}
	}
	return certify.Result{}, false
}

// servesAgain looks whether the camera gives something after privacy mode: else the silence before meant nothing.
func servesAgain(ctx context.Context, s *stage.Stage, x *stage.Set, camera *stage.Camera) certify.Result {
	v, err := x.View(ctx, stage.Viewing{Camera: camera, For: time.Second})
	if err != nil {
		return s.Judge(err)
	}
	defer v.Stop()
	short, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	_, err = v.FirstFrame(short)
	if none(ctx, err) {
		return s.Fail("privacy mode was off again, and no frame came: %v", err)
	}
	if err != nil {
		return s.Judge(err)
	}
	s.Saw("after", 1)
	return s.Pass()
}
