package reports

import (
	"fmt"
	"hash/fnv"
	"maps"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/punchlab/punchlab/lab/record"
)

// synthetic describes a run that never happened but could have: what the lab would record, drawn from a seed.
type synthetic struct {
	seed             uint64
	axes             []record.Axis
	trials           int
	media            bool
	harness          float64 // share of attempts that end in a harness error and are run again
	failAll, noAxes  bool    // noAxes: the manifest does not tell them, as another runner's might not
	incompleteAfter  int     // trials; 0 for a complete run
	leak, unmeasured bool
	populations      []record.Population
	stranger         bool
	thresholds       []string
	common           bool // trials of the same conditions have the same seed, whatever their strategy
}

var sixNATs = []string{"open", "firewall", "full-cone", "restricted-cone", "port-restricted-cone", "symmetric"}

var twelveNATs = append(slices.Clone(sixNATs), "adm-eif", "adm-adf", "adm-apdf", "apdm-eif", "apdm-adf", "symmetric-sequential")

func natMatrix(nats, strategies, links []string) []record.Axis {
	return []record.Axis{
		{Key: "camera.nat", Values: nats}, {Key: "viewer.nat", Values: nats},
		{Key: "strategy", Values: strategies}, {Key: "link", Values: links},
	}
}

// write makes the run's folder and returns its path.
func (s synthetic) write(t testing.TB) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "run")
	s.writeTo(t, dir)
	return dir
}

func (s synthetic) writeTo(t testing.TB, dir string) {
	t.Helper()
	start := time.Date(2026, 3, 14, 9, 26, 53, 0, time.UTC)
	cells := 1
	for _, a := range s.axes {
		cells *= len(a.Values)
	}
	m := record.Manifest{
		Command:  []string{"punchlab", "run", "nat-matrix", "--trials", "20"},
		Scenario: record.Document{Name: "nat-matrix", Digest: "sha256:3b5d5c3712955042212316173ccf37be800a1b3c6f5e8b4f0d1c2b3a49586776"},
		Topology: record.Document{Name: "two-homes", Digest: "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"},
		Seed:     s.seed, Engine: "netfilter", TrialsPerCell: s.trials, Cells: cells, Axes: s.axes,
		Versions: record.Versions{Commit: "3ef995d0c1f2a3b4c5d6e7f8091a2b3c4d5e6f70", Go: "go1.26.8", Modules: map[string]string{"github.com/google/nftables": "v0.3.0", "github.com/pion/rtp": "v1.10.6"}},
		Kernel:   "Linux 6.12.8 x86_64", CPU: record.CPU{Model: "AMD EPYC 7763", Cores: 2},
		Sysctls: map[string]string{"net.netfilter.nf_conntrack_max": "262144", "net.core.rmem_max": "212992"}, Start: start,
	}
	m.Populations, m.Thresholds = s.populations, s.thresholds
	for _, a := range s.axes {
		for _, v := range a.Values {
			if a.Key == "strategy" && s.stranger {
				m.Strategies = append(m.Strategies, record.Strategy{Name: v, System: "bundled", Setup: []string{"scan the camera's label", "look at it"}})
			}
		}
	}
	if s.noAxes {
		m.Axes, m.Cells = nil, 0
	}
	w, err := record.Create(dir, m)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(s.seed, 0x706c))
	written, now := 0, start
	for c := range cells {
		params := s.params(c)
		for n := range s.trials {
			for attempt := 0; ; attempt++ {
				if s.incompleteAfter > 0 && written >= s.incompleteAfter {
					return
				}
				now = now.Add(time.Duration(20+rng.IntN(80)) * time.Millisecond)
				tr := record.Trial{Cell: c, Trial: n, Attempt: attempt, Seed: rng.Uint64(), Params: params, EndedAt: now}
				if s.common {
					tr.Seed = s.commonSeed(params, n)
				}
				s.draw(rng, &tr)
				if err := w.Add(tr); err != nil {
					t.Fatal(err)
				}
				written++
				if tr.Outcome != record.HarnessError || attempt == 3 {
					break
				}
			}
		}
	}
	if err := w.Finish(true, now); err != nil {
		t.Fatal(err)
	}
}

func (s synthetic) commonSeed(params map[string]string, trial int) uint64 {
	h := fnv.New64a()
	for _, k := range slices.Sorted(maps.Keys(params)) {
		if k != "strategy" {
			fmt.Fprintf(h, "%s=%s ", k, params[k])
		}
	}
	fmt.Fprint(h, trial, s.seed)
	return h.Sum64()
}

func (s synthetic) params(cell int) map[string]string {
	p := map[string]string{}
	for _, a := range slices.Backward(s.axes) {
		p[a.Key] = a.Values[cell%len(a.Values)]
		cell /= len(a.Values)
	}
	return p
}

// oracleOf is a rough one: enough to look real.
func oracleOf(camera, viewer string) string {
	dependent := func(n string) bool {
		return slices.Contains([]string{"symmetric", "symmetric-sequential", "adm-eif", "adm-adf", "adm-apdf", "apdm-eif", "apdm-adf"}, n)
	}
	strict := func(n string) bool {
		return slices.Contains([]string{"symmetric", "symmetric-sequential", "port-restricted-cone", "adm-apdf", "firewall"}, n)
	}
	switch {
	case dependent(camera) && strict(viewer), dependent(viewer) && strict(camera):
		if camera == "symmetric-sequential" || viewer == "symmetric-sequential" {
			return "predictable"
		}
		return "relay-only"
	}
	return "direct"
}

