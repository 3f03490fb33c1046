package cases

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/punchlab/punchlab/lab/certify"
	"github.com/punchlab/punchlab/lab/certify/stage"
	"github.com/punchlab/punchlab/lab/certify/tape"
	"github.com/punchlab/punchlab/lab/link"
)

// patience is how long a case waits for what it is not about: a first frame, where the declared time for it is another case's.
const patience = 30 * time.Second

// bring brings up a named topology with the camera ready.
func bring(ctx context.Context, s *stage.Stage, topology string, params ...string) (*stage.Set, *stage.Camera, error) {
	x, err := s.Set(ctx, topology, params...)
	if err != nil {
		return nil, nil, err
	}
	camera, err := x.Camera(ctx, 1)
	return x, camera, err
}

// watched is what came of a viewer that watched for a time, from its first frame on.
type watched struct {
	set    *stage.Set
	view   *stage.View
	frames []stage.Frame // that it got
	given  []stage.Frame // that the camera says it sent meanwhile; none: it says nothing
	from   time.Time     // of the first frame
	to     time.Time     // the last one
	end    time.Time     // it had ended
	mark   int           // of the tape, at its start
	on     time.Duration // for so long it was to watch from the first frame on
}

// watch has a viewer watch for a time, and end by itself. The error is a fail of the camera's where it did not.
func watch(ctx context.Context, s *stage.Stage, x *stage.Set, camera *stage.Camera, d time.Duration) (w watched, err error) {
	v, err := x.View(ctx, stage.Viewing{Camera: camera, For: d})
	if err != nil {
		return w, err
	}
	defer v.Stop()
	short, cancel := context.WithTimeout(ctx, d+patience)
	defer cancel()
	if _, err := v.FirstFrame(short); err != nil {
		return w, err
	}
	code, err := v.Wait(short)
	w = watched{set: x, view: v, mark: v.Mark(), frames: v.Frames(), end: time.Now(), on: d}
	if err == nil && (code != certify.ExitDone || len(w.frames) == 0) {
		err = &stage.Ended{Role: certify.RoleViewer, Code: code, What: fmt.Sprintf("%v of pictures", d)}
	}
	if err != nil {
		return w, err
	}
	w.from, w.to = w.frames[0].T, w.frames[len(w.frames)-1].T
	given, err := camera.Frames()
	for _, f := range given {
		if !f.T.Before(v.Started()) && !f.T.After(w.to) {
			w.given = append(w.given, f)
		}
	}
	s.Note("the viewer got %d frames of %d bytes in %.2f s; the camera says it sent %d",
		len(w.frames), bytesOf(w.frames), w.length().Seconds(), len(w.given))
	return w, err
}

// length is how long there were frames.
func (w *watched) length() time.Duration { return w.to.Sub(w.from) }

// rate is the frames' bits a second.
func (w *watched) rate() float64 {
	return float64(8*bytesOf(w.frames)) / max(w.length().Seconds(), 1/float64(stage.SourceRate))
}

// atEnds is how long frames may be on their way at the ends of a watch: a path that loses, and a busy machine, begin slowly.
const atEnds = time.Second

// asked is how many frames there were to be got from the first one on: as many as the source gives, whose rate is the lab's, in the time that the
// viewer was to watch. What the camera says that it sent counts only where it is more: one that sends less, and says so, has not sent all.
func (w *watched) asked(rate float64) int {
	n := int(math.Round((w.on - atEnds).Seconds() * rate))
	for i, f := range w.given {
		if f.SHA256 == w.frames[0].SHA256 {
			n = max(n, len(w.given)-i)
			break
		}
	}
	return max(n, len(w.frames), 1)
}

// fresh counts the frames that are the source's, each once in a round of it: one that comes again before the source could have given it
// again is shown twice.
func fresh(clip, frames []stage.Frame) (n int) {
	round := time.Duration(len(clip)) * time.Second / stage.SourceRate
	sizes, last := map[string]int{}, map[string]time.Time{}
	for _, f := range clip {
		sizes[f.SHA256] = f.Size
	}
	for _, f := range frames {
		if size, known := sizes[f.SHA256]; !known || size != f.Size {
			continue
		}
		if t, again := last[f.SHA256]; !again || f.T.Sub(t) > round*3/4 {
			n++
		}
		last[f.SHA256] = f.T
	}
	return n
}

func bytesOf(frames []stage.Frame) (n int64) {
	for _, f := range frames {
		n += int64(f.Size)
	}
	return n
}

// order is what came of a source's frames, told by their bytes.
type order struct {
	Intact   int    // that are the source's
	Damaged  int    // that are not
	Missing  int    // between two that came
	Repeated int    // that came before
	First    string // fault, in words
}

