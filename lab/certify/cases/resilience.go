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

// resilience are the procedures of group RES.
func resilience() map[string]Procedure {
	return map[string]Procedure{"RES-1": withoutInternet, "RES-2": powerCuts, "RES-3": outlives, "RES-4": flooded, "RES-5": hoursOfWork}
}

// shortLook is how long a viewer watches that only has to find out whether it can.
const shortLook = time.Second

// withoutInternet is RES-1: a viewer on the camera's LAN watches while the uplink goes, and then comes anew.
func withoutInternet(ctx context.Context, s *stage.Stage) certify.Result {
	x, camera, err := bring(ctx, s, "same-lan")
	if err != nil {
		return s.Judge(err)
	}
	recovery := s.Decl().Bounds.Recovery
	if _, err := glance(ctx, x, stage.Viewing{Camera: camera, For: shortLook}, "with the uplink there", time.Now(), recovery); err != nil {
		return outcome(s, err)
	}
	w, _, err := reach(ctx, x, stage.Viewing{Camera: camera}, "for the second time", time.Now(), recovery)
	if err != nil {
		return outcome(s, err)
	}
	undo, err := x.Do(lab.Event{Do: lab.DoUplinkDown, Site: x.Lab().Topology().SiteOf(camera.Host()).Name})
	if err != nil {
		return s.Judge(errors.Join(err, leave(s, w)))
	}
	s.Saw("outages", 1)
	gap, on, err := goesOn(ctx, x, w, s.For(time.Minute, 6*time.Second), recovery)
	if err := errors.Join(err, leave(s, w)); err != nil {
		return s.Judge(err)
	}
	s.Record(map[string]any{"outage": "the stream", "goes on": on, "longest silence s": gap.Seconds()})
	if !on {
		return s.Fail("without the uplink the stream in the LAN stopped: no media came to the viewer for %v, %v are declared", gap.Round(time.Millisecond), recovery)
	}
	took, err := glance(ctx, x, stage.Viewing{Camera: camera, For: shortLook}, "without the uplink", time.Now(), recovery)
	var late *unreached
	if err != nil && !errors.As(err, &late) {
		return s.Judge(err)
	}
	s.Record(map[string]any{"outage": "a connect", "seconds": took.Seconds(), "failed": late != nil})
	if err := undo(); err != nil {
		return s.Judge(err)
	}
	if late == nil {
		return s.Pass()
	}
	if _, err := glance(ctx, x, stage.Viewing{Camera: camera, For: shortLook}, "with the uplink back", time.Now(), recovery); err != nil {
		return outcome(s, err)
	}
	return s.PassNonstrict("the stream goes on, and %v", late)
}

// goesOn watches a stream for a time from now on, and until its media has gone on if it stands still then, at most for longest. It
// returns the longest silence and whether that is over, or ended with the time that was watched.
func goesOn(ctx context.Context, x *stage.Set, w *stage.View, watch, longest time.Duration) (gap time.Duration, on bool, err error) {
	const still = time.Second // no more is a gap between two frames, or a burst of the machine's
	from, began := x.Tape().Mark(), time.Now()
	if err := x.Stage().Pause(ctx, watch); err != nil {
		return 0, false, err
	}
	last := began
	if p, ok := tape.Last(x.Tape().Packets(from, mediaTo(w))); ok {
		last = p.At
	}
	end := time.Now()
	if end.Sub(last) > still {
		limit, cancel := context.WithDeadline(ctx, last.Add(longest))
		_, err := x.Tape().Wait(limit, x.Tape().Mark(), 1, mediaTo(w))
		cancel()
		if ctx.Err() != nil {
			return 0, false, err
		}
		end = time.Now()
		if err != nil {
			return end.Sub(last), false, nil
		}
	}
	for _, g := range tape.Gaps(x.Tape().Packets(from, mediaTo(w)), began, end, still) {
		gap = max(gap, g.Length())
	}
	return gap, gap <= longest, nil
}
