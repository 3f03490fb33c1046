package rtsp_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/punchlab/punchlab/lab/certify"
	"github.com/punchlab/punchlab/lab/certify/cases"
	"github.com/punchlab/punchlab/lab/certify/stage"
	"github.com/punchlab/punchlab/lab/certify/suite"
	"github.com/punchlab/punchlab/lab/live"
)

// expectation is what a case is to come to.
type expectation struct {
	verdicts []string
	reason   *regexp.Regexp
}

// expected reads the table of the cases that apply to the camera.
func expected(t *testing.T) map[string]expectation {
	t.Helper()
	b, err := os.ReadFile("testdata/expected.tsv")
	must(t, err)
	all := map[string]expectation{}
	for n, line := range strings.Split(strings.TrimSpace(string(b)), "\n") {
		if strings.HasPrefix(line, "#") {
			continue
		}
		fields := strings.Split(line, "\t")
		if len(fields) != 3 {
			t.Fatalf("expected.tsv:%d: %d fields, want 3", n+1, len(fields))
		}
		reason, err := regexp.Compile(fields[2])
		must(t, err)
		if _, twice := all[fields[0]]; twice {
			t.Fatalf("expected.tsv:%d: %s is there twice", n+1, fields[0])
		}
		all[fields[0]] = expectation{strings.Split(fields[1], "|"), reason}
	}
	return all
}

// soak skips what takes long: PUNCHLAB_SOAK=1 has it run.
func soak(t *testing.T) {
	t.Helper()
	if os.Getenv("PUNCHLAB_SOAK") == "" {
		t.Skip("it takes long; set PUNCHLAB_SOAK=1")
	}
}

// quick are the cases that every test run tries: what a reader asks first of such a camera. All others: PUNCHLAB_SOAK=1.
var quick = []string{"ID-4", "SEC-4"}

// The camera runs through the cases that apply to it, and each comes to what is expected, for the reason that is.
func TestCertified(t *testing.T) {
	require(t)
	want := expected(t)
	d := declaration(t)
	for _, s := range certify.Select(d) {
		if _, there := want[s.Case.ID]; there != s.Applicable {
			t.Errorf("%s: in expected.tsv: %v; applies: %v, %s", s.Case.ID, there, s.Applicable, s.Why)
		}
	}
	only := quick
	if os.Getenv("PUNCHLAB_SOAK") != "" {
		only = nil
	} else {
		t.Parallel()
	}
	out := run(t, d, newBox(t), only)
	for _, j := range out.Certification.Suite.Cases {
		if _, ran := out.Certification.Runs[j.Case.ID]; !ran {
			continue
		}
		w, r := want[j.Case.ID], j.Result
		if !slices.Contains(w.verdicts, string(r.Verdict)) || r.Verdict != certify.Pass && !w.reason.MatchString(r.Reason) {
			t.Errorf("%s: %s: %s\nwant %s: %s", j.Case.ID, r.Verdict, r.Reason, strings.Join(w.verdicts, " or "), w.reason)
		}
	}
	if n, m := len(out.Certification.Runs), len(want); n != m && only == nil || n == 0 {
		t.Errorf("%d cases were run of %d", n, m)
	}
	if p := out.Certification.Probe; p == nil || !p.Passed() {
		t.Errorf("asked for a case that there is not, the adapter and the hook said %+v", p)
	}
	if out.Ran != certify.Fail || out.Certificate != nil {
		t.Errorf("%s; %v", out.Ran, out.Certificate)
	}
}

// A camera that dies of an oversized header fails SEC-11, though it takes no datagram: what is broken comes to it by TCP.
func TestFragile(t *testing.T) {
	t.Parallel()
	require(t)
	d := declaration(t)
	r := result(t, run(t, d, newBox(t, "fragile"), []string{"SEC-11"}), "SEC-11")
	if want := regexp.MustCompile(`^after \d+ malformed messages the stream did not go on: the viewer ended`); r.Verdict != certify.Fail || !want.MatchString(r.Reason) {
		t.Errorf("%s: %s", r.Verdict, r.Reason)
	}
}

