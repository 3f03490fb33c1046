package gate

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	_ "github.com/punchlab/punchlab/lab/internal/steady"
	"github.com/punchlab/punchlab/lab/record"
)

func f(v float64) *float64 { return &v }

// world draws runs like those of nat-matrix: pairs of NATs and two strategies, of which one never goes direct in every ninth pair.
type world struct {
	pairs, trials int
	calm          bool                   // times have a thin tail only
	direct        func(cell int) float64 // nil: 0.97, in every ninth pair of the first strategy 0
	slower        func(cell int) float64 // of the times; nil: 1
	tail          float64                // of the slowest tenth; 0: 1
}

// small and matrix are a scenario that is quick to compare, and the default one at its default number of trials.
var (
	small  = world{pairs: 6, trials: 20, calm: true, direct: func(int) float64 { return 1 }}
	matrix = world{pairs: 36, trials: 20}
)

func (w world) manifest() record.Manifest {
	return record.Manifest{
		Schema: record.ManifestSchema, Engine: "netfilter", Seed: 1, TrialsPerCell: w.trials, Cells: 2 * w.pairs, Complete: true,
		Scenario: record.Document{Name: "nat-matrix", Digest: "sha256:" + strings.Repeat("ab", 32)},
		Topology: record.Document{Name: "two-homes", Digest: "sha256:" + strings.Repeat("cd", 32)},
		Axes:     []record.Axis{{Key: "pair", Values: []string{"…"}}, {Key: StrategyKey, Values: []string{"direct", "adaptive"}}},
		Versions: record.Versions{Commit: "3ef995d", Go: "go1.26", Modules: map[string]string{"x": "v1"}},
		Kernel:   "Linux 6.12", CPU: record.CPU{Model: "a CPU", Cores: 2}, LateLimitS: 0.002,
		Command: []string{"punchlab", "run"}, Start: time.Date(2026, 3, 14, 9, 26, 53, 0, time.UTC),
	}
}

func (w world) params(cell int) map[string]string {
	return map[string]string{"pair": fmt.Sprint(cell / 2), StrategyKey: []string{"direct", "adaptive"}[cell%2]}
}

// one draws a trial: whether it went direct, and how much later than the bound. Times are a lab's: a little over the bound, with a
// thin tail that is now and then a thick one.
func (w world) one(rng *rand.Rand, cell int) (direct bool, ratio float64) {
	p := 0.97
	if cell%2 == 0 && cell/2%9 == 8 {
		p = 0
	}
	if w.direct != nil {
		p = w.direct(cell)
	}
	ratio = 1.03 + 0.02*rng.ExpFloat64()
	if thick := rng.Float64() < 0.05; thick && !w.calm {
		ratio += 0.3 * rng.Float64()
	}
	if w.tail != 0 && ratio > 1.08 { // about the slowest tenth
		ratio *= w.tail
	}
	if w.slower != nil {
		ratio *= w.slower(cell)
	}
	return rng.Float64() < p, ratio
}

// draw draws a run's records, in order.
func (w world) draw(rng *rand.Rand) []record.Trial {
	var ts []record.Trial
	for cell := range 2 * w.pairs {
		for n := range w.trials {
			triangle := 0.04 + 0.001*float64(cell%7)
			bound := triangle + 0.02
			direct, ratio := w.one(rng, cell)
			t := record.Trial{
				Schema: record.TrialSchema, Cell: cell, Trial: n, Seed: uint64(100*cell + n), Params: w.params(cell), Outcome: record.Relayed, Oracle: "direct",
				TriangleS: &triangle, BoundS: &bound, ConnectS: f(triangle * ratio), FirstPacketS: f(triangle * ratio), FirstFrameS: f(bound * ratio),
				Media: &record.Media{
					FramesSent: 3, FramesReceived: 3, FramesIntact: 3, LatencyS: []float64{0.03, 0.032, 0.031}, GoodputBps: f(2e6), Loss: f(0), GapS: f(0.04),
				},
				Bytes: map[string]int64{"camera_up": 300_000, "relay": 40_000}, Probes: map[string]float64{"packets": float64(1 + rng.IntN(3))},
			}
			if direct {
				t.Outcome = record.Direct
			}
			ts = append(ts, t)
		}
	}
	return ts
}

// sample draws a run as a sample, with fewer values than its records have.
func (w world) sample(rng *rand.Rand) Sample {
	s := Sample{Source: "run", Manifest: essence(w.manifest())}
	for cell := range 2 * w.pairs {
		c := CellSample{Cell: cell, Params: w.params(cell), Oracle: "direct", Values: map[string]Column{}}
		var connect, frame Column
		for n := range w.trials {
			direct, ratio := w.one(rng, cell)
			o := record.Relayed
			if direct {
				o = record.Direct
			}
			c.Numbers, c.Outcomes, c.Intact = append(c.Numbers, n), append(c.Outcomes, o), append(c.Intact, 1)
			connect, frame = append(connect, round(0.04*ratio)), append(frame, round(ratio))
		}
		c.Values["connect_s"], c.Values["first_frame_ratio"] = connect, frame
		s.Cells = append(s.Cells, c)
	}
	return s
}

func sampleOf(t testing.TB, m record.Manifest, trials []record.Trial) Sample {
	t.Helper()
	s, err := FromRun(&record.Run{Dir: "run", Manifest: m, Trials: trials})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func seeded(n uint64) *rand.Rand { return rand.New(rand.NewPCG(n, 7)) }

func compared(t testing.TB, a, b Sample, o Options) *Verdict {
	t.Helper()
	v, err := Compare(a, b, o)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// finding returns the one over all cells of a group.
func (v *Verdict) finding(t testing.TB, metric, group string) Finding {
	t.Helper()
	i := slices.IndexFunc(v.Overall, func(f Finding) bool { return f.Metric == metric && f.Group == group })
	if i < 0 {
		t.Fatalf("no finding of %s in %q", metric, group)
	}
	return v.Overall[i]
}
