package gate

import (
	"fmt"
	"slices"

	"github.com/punchlab/punchlab/lab/record"
)

// Options say how Compare decides. The zero value is the default.
type Options struct {
	Alpha      float64            // chance of a false red, family-wise; 0: DefaultAlpha
	Confidence float64            // of intervals; 0: record.Confidence
	Paired     bool               // the sides ran interleaved on common seeds: compare trial by trial
	Allow      []string           // environment fields that may differ, see Difference.Field
	Metrics    []string           // that must pass; nil: DefaultMetrics, as far as either side has them
	Watch      []string           // that can fail and need not pass; nil: DefaultWatch
	Margins    map[string]float64 // by metric: replaces Metric.Margin
	Tolerances map[string]float64 // by metric: replaces Metric.Tolerance

	decideOnly bool // leave out what only a reader wants: intervals of ratios, detectable effects, findings' words
}

// DefaultAlpha is a false red in a thousand gates.
const DefaultAlpha = 0.001

// power is that at which a detectable effect is stated.
const power = 0.95

// DefaultMetrics must pass, where the runs have them.
var DefaultMetrics = []string{"direct_rate", "connected_rate", "first_frame_ratio.p50", "first_frame_ratio.p95"}

// DefaultWatch can fail a gate, and no pass waits for them.
var DefaultWatch = []string{
	"intact_rate", "connect_s.p50", "connect_s.p95", "latency_s.p50", "latency_s.p95", "gap_s.p50", "gap_s.p95", "goodput_bps.p50",
	"bytes.camera_up.p50", "bytes.camera_idle_up.p50", "bytes.relay.p50", "bytes.viewer_up.p50", "path_changes.p95",
}

// measure is a metric as a comparison uses it.
type measure struct {
	Metric
	watched bool
	asked   bool // by name: its absence is then no excuse
}

// rules are Options that have been checked and filled in.
type rules struct {
	Options
	measures []measure
}

func (o Options) rules() (rules, error) {
	r := rules{Options: o}
	if r.Alpha == 0 {
		r.Alpha = DefaultAlpha
	}
	if r.Confidence == 0 {
		r.Confidence = record.Confidence
	}
	if !(r.Alpha > 0 && r.Alpha < 1) || !(r.Confidence > 0 && r.Confidence < 1) {
		return r, fmt.Errorf("alpha is %v and confidence %v: give both between 0 and 1", r.Alpha, r.Confidence)
	}
	metrics, watch := o.Metrics, o.Watch
	if metrics == nil {
		metrics = DefaultMetrics
	}
	if watch == nil {
		watch = DefaultWatch
	}
	for i, text := range slices.Concat(metrics, watch) {
		m, err := ParseMetric(text)
		if err != nil {
			return r, err
		}
		watched := i >= len(metrics)
		if slices.ContainsFunc(r.measures, func(have measure) bool { return have.String() == m.String() }) {
			continue
		}
		if !watched && m.Better == Neither {
			return r, fmt.Errorf("metric %s is neither better high nor low: it can be watched, and cannot pass", m)
		}
		r.measures = append(r.measures, measure{Metric: m, watched: watched, asked: o.Metrics != nil && !watched})
	}
	if len(metrics) == 0 {
		return r, fmt.Errorf("no metric has to pass: name at least one, such as %s", DefaultMetrics[0])
	}
	return r, r.limits()
}

// limits replaces margins and tolerances.
func (r *rules) limits() error {
	for _, by := range []map[string]float64{r.Margins, r.Tolerances} {
		for text, v := range by {
			if !(v >= 0) {
				return fmt.Errorf("margin or tolerance of %s is %v: give 0 or more", text, v)
			}
			if !slices.ContainsFunc(r.measures, func(m measure) bool { return m.String() == text }) {
				return fmt.Errorf("margin or tolerance is for %q, which is not compared", text)
			}
		}
	}
	for i := range r.measures {
		m := &r.measures[i]
		if v, ok := r.Margins[m.String()]; ok {
			m.Margin = v
		}
		if v, ok := r.Tolerances[m.String()]; ok {
			m.Tolerance = v
		}
	}
	return nil
}

// allows reports whether a field of the environment may differ.
func (o Options) allows(field string) bool { return slices.Contains(o.Allow, field) }
