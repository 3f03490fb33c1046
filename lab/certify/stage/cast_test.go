package stage_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/punchlab/punchlab/lab"
	"github.com/punchlab/punchlab/lab/certify"
	"github.com/punchlab/punchlab/lab/certify/contain"
	"github.com/punchlab/punchlab/lab/certify/stage"
	"github.com/punchlab/punchlab/lab/certify/tape"
)

// ready is a set with a camera.
func ready(t *testing.T, s *stage.Stage, ctx context.Context, topology string) (*stage.Set, *stage.Camera) {
	t.Helper()
	x, err := s.Set(ctx, topology)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x.Camera(ctx, 1)
	if err != nil {
		t.Fatal(err)
	}
	return x, c
}

// watches has a viewer get frames.
func watches(t *testing.T, ctx context.Context, x *stage.Set, v stage.Viewing) *stage.View {
	t.Helper()
	w, err := x.View(ctx, v)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.FirstFrame(ctx); err != nil {
		t.Fatal(err)
	}
	return w
}

func ticket(t *testing.T, c *stage.Camera) string {
	t.Helper()
	b, err := c.Ticket()
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestPowerCuts(t *testing.T) {
	s, ctx := opened(t, "", nil)
	x, c := ready(t, s, ctx, "same-lan")
	first := ticket(t, c)
	w := watches(t, ctx, x, stage.Viewing{Camera: c})
	if err := c.Kill(); err != nil {
		t.Fatal(err)
	}
	if c.Alive() || c.Fault() != nil {
		t.Errorf("without power it is alive: %v; fault %v", c.Alive(), c.Fault())
	}
	if err := c.Start(ctx); err != nil {
		t.Fatal(err)
	}
	if got := ticket(t, c); got != first || !c.Alive() {
		t.Errorf("with power again its ticket is %q, was %q", got, first)
	}
	if err := w.Stop(); err != nil {
		t.Fatal(err)
	}
	undo, err := x.Do(lab.Event{Do: lab.DoKill, Host: "camera"})
	if err != nil {
		t.Fatal(err)
	}
	if c.Alive() {
		t.Error("an event killed it, and it is alive")
	}
	if err := undo(); err != nil {
		t.Fatal(err)
	}
	if err := c.Start(ctx); err != nil { // waits until it is ready
		t.Fatal(err)
	}
	w = watches(t, ctx, x, stage.Viewing{Camera: c})
	w.Kill()
	frames, err := c.Frames()
	lives := 0
	for _, f := range frames {
		if f.N == 1 {
			lives++
		}
	}
	if err != nil || lives != 2 {
		t.Errorf("it sent a first frame %d times, want 2; %v", lives, err)
	}
	if r := s.Finish(s.Pass()); r.Verdict != certify.Pass {
		t.Errorf("power cuts are held against it: %+v", r)
	}
	if r := c.Report(); r.Cuts != 2 || r.Ending != contain.Stopped {
		t.Errorf("%d cuts, ended %s", r.Cuts, r.Ending)
	}
}

func TestIsSuspended(t *testing.T) {
	s, ctx := opened(t, "memory", nil)
	x, c := ready(t, s, ctx, "same-lan")
	if u, err := c.Usage(); err != nil || u.Memory < 64<<20 || u.Files < 3 || u.Processes < 1 {
		t.Errorf("it holds %+v: %v", u, err)
	}
	if m, err := c.Memory(); err != nil || m < 64<<20 || m > 200<<20 {
		t.Errorf("it uses %d MiB, %v", m>>20, err)
	}
	if err := c.Pause(); err != nil {
		t.Fatal(err)
	}
	mark := x.Tape().Mark()
	if err := s.Pause(ctx, 500*time.Millisecond); err != nil { // it registers five times a second
		t.Fatal(err)
	}
	if n := x.Tape().Count(mark, c.Out()); n > 0 {
		t.Errorf("suspended it sends %d packets", n)
	}
	c.Resume()
	if _, err := x.Tape().Wait(ctx, mark, 1, c.Out(), tape.UDP); err != nil {
		t.Error(err)
	}
}

func TestRolesThatAreNotTheVendors(t *testing.T) {
	s, ctx := opened(t, "no-rendezvous no-viewer", nil)
	x, c := ready(t, s, ctx, "same-lan")
	watches(t, ctx, x, stage.Viewing{Camera: c})
	for role, bundled := range map[certify.Role]bool{
		certify.RoleCamera: false, certify.RoleViewer: true, certify.RoleRendezvous: true, certify.RoleRelay: false,
	} {
		if s.Bundled(role) != bundled {
			t.Errorf("%s is bundled: %v", role, !bundled)
		}
	}
	if p := x.Program(certify.RoleRendezvous); p == nil || p.Vendors {
		t.Errorf("the rendezvous is %+v", p)
	}
	if r := s.Finish(s.Pass()); r.Verdict != certify.Pass {
		t.Errorf("%+v", r)
	}
}

func TestUnsupported(t *testing.T) {
	s, ctx := opened(t, "no-camera", func(o *stage.Options) { o.Device.Way = stage.Endpoint })
	x, err := s.Set(ctx, "same-lan")
	if err != nil {
		t.Fatal(err)
	}
	_, err = x.Camera(ctx, 1)
	if r := s.Judge(err); r.Verdict != certify.Unsupported || r.Case != "MED-1" {
		t.Errorf("%v: %+v", err, r)
	}
	if p := x.Program(certify.RoleRelay); p == nil || p.Vendors {
		t.Errorf("in way endpoint the relay is %+v", p)
	}
	if r, err := x.Ask(ctx, certify.RoleCamera); err != nil || r.Code != 127 {
		t.Errorf("asked, it says %+v, %v", r, err)
	}
}

func TestActions(t *testing.T) {
	s, ctx := opened(t, "no-update", nil)
	_, c := ready(t, s, ctx, "same-lan")
	before := ticket(t, c)
	if err := c.Action(ctx, certify.ActionTransfer); err != nil || ticket(t, c) != "second owner" || before == "second owner" {
		t.Errorf("transferred: %v, ticket %q", err, ticket(t, c))
	}
	var unsupported *stage.Unsupported
	if err := c.Action(ctx, certify.ActionUpdate); !errors.As(err, &unsupported) || unsupported.Action != certify.ActionUpdate {
		t.Errorf("an action that it does not know: %v", err)
	}
	var fault *stage.Fault
	if err := c.Action(ctx, certify.ActionReset); !errors.As(err, &fault) || !strings.Contains(err.Error(), "could not reset") {
		t.Errorf("an action that it fails at: %v", err)
	}
	if !c.Alive() {
		t.Error("the camera has ended with an action's program")
	}
	if r := s.Finish(s.Pass()); r.Verdict != certify.Pass {
		t.Errorf("%+v", r)
	}
}

// TestMisdeeds has each kind of bad program be a fail that says so, whatever the procedure says.
func TestMisdeeds(t *testing.T) {
	for vice, want := range map[string]string{
		"crash-camera":     "crashed: killed",
		"crash-late":       "crashed: it exited with code 2",
		"unsupported-late": "ended by itself, with code 127",
		"deaf":             "ignored SIGTERM",
		"damage":           "",
	} {
		t.Run(vice, func(t *testing.T) {
			s, ctx := opened(t, vice, nil)
			x, err := s.Set(ctx, "same-lan")
			if err != nil {
				t.Fatal(err)
			}
			c, err := x.Camera(ctx, 1)
			var w *stage.View
			if err == nil {
				w, err = x.View(ctx, stage.Viewing{Camera: c})
			}
			var f stage.Frame
			if err == nil {
				f, err = w.FirstFrame(ctx)
			}
			if err == nil && s.Source().Intact(f) == (vice == "damage") {
				t.Errorf("its frame is taken for %v", s.Source().Intact(f))
			}
			if r := s.Judge(err); err != nil && (r.Verdict != certify.Fail || !strings.HasPrefix(r.Device, want)) {
				t.Errorf("judged by %v: %+v", err, r)
			}
			r := s.Finish(s.Pass())
			if (r.Verdict == certify.Fail) != (want != "") || (r.Device == "") != (want == "") || !strings.HasPrefix(r.Device, want) {
				t.Errorf("in the end: %+v", r)
			}
		})
	}
}

func TestUnitsHaveTheirOwn(t *testing.T) {
	s, ctx := opened(t, "", func(o *stage.Options) { o.Case.Units = 2 })
	x, one := ready(t, s, ctx, "two-homes")
	two, err := x.Camera(ctx, 2)
	if err != nil {
		t.Fatal(err)
	}
	if two.Host() != "camera-2" || two.Addrs()[0] == one.Addrs()[0] || ticket(t, one) == ticket(t, two) {
		t.Errorf("unit 2 is on %s %v with ticket %q", two.Host(), two.Addrs(), ticket(t, two))
	}
	id, err := two.Identity()
	if err != nil || id.UID != ticket(t, two) || id.Serial != "7" || id.MAC != "" {
		t.Errorf("identity %+v, %v", id, err)
	}
	w := watches(t, ctx, x, stage.Viewing{Camera: two})
	if x.Tape().Count(w.Mark(), two.Out(), tape.Media) == 0 || x.Tape().Count(w.Mark(), one.Out(), tape.Media) > 0 {
		t.Error("media of the wrong camera")
	}
	was := ticket(t, one)
	x, one = ready(t, s, ctx, "two-homes")
	if ticket(t, one) != was {
		t.Errorf("in another lab it has ticket %q, was %q: its state is lost", ticket(t, one), was)
	}
	if _, err := os.Stat(filepath.Join(s.Folder(), "capture-2.pcapng")); err != nil {
		t.Error(err)
	}
	_ = x
}

// TestIsNotReady is about who says nothing, and whose time is over.
func TestIsNotReady(t *testing.T) {
	s, ctx := opened(t, "hide", nil)
	x, err := s.Set(ctx, "same-lan")
	if err != nil {
		t.Fatal(err)
	}
	if err := x.Serve(ctx); err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	_, err = x.Camera(short, 1)
	if r := s.Judge(err); r.Verdict != certify.Fail || !strings.Contains(r.Reason, "waiting for the vendor's camera (run) on camera to be ready") {
		t.Errorf("%v: %+v", err, r)
	}
	w, err := x.View(ctx, stage.Viewing{Ticket: []byte("nobody's")})
	if err != nil {
		t.Fatal(err)
	}
	var ended *stage.Ended
	if _, err := w.FirstFrame(ctx); !errors.As(err, &ended) || ended.Code != 1 {
		t.Errorf("a viewer of nobody: %v", err)
	}
}

// TestClosesAfterAPanic has a procedure break off: all is gone, as opened's cleanup demands.
func TestClosesAfterAPanic(t *testing.T) {
	s, ctx := opened(t, "", nil)
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	defer s.Close()
	x, _ := ready(t, s, ctx, "same-lan")
	x.Host("nowhere")
}
