package gate

import (
	"fmt"
	"slices"
	"strings"
)

// Better says which way a metric improves.
type Better int

// The directions. A metric without one (Neither) is compared both ways and never fails a gate by itself.
const (
	Neither Better = iota
	Higher
	Lower
)

// Metric is one figure of a group of trials: a rate (k of n trials), or a statistic of a value that each trial may have.
type Metric struct {
	Name string // as in summary.json: "direct_rate", "first_frame_s", "bytes.camera_up"
	Stat string // "min", "p50", "p95", "p99" or "max"; empty for a rate
	Unit string // "s", "B", "bit/s", "" for rates, ratios and counts

	Better Better
	// Margin is the smallest point effect that fails a gate, Tolerance the regression that a pass excludes: points of a rate in
	// 0–1, or a share of the baseline's statistic.
	Margin, Tolerance float64
}

// IsRate reports whether the metric counts trials.
func (m Metric) IsRate() bool { return m.Stat == "" }

// P is the probability of the metric's quantile: 0.95 for p95, 0 for min, 1 for max. A rate has none.
func (m Metric) P() float64 { return stat[m.Stat] }

func (m Metric) String() string {
	if m.IsRate() {
		return m.Name
	}
	return m.Name + "." + m.Stat
}

// stat are the statistics by name, as probabilities of the quantile.
var stat = map[string]float64{"min": 0, "p50": 0.5, "p95": 0.95, "p99": 0.99, "max": 1}

// Stats lists the statistics of a sample, in order.
var Stats = []string{"min", "p50", "p95", "p99", "max"}

// Defaults of margin and tolerance.
const (
	rateMargin    = 0.02
	rateTolerance = 0.09
	timeMargin    = 0.05
	timeTolerance = 0.10
)

// Rates are the metrics that count trials, in the order of reports: of those with a verdict, but for harness_error_rate, which is of
// attempts, and intact_rate, which is of those in which a frame was sent.
var Rates = []Metric{
	{Name: "direct_rate", Better: Higher, Margin: rateMargin, Tolerance: rateTolerance},
	{Name: "connected_rate", Better: Higher, Margin: rateMargin, Tolerance: rateTolerance},
	{Name: "relayed_rate", Better: Neither, Margin: rateMargin, Tolerance: rateTolerance},
	{Name: "failed_rate", Better: Lower, Margin: rateMargin, Tolerance: rateTolerance},
	{Name: "intact_rate", Better: Higher, Margin: rateMargin, Tolerance: rateTolerance},
	{Name: "harness_error_rate", Better: Lower, Margin: rateMargin, Tolerance: rateTolerance},
}

// Values are the metrics of which each trial may have a value, in the order of reports, without their statistic. bytes.NAME and
// probes.NAME come beside them.
var Values = []Metric{
	{Name: "connect_s", Unit: "s", Better: Lower, Margin: timeMargin, Tolerance: timeTolerance},
	{Name: "first_packet_s", Unit: "s", Better: Lower, Margin: timeMargin, Tolerance: timeTolerance},
	{Name: "first_packet_ratio", Better: Lower, Margin: timeMargin, Tolerance: timeTolerance},
	{Name: "first_frame_s", Unit: "s", Better: Lower, Margin: timeMargin, Tolerance: timeTolerance},
	{Name: "first_frame_ratio", Better: Lower, Margin: timeMargin, Tolerance: timeTolerance},
	{Name: "gap_s", Unit: "s", Better: Lower, Margin: timeMargin, Tolerance: timeTolerance},
	{Name: "latency_s", Unit: "s", Better: Lower, Margin: timeMargin, Tolerance: timeTolerance}, // the trial's median
	{Name: "loss", Better: Lower, Margin: 0.10, Tolerance: 0.25},
	{Name: "goodput_bps", Unit: "bit/s", Better: Higher, Margin: timeMargin, Tolerance: timeTolerance},
	{Name: "path_changes", Better: Lower, Margin: 0.10, Tolerance: 0.25},
}

const (
	bytesPrefix  = "bytes."
	probesPrefix = "probes."
)

// ParseMetric reads a metric's name as String writes it: "direct_rate", "connect_s.p95", "bytes.camera_up.p50".
func ParseMetric(text string) (Metric, error) {
	if i := slices.IndexFunc(Rates, func(m Metric) bool { return m.Name == text }); i >= 0 {
		return Rates[i], nil
	}
	dot := strings.LastIndexByte(text, '.')
	name, suffix := text, ""
	if dot >= 0 {
		name, suffix = text[:dot], text[dot+1:]
	}
	if _, ok := stat[suffix]; !ok {
		if m, ok := valueMetric(text); ok {
			return Metric{}, fmt.Errorf("metric %q needs a statistic: write %s.p95 (one of %s)", text, m.Name, strings.Join(Stats, ", "))
		}
		return Metric{}, unknownMetric(text)
	}
	m, ok := valueMetric(name)
	if !ok {
		return Metric{}, unknownMetric(text)
	}
	m.Stat = suffix
	return m, nil
}

// valueMetric returns the metric of a value by its name without statistic.
func valueMetric(name string) (Metric, bool) {
	if i := slices.IndexFunc(Values, func(m Metric) bool { return m.Name == name }); i >= 0 {
		return Values[i], true
	}
	if rest, ok := strings.CutPrefix(name, bytesPrefix); ok && rest != "" {
		return Metric{Name: name, Unit: "B", Better: Lower, Margin: timeMargin, Tolerance: timeTolerance}, true
	}
	if rest, ok := strings.CutPrefix(name, probesPrefix); ok && rest != "" {
		return Metric{Name: name, Better: Neither, Margin: timeMargin, Tolerance: timeTolerance}, true
	}
	return Metric{}, false
}

func unknownMetric(text string) error {
	var names []string
	for _, m := range Rates {
		names = append(names, m.Name)
	}
	for _, m := range Values {
		names = append(names, m.Name+".p95")
	}
	return fmt.Errorf("unknown metric %q: use one of %s, bytes.NAME.p95 or probes.NAME.p95", text, strings.Join(names, ", "))
}
