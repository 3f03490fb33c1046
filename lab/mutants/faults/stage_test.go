package faults

import (
	"context"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/punchlab/punchlab/impl/adapter"
	"github.com/punchlab/punchlab/lab/certify"
	"github.com/punchlab/punchlab/lab/certify/cases"
	"github.com/punchlab/punchlab/lab/certify/contain"
	"github.com/punchlab/punchlab/lab/certify/stage"
	"github.com/punchlab/punchlab/lab/certify/tape"
	"github.com/punchlab/punchlab/lab/live"
	"github.com/punchlab/punchlab/lab/netns/netnstest"
)

func TestMain(m *testing.M) {
	contain.Main()
	live.Main()
	netnstest.Main(m)
}

// declared is the bundled camera's declaration.
func declared() (*certify.Declaration, error) {
	return certify.Parse("bundled.yaml", adapter.Declaration("punchlab-adapter", "faults", strings.Repeat("0", 64)))
}

// onStage are the options of a kit on the lab's stage.
func onStage(t *testing.T, procedures map[string]Procedure) Options {
	t.Helper()
	netnstest.Require(t, "netns", "nftables")
	fabric, err := live.Start(live.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := fabric.Close(); err != nil {
			t.Error(err)
		}
	})
	return Options{Program: build(t), Declaration: declared, Run: OnStage(fabric, procedures), Seed: 1}
}

// TestKit has every case find its faults, and writes faults.json, faults.txt and faults.html into the folder PUNCHLAB_FAULTS, and each
// run's evidence into folders below it. Minutes: with that folder only. PUNCHLAB_CASES is a regular expression of the cases and faults
// ("SEC-9/leaves-a-door-open") to be run.
func TestKit(t *testing.T) {
	out := os.Getenv("PUNCHLAB_FAULTS")
	if out == "" {
		t.Skip("minutes; set PUNCHLAB_FAULTS to the folder for the table")
	}
	wanted, err := regexp.Compile(os.Getenv("PUNCHLAB_CASES"))
	if err != nil {
		t.Fatal(err)
	}
	o := onStage(t, cases.All())
	o.Folder, o.Again = out, true
	o.Told = func(r Row) {
		t.Logf("%s %s/%s: control %s, faulty %s, %.1f s: %s", r.Mark(), r.Case, r.Fault, r.Control, r.Faulty, r.Seconds, r.Said())
	}
	some := slices.DeleteFunc(Catalogue(), func(f Fault) bool { return !wanted.MatchString(f.Case + "/" + f.Name) })
	table := CheckAll(t.Context(), some, o)
	for _, r := range table.Wrong() {
		t.Errorf("%s/%s: control %s, faulty %s: %s", r.Case, r.Fault, r.Control, r.Faulty, r.Said())
	}
	if err := table.Write(out); err != nil {
		t.Fatal(err)
	}
}

// TestOnStage has the kit tell a faulty program from the right one, and not by another fault, in the lab and by packets and frames.
func TestOnStage(t *testing.T) {
	intact := func(ctx context.Context, s *stage.Stage) certify.Result {
		x, err := s.Set(ctx, "two-homes")
		if err != nil {
			return s.Judge(err)
		}
		c, err := x.Camera(ctx, 1)
		if err != nil {
			return s.Judge(err)
		}
		from := x.Tape().Mark()
		if err := s.Pause(ctx, time.Second); err != nil {
			return s.Judge(err)
		}
		s.Saw("seconds", 1)
		s.Saw("packets", x.Tape().Count(from, c.Out()))
		if n := x.Tape().Count(from, c.Out(), tape.Media); n > 5 {
			return s.Fail("%d media packets in a second, and nobody watches", n)
		}
		v, err := x.View(ctx, stage.Viewing{Camera: c, For: time.Minute}) // until the procedure is over
		if err != nil {
			return s.Judge(err)
		}
		if err := v.WaitFrames(ctx, 40); err != nil {
			return s.Judge(err)
		}
		s.Saw("packets", x.Tape().Count(from, c.Out()))
		for _, f := range v.Frames() {
			s.Saw("frames", 1)
			if !s.Source().Intact(f) {
				return s.Fail("frame %d differs from the source's", f.N)
			}
		}
		return s.Pass()
	}
	o := onStage(t, map[string]Procedure{"MED-1": intact, "BW-1": intact})
	some := slices.Concat(Of("MED-1")[:1], Of("BW-1")[:1])
	harmless := some[0]
	harmless.Name = "harmless" // a name that no fault in the program has
	table := CheckAll(t.Context(), append(some, harmless), o)
	for i, r := range table.Rows {
		if r.Control != certify.Pass || r.OK != (i < 2) || i == 2 && r.Faulty != certify.Pass {
			t.Errorf("%s/%s: control %s, faulty %s: %s", r.Case, r.Fault, r.Control, r.Faulty, r.Said())
		}
	}
}
