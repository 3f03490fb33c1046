package stage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/punchlab/punchlab/lab/certify"
	"github.com/punchlab/punchlab/lab/certify/contain"
	"github.com/punchlab/punchlab/lab/certify/tape"
)

// Viewing says who watches what.
type Viewing struct {
	Camera *Camera       // whose ticket the viewer has
	Ticket []byte        // in place of the camera's
	Host   string        // empty: viewer
	Unit   int           // of the viewer, for its state folder: what it has learnt as another unit it does not know; 0: 1
	For    time.Duration // from the first frame on, rounded up to whole seconds; 0: an hour, and Stop ends it
}

// View is a viewer that was started. It is safe for concurrent use.
type View struct {
	p       *Program
	camera  *Camera // that it watches, if that is known
	started time.Time
	mark    int // position of the tape at the start
	asking  sync.Mutex
	asked   time.Time
}

// viewing is how long a viewer watches if nobody says.
const viewing = time.Hour

// connecting is how long a viewer may take from its start to its end beside the watching.
const connecting = 2 * time.Minute

// View starts a viewer, and returns when it has sent its first packet, has ended, or a few seconds have passed. That it cannot connect is no
// error here: see FirstFrame. Several may watch at once; of those on one host Asked is not to be told apart.
func (x *Set) View(ctx context.Context, v Viewing) (*View, error) {
	if v.Host == "" {
		v.Host = viewerHost
	}
	if v.Unit == 0 {
		v.Unit = 1
	}
	if v.For == 0 {
		v.For = viewing
	}
	if v.Ticket == nil && v.Camera != nil {
		var err error
		if v.Ticket, err = v.Camera.Ticket(); err != nil {
			return nil, err
		}
	}
	ticket := filepath.Join(x.stage.dir.Path, "tickets", strconv.Itoa(x.stage.next()))
	if err := os.WriteFile(ticket, v.Ticket, 0o644); err != nil {
		return nil, fmt.Errorf("start a viewer: %w", err)
	}
	w, err := x.view(ctx, v, ticket)
	if err == nil && w.p.over() && x.stage.replace(certify.RoleViewer, w.unknown()) {
		w, err = x.view(ctx, v, ticket)
	}
	return w, err
}

// View waits so long for a viewer's first packet, or its end: one that has no camera's ticket may have nobody to ask.
const (
	asksWithin    = 30 * time.Second
	guessesWithin = 3 * time.Second
)

func (x *Set) view(ctx context.Context, v Viewing, ticket string) (*View, error) {
	seconds := (v.For + time.Second - 1) / time.Second
	argv, vendors := x.stage.player(certify.RoleViewer)
	w := &View{camera: v.Camera, started: time.Now(), mark: x.tape.Mark()}
	var err error
	w.p, err = x.start(starting{
		role: certify.RoleViewer, action: certify.ActionRun, unit: v.Unit, host: v.Host, argv: argv, vendor: vendors,
		env:  []string{"PUNCHLAB_TICKET=" + ticket, fmt.Sprintf("PUNCHLAB_MEDIA=%d", seconds)},
		show: []string{ticket}, wall: v.For + connecting,
	})
	if err != nil {
		return nil, err
	}
	within := guessesWithin
	if v.Camera != nil {
		within = asksWithin
	}
	short, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	err = wait(short, "the viewer's first packet", func() (bool, error) { return w.p.over() || !w.Asked().IsZero(), nil })
	if err != nil && ctx.Err() != nil {
		return nil, errors.Join(err, w.p.end())
	}
	if asked := w.Asked(); asked.IsZero() {
		x.stage.Note("viewer %d on %s has asked nobody, %v after its start", v.Unit, v.Host, time.Since(w.started).Round(time.Millisecond))
	} else {
		x.stage.Note("viewer %d on %s asks, %v after its start", v.Unit, v.Host, asked.Sub(w.started).Round(time.Millisecond))
	}
	return w, nil
}

// unknown is *Unsupported if the vendor's program does not know the role.
func (w *View) unknown() error {
	if r := w.p.report; w.p.err == nil && r.Ending == contain.Exited && r.Code == certify.ExitUnsupported && w.p.Vendors {
		return w.p.ended("")
	}
	return nil
}