func (s synthetic) draw(rng *rand.Rand, t *record.Trial) {
	oneWay, loss, rate := 0.012, 0.001, 20e6
	switch t.Params["link"] {
	case "lte":
		oneWay, loss, rate = 0.035, 0.008, 12e6
	case "satellite":
		oneWay, loss, rate = 0.280, 0.005, 8e6
	case "lan":
		oneWay, loss, rate = 0.0004, 0, 1e9
	}
	t.Oracle = oracleOf(t.Params["camera.nat"], t.Params["viewer.nat"])
	triangle := 3 * oneWay
	bound := triangle + 60e3*8/rate
	t.TriangleS, t.BoundS = &triangle, &bound
	t.Lateness = &record.Lateness{P50: 20e-6 * (1 + rng.Float64()), P99: 0.25e-3 * math.Exp(0.4*rng.NormFloat64())}
	t.Lateness.Max = 2 * t.Lateness.P99
	if rng.Float64() < s.harness {
		t.Outcome, t.Error = record.HarnessError, "the fabric ran late: p99 of due − delivered 3.1 ms, limit 2 ms"
		t.Lateness.P99 = 2e-3 * (1 + rng.Float64())
		t.Lateness.Max = 2 * t.Lateness.P99
		return
	}
	n := float64(1 + rng.IntN(3))
	t.Probes = map[string]float64{"packets": n, "bytes": 192 * n, "sockets": 0}
	t.Possible = &record.Possible{Via: "udp", Sockets: 1, Probes: 1, P: 1}
	if t.Oracle == "relay-only" {
		t.Possible = &record.Possible{Probes: 140_600}
	}
	if s.stranger {
		t.Probes["stranger_reached"] = float64(rng.IntN(2))
	}
	if b := withSize.FindStringSubmatch(t.Params["strategy"]); b != nil {
		s.drawBirthday(rng, t, b)
		return
	}
	direct := t.Oracle == "direct" && t.Params["strategy"] != "relay" && !s.failAll && rng.Float64() > loss*2
	if s.leak && t.Cell%7 == 3 && t.Oracle == "relay-only" && t.Trial == 0 {
		direct = true
	}
	switch {
	case t.Params["strategy"] == "ice" && t.Params["camera.nat"] == "firewall":
		t.Outcome, t.Cause = record.Unsupported, "the comparator has no candidates behind a firewall without NAT"
		return
	case direct:
		t.Outcome = record.Direct
	case s.failAll || t.Params["strategy"] == "direct":
		t.Outcome, t.Cause = record.Failed, "no answer from the camera's endpoint 203.0.113.7:31204: 6 punches in 3 s"
		return
	default:
		t.Outcome, t.Cause = record.Relayed, "no punch came back within 3 s; media stayed on the relay"
	}
	if s.unmeasured {
		return
	}
	s.measure(rng, t, oneWay, loss, rate, bound)
}

// drawBirthday draws a trial of N sockets and M probes.
func (s synthetic) drawBirthday(rng *rand.Rand, t *record.Trial, size []string) {
	sockets, _ := strconv.Atoi(size[1])
	probes, _ := strconv.Atoi(size[2])
	t.Oracle, t.Possible = "birthday", &record.Possible{Via: "udp", Sockets: 256, Probes: 1024, Ports: 40001, P: 0.983}
	t.Probes["packets"], t.Probes["sockets"] = float64(sockets+probes), float64(sockets)
	t.Outcome = record.Direct
	if rng.Float64() > birthday(sockets, probes, guessedPorts) {
		t.Outcome, t.Cause = record.Relayed, "no probe met an open port"
	}
}

func (s synthetic) measure(rng *rand.Rand, t *record.Trial, oneWay, loss, rate, bound float64) {
	hop := 0.0
	if t.Outcome == record.Relayed {
		hop = oneWay * 0.9
	}
	connect := *t.TriangleS + hop + 0.0012*math.Exp(0.5*rng.NormFloat64())
	if rng.Float64() < 3*loss {
		connect += math.Max(0.05, 2.4*oneWay) * (1 + rng.Float64())
	}
	packet := connect + 0.0003*rng.ExpFloat64()
	frame := packet + (bound - *t.TriangleS) + 0.002*rng.ExpFloat64()
	if rng.Float64() < 40*loss {
		frame += 2*oneWay + 0.01*rng.Float64()
	}
	t.ConnectS, t.FirstPacketS, t.FirstFrameS = &connect, &packet, &frame
	t.Bytes = map[string]int64{"camera_up": int64(90e3 + 5e3*rng.Float64()), "relay": 0, "camera_idle_up": int64(64 * (1 + rng.IntN(3)))}
	idle := 15 * float64(t.Bytes["camera_idle_up"]) / 64
	t.IdleS = &idle
	if t.Outcome == record.Relayed {
		t.Bytes["relay"] = t.Bytes["camera_up"]
	}
	if !s.media {
		return
	}
	m := &record.Media{FramesSent: 30, FramesReceived: 30, FramesIntact: 30}
	for i := range 30 {
		l := oneWay + hop + (2e6/25/rate)*(1+0.3*rng.NormFloat64()*rng.NormFloat64()) + 0.001*rng.ExpFloat64()
		if i%25 == 0 {
			l += bound - *t.TriangleS
		}
		m.LatencyS = append(m.LatencyS, math.Round(math.Max(l, oneWay)*1e6)/1e6)
	}
	if rng.Float64() < 10*loss {
		m.FramesReceived, m.FramesIntact = 29, 29
		m.LatencyS = m.LatencyS[:29]
	}
	goodput, lost := 2e6*(1+0.04*rng.NormFloat64()), math.Max(0, loss*(1+rng.NormFloat64()))
	m.GoodputBps, m.Loss = &goodput, &lost
	t.Media = m
	if t.Params["strategy"] == "adaptive" && t.Outcome == record.Direct {
		t.PathChanges = rng.IntN(2)
	}
}
