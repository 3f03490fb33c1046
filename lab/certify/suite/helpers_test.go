package suite

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/punchlab/punchlab/lab/certify"
	"github.com/punchlab/punchlab/lab/certify/evidence"
	"github.com/punchlab/punchlab/lab/certify/stage"
	"github.com/punchlab/punchlab/reports"
)

// profile declares a camera with little, so that some cases do not apply.
const profile = `device:
  vendor: ACME
  model: Cam 1
  firmware: {name: acme.bin, version: "1", sha256: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08}
features: {identifier: true, registration: true, relay: false, ipv6: false, tcp-fallback: false, password: false, owner: false, privacy: false,
  configuration: false, update: false, stun: false, consent: false, ice: false}
bounds: {keepalive: 25s, idle: 60kB, first-frame: 2s, ports: [], frame-overhead: 15%, floor: 200kbit, bitrate: 2mbit, recovery: 10s}
servers: {}
`

// rig is a suite whose stages are none: procedures say what they are told to.
type rig struct {
	Options
	mu     sync.Mutex
	ran    []string // cases, in the order in which they began
	atOnce int      // now
	most   int      // so many at once
	events []Event
	before func(ctx context.Context, id string) // of each procedure
}

func newRig(t *testing.T) *rig {
	t.Helper()
	d, err := certify.Parse("acme.yaml", []byte(profile))
	if err != nil {
		t.Fatal(err)
	}
	g := &rig{before: func(context.Context, string) {}}
	g.Options = Options{
		Declaration: d, Device: stage.Device{Way: stage.Executable, Program: []string{"acme"}}, Procedures: map[string]Procedure{}, Seed: 7, Jobs: 3,
		Out: filepath.Join(t.TempDir(), "out"), Replay: func(id string) string { return "punchlab certify --case " + id + " --seed 7" },
		Progress: func(e Event) { g.events = append(g.events, e) },
		seam: seam{
			open: g.open,
			ask: func(context.Context, stage.Options) (reports.Probe, error) {
				return reports.Probe{Role: certify.RoleCamera, Exit: certify.ExitUnsupported}, nil
			},
			limit: func(certify.Case, bool) time.Duration { return time.Minute },
		},
	}
	for _, c := range certify.Catalogue() {
		g.Procedures[c.ID] = g.procedure(enough(c))
	}
	return g
}

// open makes a case's folder, with the evidence that the case promises.
func (g *rig) open(o stage.Options) (*stage.Stage, func(certify.Result) certify.Result, error) {
	for _, name := range o.Case.Evidence {
		if err := os.WriteFile(filepath.Join(o.Folder, name), []byte(o.Case.ID), 0o644); err != nil {
			return nil, nil, err
		}
	}
	return nil, func(r certify.Result) certify.Result { return r }, nil
}

// enough is a pass of a case that saw just enough.
func enough(c certify.Case) certify.Result {
	r := certify.Result{Case: c.ID, Verdict: certify.Pass, Observed: map[string]int{}}
	for _, n := range c.Observed {
		r.Observed[n.Name] = n.Min
	}
	if c.Rate > 0 {
		r.Claim = &certify.Claim{Tries: c.Tries()}
	}
	return r
}

// procedure comes to a result.
func (g *rig) procedure(r certify.Result) Procedure {
	return func(ctx context.Context, _ *stage.Stage) certify.Result {
		g.mu.Lock()
		g.ran = append(g.ran, r.Case)
		g.atOnce++
		g.most = max(g.most, g.atOnce)
		g.mu.Unlock()
		defer func() {
			g.mu.Lock()
			defer g.mu.Unlock()
			g.atOnce--
		}()
		g.before(ctx, r.Case)
		return r
	}
}

// fails has a case fail.
func (g *rig) fails(id, reason string) {
	c, _ := certify.Lookup(id)
	r := enough(c)
	r.Verdict, r.Reason = certify.Fail, reason
	g.Procedures[id] = g.procedure(r)
}

// run runs it; the error is to be none.
func (g *rig) run(t *testing.T) *Outcome {
	t.Helper()
	out, err := Run(t.Context(), g.Options)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// refused runs it, and wants a *BadOptions that says this.
func (g *rig) refused(t *testing.T, text string) {
	t.Helper()
	_, err := Run(t.Context(), g.Options)
	if !errors.As(err, new(*BadOptions)) || !strings.Contains(err.Error(), text) {
		t.Errorf("got %v, want a refusal that says %q", err, text)
	}
	if len(g.ran) > 0 {
		t.Errorf("it ran %v", g.ran)
	}
}

// result is a case's, of an outcome.
func result(t *testing.T, out *Outcome, id string) certify.Result {
	t.Helper()
	i := slices.IndexFunc(out.Certification.Suite.Cases, func(j certify.Judged) bool { return j.Case.ID == id })
	if i < 0 {
		t.Fatalf("the suite has no %s", id)
	}
	return out.Certification.Suite.Cases[i].Result
}

// want holds a case of an outcome to a verdict, and its reason to a text.
func want(t *testing.T, out *Outcome, id string, v certify.Verdict, reason string) {
	t.Helper()
	if r := result(t, out, id); r.Verdict != v || !strings.Contains(r.Reason, reason) {
		t.Errorf("%s: %s (%s), want %s (… %s …)", id, r.Verdict, r.Reason, v, reason)
	}
}

// key is the n-th key.
func key(t *testing.T, n byte) *evidence.Key {
	t.Helper()
	k, err := evidence.NewKey(bytes.NewReader(bytes.Repeat([]byte{n}, 64)))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// applicable are the IDs of the cases that apply to the rig's camera.
func (g *rig) applicable() (ids []string) {
	for _, s := range certify.Select(g.Declaration) {
		if s.Applicable {
			ids = append(ids, s.Case.ID)
		}
	}
	return ids
}

func noCertificate(t *testing.T, out *Outcome, why string) {
	t.Helper()
	if out.Certificate != nil || !strings.Contains(out.Unsealed, why) {
		t.Errorf("certificate %v, because %q; want none, because … %s …", out.Certificate != nil, out.Unsealed, why)
	}
	if _, err := os.Stat(filepath.Join(out.Folder, evidence.CertificateFile)); err == nil {
		t.Errorf("%s is there", evidence.CertificateFile)
	}
	for _, name := range []string{SuiteFile, PageFile, JUnitFile, DeclarationFile, RunFile} {
		if info, err := os.Stat(filepath.Join(out.Folder, name)); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v", name, fmt.Sprint(err))
		}
	}
}
