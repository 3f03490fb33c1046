package suite

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/punchlab/punchlab/lab/certify"
	"github.com/punchlab/punchlab/lab/certify/evidence"
	"github.com/punchlab/punchlab/lab/certify/stage"
	"github.com/punchlab/punchlab/lab/live"
	"github.com/punchlab/punchlab/reports"
)

func TestWholeRunIsSealedAndVerifies(t *testing.T) {
	g := newRig(t)
	k := key(t, 1)
	g.Keys = []*evidence.Key{k}
	out := g.run(t)
	if v := out.Certification.Suite.Verdict; v != certify.Pass || out.Ran != certify.Pass || out.Certificate == nil {
		t.Fatalf("%s (%v), ran %s, unsealed: %s", v, out.Certification.Suite.Reasons, out.Ran, out.Unsealed)
	}
	slices.Sort(g.ran)
	ids := g.applicable()
	slices.Sort(ids)
	if d := cmp.Diff(ids, g.ran); d != "" {
		t.Errorf("cases that were run (-want +got):\n%s", d)
	}
	if g.most > g.Jobs {
		t.Errorf("%d at once, want at most %d", g.most, g.Jobs)
	}
	report, err := evidence.Verify(t.Context(), g.Out, evidence.Trust{Issuers: []evidence.PublicKey{k.Public()}})
	if err != nil {
		t.Fatal(err)
	}
	m := report.Manifest
	if m.Verdict != "pass" || m.Subjects[0].Name != "acme.bin" || len(m.Cases) != len(certify.Catalogue()) {
		t.Errorf("%s of %v by %d cases", m.Verdict, m.Subjects, len(m.Cases))
	}
	if c, _ := m.Case("BW-1"); c.Seed != 7 || c.Replay != "punchlab certify --case BW-1 --seed 7" || c.Scenario != "scenarios/BW-1.json" {
		t.Errorf("%+v", c)
	}
	if c, _ := m.Case("MED-8"); c.Verdict != "not-applicable" || c.Outcome != evidence.None || c.Scenario != "" || c.Replay != "" {
		t.Errorf("%+v", c)
	}
	if last := g.events[len(g.events)-1]; last.Kind != Ended || last.Verdict != certify.Pass || last.Done != last.Of || last.Of != len(ids) {
		t.Errorf("the last event is %+v", last)
	}
}