// once are a source's frames, each once.
func once(src stage.Source) (clip []stage.Frame) {
	for n := range src.Units {
		clip = append(clip, src.Frame(n+1))
	}
	return clip
}

// compare holds frames to a source's, once, which plays over and over: from the first one on each has to be the next. A camera that gives a
// group of pictures once more goes back in the source; so does one that has mixed them up.
func compare(clip, frames []stage.Frame) (o order) {
	at := map[string]int{}
	for n, f := range clip {
		at[f.SHA256] = n + 1
	}
	last := 0 // number of the newest frame, 1 to len(clip); 0: none yet
	for i, f := range frames {
		n, known := at[f.SHA256]
		known = known && clip[n-1].Size == f.Size
		next := last%len(clip) + 1
		switch ahead := (n - next + len(clip)) % len(clip); {
		case !known:
			o.fault(&o.Damaged, 1, "frame %d of those that came (number %d, %d bytes) is none of the source's", i+1, f.N, f.Size)
			n = next
		case last == 0 || ahead == 0:
		case ahead < len(clip)/2:
			o.fault(&o.Missing, ahead, "before frame %d of those that came (number %d) %d are missing", i+1, f.N, ahead)
		default:
			o.fault(&o.Repeated, 1, "frame %d of those that came (number %d) is %d back in the source", i+1, f.N, len(clip)-ahead)
		}
		if known {
			o.Intact++
		}
		if known || last > 0 {
			last = n
		}
	}
	return o
}

func (o *order) fault(count *int, n int, format string, args ...any) {
	*count += n
	if o.First == "" {
		o.First = fmt.Sprintf(format, args...)
	}
}

// lasting is for how many seconds frames have to come, one second after the other, to flow: what was held back in between may come in
// one go, and nothing after it.
const lasting = 3

// flows finds the first time, not before one, from which on so many frames come in each of some seconds.
func flows(frames []stage.Frame, from time.Time, n int) (time.Time, bool) {
	for i := range frames {
		if t := frames[i].T; !t.Before(from) && each(frames[i:], t, n) {
			return t, true
		}
	}
	return time.Time{}, false
}

// each reports whether so many frames come in each of the seconds from t on.
func each(frames []stage.Frame, t time.Time, n int) bool {
	for s := range time.Duration(lasting) {
		if within(frames, t.Add(s*time.Second), t.Add((s+1)*time.Second)) < n {
			return false
		}
	}
	return true
}

// within counts the frames from t0 on and before t1.
func within(frames []stage.Frame, t0, t1 time.Time) (n int) {
	for _, f := range frames {
		if !f.T.Before(t0) && f.T.Before(t1) {
			n++
		}
	}
	return n
}

// streaming waits until so many packets of media have come to a viewer since a position of the tape: it may write its frames at its
// end. The errors are those of stage.View.FirstFrame.
func streaming(ctx context.Context, x *stage.Set, v *stage.View, from, n int) error {
	short, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	began := time.Now()
	for {
		over := !v.Alive()
		look, done := context.WithTimeout(short, 100*time.Millisecond)
		got, err := x.Tape().Wait(look, from, n, tape.CameTo(v.Host()), tape.Media)
		expired := look.Err() != nil
		done()
		what := fmt.Sprintf("%d packets of media at %s (%d have come)", n, v.Host(), got)
		switch {
		case err == nil:
			return nil
		case !expired:
			return err
		case over:
			code, err := v.Wait(ctx)
			if err != nil {
				return err
			}
			return &stage.Ended{Role: certify.RoleViewer, Code: code, What: what}
		case ctx.Err() == context.Canceled:
			return fmt.Errorf("waiting for %s: %w", what, ctx.Err())
		case short.Err() != nil:
			return &stage.Timeout{What: what, After: time.Since(began)}
		}
	}
}

// resumed waits until, after a time, a viewer gets so many frames a second again, or until the limit has passed; or ends. A viewer that
// writes its frames at its end is given all of the limit: live says whether it does not.
func resumed(ctx context.Context, s *stage.Stage, v *stage.View, after time.Time, n int, limit time.Duration, live bool) error {
	if !live {
		return s.Pause(ctx, time.Until(after.Add(limit+lasting*time.Second)))
	}
	for time.Since(after) < limit+lasting*time.Second && v.Alive() {
		if _, ok := flows(v.Frames(), after, n); ok {
			return nil
		}
		if err := s.Pause(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// dropped is how many packets the lab's links have dropped so far by some causes.
func dropped(x *stage.Set, causes ...link.Cause) (n int, err error) {
	st, err := x.Lab().Stats()
	if err != nil {
		return 0, fmt.Errorf("ask the lab what its links dropped: %w", err)
	}
	for _, u := range st.Uplinks {
		for _, c := range causes {
			n += int(u.Drops[c])
		}
	}
	return n, nil
}
