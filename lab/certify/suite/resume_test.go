package suite

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/punchlab/punchlab/lab/certify/evidence"
)

// A run goes on with what it has done itself: not with a brief run's result, nor with one whose evidence is gone.
func TestResumesWithItsOwn(t *testing.T) {
	g, brief := newRig(t), newRig(t)
	noCertificate(t, g.run(t), "no key")
	brief.Brief = true
	brief.run(t)
	of := func(r *rig, id, name string) string { return filepath.Join(r.Out, evidence.CaseFolder(id), name) }
	b, err := os.ReadFile(of(brief, "BW-1", resultFile))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(of(g, "BW-1", resultFile), b, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(of(g, "MED-1", "capture.pcapng")); err != nil {
		t.Fatal(err)
	}
	again := newRig(t)
	again.Out, again.Resume, again.Keys = g.Out, true, []*evidence.Key{key(t, 1)}
	out := again.run(t)
	if slices.Sort(again.ran); !slices.Equal(again.ran, []string{"BW-1", "MED-1"}) || out.Certificate == nil {
		t.Errorf("ran again %v; %s", again.ran, out.Unsealed)
	}
}
