package gate

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/punchlab/punchlab/lab/record"
)

// folder writes a run to disk.
func folder(t *testing.T, m record.Manifest, trials []record.Trial) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "run")
	w, err := record.Create(dir, m)
	if err != nil {
		t.Fatal(err)
	}
	for _, tr := range trials {
		if err := w.Add(tr); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Finish(true, m.Start.Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestMissingEvidenceIsNoPass: each of these passes when whole. Nothing that is missing may pass.
func TestMissingEvidenceIsNoPass(t *testing.T) {
	a := small.sample(seeded(1))
	for name, c := range map[string]struct {
		spoil func(s *Sample)
		want  string
	}{
		"mostly harness errors": {func(s *Sample) { s.Cells[5].HarnessErrors = 900 }, "more than half of the attempts"},
		"lost trials": {func(s *Sample) {
			for i := range s.Cells { // as of a file that was cut at the end of a line
				s.Cells[i] = s.Cells[i].pick([]int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14})
			}
		}, "lacks 60 of the trials"},
		"trials beside the plan": {func(s *Sample) { s.Manifest.TrialsPerCell = 10 }, "120 beside them"},
		"a shard":                {func(s *Sample) { s.Manifest.Shard = "1/2" }, "merge its shards"},
		"one side's harness errors": {func(s *Sample) {
			for i := range s.Cells {
				s.Cells[i].HarnessErrors = 10
			}
		}, "harness errors befell"},
		"a missing cell":      {func(s *Sample) { s.Cells = s.Cells[:11] }, "11 of its 12 cells"},
		"an empty cell":       {func(s *Sample) { s.Cells[5] = s.Cells[5].pick(nil) }, "no trial with a verdict of cell 5"},
		"only harness errors": {func(s *Sample) { s.Cells[5] = s.Cells[5].pick(nil); s.Cells[5].HarnessErrors = 60 }, "no trial with a verdict of cell 5"},
		"an incomplete run":   {func(s *Sample) { s.Manifest.Complete = false }, "did not end"},
		"a torn line":         {func(s *Sample) { s.Truncated = 7 }, "torn"},
		"no trial at all":     {func(s *Sample) { s.Cells = nil }, "no trial with a verdict"},
		"no time": {func(s *Sample) {
			for i := range s.Cells {
				for j := range s.Cells[i].Values["first_frame_ratio"] {
					s.Cells[i].Values["first_frame_ratio"][j] = math.NaN()
				}
			}
		}, "not measured in the"},
	} {
		for side := range 2 {
			sides := [2]Sample{a, small.sample(seeded(2))}
			sides[side] = small.sample(seeded(2))
			c.spoil(&sides[side])
			v := compared(t, sides[0], sides[1], Options{})
			if v.Decision != Undecided || !strings.Contains(v.Why+strings.Join(v.Problems, "\n"), c.want) {
				t.Errorf("%s (side %d): %s: %s %v", name, side, v.Decision, v.Why, v.Problems)
			}
		}
	}
}

// TestNoSample: what is no sample is an error that says where.
func TestNoSample(t *testing.T) {
	a := small.sample(seeded(1))
	for want, spoil := range map[string]func(s *Sample){
		"19 values of connect_s for 20 trials": func(s *Sample) { s.Cells[3].Values["connect_s"] = s.Cells[3].Values["connect_s"][:19] },
		"connect_s has a value that is inf":    func(s *Sample) { s.Cells[3].Values["connect_s"][0] = math.Inf(1) },
		"is there twice":                       func(s *Sample) { s.Cells[4] = s.Cells[3] },
		"20 trials, 3 outcomes":                func(s *Sample) { s.Cells[3].Outcomes = s.Cells[3].Outcomes[:3] },
		"trial 4 is out of order, or there tw": func(s *Sample) { s.Cells[3].Numbers[5] = 4 },
		"neither intact, 1, nor not, 0":        func(s *Sample) { s.Cells[3].Intact[5] = 5 },
		"infinite or below 0":                  func(s *Sample) { s.Cells[3].Values["connect_s"][0] = -1 },
		"-1 harness errors":                    func(s *Sample) { s.Cells[3].HarnessErrors = -1 },
	} {
		b := small.sample(seeded(2))
		spoil(&b)
		if _, err := Compare(a, b, Options{}); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "run: cell ") {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}

func TestOptionsRefused(t *testing.T) {
	a := small.sample(seeded(1))
	for want, o := range map[string]Options{
		`unknown metric "direct"`:           {Metrics: []string{"direct"}},
		"needs a statistic":                 {Watch: []string{"connect_s"}},
		"between 0 and 1":                   {Alpha: 2},
		"which is not compared":             {Margins: map[string]float64{"loss.p99": 1}},
		"give 0 or more":                    {Tolerances: map[string]float64{"direct_rate": math.NaN()}},
		"cannot pass":                       {Metrics: []string{"relayed_rate"}},
		"no metric has to pass":             {Metrics: []string{}},
		`allow "cpu": no such field`:        {Allow: []string{"cpu"}},
		"use one of direct_rate, connected": {Metrics: []string{"bytes."}},
	} {
		if _, err := Compare(a, a, o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}

func TestUnlike(t *testing.T) {
	a := small.sample(seeded(1))
	for field, change := range map[string]func(m *record.Manifest){
		"scenario":        func(m *record.Manifest) { m.Scenario.Name = "other" },
		"scenario.digest": func(m *record.Manifest) { m.Scenario.Digest = "sha256:00" },
		"topology.digest": func(m *record.Manifest) { m.Topology.Digest = "sha256:00" },
		"axes":            func(m *record.Manifest) { m.Axes = m.Axes[:1] },
		"engine":          func(m *record.Manifest) { m.Engine = "table" },
		"stop":            func(m *record.Manifest) { m.Stop = "sprt" },
		"kernel":          func(m *record.Manifest) { m.Kernel = "Linux 6.13" },
		"cpu.model":       func(m *record.Manifest) { m.CPU.Model = "another" },
		"cpu.cores":       func(m *record.Manifest) { m.CPU.Cores = 64 },
		"late_limit_s":    func(m *record.Manifest) { m.LateLimitS = 1 },
		"go":              func(m *record.Manifest) { m.Versions.Go = "go1.27" },
	} {
		b := small.sample(seeded(2))
		change(&b.Manifest)
		var u *Unlike
		_, err := Compare(a, b, Options{})
		if !errors.As(err, &u) || len(u.Differences) != 1 || u.Differences[0].Field != field || u.Differences[0].Do == "" {
			t.Errorf("%s: %v", field, err)
			continue
		}
		if !strings.Contains(u.Error(), "\n  "+field+": baseline ") {
			t.Error(u)
		}
		v, err := Compare(a, b, Options{Allow: []string{field}})
		if err != nil || len(v.Allowed) != 1 {
			t.Errorf("%s allowed: %v", field, err)
		}
	}
	stopped, too := small.sample(seeded(1)), small.sample(seeded(2))
	stopped.Manifest.Stop, too.Manifest.Stop = "sprt", "sprt"
	if _, err := Compare(stopped, too, Options{}); err == nil || !strings.Contains(err.Error(), "--sequential") {
		t.Errorf("runs whose outcomes decided how many there are: %v", err)
	}
	if v := compared(t, stopped, too, Options{Allow: []string{"stop"}}); v.Decision != Pass || len(v.Allowed) != 1 {
		t.Errorf("allowed: %s: %s", v.Decision, v.Why)
	}
	b := small.sample(seeded(2))
	b.Manifest.Seed = 2
	if v := compared(t, a, b, Options{}); v.Decision != Pass {
		t.Errorf("another seed: %s", v.Why)
	}
	if _, err := Compare(a, b, Options{Paired: true}); err == nil || !strings.Contains(err.Error(), "common seeds") {
		t.Errorf("pairs of other seeds: %v", err)
	}
}

// TestSimHasNoMachine: a run in virtual time is compared with one of any machine.
func TestSimHasNoMachine(t *testing.T) {
	a, b := small.sample(seeded(1)), small.sample(seeded(2))
	a.Manifest.Engine, b.Manifest.Engine = "sim", "sim"
	b.Manifest.Kernel, b.Manifest.CPU.Model, b.Manifest.CPU.Cores, b.Manifest.Versions.Go = "Darwin", "M9", 64, "go2"
	if v := compared(t, a, b, Options{}); v.Decision != Pass {
		t.Error(v.Why)
	}
	b.Manifest.Scenario.Digest = "sha256:00"
	if _, err := Compare(a, b, Options{}); err == nil {
		t.Error("another scenario passes")
	}
}

// TestNarrowedRunsAreComparedWhereTheyMeet: with axes allowed, the cells that both have.
func TestNarrowedRunsAreComparedWhereTheyMeet(t *testing.T) {
	a, b := small.sample(seeded(1)), small.sample(seeded(2))
	b.Cells, b.Manifest.Cells = b.Cells[:10], 10
	b.Manifest.Axes = []record.Axis{{Key: "pair", Values: []string{"0"}}}
	if v := compared(t, a, b, Options{Allow: []string{"axes"}}); v.Decision != Pass {
		t.Errorf("%s: %s", v.Decision, v.Why)
	}
}

func TestRead(t *testing.T) {
	w := world{pairs: 2, trials: 3}
	trials := w.draw(seeded(1))
	dir := folder(t, w.manifest(), trials)
	s, err := Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	want := sampleOf(t, w.manifest(), trials)
	want.Source = dir
	if diff := cmp.Diff(want, s, cmpopts.EquateNaNs(), cmpopts.IgnoreFields(record.Manifest{}, "End")); diff != "" {
		t.Error(diff)
	}
	path := filepath.Join(dir, record.TrialsFile)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ text, want string }{
		"a missing field": {strings.Replace(string(whole), `"outcome":"direct",`, "", 1), "field outcome is missing"},
		"NaN":             {strings.Replace(string(whole), `"connect_s":0`, `"connect_s":NaN0`, 1), "trials.jsonl:1"},
		"another schema":  {strings.Replace(string(whole), record.TrialSchema, "punchlab/trial/9", 1), "punchlab/trial/9"},
	} {
		if err := os.WriteFile(path, []byte(c.text), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := Read(dir); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := os.WriteFile(path, whole[:len(whole)-9], 0o644); err != nil {
		t.Fatal(err)
	}
	torn, err := Read(dir)
	if err != nil || torn.Truncated == 0 {
		t.Fatalf("torn: %v", err)
	}
	if v := compared(t, s, torn, Options{}); v.Decision != Undecided || !strings.Contains(v.Why, "torn") {
		t.Errorf("torn: %s: %s", v.Decision, v.Why)
	}
	if _, err := Read(filepath.Join(dir, "nowhere")); err == nil || !strings.Contains(err.Error(), "give a run's folder") {
		t.Error(err)
	}
}
