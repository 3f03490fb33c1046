package cases

import (
	"context"
	"time"

	"github.com/punchlab/punchlab/lab/certify"
	"github.com/punchlab/punchlab/lab/certify/stage"
	"github.com/punchlab/punchlab/lab/certify/tape"
)

// mappingLife is how long the camera's router keeps a UDP mapping through silence (preset short-timeout).
const mappingLife = 30 * time.Second

// cutAfter is how long media may pause in a stream that is not cut: far more than losses and key frames cost, and far less than a mapping
// that was let go.
const cutAfter = 2 * time.Second

// keptOpen is NAT-7: the camera's router forgets after 30 s, and the camera is reached whenever a viewer asks.
func keptOpen(ctx context.Context, s *stage.Stage) certify.Result {
	x, err := s.Set(ctx, "two-homes", "camera.nat", "short-timeout")
	if err != nil {
		return s.Judge(err)
	}
	camera, err := x.Camera(ctx, 1)
	if err != nil {
		return s.Judge(err)
	}
	n, idle := s.N(8, 1), s.For(time.Minute, mappingLife+3*time.Second)
	for i := range n {
		s.Note("the camera idles for %v, and its router forgets what was silent for %v", idle, mappingLife)
		if err := s.Pause(ctx, idle); err != nil {
			return s.Judge(err)
		}
		s.Saw("seconds", int(idle/time.Second))
		g, err := connect(ctx, s, x, camera, ask{within: s.For(15*time.Second, 8*time.Second), watch: s.For(5*time.Second, 2*time.Second)})
		if err != nil {
			return s.Judge(err)
		}
		s.Note("connect %d: first frame after %s, media went %s %s", i+1, ms(g.took), g.route, g.why)
		if g.why != "" {
			return s.Fail("after %v idle behind a router that forgets after %v, connect %d of %d did not reach the camera: %s",
				idle, mappingLife, i+1, n, g.why)
		}
		if err := g.view.Stop(); err != nil {
			return s.Judge(err)
		}
	}
	return longWatch(ctx, s, x, camera, s.For(100*time.Second, 3*time.Second))
}

// longWatch has a viewer watch for longer than the mapping lives, and looks for a cut.
func longWatch(ctx context.Context, s *stage.Stage, x *stage.Set, camera *stage.Camera, watch time.Duration) certify.Result {
	g, err := connect(ctx, s, x, camera, ask{within: 15 * time.Second, watch: watch})
	switch {
	case err != nil:
		return s.Judge(err)
	case g.why != "":
		return s.Fail("the connect before the long watch did not reach the camera: %s", g.why)
	}
	if err := s.Pause(ctx, time.Until(g.first.T.Add(watch-200*time.Millisecond))); err != nil { // what is watched
		return s.Judge(err)
	}
	until := time.Now()
	came := x.Tape().Packets(g.view.Mark(), tape.CameTo(g.view.Host()), tape.Media)
	if err := g.view.Stop(); err != nil {
		return s.Judge(err)
	}
	frames := len(g.view.Frames())
	s.Saw("frames", frames)
	s.Note("the viewer watched for %v: %d frames, %d packets of media", watch, frames, len(came))
	if gaps := tape.Gaps(came, g.first.T, until, cutAfter); len(gaps) > 0 {
		return s.Fail("the stream was cut: no media came to the viewer for %s, %s after its first frame", ms(gaps[0].Length()),
			ms(gaps[0].From.Sub(g.first.T)))
	}
	return s.Pass()
}
