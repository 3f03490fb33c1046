package scenarios_test

import (
	"encoding/json"
	"maps"
	"strings"
	"testing"

	"github.com/punchlab/punchlab/lab/gate"
	"github.com/punchlab/punchlab/lab/record"
	"github.com/punchlab/punchlab/scenarios"
	"github.com/punchlab/punchlab/topologies"
)

// A run of the trials that a scenario has by default, in which all goes well, passes every one of its thresholds, and one in which nothing
// does fails each: no threshold is out of reach or without a case.
func TestShippedThresholdsCanBeDecided(t *testing.T) {
	some := 0
	for _, name := range scenarios.Names() {
		s := load(t, name)
		if len(s.Thresholds) == 0 {
			continue
		}
		some++
		for want, well := range map[gate.Decision]bool{gate.Pass: true, gate.Fail: false} {
			for _, j := range gate.Judge(imagined(t, s, well), s.Thresholds) {
				if j.Decision != want {
					t.Errorf("%s: where all goes well is %v: %s %s", name, well, j.Decision.Mark(), j.Text)
				}
			}
		}
	}
	if some < 3 {
		t.Errorf("only %d scenarios have thresholds", some)
	}
}

// imagined is a run whose every trial has the best of each metric, or the worst.
func imagined(t *testing.T, s *scenarios.Scenario, well bool) gate.Sample {
	t.Helper()
	m := record.Manifest{TrialsPerCell: s.Trials, Complete: true}
	for _, a := range s.Axes {
		m.Axes = append(m.Axes, record.Axis{Key: a.Key, Values: a.Values})
	}
	b := gate.NewBuilder(m)
	for i, cell := range s.Cells() {
		topo, err := s.Build(cell)
		if err != nil {
			t.Fatal(err)
		}
		oracle := topo.Chance("camera", "viewer").Prospect.String()
		for n := range s.Trials {
			if err := b.Add(imaginedTrial(i, n, cell, oracle, well)); err != nil {
				t.Fatal(err)
			}
		}
	}
	return b.Sample()
}

func imaginedTrial(cell, n int, params map[string]string, oracle string, well bool) record.Trial {
	bound, first, probe := 0.1, 0.101, 0.0
	r := record.Trial{
		Cell: cell, Trial: n, Params: maps.Clone(params), Oracle: oracle, Outcome: record.Direct, BoundS: &bound,
		Media: &record.Media{FramesSent: 25, FramesReceived: 25, FramesIntact: 25},
	}
	if oracle == "relay-only" {
		r.Outcome = record.Relayed
	}
	if !well {
		r.Outcome, r.Media.FramesIntact = record.Failed, 0
		first, probe = 100, 100
	}
	r.FirstFrameS = &first
	r.Probes = map[string]float64{"gone_told_s": probe, "back_told_s": probe, "stranger_reached": probe}
	return r
}

// Thresholds are part of the experiment, as they mean and not as they are spelt; a scenario without any has the digest it had.
func TestDigestHasThresholds(t *testing.T) {
	text := "name: a\ntopology: two-homes\naxes: {strategy: [direct]}\ntrials: 1\ntrial: {media: 1s, timeout: 2s}\n"
	digest := func(thresholds string) string {
		s, err := scenarios.Parse("x.yaml", []byte(text+thresholds), topologies.Load)
		if err != nil {
			t.Fatal(err)
		}
		return s.Digest
	}
	first := digest("thresholds: [direct_rate >= 0.9]\n")
	if first != digest("thresholds: [{expect: direct_rate>=0.90, abort: false}]\n") {
		t.Error("the digest depends on how a threshold is written")
	}
	for _, other := range []string{"", "thresholds: [direct_rate >= 0.8]\n", "thresholds: [{expect: direct_rate >= 0.9, abort: true}]\n"} {
		if digest(other) == first {
			t.Errorf("the digest does not see %q", strings.TrimSpace(other))
		}
	}
	b, err := json.Marshal(load(t, "links"))
	if err != nil || strings.Contains(string(b), "hresholds") {
		t.Errorf("a scenario without thresholds has another digest than before there were any: %v, %s", err, b)
	}
}

// What narrows one scenario's copy leaves the other's thresholds.
func TestCloneHasItsOwnThresholds(t *testing.T) {
	s := load(t, "nat-matrix")
	c := s.Clone()
	c.Thresholds[0].Value = 0.5
	if s.Thresholds[0].Value == 0.5 {
		t.Error("a clone shares its thresholds")
	}
}
