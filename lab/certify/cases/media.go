package cases

import (
	"context"
	"fmt"
	"time"

	"github.com/punchlab/punchlab/lab"
	"github.com/punchlab/punchlab/lab/certify"
	"github.com/punchlab/punchlab/lab/certify/stage"
	"github.com/punchlab/punchlab/lab/certify/tape"
	"github.com/punchlab/punchlab/lab/link"
)

// media are the procedures of group MED.
func media() map[string]Procedure {
	return map[string]Procedure{
		"MED-1": intact, "MED-2": firstFrames, "MED-3": lossy, "MED-4": corrupting,
		"MED-5": outages, "MED-6": largeVanish, "MED-7": besideTCP, "MED-8": private,
	}
}

// intact is MED-1: what comes is what the source gave, directly and by the relay.
func intact(ctx context.Context, s *stage.Stage) certify.Result {
	legs := []string{"directly"}
	if s.Decl().Has(certify.FeatureRelay) {
		legs = append(legs, "by the relay")
	}
	blind := ""
	for i, leg := range legs {
		x, camera, err := bring(ctx, s, "two-homes")
		if err == nil && i > 0 {
			_, err = x.Do(lab.Event{Do: lab.DoBlackhole, Between: [2]string{"camera", "viewer"}})
		}
		if err != nil {
			return s.Judge(err)
		}
		w, err := watch(ctx, s, x, camera, s.For(30*time.Second, 3*time.Second))
		if err != nil {
			return s.Judge(err)
		}
		sent, came := w.carried(camera)
		s.Saw("frames", len(w.frames))
		s.Saw("packets", came.Packets)
		o := compare(once(s.Source()), w.frames)
		s.Record(map[string]any{"leg": leg, "frames": len(w.frames), "order": o, "media sent": sent, "media that came": came})
		s.Note("%s: %d packets of media had left the camera a second before the last frame, and %d had come by then; %+v",
			leg, sent.Packets, came.Packets, o)
		switch whole := int(0.9 * stage.SourceRate * (w.on - atEnds).Seconds()); {
		case s.Way() == stage.Box && came.Packets < sent.Packets:
			return s.Fail("%s %d packets of media came to the viewer; a second before the last of them %d had left the camera", leg, came.Packets, sent.Packets)
		case s.Way() == stage.Box:
			blind = fmt.Sprintf("the content cannot be compared; all %d packets of media came that the camera sent", s.Observed("packets"))
		case o.Damaged > 0:
			return s.Fail("%s %d of %d frames differ from the source's: %s", leg, o.Damaged, len(w.frames), o.First)
		case o.Missing+o.Repeated > 0:
			return s.Fail("%s the frames did not arrive each in its place and once, %d missing and %d gone back to: %s",
				leg, o.Missing, o.Repeated, o.First)
		case len(w.frames) < whole:
			return s.Fail("%s %d frames arrived in %.1f s of a source that gives %d a second", leg, len(w.frames), w.on.Seconds(), stage.SourceRate)
		}
	}
	if blind != "" {
		return s.PassNonstrict("%s", blind)
	}
	return s.Pass()
}

// carried is the media that the camera sent until the viewer's last frame, and that came to the viewer. What was under way at the ends is
// in neither.
func (w *watched) carried(camera *stage.Camera) (sent, came tape.Amount) {
	until := tape.Between(time.Time{}, w.to.Add(-time.Second))
	out := w.set.Tape().Packets(w.mark, camera.Out(), tape.Media, until)
	in := w.set.Tape().Packets(w.mark, tape.CameTo(w.view.Host()), tape.Media, tape.Between(time.Time{}, w.to))
	return tape.Amount{Packets: len(out), Bytes: tape.Bytes(out)}, tape.Amount{Packets: len(in), Bytes: tape.Bytes(in)}
}

// firstFrames is MED-2: a viewer comes again and again, and its first frame is timed.
func firstFrames(ctx context.Context, s *stage.Stage) certify.Result {
	x, camera, err := bring(ctx, s, "two-homes")
	if err != nil {
		return s.Judge(err)
	}
	bound, late := s.Decl().Bounds.FirstFrame, ""
	for i := range s.N(59, 3) {
		took, err := firstFrame(ctx, x, camera, bound)
		if err != nil {
			return s.Judge(err)
		}
		s.Saw("connects", 1)
		bad := took == 0 || took > bound
		s.Try(bad)
		s.Record(map[string]any{"connect": i + 1, "milliseconds": took.Milliseconds(), "late": bad})
		if took > 0 {
			s.Saw("frames", 1)
		}
		if bad && late == "" {
			late = fmt.Sprintf("connect %d of the viewer got its first frame after %v", i+1, took.Round(time.Millisecond))
			if took == 0 {
				late = fmt.Sprintf("connect %d of the viewer got no frame within %v", i+1, bound+patience)
			}
		}
	}
	c := s.Claim()
	switch {
	case c.Failures > 0 && (s.Brief() || !c.Holds(s.Case().Rate)):
		return s.Fail("%s; %v is declared; %d of %d were late", late, bound, c.Failures, c.Tries)
	}
	return s.Pass()
}

