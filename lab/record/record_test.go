package record

import (
	"encoding/json"
	"flag"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	_ "github.com/punchlab/punchlab/lab/internal/steady"
	"pgregory.net/rapid"
)

var update = flag.Bool("update", false, "rewrite golden files")

func f(v float64) *float64 { return &v }

func manifest() Manifest {
	return Manifest{
		Command:  []string{"punchlab", "run", "nat-matrix"},
		Scenario: Document{Name: "nat-matrix", Digest: "sha256:" + strings.Repeat("ab", 32)}, Topology: Document{Name: "two-homes", Digest: "sha256:" + strings.Repeat("cd", 32)},
		Seed: 1, Engine: "netfilter", TrialsPerCell: 3, Cells: 2,
		Axes:     []Axis{{"camera.nat", []string{"full-cone", "symmetric"}}},
		Versions: Versions{Commit: "3ef995d", Go: "go1.26", Modules: map[string]string{}}, Kernel: "Linux 6.12", CPU: CPU{"a CPU", 2},
		Sysctls: map[string]string{}, Start: time.Date(2026, 3, 14, 9, 26, 53, 0, time.UTC),
	}
}

// measured are the trials of a small run: a cell that went direct, one that only ever met harness errors.
func measured() []Trial {
	params := map[string]string{"camera.nat": "full-cone", "viewer.nat": "symmetric", "strategy": "adaptive", "link": "broadband"}
	direct := func(n int, connect float64) Trial {
		return Trial{
			Schema: TrialSchema, Trial: n, Seed: 10 + uint64(n), Params: params, Outcome: Direct, Oracle: "direct",
			TriangleS: f(0.04), BoundS: f(0.08), ConnectS: f(connect), FirstPacketS: f(connect + 0.004), FirstFrameS: f(2 * connect),
			Media: &Media{FramesSent: 3, FramesReceived: 3, FramesIntact: 2 + n%2, LatencyS: []float64{0.02, 0.03, 0.01 * float64(n+1)}, GoodputBps: f(2e6), Loss: f(0.01 * float64(n)), GapS: f(0.1 * float64(n))},
			Bytes: map[string]int64{"camera_up": 1000, "relay": 0}, Probes: map[string]float64{"punches": float64(n + 1)},
			Lateness: &Lateness{1e-5, 1e-4, 2e-4},
		}
	}
	late := Trial{Schema: TrialSchema, Trial: 1, Seed: 11, Params: params, Outcome: HarnessError, Oracle: "direct", Error: "late by 3 ms", ConnectS: f(9)}
	again := direct(1, 0.05)
	again.Attempt = 1
	other := map[string]string{"camera.nat": "symmetric", "viewer.nat": "symmetric", "strategy": "adaptive", "link": "broadband"}
	broken := Trial{Schema: TrialSchema, Cell: 4, Seed: 99, Params: other, Outcome: HarnessError, Oracle: "relay-only", Error: "nat classified as full-cone"}
	return []Trial{broken, direct(0, 0.042), late, again, direct(2, 0.046)}
}

// TestSummaryGolden holds summary.json to the letter of DESIGN §5.
func TestSummaryGolden(t *testing.T) {
	dir := t.TempDir()
	if err := WriteSummary(dir, Summarize(manifest(), measured(), 1500*time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(dir, SummaryFile))
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "summary.golden.json", got)
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got; -update rewrites it):\n%s", name, diff)
	}
}

// design is the example of DESIGN §5, with the empty distributions as its own connect_s spells them.
const design = `{"schema":"punchlab/summary/1","scenario":"nat-matrix","engine":"netfilter","seed":1,"wall_s":0,"trials":0,
 "cells":[{"params":{"camera.nat":"full-cone","viewer.nat":"symmetric","strategy":"adaptive","link":"broadband"},
   "trials":50,"outcomes":{"direct":50,"relayed":0,"failed":0,"unsupported":0,"harness-error":0},
   "direct_rate":{"value":1,"low":0.93,"high":1},"oracle":"direct","triangle_s":0.045,"bound_s":0.093,
   "connect_s":{"n":50,"min":0,"p50":0,"p95":0,"p99":0,"max":0},
   "first_packet_s":{},"first_packet_ratio":{},"first_frame_s":{},"first_frame_ratio":{},
   "media":{"frames_sent":0,"frames_received":0,"frames_intact":0,"latency_s":{},"goodput_bps":{},"loss":0,"gap_s":{}},
   "bytes":{"camera_up":0,"relay":0},"probes":{}}]}`

