package suite

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/punchlab/punchlab/lab/certify"
	"github.com/punchlab/punchlab/lab/certify/evidence"
	"github.com/punchlab/punchlab/lab/certify/stage"
	"github.com/punchlab/punchlab/reports"
)

// cutShort runs a rig until a case has begun, and no further.
func (g *rig) cutShort(t *testing.T, id string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var once sync.Once
	g.before = func(ctx context.Context, now string) {
		if now == id {
			once.Do(cancel)
			<-ctx.Done()
		}
	}
	if _, err := Run(ctx, g.Options); !errors.Is(err, ErrInterrupted) {
		t.Fatal(err)
	}
}

// on is another run that goes on in the folder of a rig.
func (g *rig) on(t *testing.T) *rig {
	again := newRig(t)
	again.Out, again.Resume, again.Keys, again.Jobs = g.Out, true, g.Keys, g.Jobs
	return again
}

// Every start of a case counts, whoever runs it: a pass of the second one warns, what the first has left is kept and signed, and a witness who
// ran it once agrees and is told.
func TestStartsAreCounted(t *testing.T) {
	issuer, own := key(t, 1), key(t, 2)
	g := newRig(t)
	g.Keys, g.Jobs = []*evidence.Key{issuer}, 1
	g.cutShort(t, "BW-1")
	out := g.on(t).run(t)
	if out.Certificate == nil {
		t.Fatal(out.Unsealed)
	}
	left := "earlier/BW-1/start-1/capture.pcapng"
	kept := false
	for _, f := range out.Certificate.Files {
		kept = kept || f.Path == left
	}
	if !kept {
		t.Errorf("%s is not signed", left)
	}
	for _, c := range out.Certificate.Cases {
		want := map[bool]int{true: 1}[c.Verdict != "not-applicable"]
		if c.ID == "BW-1" {
			want = 2
		}
		if c.Starts != want || c.ID == "BW-1" && c.Outcome != evidence.Warned {
			t.Errorf("%s: started %d times, %s; want %d", c.ID, c.Starts, c.Outcome, want)
		}
	}
	if starts := out.Certification.Runs["BW-1"].Starts; len(starts) != 2 || starts[0].Ended != interrupted || starts[0].Link != "earlier/BW-1/start-1" {
		t.Errorf("%+v", starts)
	}
	for _, name := range []string{PageFile, evidence.StartsFile} {
		if b, err := os.ReadFile(filepath.Join(g.Out, name)); err != nil || name == PageFile && !bytes.Contains(b, []byte("it was started 2 times")) {
			t.Errorf("%s does not say it: %v", name, err)
		}
	}
	c, w := rerun(t, g, issuer, own, func(*rig) {})
	if !w.Agrees() || !strings.Contains(c.Report.Text(), "started more than once: BW-1 (2 times)") {
		t.Errorf("%+v\n%s", w.Differences, c.Report.Text())
	}
}

// Who cuts a case short again and again does not get a pass of it.
func TestStartedTooOften(t *testing.T) {
	g := newRig(t)
	g.Jobs = 1
	g.cutShort(t, "BW-1")
	for range certify.MostStarts - 1 {
		g = g.on(t)
		g.cutShort(t, "BW-1")
	}
	want(t, g.on(t).run(t), "BW-1", certify.Inconclusive, "it was started 4 times")
}

// A fail that was written down stays one, though its result is gone.
func TestFailIsNotRepeatedAway(t *testing.T) {
	g := newRig(t)
	g.fails("BW-1", "it sent pictures")
	g.run(t)
	if err := os.RemoveAll(filepath.Join(g.Out, evidence.CaseFolder("BW-1"))); err != nil {
		t.Fatal(err)
	}
	want(t, g.on(t).run(t), "BW-1", certify.Fail, "start 1 of it came to fail (it sent pictures)")
}

// A list of starts that was changed, or is gone, is no list to go on with.
func TestStartsAreNotForgotten(t *testing.T) {
	for name, change := range map[string]func(name string) error{
		"gone": os.Remove,
		"line 4 does not follow": func(name string) error {
			b, err := os.ReadFile(name)
			lines := bytes.SplitAfter(b, []byte("\n"))
			return errors.Join(err, os.WriteFile(name, bytes.Join(append(lines[:3:3], lines[4:]...), nil), 0o644))
		},
	} {
		g := newRig(t)
		g.run(t)
		if err := change(filepath.Join(g.Out, evidence.StartsFile)); err != nil {
			t.Fatal(err)
		}
		says := name
		if name == "gone" {
			says = "how often each case was started is not known any more"
		}
		g.on(t).refused(t, says)
	}
}

// The honesty probe is a start like any other: one that was not passed is not asked away.
func TestProbeIsNotRepeatedAway(t *testing.T) {
	g := newRig(t)
	ask := g.seam.ask
	g.seam.ask = func(context.Context, stage.Options) (reports.Probe, error) {
		return reports.Probe{Role: certify.RoleCamera}, nil
	}
	g.run(t)
	if err := os.RemoveAll(filepath.Join(g.Out, probeFolder)); err != nil {
		t.Fatal(err)
	}
	again := g.on(t)
	again.seam.ask = ask
	again.Keys = []*evidence.Key{key(t, 1)}
	noCertificate(t, again.run(t), "did not say that it does not know")
}