// Asked is the time of its first UDP or TCP packet; zero: it has sent none.
func (w *View) Asked() time.Time {
	w.asking.Lock()
	defer w.asking.Unlock()
	if w.asked.IsZero() {
		first := w.p.set.tape.Packets(w.mark, tape.From(w.p.Host), tape.Any(tape.UDP, tape.TCP))
		if len(first) > 0 {
			w.asked = first[0].At
		}
	}
	return w.asked
}

// Started is when its program was.
func (w *View) Started() time.Time { return w.started }

// Mark is the tape's position when it was started.
func (w *View) Mark() int { return w.mark }

// Host is the name of its host.
func (w *View) Host() string { return w.p.Host }

// Program is the viewer's.
func (w *View) Program() *Program { return w.p }

// Frames are those that it says it got whole, so far.
func (w *View) Frames() []Frame {
	frames, _ := w.p.Frames()
	return frames
}

// FirstFrame waits for the first whole frame. The error is *Ended where the viewer ended without one, *Timeout, *Fault (the camera's too, if
// it is known and over), or the lab's.
func (w *View) FirstFrame(ctx context.Context) (Frame, error) {
	if err := w.WaitFrames(ctx, 1); err != nil {
		return Frame{}, err
	}
	return w.Frames()[0], nil
}

// WaitFrames waits until it has got n frames. The errors are FirstFrame's. A vendor's viewer may write its frames at its end: give
// ctx the time for that.
func (w *View) WaitFrames(ctx context.Context, n int) error {
	what := "the first frame that comes to host " + w.p.Host
	if n > 1 {
		what = fmt.Sprintf("frame %d of those that come to host %s", n, w.p.Host)
	}
	return wait(ctx, what, func() (bool, error) { return w.have(what, func(fs []Frame) bool { return len(fs) >= n }) })
}

// WaitAfter waits for a frame that the viewer got after a time, and returns the first such. The errors are FirstFrame's.
func (w *View) WaitAfter(ctx context.Context, t time.Time) (f Frame, err error) {
	what := fmt.Sprintf("a frame at %s after %s", w.p.Host, t.UTC().Format("15:04:05.000"))
	err = wait(ctx, what, func() (bool, error) {
		return w.have(what, func(fs []Frame) bool {
			for i := len(fs) - 1; i >= 0 && fs[i].T.After(t); i-- {
				f = fs[i]
			}
			return f.N > 0
		})
	})
	return f, err
}

// have reports whether the frames so far are enough; the error says why they never will be.
func (w *View) have(what string, enough func([]Frame) bool) (bool, error) {
	over := w.p.over() // before the frames are read: its last ones count
	frames, err := w.p.Frames()
	switch {
	case err != nil:
		return false, err
	case enough(frames):
		return true, nil
	case over:
		return false, w.p.ended(what)
	case w.camera != nil:
		return false, w.camera.Fault()
	}
	return false, nil
}

// LongestGap is the longest time without a frame between t0 and t1, both counted as frames.
func (w *View) LongestGap(t0, t1 time.Time) (longest time.Duration) {
	last := t0
	for _, f := range w.Frames() {
		if f.T.After(t0) && f.T.Before(t1) {
			longest, last = max(longest, f.T.Sub(last)), f.T
		}
	}
	return max(longest, t1.Sub(last))
}

// Wait waits until it has ended, and returns its exit code, -1 if it was ended. The error is *Fault, *Timeout, or the lab's.
func (w *View) Wait(ctx context.Context) (code int, err error) {
	began := time.Now()
	select {
	case <-w.p.done:
	case <-ctx.Done():
		return -1, expired(ctx, fmt.Sprintf("the viewer on %s to end", w.p.Host), time.Since(began))
	}
	if w.p.err != nil {
		return -1, w.p.err
	}
	if w.p.misdeed(w.p.report) != nil {
		return w.p.report.Code, w.p.ended("its time was over")
	}
	return w.p.report.Code, nil
}

// Alive reports whether it runs.
func (w *View) Alive() bool { return w.p.Alive() }

// Kill ends it without a word to anybody: SIGKILL.
func (w *View) Kill() {
	w.p.set.stage.Note("the viewer on %s is killed", w.p.Host)
	w.p.Kill()
	_ = w.p.end()
}

// Stop ends it in order, by SIGTERM, and waits until it has ended. The frames stay. The error is the lab's.
func (w *View) Stop() error { return w.p.end() }
