package virtual_test

import (
	"testing"
	"time"

	"github.com/punchlab/punchlab/impl/camera"
	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/media"
	"github.com/punchlab/punchlab/impl/punch"
	"github.com/punchlab/punchlab/impl/virtual"
)

// A source that is only starting, or that stands still now and then, makes nobody leave the path, and nothing goes twice for it: before
// a path is doubted the camera is asked by it. That costs no time where the path is dead.
func TestStandingStillMovesNoMedia(t *testing.T) {
	for _, delay := range []time.Duration{5 * time.Millisecond, 20 * time.Millisecond, 70 * time.Millisecond} {
		l := &lens{}
		w := newWorld(t, worldConfig{seed: 53, cameraNAT: restricted, viewerNAT: restricted, cameraDelay: delay, viewerDelay: delay,
			camera: func(c *camera.Config) { c.Source = func() media.Source { return l } }})
		began := w.net.Now
		w.connect("adaptive")
		relayed := w.mediaThrough()
		w.net.Run(4*time.Second, nil) // it is only starting
		for i := range 8 {
			w.film(l, began, time.Second)
			w.net.Run(time.Duration(i*i)*60*time.Millisecond, nil) // up to 3 s
		}
		w.net.Run(time.Second, nil)
		if s := w.viewer.Stats(); s.Path.Route != punch.Direct || s.Frames != 200 || s.Uses > 12 {
			t.Errorf("%v: path %v, %d frames of 200, %d times named", delay, s.Path, s.Frames, s.Uses)
		}
		changes := w.camera.Stats().PathChanges
		if s := w.camera.Stats(); changes > 1 || s.Resent != 0 || *relayed != 0 {
			t.Errorf("%v: the media's path changed %d times, %d packets were sent again, %d relayed; events%s", delay, changes, s.Resent, *relayed, events(w))
		}

		w.net.Filter = func(from *virtual.Host, p core.Packet) bool { // between the two nothing passes any more
			return from == w.serverHost || p.To == serverAddr || p.To == serverAlt
		}
		relayed = w.mediaThrough()
		w.film(l, began, 2*time.Second)
		if n := w.camera.Stats().PathChanges; n == changes || *relayed == 0 {
			t.Errorf("%v: the path is dead, and %d packets were relayed within 2 s", delay, *relayed)
		}
	}
}
