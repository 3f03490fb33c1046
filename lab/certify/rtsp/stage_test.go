package rtsp_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/punchlab/punchlab/lab/certify"
	"github.com/punchlab/punchlab/lab/certify/stage"
	"github.com/punchlab/punchlab/lab/certify/tape"
	"github.com/punchlab/punchlab/lab/live"
)

// library is what the camera is made of.
const library = "/usr/lib/*/libgstrtspserver-1.0.so.0"

// declaration is the camera's, with the digest of what is installed here.
func declaration(t *testing.T) *certify.Declaration {
	t.Helper()
	b, err := os.ReadFile("testdata/rtsp.yaml")
	must(t, err)
	files, err := filepath.Glob(library)
	must(t, err)
	if len(files) == 0 {
		t.Fatalf("there is no %s", library)
	}
	firmware, err := os.ReadFile(files[0])
	must(t, err)
	b = bytes.Replace(b, bytes.Repeat([]byte("0"), 64), fmt.Appendf(nil, "%x", sha256.Sum256(firmware)), 1)
	d, err := certify.Parse("rtsp.yaml", b)
	must(t, err)
	return d
}

// On a stage, as in a certification run: two labs, one after another, each with the camera and a viewer.
func TestCertifiedOnStage(t *testing.T) {
	soak(t)
	require(t)
	f, err := live.Start(live.Options{})
	must(t, err)
	t.Cleanup(func() { must(t, f.Close()) })
	b := newBox(t)
	exe, err := os.Executable()
	must(t, err)
	adapter, err := filepath.Abs("testdata/adapter.py")
	must(t, err)
	outlet, err := filepath.Abs("testdata/outlet.sh")
	must(t, err)
	c, _ := certify.Lookup("MED-2")
	s, err := stage.Open(stage.Options{
		Case: c, Declaration: declaration(t), Seed: 7, Brief: true, Folder: filepath.Join(t.TempDir(), "evidence"), Fabric: f,
		Say: func(line string) { t.Log(line) },
		Device: stage.Device{
			Way: stage.Box, Program: []string{adapter}, Bundled: []string{exe, "adapter"}, Interface: "eth7", From: b.machine, Hook: []string{outlet, b.folder}, Forward: []uint16{port},
		},
	})
	must(t, err)
	defer s.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	for _, nat := range []string{"port-restricted-cone", "symmetric"} {
		x, err := s.Set(ctx, "two-homes", "camera.nat", nat)
		must(t, err)
		c, err := x.Camera(ctx, 1)
		must(t, err)
		v, err := x.View(ctx, stage.Viewing{Camera: c, For: time.Second})
		must(t, err)
		first, err := v.FirstFrame(ctx)
		must(t, err)
		s.Note("first frame %v after the viewer's first packet", first.T.Sub(v.Asked()))
		must(t, v.WaitFrames(ctx, 15))
		if code, err := v.Wait(ctx); code != 0 || err != nil {
			t.Errorf("the viewer ended with %d, %v", code, err)
		}
		if n := x.Tape().Count(0, c.Out(), tape.Media); n < 20 {
			t.Errorf("%d media packets of the camera", n)
		}
	}
	if r := s.Finish(s.Pass()); r.Verdict != certify.Pass {
		t.Errorf("%+v", r)
	}
}
