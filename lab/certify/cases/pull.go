package cases

import (
	"context"
	"time"

	"github.com/punchlab/punchlab/lab/certify"
	"github.com/punchlab/punchlab/lab/certify/stage"
	"github.com/punchlab/punchlab/lab/certify/tape"
)

// pull are the procedures of group BW.
func pull() map[string]Procedure {
	return map[string]Procedure{
		"BW-1": idleSilence, "BW-2": idleHour, "BW-3": vanishing, "BW-4": unasked, "BW-5": overhead, "BW-6": idleRelay,
	}
}

// mediaAMinute is how many packets as large as media an idle camera may send in a minute: logs, a certificate renewed, a firmware's
// version asked for. A picture a second is three times that.
const mediaAMinute = 20

// idleSilence is BW-1: an idle camera is watched; and again after a viewer has come and gone.
func idleSilence(ctx context.Context, s *stage.Stage) certify.Result {
	x, camera, err := bring(ctx, s, "two-homes")
	if err != nil {
		return s.Judge(err)
	}
	if err := s.Pause(ctx, s.For(30*time.Second, 500*time.Millisecond)); err != nil { // until it has settled, and only idles
		return s.Judge(err)
	}
	watch := s.For(5*time.Minute, 2*time.Second)
	if r, bad := idle(ctx, s, x, camera, "before a viewer came", watch); bad {
		return r
	}
	if err := comeAndGo(ctx, s, x, camera); err != nil {
		return s.Judge(err)
	}
	if r, bad := idle(ctx, s, x, camera, "after a viewer had gone", watch); bad {
		return r
	}
	s.Saw("packets", x.Tape().Count(0, camera.Out()))
	return s.Pass()
}

// comeAndGo has a viewer watch a little, and waits until the camera has let go of it: as long as BW-3 gives it.
func comeAndGo(ctx context.Context, s *stage.Stage, x *stage.Set, camera *stage.Camera) error {
	v, err := x.View(ctx, stage.Viewing{Camera: camera, For: time.Second})
	if err != nil {
		return err
	}
	if _, err := v.FirstFrame(ctx); err != nil {
		return err
	}
	if _, err := v.Wait(ctx); err != nil {
		return err
	}
	s.Note("the viewer has gone")
	return s.Pause(ctx, s.For(30*time.Second, 500*time.Millisecond))
}

// idle watches the camera, and says what it sent too much of.
func idle(ctx context.Context, s *stage.Stage, x *stage.Set, camera *stage.Camera, when string, watch time.Duration) (certify.Result, bool) {
	s.Note("watching the idle camera for %v, %s", watch, when)
	from := x.Tape().Mark()
	if err := s.Pause(ctx, watch); err != nil {
		return s.Judge(err), true
	}
	sent := x.Tape().Packets(from, camera.Out())
	s.Saw("seconds", int(watch/time.Second))
	most, _ := tape.Busiest(time.Minute, tape.Streamed(sent))
	s.Record(map[string]any{"when": when, "seconds": watch.Seconds(), "packets": len(sent), "bytes": tape.Bytes(sent),
		"media in the busiest minute": most.N})
	if most.N > mediaAMinute {
		return s.Fail("%s the idle camera sent %d packets of 500 bytes or more within a minute; %d may be", when, most.N, mediaAMinute), true
	}
	if allowed := allowance(s.Decl().Bounds.Idle, watch); tape.Bytes(sent) > allowed {
		return s.Fail("%s the idle camera sent %d bytes in %v; by its declared idle bound of %d bytes an hour %d may be",
			when, tape.Bytes(sent), watch, s.Decl().Bounds.Idle, allowed), true
	}
	return certify.Result{}, false
}

// idleHour is BW-2: a camera that is set up is watched for an hour.
func idleHour(ctx context.Context, s *stage.Stage) certify.Result {
	x, camera, err := bring(ctx, s, "two-homes")
	if err != nil {
		return s.Judge(err)
	}
	watch := s.For(time.Hour, 6*time.Second)
	from, began := x.Tape().Mark(), time.Now()
	s.Note("watching the idle camera for %v", watch)
	if err := s.Pause(ctx, watch); err != nil {
		return s.Judge(err)
	}
	sent := x.Tape().Packets(from, camera.Out())
	s.Saw("seconds", int(time.Since(began)/time.Second))
	s.Saw("packets", x.Tape().Count(0, camera.Out()))
	minutes := tape.PerMinute(sent, began, began.Add(watch))
	s.Record(map[string]any{"seconds": watch.Seconds(), "packets": len(sent), "bytes": tape.Bytes(sent), "by the minute": minutes})
	allowed := allowance(s.Decl().Bounds.Idle, watch)
	s.Note("the idle camera sent %d packets of %d bytes; %d bytes may be", len(sent), tape.Bytes(sent), allowed)
	if n := tape.Bytes(sent); n > allowed {
		return s.Fail("the idle camera sent %d bytes in %v; by its declared idle bound of %d bytes an hour %d may be",
			n, watch, s.Decl().Bounds.Idle, allowed)
	}
	return s.Pass()
}

// allowance is what an idle camera may send in a part of an hour: its share of the bound, but no less than what a camera sends at
// once now and then (a keepalive, a question to STUN): within seconds nobody can tell how much that is in an hour.
func allowance(idle int, watch time.Duration) int64 {
	const atOnce = 4096
	return max(atOnce, int64(float64(idle)*watch.Hours()))
}
