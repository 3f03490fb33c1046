package gate

import (
	"encoding/json"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/punchlab/punchlab/lab/record"
)

// TestBuilder: what a trial did not measure is absent and never 0, harness errors are counted and judge nothing, rows are in the
// trials' order.
func TestBuilder(t *testing.T) {
	params := map[string]string{StrategyKey: "adaptive", "link": "lte"}
	trial := func(n int, o record.Outcome) record.Trial {
		return record.Trial{Cell: 4, Trial: n, Params: params, Outcome: o, Oracle: "direct", TriangleS: f(0.1), BoundS: f(0.2)}
	}
	direct := trial(2, record.Direct)
	direct.ConnectS, direct.FirstPacketS, direct.FirstFrameS = f(0.1234567), f(0.11), f(0.3)
	direct.Media = &record.Media{FramesSent: 2, FramesReceived: 2, FramesIntact: 2, LatencyS: []float64{3, 1, 2}, Loss: f(0)}
	direct.Bytes, direct.Probes = map[string]int64{"relay": 7}, map[string]float64{"packets": 2}
	torn := trial(0, record.Relayed)
	torn.Media = &record.Media{FramesSent: 2, FramesReceived: 2, FramesIntact: 1}
	late := trial(1, record.HarnessError)
	late.Error, late.ConnectS = "late", f(9)
	b := NewBuilder(record.Manifest{Scenario: record.Document{Name: "x", Text: "a long text"}, Command: []string{"punchlab"}})
	for _, tr := range []record.Trial{direct, torn, late, trial(1, record.Failed), trial(3, record.Unsupported)} {
		if err := b.Add(tr); err != nil {
			t.Fatal(err)
		}
	}
	none := math.NaN()
	only := func(v float64) Column { return Column{none, none, v, none} }
	want := Sample{Manifest: record.Manifest{Scenario: record.Document{Name: "x"}}, Cells: []CellSample{{
		Cell: 4, Params: params, Oracle: "direct", HarnessErrors: 1, Numbers: []int{0, 1, 2, 3},
		Outcomes: Outcomes{record.Relayed, record.Failed, record.Direct, record.Unsupported}, Intact: Column{0, none, 1, none},
		Values: map[string]Column{
			"connect_s": only(0.123457), "first_packet_s": only(0.11), "first_packet_ratio": only(1.1),
			"first_frame_s": only(0.3), "first_frame_ratio": only(1.5),
			"latency_s": only(2), "loss": only(0), "path_changes": {0, 0, 0, 0}, "bytes.relay": only(7), "probes.packets": only(2),
		},
	}}}
	if diff := cmp.Diff(want, b.Sample(), cmpopts.EquateNaNs()); diff != "" {
		t.Fatal(diff)
	}
	s := b.Sample()
	text, err := json.Marshal(s)
	if err != nil || !strings.Contains(string(text), `"outcomes":"rfdu"`) || !strings.Contains(string(text), `"intact":[0,null,1,null]`) {
		t.Fatalf("%s, %v", text, err)
	}
	var back Sample
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(s, back, cmpopts.EquateNaNs(), cmpopts.EquateEmpty()); diff != "" {
		t.Error(diff)
	}
	for name, kn := range map[string][2]int{
		"direct_rate": {1, 4}, "connected_rate": {2, 4}, "relayed_rate": {1, 4},
		"failed_rate": {1, 4}, "intact_rate": {1, 2}, "harness_error_rate": {1, 5},
	} {
		if k, n := s.Cells[0].Rate(name); k != kn[0] || n != kn[1] {
			t.Errorf("%s: %d of %d, want %v", name, k, n, kn)
		}
	}
	got := strings.Join(s.Names(), " ")
	if !strings.HasPrefix(got, "connect_s first_packet_s") || !strings.HasSuffix(got, "path_changes bytes.relay probes.packets") {
		t.Error(got)
	}
}

func TestBuilderRefuses(t *testing.T) {
	b := NewBuilder(record.Manifest{})
	good := record.Trial{Params: map[string]string{"a": "b"}, Outcome: record.Direct, Oracle: "direct"}
	if err := b.Add(good); err != nil {
		t.Fatal(err)
	}
	for want, spoil := range map[string]func(t *record.Trial){
		"not the records of one run": func(t *record.Trial) { t.Params = map[string]string{"a": "c"} },
		"connect_s is NaN":           func(t *record.Trial) { t.ConnectS = f(math.NaN()) },
		"outcome \"\"":               func(t *record.Trial) { t.Outcome = "" },
		"punchlab/trial/9":           func(t *record.Trial) { t.Schema = "punchlab/trial/9" },
	} {
		bad := good
		spoil(&bad)
		if err := b.Add(bad); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}

func TestParseMetric(t *testing.T) {
	for _, text := range []string{"direct_rate", "harness_error_rate", "connect_s.p50", "bytes.camera_up.p95", "probes.a.b.max", "path_changes.min"} {
		if m, err := ParseMetric(text); err != nil || m.String() != text {
			t.Errorf("%s: %v, %v", text, m, err)
		}
	}
	for text, want := range map[string]string{
		"": "unknown metric", "connect_s": "write connect_s.p95", "connect_s.p90": "unknown metric",
		"direct_rate.p95": "unknown metric", "bytes..p95": "unknown metric",
		"probes.x": "write probes.x.p95",
	} {
		if _, err := ParseMetric(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
	for _, c := range []struct {
		metric string
		v      float64
		want   string
	}{
		{"direct_rate", 0.975, "97.5 %"}, {"connect_s.p50", 0.0712, "71.2 ms"}, {"bytes.relay.p50", 298_000, "298 kB"},
		{"goodput_bps.p50", 1.85e6, "1.85 Mbit/s"}, {"connect_s.p50", 0, "0 µs"}, {"first_frame_ratio.p95", 1.25, "1.25"},
	} {
		m, err := ParseMetric(c.metric)
		if got := m.Format(c.v); err != nil || got != c.want {
			t.Errorf("%s: %s, want %s", c.metric, got, c.want)
		}
	}
}
