package gate

import (
	"errors"
)

// Options say how Compare decides. The zero value is the default.
type Options struct {
	Alpha      float64            // chance of a false red, family-wise; 0: DefaultAlpha
	Confidence float64            // of intervals; 0: record.Confidence
	Paired     bool               // the sides ran interleaved on common seeds: compare trial by trial
	Allow      []string           // environment fields that may differ, see Difference.Field
	Metrics    []string           // that must pass; nil: DefaultMetrics
	Watch      []string           // that can fail and need not pass; nil: DefaultWatch
	Margins    map[string]float64 // by metric: replaces Metric.Margin
	Tolerances map[string]float64 // by metric: replaces Metric.Tolerance
}

// Defaults of Options.
const DefaultAlpha = 0.001

// DefaultMetrics must pass, where the runs have them.
var DefaultMetrics = []string{"direct_rate", "connected_rate", "first_frame_ratio.p50", "first_frame_ratio.p95"}

// DefaultWatch can fail a gate, and no pass waits for them.
var DefaultWatch = []string{
	"intact_rate", "connect_s.p50", "connect_s.p95", "latency_s.p50", "latency_s.p95", "gap_s.p50", "gap_s.p95", "goodput_bps.p50",
	"bytes.camera_up.p50", "bytes.relay.p50", "bytes.viewer_up.p50",
}

// Compare decides whether candidate b has regressed against baseline a. Runs of unlike environments are refused with *Unlike.
func Compare(a, b Sample, o Options) (*Verdict, error) {
	return nil, errors.New("compare: not decided yet")
}

// CompareStrategies compares two strategies of one run pair by pair: a is the baseline.
func CompareStrategies(s Sample, a, b string, o Options) (*Verdict, error) {
	return nil, errors.New("compare strategies: not decided yet")
}
