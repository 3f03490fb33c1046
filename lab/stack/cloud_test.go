package stack

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/punchlab/punchlab/lab/record"
)

// The camera that always uploads does so with nobody watching, and what a viewer plays from the store is what it recorded.
func TestCloud(t *testing.T) {
	if _, err := findProgram("versitygw"); err != nil {
		built, err := filepath.Abs("../../bin/versitygw")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(built); err == nil {
			t.Setenv("PUNCHLAB_VERSITYGW", built)
		} else if slices.Contains(strings.Split(os.Getenv("PUNCHLAB_REQUIRE"), ","), "versitygw") {
			t.Fatal("PUNCHLAB_REQUIRE names versitygw, which is missing: make store")
		} else {
			t.Skip("no versitygw here: make store")
		}
	}
	l := newLab(t, "cloud", "link", "broadband", "camera.nat", "symmetric")
	o, err := Cloud{}.Try(t.Context(), l, Trial{Seed: 1, Strategy: "cloud", Idle: 5 * time.Second, Media: 3 * time.Second, Timeout: 20 * time.Second})
	if err != nil || o.Outcome != record.Relayed {
		t.Fatalf("%+v, %v", o, err)
	}
	if m := o.Media; m.FramesReceived < 75 || m.FramesIntact != m.FramesReceived {
		t.Errorf("%d of %d frames are intact, want 75 and more", m.FramesIntact, m.FramesReceived)
	}
	// 2 Mbit/s, in segments: what falls into 5 s is two of them or three, or one less where the machine is late.
	if up := o.Bytes["camera_idle_up"]; up < 300_000 || up > 2_500_000 {
		t.Errorf("%d bytes uploaded in 5 s with no viewer", up)
	}
	if late := slices.Min(o.Media.LatencyS); late < 0 || late > 10 {
		t.Errorf("frames are %v s old", late)
	}
	o, err = Cloud{}.Try(t.Context(), newLab(t, "two-homes", "link", "lan"), Trial{Strategy: "cloud", Timeout: time.Second})
	if err != nil || o.Outcome != record.Unsupported || !strings.Contains(o.Cause, `no host "store"`) {
		t.Errorf("%+v, %v", o, err)
	}
}