// firstFrame connects once, and says how long the first whole frame took from the viewer's first packet on; 0: none came. The error is
// the lab's, or a fault.
func firstFrame(ctx context.Context, x *stage.Set, camera *stage.Camera, bound time.Duration) (time.Duration, error) {
	v, err := x.View(ctx, stage.Viewing{Camera: camera, For: time.Second})
	if err != nil {
		return 0, err
	}
	defer v.Stop()
	short, cancel := context.WithTimeout(ctx, bound+patience)
	defer cancel()
	f, err := v.FirstFrame(short)
	if none(ctx, err) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	asked := v.Asked()
	if asked.IsZero() {
		asked = v.Started()
	}
	return max(f.T.Sub(asked), 1), nil
}

// none says that an error means no more than that no frame came.
func none(ctx context.Context, err error) bool {
	switch err.(type) {
	case *stage.Ended, *stage.Timeout:
		return ctx.Err() == nil
	}
	return false
}

// lossy is MED-3: each line loses 2 % of what it sends.
func lossy(ctx context.Context, s *stage.Stage) certify.Result {
	rate, err := usual(ctx, s)
	if err != nil {
		return s.Judge(err)
	}
	x, camera, err := bring(ctx, s, "lossy", "link", "loss-2")
	if err != nil {
		return s.Judge(err)
	}
	before, err := dropped(x, link.Lost)
	if err != nil {
		return s.Judge(err)
	}
	w, err := watch(ctx, s, x, camera, s.For(time.Minute, 5*time.Second))
	if err != nil {
		return s.Judge(err)
	}
	after, err := dropped(x, link.Lost)
	if err != nil {
		return s.Judge(err)
	}
	s.Saw("lost", after-before)
	if after == before {
		return s.Inconclusive("the link lost nothing while the viewer watched")
	}
	return survived(s, &w, rate, 0.95, fmt.Sprintf("while %d packets were lost", after-before))
}

// usual is how many frames a second the camera gives: the source's rate, and of a box what it gives over a clean path.
func usual(ctx context.Context, s *stage.Stage) (float64, error) {
	if s.Way() != stage.Box {
		return stage.SourceRate, nil
	}
	x, camera, err := bring(ctx, s, "two-homes")
	if err != nil {
		return 0, err
	}
	w, err := watch(ctx, s, x, camera, s.For(10*time.Second, 3*time.Second))
	if err != nil {
		return 0, err
	}
	rate := float64(len(w.frames)-1) / max(w.length().Seconds(), 1)
	s.Note("over a clean path the box gives %.1f frames a second", rate)
	return rate, nil
}

// survived judges what a viewer got over a bad path.
func survived(s *stage.Stage, w *watched, rate, share float64, while string) certify.Result {
	s.Saw("frames", len(w.frames))
	o, asked := compare(once(s.Source()), w.frames), w.asked(rate)
	whole, floor := fresh(once(s.Source()), w.frames), s.Decl().Bounds.Floor
	if s.Way() == stage.Box {
		whole, o = len(w.frames), order{}
	}
	s.Record(map[string]any{"frames": len(w.frames), "asked": asked, "order": o, "bits a second": int64(w.rate())})
	s.Note("%d of %d frames arrived whole %s; %.0f bit/s; %+v", whole, asked, while, w.rate(), o)
	switch {
	case o.Damaged > 0:
		return s.Fail("%d of %d frames arrived damaged %s: %s", o.Damaged, len(w.frames), while, o.First)
	case float64(whole) < share*float64(asked):
		return s.Fail("%d of %d frames arrived whole %s, %.1f %%; %.0f %% are asked for", whole, asked, while,
			100*float64(whole)/float64(asked), 100*share)
	case w.rate() < float64(floor):
		return s.Fail("the frames that arrived %s were %.0f bit/s; the declared floor is %d", while, w.rate(), floor)
	case s.Way() == stage.Box:
		return s.PassNonstrict("the content cannot be compared; by the viewer's count %d of %d frames arrived", whole, asked)
	}
	return s.Pass()
}