// TestSummaryShape compares keys and kinds of values with the example, so that the golden file cannot drift from it.
func TestSummaryShape(t *testing.T) {
	var want, got map[string]any
	if err := json.Unmarshal([]byte(design), &want); err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(Summarize(manifest(), measured(), time.Second))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	same(t, "summary", want, got)
	// A cell without a verdict keeps its outcomes and has no rate, rather than one of 0.
	cell := got["cells"].([]any)[1].(map[string]any)
	if n := len(cell["outcomes"].(map[string]any)); n != len(Outcomes) {
		t.Errorf("a cell without verdict has %d outcomes", n)
	}
	for _, k := range []string{"direct_rate", "connect_s", "media", "triangle_s"} {
		if _, ok := cell[k]; ok {
			t.Errorf("a cell without verdict has %s", k)
		}
	}
}

func same(t *testing.T, path string, want, got any) {
	t.Helper()
	switch w := want.(type) {
	case map[string]any:
		g, ok := got.(map[string]any)
		if !ok {
			t.Errorf("%s is %T, want an object", path, got)
			return
		}
		if len(w) == 0 && !strings.HasSuffix(path, "probes") {
			w = map[string]any{"n": 0.0, "min": 0.0, "p50": 0.0, "p95": 0.0, "p99": 0.0, "max": 0.0}
		}
		for k := range w {
			if _, ok := g[k]; !ok {
				t.Errorf("%s.%s is missing", path, k)
				continue
			}
			same(t, path+"."+k, w[k], g[k])
		}
		for k := range g {
			if _, ok := w[k]; !ok && !strings.HasSuffix(path, "probes") {
				t.Errorf("%s.%s is not in the design", path, k)
			}
		}
	case []any:
		same(t, path+"[0]", w[0], got.([]any)[0])
	case float64:
		if _, ok := got.(float64); !ok {
			t.Errorf("%s is %T, want a number", path, got)
		}
	case string:
		if _, ok := got.(string); !ok {
			t.Errorf("%s is %T, want a string", path, got)
		}
	}
}

// TestSummarizeCounts works one cell by hand.
func TestSummarizeCounts(t *testing.T) {
	s := Summarize(manifest(), measured(), 2*time.Second)
	if s.Trials != 3 || s.WallS != 2 || len(s.Cells) != 2 {
		t.Fatalf("%d trials, %v s, %d cells", s.Trials, s.WallS, len(s.Cells))
	}
	c := s.Cells[0]
	if c.Trials != 3 || c.Outcomes[Direct] != 3 || c.Outcomes[HarnessError] != 1 || c.DirectRate.Value != 1 {
		t.Errorf("trials %d, outcomes %v, rate %+v", c.Trials, c.Outcomes, c.DirectRate)
	}
	if c.ConnectS.N != 3 || c.ConnectS.Max != 0.05 || c.ConnectS.P50 != 0.046 {
		t.Errorf("connect %+v: the harness error's 9 s must not count", c.ConnectS)
	}
	if got := c.FirstPacketRatio.P50; math.Abs(got-1.25) > 1e-12 {
		t.Errorf("first packet ratio %v, want 0.050/0.040", got)
	}
	if got := c.FirstFrameRatio.P50; math.Abs(got-1.15) > 1e-12 {
		t.Errorf("first frame ratio %v, want 0.092/0.080", got)
	}
	if m := c.Media; m.FramesSent != 9 || m.FramesIntact != 7 || m.LatencyS.N != 9 || m.GoodputBps.N != 3 || math.Abs(*m.Loss-0.01) > 1e-12 {
		t.Errorf("media %+v", m)
	}
	if c.Bytes["camera_up"] != 3000 || c.Probes["punches"].P50 != 2 {
		t.Errorf("bytes %v, probes %+v", c.Bytes, c.Probes["punches"])
	}
	if got := s.Cells[1]; got.Trials != 0 || got.Oracle != "relay-only" || got.Params["camera.nat"] != "symmetric" {
		t.Errorf("second cell %+v", got)
	}
}

// TestSummarizeOrder: the summary does not depend on the order in which trials ended.
func TestSummarizeOrder(t *testing.T) {
	want := Summarize(manifest(), measured(), time.Second)
	rapid.Check(t, func(t *rapid.T) {
		trials := measured()
		rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0)).Shuffle(len(trials), func(i, j int) { trials[i], trials[j] = trials[j], trials[i] })
		if diff := cmp.Diff(want, Summarize(manifest(), trials, time.Second)); diff != "" {
			t.Fatal(diff)
		}
	})
}

// TestTrialAbsent: what did not happen is not in the line.
func TestTrialAbsent(t *testing.T) {
	b, err := json.Marshal(Trial{Schema: TrialSchema, Params: map[string]string{}, Outcome: Failed, Oracle: "relay-only", Cause: "no answer"})
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	var keys []string
	for k := range got {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	want := []string{"cause", "cell", "ended_at", "oracle", "outcome", "params", "schema", "seed", "trial"}
	if !slices.Equal(keys, want) {
		t.Errorf("keys %v, want %v", keys, want)
	}
}