// A camera that has room for a few half-open connections, and no SYN cookies, fails RES-4: nobody gets in during a flood.
func TestCertifiedWithoutCookies(t *testing.T) {
	soak(t)
	require(t)
	d := declaration(t)
	r := result(t, run(t, d, newBox(t, "cookieless"), []string{"RES-4"}), "RES-4")
	if want := regexp.MustCompile(`^under the flood \d of 5 connects failed; the first: `); r.Verdict != certify.Fail || !want.MatchString(r.Reason) {
		t.Errorf("%s: %s", r.Verdict, r.Reason)
	}
}

// A viewer that answers Basic authentication tells whoever is at the camera's address the password, and so fails SEC-3: by it a second
// attacker is let in, though the camera itself asks for a digest. This one (ffmpeg) does.
func TestPasswordCaptured(t *testing.T) {
	t.Parallel()
	require(t)
	d := declaration(t)
	d.Features[certify.FeaturePassword] = true
	r := result(t, run(t, d, newBox(t, "owner:word7", "Digest"), []string{"SEC-3"}, "owner:word7"), "SEC-3")
	want := regexp.MustCompile(`^viewers told an impostor the password of user "owner", in the clear \(Basic .* at once .* was let in: it answered DESCRIBE with 200`)
	if r.Verdict != certify.Fail || !want.MatchString(r.Reason) {
		t.Errorf("%s: %s", r.Verdict, r.Reason)
	}
}

// A viewer that proves by a digest that it knows the password, and tells it nobody, passes.
func TestCertifiedPasswordKept(t *testing.T) {
	soak(t)
	require(t)
	d := declaration(t)
	d.Features[certify.FeaturePassword] = true
	r := result(t, run(t, d, newBox(t, "owner:word7", "Digest"), []string{"SEC-3"}, "owner:word7", "Digest"), "SEC-3")
	if r.Verdict != certify.Pass || r.Observed["lured"] != 3 || r.Observed["tries"] < 3 {
		t.Errorf("%s: %s; %v", r.Verdict, r.Reason, r.Observed)
	}
}

// result is what a case came to.
func result(t *testing.T, out *suite.Outcome, id string) certify.Result {
	t.Helper()
	for _, j := range out.Certification.Suite.Cases {
		if j.Case.ID == id {
			return j.Result
		}
	}
	t.Fatalf("%s is not among the cases", id)
	return certify.Result{}
}

// run certifies a camera, brief; the viewer has the password, if there is one: USER:PASSWORD.
func run(t *testing.T, d *certify.Declaration, b *box, only []string, password ...string) *suite.Outcome {
	t.Helper()
	f, err := live.Start(live.Options{})
	must(t, err)
	t.Cleanup(func() { must(t, f.Close()) })
	exe, err := os.Executable()
	must(t, err)
	adapter, err := filepath.Abs("testdata/adapter.py")
	must(t, err)
	outlet, err := filepath.Abs("testdata/outlet.sh")
	must(t, err)
	out, err := suite.Run(t.Context(), suite.Options{
		Declaration: d, Procedures: cases.All(), Only: only, Seed: 7, Brief: true, Out: t.TempDir(), Fabric: f,
		Device: stage.Device{
			Way: stage.Box, Program: append([]string{adapter}, password...), Bundled: []string{exe, "adapter"}, Interface: "eth7", From: b.machine,
			Hook: []string{outlet, b.folder}, Forward: []uint16{port},
		},
		Progress: func(e suite.Event) {
			if e.Kind == suite.Finished {
				t.Logf("%-6s %s (%.1f s) %s", e.Case, e.Verdict, e.Seconds, e.Text)
			}
		},
	})
	must(t, err)
	return out
}
