package virtual_test

import (
	"testing"
	"time"

	"github.com/pion/rtcp"

	"github.com/punchlab/punchlab/impl/camera"
	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/media"
	"github.com/punchlab/punchlab/impl/punch"
	"github.com/punchlab/punchlab/impl/viewer"
	"github.com/punchlab/punchlab/impl/virtual"
	"github.com/punchlab/punchlab/impl/wire"
)

// lens is a live source: pictures of the synthetic source, there when the test takes them.
type lens struct {
	made  synthetic
	units []media.AccessUnit
	key   bool // the next picture is to be a key frame
	asked int
}

func (l *lens) Next() (media.AccessUnit, error) {
	if len(l.units) == 0 {
		return media.AccessUnit{}, media.ErrPending
	}
	au := l.units[0]
	l.units = l.units[1:]
	return au, nil
}

func (l *lens) RequestKeyFrame() { l.key, l.asked = true, l.asked+1 }

// film takes 25 pictures a second for a while, each by the time when it was taken. Only the first one and those that were asked for are
// key frames.
func (w *world) film(l *lens, began time.Time, d time.Duration) {
	w.t.Helper()
	for end := w.net.Now.Add(d); w.net.Now.Before(end); {
		w.cameraHost.Do(func(now time.Time) {
			switch turn := l.made.n % 25; {
			case l.key:
				l.made.n += (25 - turn) % 25
			case l.made.n > 0 && turn == 0:
				l.made.n++
			}
			au, err := l.made.Next()
			w.check(err)
			au.Key = au.Data[4] == 0x65
			au.PTS, au.Captured = now.Sub(began), now
			l.key = false
			l.units = append(l.units, au)
			w.camera.HandleFrames(now)
		})
		w.net.Run(40*time.Millisecond, nil)
	}
}

// Live pictures arrive as late as the path is long; a source that stands still for long is no dead path, and what it shows then comes
// at once; the pictures that are lost for good cost no more than it takes to ask for a key frame.
func TestLiveVideo(t *testing.T) {
	l := &lens{}
	w := newWorld(t, worldConfig{seed: 50, cameraNAT: restricted, viewerNAT: restricted, camera: func(c *camera.Config) {
		c.Source = func() media.Source { return l }
	}})
	began := w.net.Now
	w.connect("adaptive")
	w.net.Run(time.Second, nil) // nothing to see yet
	w.film(l, began, 3*time.Second)
	relayed := w.mediaThrough()
	w.net.Run(15*time.Second, nil)
	w.film(l, began, 3*time.Second)
	w.net.Run(time.Second, nil)
	s := w.viewer.Stats()
	if s.Path.Route != punch.Direct || !s.Confirmed || s.PathChanges != 0 || *relayed != 0 {
		t.Errorf("path %v, %d changes, %d packets relayed; events%s", s.Path, s.PathChanges, *relayed, events(w))
	}
	frames := all[viewer.FrameReceived](w.viewerHost)
	if len(frames) != 150 {
		t.Fatalf("%d frames, want 150", len(frames))
	}
	for i, f := range frames {
		if late := f.Frame.Complete.Sub(f.Frame.Captured); i > 2 && late != 20*time.Millisecond || late > 60*time.Millisecond {
			t.Errorf("frame %d arrives %v after it was taken", i, late)
		}
	}

	hole, open := map[string]bool{}, true
	w.net.Filter = func(from *virtual.Host, p core.Packet) bool { // what falls in it never arrives, however often it is sent
		if from.Name != "camera" || wire.Classify(p.B) != wire.RTP {
			return true
		}
		hole[string(p.B)] = hole[string(p.B)] || open
		return !hole[string(p.B)]
	}
	w.film(l, began, 100*time.Millisecond)
	open = false
	w.film(l, began, 4*time.Second)
	if n := len(all[viewer.FrameReceived](w.viewerHost)) - len(frames); l.asked < 1 || l.asked > 2 || n < 65 || n > 80 {
		t.Errorf("%d frames in the 4 s after a loss, %d key frames were asked for", n, l.asked)
	}
}

// narrow says of every path that it carries 60 kbit/s.
type narrow struct{}

func (narrow) Sent(time.Time, uint16, int)                {}
func (narrow) Feedback(time.Time, *rtcp.TransportLayerCC) {}
func (narrow) Lost(time.Time, float64)                    {}
func (narrow) Target() int                                { return 60_000 }
func (narrow) Close()                                     {}

// Where there is little more than key frames, one a second, nobody takes the path for dead.
func TestThinnedVideoIsNoDeadPath(t *testing.T) {
	w := newWorld(t, worldConfig{seed: 51, cameraNAT: restricted, viewerNAT: restricted, camera: func(c *camera.Config) {
		c.Estimator = func() media.Estimator { return narrow{} }
	}})
	w.connect("adaptive")
	w.net.Run(5*time.Second, nil)
	relayed, before := w.mediaThrough(), w.viewer.Stats()
	w.net.Run(30*time.Second, nil)
	s := w.viewer.Stats()
	if s.Path.Route != punch.Direct || s.PathChanges != before.PathChanges || *relayed > 20 {
		t.Errorf("path %v, %d changes, %d packets relayed; events%s", s.Path, s.PathChanges, *relayed, events(w))
	}
	v := w.camera.Serving()[0]
	if n := s.Frames - before.Frames; n < 28 || n > 90 || v.Thinned < 600 {
		t.Errorf("%d frames in 30 s, %d left out in all, %v", n, v.Thinned, v.Quality)
	}
	if bytes := s.MediaDirect.Bytes - before.MediaDirect.Bytes; bytes > 30*60_000/8*12/10 {
		t.Errorf("%d bytes in 30 s", bytes)
	}
	if q := all[camera.QualityChanged](w.cameraHost); len(q) == 0 || q[0].Target != 60_000 {
		t.Errorf("told of %v", q)
	}
}
