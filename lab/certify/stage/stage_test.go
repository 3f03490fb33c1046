package stage_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/punchlab/punchlab/lab/certify"
	"github.com/punchlab/punchlab/lab/certify/stage"
	"github.com/punchlab/punchlab/lab/certify/tape"
	"github.com/punchlab/punchlab/lab/live"
	"github.com/punchlab/punchlab/lab/netns/netnstest"
)

// opened opens a stage for the fake, changed by change.
func opened(t *testing.T, fault string, change func(*stage.Options)) (*stage.Stage, context.Context) {
	t.Helper()
	t.Parallel()
	return alone(t, fault, change)
}

// alone is opened of a test beside which no other one runs.
func alone(t *testing.T, fault string, change func(*stage.Options)) (*stage.Stage, context.Context) {
	t.Helper()
	netnstest.Require(t, "netns", "nftables")
	f, err := live.Start(live.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c, _ := certify.Lookup("MED-1")
	c.Evidence = []string{"capture.pcapng", "timeline.txt", "records.jsonl", "counts.json"}
	o := stage.Options{
		Case: c, Seed: 7, Brief: true, Folder: filepath.Join(t.TempDir(), "evidence"), Fabric: f,
		Say: func(s string) { t.Log(s) },
		Declaration: &certify.Declaration{
			Features: map[certify.Feature]bool{certify.FeatureRelay: true, certify.FeatureRegistration: true},
			Servers:  []certify.Server{{Name: "p2p.acme.example", Role: "rendezvous"}},
		},
		Device: stage.Device{
			Way: stage.Executable, Program: []string{exe, "fake"}, Bundled: []string{exe, "fake", "bundled"},
			Env: []string{"FAKE=" + fault, "GORACE=atexit_sleep_ms=0"}, // under the race detector an end takes a second else
		},
	}
	if change != nil {
		change(&o)
	}
	s, err := stage.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(func() {
		cancel()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(s.Dir()); !os.IsNotExist(err) {
			t.Errorf("%s is left: %v", s.Dir(), err)
		}
	})
	return s, ctx
}

func TestServesAViewer(t *testing.T) {
	s, ctx := opened(t, "", nil)
	began := time.Now()
	x, err := s.Set(ctx, "two-homes")
	if err != nil {
		t.Fatal(err)
	}
	set := time.Since(began)
	if err := x.Serve(ctx); err != nil {
		t.Fatal(err)
	}
	serve := time.Since(began)
	c, err := x.Camera(ctx, 1)
	if err != nil {
		t.Fatal(err)
	}
	camera := time.Since(began)
	v, err := x.View(ctx, stage.Viewing{Camera: c, For: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	f, err := v.FirstFrame(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("set %v, serve %v, camera %v, first frame %v; asked %v before", set, serve-set, camera-serve, time.Since(began)-camera, f.T.Sub(v.Asked()))
	if !s.Source().Intact(f) || f.N != 1 {
		t.Errorf("first frame %+v", f)
	}
	if code, err := v.Wait(ctx); err != nil || code != 0 {
		t.Errorf("the viewer ended with %d, %v", code, err)
	}
	routes := x.Routes()
	direct := x.Tape().Count(v.Mark(), c.Out(), tape.Media, routes.By(tape.Direct))
	if direct < 5 { // a slow machine makes no 30 frames of some packets each in this second
		t.Errorf("%d direct media packets", direct)
	}
	s.Saw("frames", len(v.Frames()))
	s.Saw("packets", direct)
	r := s.Finish(s.Pass())
	if r.Verdict != certify.Pass || r.Observed["packets"] != direct {
		t.Errorf("result %+v", r)
	}
	for _, name := range []string{"capture.pcapng", "timeline.txt", "timeline.svg", "program.log", "counts.json"} {
		if st, err := os.Stat(filepath.Join(s.Folder(), name)); err != nil || st.Size() < 100 {
			t.Errorf("evidence: %v", err)
		}
	}
	b, _ := os.ReadFile(filepath.Join(s.Folder(), "program.log"))
	if !strings.Contains(string(b), "the vendor's camera (run) on camera") {
		t.Errorf("program.log:\n%s", b)
	}
}
