package experiment_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/punchlab/punchlab/lab/experiment"
	"github.com/punchlab/punchlab/lab/record"
	"github.com/punchlab/punchlab/lab/runner"
	"github.com/punchlab/punchlab/scenarios"
)

func build(t *testing.T, name, engine string, set map[string][]string) *experiment.Experiment {
	t.Helper()
	s, err := scenarios.Load(name)
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range set {
		if err := s.Narrow(k, v); err != nil {
			t.Fatal(err)
		}
	}
	e, err := experiment.Build(s, engine, set)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// described is the manifest as it is read back from its file.
func described(t *testing.T, e *experiment.Experiment) (m record.Manifest) {
	t.Helper()
	e.Describe(&m)
	b, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	m = record.Manifest{}
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatal(err)
	}
	return m
}

// essence is what of a plan decides its trials.
func essence(p runner.Plan) (all []string) {
	for _, c := range p.Cells {
		b, _ := json.Marshal([]any{c.Index, c.Params, c.Strategy, c.Options, c.Topology.Digest(), c.System.Name(), runner.Seed(p.Seed, c.Params, 7)})
		all = append(all, string(b))
	}
	b, _ := json.Marshal([]any{p.Trials, p.Idle, p.Media, p.Timeout, p.Stranger, p.Events})
	return append(all, string(b))
}

// A manifest is enough: every shipped scenario comes out of it as it went in, also where its axes were narrowed, turned or added to.
func TestAgain(t *testing.T) {
	for _, name := range scenarios.Names() {
		e := build(t, name, "netfilter", nil)
		again, err := experiment.Again(described(t, e))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if d := cmp.Diff(essence(e.Plan), essence(again.Plan)); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
	set := map[string][]string{"camera.nat": {"symmetric", "open"}, "rendezvous.link": {"lan"}}
	e := build(t, "nat-matrix", "table", set)
	e.Scenario.Trials, e.Scenario.Seed = 3, 99
	e, err := experiment.Build(e.Scenario, "table", set)
	if err != nil {
		t.Fatal(err)
	}
	m := described(t, e)
	again, err := experiment.Again(m)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(essence(e.Plan), essence(again.Plan)); d != "" || again.Engine != "table" {
		t.Errorf("engine %s: %s", again.Engine, d)
	}
	if d := cmp.Diff(m, described(t, again)); d != "" {
		t.Errorf("described otherwise: %s", d)
	}
}

// A run that is smaller than its scenario is not the whole of it.
func TestWhole(t *testing.T) {
	e := build(t, "connect-only", "netfilter", nil)
	for name, c := range map[string]struct {
		change func(*record.Manifest)
		want   bool
	}{
		"as written":    {func(*record.Manifest) {}, true},
		"more trials":   {func(m *record.Manifest) { m.TrialsPerCell++ }, true},
		"fewer trials":  {func(m *record.Manifest) { m.TrialsPerCell-- }, false},
		"narrowed":      {func(m *record.Manifest) { m.Set = map[string][]string{"strategy": {"direct"}} }, false},
		"a shard":       {func(m *record.Manifest) { m.Shard = "1/2" }, false},
		"without texts": {func(m *record.Manifest) { m.Scenario.Text = "" }, false},
	} {
		m := described(t, e)
		c.change(&m)
		if got := experiment.Whole(m); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestAgainRefuses(t *testing.T) {
	e := build(t, "connect-only", "netfilter", nil)
	for want, spoil := range map[string]func(*record.Manifest){
		"has no text":                  func(m *record.Manifest) { m.Scenario.Text = "" },
		"scenario connect-only: this ": func(m *record.Manifest) { m.Scenario.Text = strings.Replace(m.Scenario.Text, "seed: 1", "seed: 2", 1) },
		"understands something else":   func(m *record.Manifest) { m.Topology.Digest = "sha256:00" },
		"and had 7":                    func(m *record.Manifest) { m.Cells = 7 },
		"run.json: scenario connect":   func(m *record.Manifest) { m.Scenario.Text += "\nnonsense: 1\n" },
	} {
		m := described(t, e)
		spoil(&m)
		if _, err := experiment.Again(m); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}

func TestBuildRefuses(t *testing.T) {
	s, err := scenarios.Load("nat-matrix")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Narrow("camera.nat", []string{"alg"}); err != nil {
		t.Fatal(err)
	}
	if _, err := experiment.Build(s, "netfilter", nil); !errors.Is(err, experiment.ErrUnsupported) || !strings.Contains(err.Error(), "cell 0") {
		t.Errorf("an ALG on the kernel: %v", err)
	}
}
