package stage_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/punchlab/punchlab/impl/adapter"
	"github.com/punchlab/punchlab/lab/certify"
	"github.com/punchlab/punchlab/lab/certify/stage"
	"github.com/punchlab/punchlab/lab/certify/tape"
)

// TestBundled has the bundled programs on the stage: over symmetric NATs too, where the relay carries the frames.
func TestBundled(t *testing.T) {
	d, err := certify.Parse("bundled.yaml", adapter.Declaration("camera", "1", strings.Repeat("0", 64)))
	if err != nil {
		t.Fatal(err)
	}
	s, ctx := opened(t, "", func(o *stage.Options) {
		exe, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		o.Declaration = d
		o.Device.Way, o.Device.Program, o.Device.Bundled = stage.Endpoint, []string{exe, "adapter"}, []string{exe, "adapter"}
	})
	const some = 5 // frames that come in a second however slow the machine is
	for _, test := range []struct {
		nat   string
		route tape.Route
	}{{"full-cone", tape.Direct}, {"symmetric", tape.Relayed}} {
		began := time.Now()
		x, err := s.Set(ctx, "two-homes", "camera.nat", test.nat, "viewer.nat", test.nat)
		if err != nil {
			t.Fatal(err)
		}
		set := time.Since(began)
		if err := x.Serve(ctx); err != nil {
			t.Fatal(err)
		}
		served := time.Since(began)
		c, err := x.Camera(ctx, 1)
		if err != nil {
			t.Fatal(err)
		}
		camera := time.Since(began)
		w, err := x.View(ctx, stage.Viewing{Camera: c, For: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		f, err := w.FirstFrame(ctx)
		if err != nil {
			t.Fatal(err)
		}
		ms := func(d time.Duration) int64 { return d.Milliseconds() }
		t.Logf("%s: set %d ms, serve %d, camera %d, viewer to its first frame %d; that is %d after it asked", test.nat, ms(set),
			ms(served-set), ms(camera-served), ms(time.Since(began)-camera), ms(f.T.Sub(w.Asked())))
		if err := w.WaitFrames(ctx, some); err != nil {
			t.Fatal(err)
		}
		for _, f := range w.Frames() {
			if !s.Source().Intact(f) {
				t.Errorf("%+v is not the source's", f)
			}
		}
		if code, err := w.Wait(ctx); err != nil || code != 0 {
			t.Errorf("the viewer ended with %d, %v", code, err)
		}
		routes := x.Routes()
		if n := x.Tape().Count(w.Mark(), c.Out(), tape.Media, routes.By(test.route)); n < some {
			t.Errorf("behind %s NATs %d media packets were %v", test.nat, n, test.route)
		}
		if sent, err := c.Frames(); err != nil || len(sent) < some {
			t.Errorf("the camera sent %d frames, %v", len(sent), err)
		}
		if id, err := c.Identity(); err != nil || id.UID == "" {
			t.Errorf("identity %+v, %v", id, err)
		}
	}
	if r := s.Finish(s.Pass()); r.Verdict != certify.Pass {
		t.Errorf("%+v", r)
	}
}
