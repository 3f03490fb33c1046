package cases

import (
	"context"
	"errors"
	"time"

	"github.com/punchlab/punchlab/lab"
	"github.com/punchlab/punchlab/lab/certify"
	"github.com/punchlab/punchlab/lab/certify/stage"
	"github.com/punchlab/punchlab/lab/certify/tape"
)

const (
	consentLasts = 30 * time.Second       // RFC 7675 §5.1
	underway     = 500 * time.Millisecond // that a packet may be on its way: the viewer's last one counts for the camera when it comes
)

// silence is a way to vanish without a word. It returns how what it did to the lab is undone.
type silence struct {
	how string
	do  func(x *stage.Set, v *stage.View) (undo func() error, err error)
}

var silences = []silence{{
	"its process was killed", func(_ *stage.Set, v *stage.View) (func() error, error) {
		v.Kill()
		return func() error { return nil }, nil
	},
}, {
	"its uplink went", func(x *stage.Set, _ *stage.View) (func() error, error) {
		return x.Do(lab.Event{Do: lab.DoUplinkDown, Site: "viewer"})
	},
}, {
	"it stopped and its NAT forgot it", func(x *stage.Set, v *stage.View) (func() error, error) {
		v.Program().Pause()
		return x.Do(lab.Event{Do: lab.DoReboot, Site: "viewer"})
	},
}}

// vanishing is BW-3: viewers vanish in mid-stream.
func vanishing(ctx context.Context, s *stage.Stage) certify.Result {
	x, camera, err := bring(ctx, s, "two-homes")
	if err != nil {
		return s.Judge(err)
	}
	for range s.N(3, 1) {
		for _, way := range silences[:s.N(len(silences), 1)] {
			if r, bad := vanish(ctx, s, x, camera, way); bad {
				return r
			}
		}
	}
	return s.Pass()
}

// vanish has one viewer vanish, and says what the camera sent for too long.
func vanish(ctx context.Context, s *stage.Stage, x *stage.Set, camera *stage.Camera, way silence) (certify.Result, bool) {
	v, err := x.View(ctx, stage.Viewing{Camera: camera})
	if err != nil {
		return s.Judge(err), true
	}
	defer v.Stop()
	if err := errors.Join(streaming(ctx, x, v, v.Mark(), 30), s.Pause(ctx, calm)); err != nil {
		return s.Judge(err), true
	}
	gone := time.Now()
	undo, err := way.do(x, v)
	if err != nil {
		return s.Judge(err), true
	}
	last, said := tape.Last(x.Tape().Packets(v.Mark(), tape.From(v.Host()), tape.Full, tape.Between(time.Time{}, gone)))
	if !said {
		return s.Inconclusive("the viewer sent nothing before %s", way.how), true
	}
	stopped, err := lastMedia(ctx, s, x, camera, last.At, v.Mark())
	if err != nil {
		return s.Judge(err), true
	}
	v.Kill()
	if err := undo(); err != nil {
		return s.Judge(err), true
	}
	s.Saw("frames", len(v.Frames()))
	s.Saw("silences", 1)
	took := stopped.Sub(last.At)
	s.Record(map[string]any{"how": way.how, "media after, seconds": took.Seconds()})
	s.Note("the viewer fell silent, as %s; the last media packet left %.2f s after its last packet", way.how, took.Seconds())
	if took > consentLasts+underway {
		return s.Fail("the viewer fell silent, as %s, and %.1f s after its last packet the camera still sent media; it has to stop within %.0f s",
			way.how, took.Seconds(), consentLasts.Seconds()), true
	}
	return certify.Result{}, false
}

// lastMedia watches for longer than media may go on after a viewer's silence, and says when the last of it left. In brief it does not
// wait for what may come after a pause.
func lastMedia(ctx context.Context, s *stage.Stage, x *stage.Set, camera *stage.Camera, since time.Time, from int) (last time.Time, err error) {
	const enough = 2 * time.Second
	end := since.Add(consentLasts + underway + enough)
	for time.Now().Before(end) {
		if err := s.Pause(ctx, 250*time.Millisecond); err != nil {
			return last, err
		}
		// From the beginning: what is a stream by its amount is not known by its last packet.
		if p, any := tape.Last(tape.Streamed(x.Tape().Packets(from, camera.Out()))); any {
			last = p.At
		}
		if s.Brief() && time.Since(last) > 2*enough {
			break
		}
	}
	return last, nil
}