// Whatever byte of the folder changes, verify names the file.
func TestChangedByteIsNamed(t *testing.T) {
	g := newRig(t)
	k := key(t, 1)
	g.Keys = []*evidence.Key{k}
	g.run(t)
	for _, name := range []string{"cases/BW-1/capture.pcapng", "cases/NAT-1/result.json", PageFile, DeclarationFile, "scenarios/SEC-9.json", RunFile} {
		file := filepath.Join(g.Out, name)
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		changed := slices.Clone(b)
		changed[len(b)/2] ^= 1
		if err := os.WriteFile(file, changed, 0o644); err != nil {
			t.Fatal(err)
		}
		_, err = evidence.Verify(t.Context(), g.Out, evidence.Trust{Issuers: []evidence.PublicKey{k.Public()}})
		var m *evidence.Mismatch
		if !errors.As(err, &m) || m.Path != name || m.Kind != evidence.Hash {
			t.Errorf("%s: %v", name, err)
		}
		if err := os.WriteFile(file, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// A procedure that breaks is a harness-error of its case, and nobody else's.
func TestFaultsOfProcedures(t *testing.T) {
	g := newRig(t)
	g.Keys = []*evidence.Key{key(t, 1)}
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	short := map[string]bool{"BW-2": true, "BW-3": true, "BW-4": true}
	g.seam.grace = func(c certify.Case) time.Duration { // short for those that hang alone: any other may be late on a busy machine
		if c.ID == "BW-2" || c.ID == "MED-3" {
			return 50 * time.Millisecond
		}
		return time.Minute
	}
	g.seam.limit = func(c certify.Case, _ bool) time.Duration {
		if short[c.ID] {
			return 20 * time.Millisecond
		}
		return time.Minute
	}
	g.Procedures["BW-1"] = func(context.Context, *stage.Stage) certify.Result { panic("no such tape") }
	g.Procedures["BW-2"] = func(context.Context, *stage.Stage) certify.Result { <-release; return certify.Result{} }
	g.Procedures["BW-3"] = func(ctx context.Context, _ *stage.Stage) certify.Result {
		<-ctx.Done()
		return certify.Result{Verdict: certify.Pass, Observed: map[string]int{"frames": 90, "silences": 9}}
	}
	g.Procedures["BW-4"] = func(ctx context.Context, _ *stage.Stage) certify.Result {
		<-ctx.Done()
		return certify.Result{Verdict: certify.Fail, Reason: "the camera hung", Device: "hung"}
	}
	g.Procedures["BW-5"] = nil
	g.Procedures["BW-6"] = nil // does not apply
	g.seam.open = func(o stage.Options) (*stage.Stage, func(certify.Result) certify.Result, error) {
		if o.Case.ID == "MED-1" {
			return nil, nil, errors.New("no more namespaces")
		}
		s, finish, err := g.open(o)
		switch o.Case.ID {
		case "MED-2":
			return s, func(certify.Result) certify.Result { panic("closed twice") }, err
		case "MED-3":
			return s, func(r certify.Result) certify.Result { <-release; return r }, err
		case "MED-4":
			err = os.Remove(filepath.Join(o.Folder, "capture.pcapng"))
		}
		return s, finish, err
	}
	out := g.run(t)
	want(t, out, "BW-1", certify.HarnessError, "panicked: no such tape")
	want(t, out, "BW-2", certify.HarnessError, "did not end within 20ms, nor when it was told to")
	want(t, out, "BW-3", certify.HarnessError, "did not end within 20ms; then it said pass")
	want(t, out, "BW-4", certify.Fail, "the camera hung")
	want(t, out, "BW-5", certify.Inconclusive, noProcedure)
	want(t, out, "BW-6", certify.NotApplicable, "not declared: relay")
	want(t, out, "MED-1", certify.HarnessError, "no more namespaces")
	want(t, out, "MED-2", certify.HarnessError, "closed twice")
	want(t, out, "MED-3", certify.HarnessError, "was not closed within 50ms")
	want(t, out, "MED-4", certify.HarnessError, "its evidence lacks capture.pcapng")
	want(t, out, "MED-5", certify.Pass, "")
	if _, err := os.Stat(filepath.Join(g.Out, "cases/BW-1/panic.txt")); err != nil {
		t.Error(err)
	}
	if n := out.Certification.Suite.Counts[certify.HarnessError]; n != 7 {
		t.Errorf("%d harness-errors, want 7", n)
	}
	if out.Certificate == nil || out.Certificate.Verdict != "fail" {
		t.Errorf("a whole run that fails is evidence too: %s", out.Unsealed)
	}
}

// A program that claims to know what nobody knows gets no certificate, however well it does.
func TestHonestyProbe(t *testing.T) {
	g := newRig(t)
	g.Keys = []*evidence.Key{key(t, 1)}
	asked := ""
	g.seam.ask = func(_ context.Context, o stage.Options) (reports.Probe, error) {
		asked = o.Case.ID
		return reports.Probe{Role: certify.RoleCamera, Exit: 0}, nil
	}
	out := g.run(t)
	if asked != certify.UnknownCase(7) {
		t.Errorf("asked for %s", asked)
	}
	if s := out.Certification.Suite; s.Verdict != certify.Fail || out.Ran != certify.Fail ||
		!strings.Contains(s.Reasons[0], "a case that there is not, the vendor's camera has to exit with 127: it exited with 0") {
		t.Errorf("%s: %q", s.Verdict, s.Reasons)
	}
	noCertificate(t, out, "a case that there is not")

	g = newRig(t)
	g.seam.ask = func(context.Context, stage.Options) (reports.Probe, error) {
		return reports.Probe{}, errors.New("no lab")
	}
	if _, err := Run(t.Context(), g.Options); err == nil || !strings.Contains(err.Error(), "no lab") {
		t.Errorf("a lab that cannot ask: %v", err)
	}
}

// A camera that has what it declares not to have gets no certificate, however well it does in the cases that were run.
func TestUndeclaredFeature(t *testing.T) {
	g := newRig(t)
	g.Keys = []*evidence.Key{key(t, 1)}
	told := ""
	g.seam.belie = func(_ context.Context, o stage.Options) (string, error) {
		told = o.Told
		return "declares update: false, and did update when it was asked to", nil
	}
	out := g.run(t)
	if s := out.Certification.Suite; s.Verdict != certify.Fail || !strings.Contains(s.Reasons[0], "the camera declares update: false, and did update") {
		t.Errorf("%s: %q", s.Verdict, s.Reasons)
	}
	if _, known := certify.Lookup(told); !known {
		t.Errorf("it was asked in case %q, which it need not know", told)
	}
	noCertificate(t, out, "the camera declares update: false")
}

// Without a fabric nothing can be said of any camera: what was done before is kept, and nothing else is.
func TestFabricEnds(t *testing.T) {
	g := newRig(t)
	g.Jobs, g.Keys = 1, []*evidence.Key{key(t, 1)}
	g.seam.ended = func(*live.Fabric) bool { return len(g.ran) > 2 }
	out, err := Run(t.Context(), g.Options)
	if !errors.Is(err, live.ErrFabricEnded) || out == nil || len(out.Certification.Runs) != 2 || len(g.ran) != 3 {
		t.Fatalf("%v; ran %v", err, g.ran)
	}
	noCertificate(t, out, "cut short")
}

func TestPlan(t *testing.T) {
	cases := certify.Select(newRig(t).Declaration)
	places := map[int]bool{}
	for seed := range uint64(200) {
		tasks := plan(cases, seed, true)
		at := slices.IndexFunc(tasks, func(t task) bool { return t.probe })
		places[at] = true
		rest := slices.Delete(slices.Clone(tasks), at, at+1)
		if !slices.IsSortedFunc(rest, func(a, b task) int { return int(b.Case.Takes - a.Case.Takes) }) || len(rest) != len(cases) {
			t.Fatalf("seed %d: not the longest first", seed)
		}
		if again := plan(cases, seed, true); !again[at].probe || again[at].Case.ID != tasks[at].Case.ID {
			t.Fatalf("seed %d: planned twice, the probe is elsewhere", seed)
		}
	}
	if len(places) < len(cases)/2 || !places[0] || !places[len(cases)] {
		t.Errorf("in 200 runs the probe was at %d places of %d", len(places), len(cases)+1)
	}
	if a, b := CaseSeed(1, "BW-1"), CaseSeed(1, "BW-2"); a == b || a == CaseSeed(2, "BW-1") || a != CaseSeed(1, "BW-1") {
		t.Error("seeds of cases are not their own")
	}
}

func TestEstimate(t *testing.T) {
	of := func(takes ...time.Duration) (all []certify.Selected) {
		for _, d := range takes {
			all = append(all, certify.Selected{Case: certify.Case{Takes: d}})
		}
		return all
	}
	for _, test := range []struct {
		cases []certify.Selected
		jobs  int
		brief bool
		want  time.Duration
	}{
		{of(), 2, false, 0},
		{of(time.Hour, time.Minute, 2*time.Minute), 2, false, time.Hour},
		{of(3*time.Minute, 2*time.Minute, 2*time.Minute), 2, false, 4 * time.Minute},
		{of(3*time.Minute, 2*time.Minute), 1, true, 20 * time.Second},
	} {
		if got := Estimate(test.cases, test.jobs, test.brief); got != test.want {
			t.Errorf("%v, %d at once: %v, want %v", test.cases, test.jobs, got, test.want)
		}
	}
	for d, want := range map[time.Duration]string{0: "0s", 20 * time.Second: "20s", time.Minute: "1m", time.Hour: "1h", 10 * time.Hour: "10h",
		70*time.Minute + 20*time.Second: "1h10m", 10 * time.Minute: "10m", 1500 * time.Millisecond: "2s"} {
		if got := About(d); got != want {
			t.Errorf("About(%v) = %s, want %s", d, got, want)
		}
	}
}

// A brief run never certifies: not with a key, and not if all passes.
func TestBriefNeverCertifies(t *testing.T) {
	g := newRig(t)
	g.Brief, g.Keys = true, []*evidence.Key{key(t, 1)}
	bw1, _ := certify.Lookup("BW-1")
	g.Procedures["BW-1"] = g.procedure(certify.Result{Case: "BW-1", Verdict: certify.Pass, Observed: map[string]int{"seconds": 3, "packets": 1}})
	g.Procedures["BW-2"] = g.procedure(certify.Result{Case: "BW-2", Verdict: certify.Pass}) // vacuous
	g.Procedures["BW-4"] = g.procedure(certify.Result{Case: "BW-4", Verdict: certify.Pass, Observed: map[string]int{"tries": 3, "accepted": 1},
		Claim: &certify.Claim{Tries: 3}})
	g.Procedures["REG-1"] = g.procedure(certify.Result{Case: "REG-1", Verdict: certify.Pass, Observed: map[string]int{"tries": 3, "registrations": 1,
		"connects": 1}, Claim: &certify.Claim{Tries: 3, Failures: 1}})
	out := g.run(t)
	want(t, out, "BW-1", certify.Pass, "")
	want(t, out, "BW-2", certify.Inconclusive, "too little was observed")
	want(t, out, "BW-4", certify.Pass, "")
	want(t, out, "REG-1", certify.Fail, "1 of 3 tries failed")
	if out.Ran != certify.Fail {
		t.Errorf("ran: %s", out.Ran)
	}
	noCertificate(t, out, "brief")
	i := slices.IndexFunc(out.Certification.Suite.Cases, func(j certify.Judged) bool { return j.Case.ID == "BW-1" })
	if d := cmp.Diff(bw1, out.Certification.Suite.Cases[i].Case); d != "" {
		t.Errorf("the page shows another case than the catalogue's:\n%s", d)
	}

	g = newRig(t)
	g.Brief, g.Keys = true, []*evidence.Key{key(t, 1)}
	out = g.run(t)
	if s := out.Certification.Suite; out.Ran != certify.Pass || s.Verdict != certify.Inconclusive || !strings.Contains(s.Reasons[0], "brief") {
		t.Errorf("ran %s, suite %s: %v", out.Ran, s.Verdict, s.Reasons)
	}
	noCertificate(t, out, "brief")
}

func TestSingleCasesNeverCertify(t *testing.T) {
	g := newRig(t)
	g.Only, g.Keys = []string{"BW-1", "MED-1"}, []*evidence.Key{key(t, 1)}
	out := g.run(t)
	slices.Sort(g.ran)
	if d := cmp.Diff(g.Only, g.ran); d != "" {
		t.Error(d)
	}
	s := out.Certification.Suite
	if out.Ran != certify.Pass || s.Verdict != certify.Inconclusive || len(s.Cases) != len(certify.Catalogue()) || s.Counts[certify.Pass] != 2 {
		t.Errorf("ran %s, suite %s of %d cases: %v", out.Ran, s.Verdict, len(s.Cases), s.Counts)
	}
	noCertificate(t, out, "only BW-1, MED-1")
}

// What is done is kept, and only the rest is run.
func TestInterruptedAndResumed(t *testing.T) {
	g := newRig(t)
	k := key(t, 1)
	g.Keys, g.Jobs = []*evidence.Key{k}, 2
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var once sync.Once
	g.before = func(ctx context.Context, id string) {
		if id == "BW-1" {
			once.Do(cancel)
			<-ctx.Done()
		}
	}
	out, err := Run(ctx, g.Options)
	if !errors.Is(err, ErrInterrupted) || out == nil {
		t.Fatal(out, err)
	}
	if s := out.Certification.Suite; out.Certification.Complete || s.Verdict != certify.Inconclusive || !strings.Contains(s.Reasons[0], "cut short") {
		t.Errorf("complete %v, %s: %v", out.Certification.Complete, s.Verdict, s.Reasons)
	}
	noCertificate(t, out, "cut short")
	var kept summary
	if b, err := os.ReadFile(filepath.Join(g.Out, SuiteFile)); err != nil || json.Unmarshal(b, &kept) != nil || kept.Complete {
		t.Errorf("suite.json says complete: %v %v", kept.Complete, err)
	}
	done := map[string]bool{}
	for id := range out.Certification.Runs {
		done[id] = true
	}
	if done["BW-1"] || len(done) == 0 {
		t.Fatalf("done: %v", done)
	}

	again := newRig(t)
	again.Keys, again.Out = g.Keys, g.Out
	again.refused(t, "--resume")
	again.Resume, again.Seed = true, 8
	again.refused(t, "its seed is 7, not 8")
	again.Seed, again.Brief = 7, true
	again.refused(t, "its brief is false, not true")
	again.Brief = false
	out = again.run(t)
	for _, id := range again.ran {
		if done[id] {
			t.Errorf("%s was run again", id)
		}
	}
	if len(again.ran)+len(done) != len(again.applicable()) || !slices.Contains(again.ran, "BW-1") {
		t.Errorf("of %d cases %d were done, and %d run then", len(again.applicable()), len(done), len(again.ran))
	}
	if s := out.Certification.Suite; out.Certificate == nil || s.Verdict != certify.PassNonstrict ||
		!strings.Contains(strings.Join(s.Warnings, "\n"), "BW-1 (must) pass; it was started 2 times") {
		t.Errorf("%s (%v): %s", s.Verdict, s.Warnings, out.Unsealed)
	}
	if _, err := evidence.Verify(t.Context(), g.Out, evidence.Trust{Issuers: []evidence.PublicKey{k.Public()}}); err != nil {
		t.Error(err)
	}
	again.ran = nil
	again.refused(t, "sealed")
}

func TestRefusals(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*Options)
		says   string
	}{
		{"no declaration", func(o *Options) { o.Declaration = nil }, "no declaration"},
		{"unknown case", func(o *Options) { o.Only = []string{"BW-11"} }, `unknown case "BW-11"`},
		{"case twice", func(o *Options) { o.Only = []string{"BW-1", "BW-1"} }, "twice"},
		{"case that does not apply", func(o *Options) { o.Only = []string{"STD-3"} }, "not declared: ice"},
		{"a box in two cases", func(o *Options) { o.Device.Way = stage.Box }, "one cable"},
		{"no run to resume", func(o *Options) { o.Resume = true }, "holds no run"},
		{"a folder that cannot be made", func(o *Options) { o.Out = "/proc/nowhere" }, "give another with --out"},
		{"a brief witness", func(o *Options) { o.Brief, o.WitnessOf = true, "x" }, "brief"},
	} {
		t.Run(test.name, func(t *testing.T) {
			g := newRig(t)
			test.change(&g.Options)
			g.refused(t, test.says)
		})
	}
}

// Without a key all is done but the signing; a run that goes on with it signs.
func TestSealedLater(t *testing.T) {
	g := newRig(t)
	noCertificate(t, g.run(t), "no key")
	again := newRig(t)
	again.Out, again.Resume, again.Keys = g.Out, true, []*evidence.Key{key(t, 1)}
	if out := again.run(t); out.Certificate == nil || len(again.ran) > 0 {
		t.Errorf("unsealed: %s; ran %v", out.Unsealed, again.ran)
	}
}
