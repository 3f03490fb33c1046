package gate

import "time"

// TrendSchema names the JSON form of a TrendReport.
const TrendSchema = "punchlab/trend/1"

// MinTrendRuns is how many runs a series needs before anything is said of its changes.
const MinTrendRuns = 8

// TrendOptions say what Trend looks at. The zero value is the default.
type TrendOptions struct {
	Metrics      []string // nil: DefaultTrend, those that the runs have
	Alpha        float64  // chance of any change point in all series together where nothing changed; 0: 0.05
	Permutations int      // of each test, at least; 0: 1999
	Seed         uint64   // of the permutations
}

func (o TrendOptions) withDefaults() TrendOptions {
	if o.Metrics == nil {
		o.Metrics = DefaultTrend
	}
	if o.Alpha == 0 {
		o.Alpha = 0.05
	}
	if o.Permutations == 0 {
		o.Permutations = 1999
	}
	return o
}

// DefaultTrend are the metrics whose history is told.
var DefaultTrend = []string{
	"direct_rate", "connected_rate", "first_frame_ratio.p50", "first_frame_ratio.p95", "connect_s.p50", "latency_s.p50", "bytes.camera_up.p50",
}

// TrendReport is how metrics went over several runs of one scenario.
type TrendReport struct {
	Schema   string     `json:"schema"`
	Scenario string     `json:"scenario"`
	Engine   string     `json:"engine"`
	Alpha    float64    `json:"alpha"` // over all series
	Runs     []TrendRun `json:"runs"`  // by their start
	Series   []Series   `json:"series"`
	Why      string     `json:"why,omitempty"` // why no change point was looked for
}

// TrendRun is one run.
type TrendRun struct {
	Source  string    `json:"source"`
	Start   time.Time `json:"start"`
	Commit  string    `json:"commit"`
	Trials  int       `json:"trials"`
	Changed []string  `json:"changed,omitempty"`  // what of its environment is not as in the run before: "kernel: 6.1 → 6.8"
	LeftOut string    `json:"left_out,omitempty"` // why the run has no points
}

// Series is one metric of one group over the runs.
type Series struct {
	Metric  string        `json:"metric"`
	Group   string        `json:"group,omitempty"` // the strategy
	Unit    string        `json:"unit,omitempty"`
	Better  string        `json:"better,omitempty"` // "higher" or "lower"
	Points  []TrendPoint  `json:"points"`           // of the runs that have it
	Changes []TrendChange `json:"changes,omitempty"`
	Why     string        `json:"why,omitempty"` // why no change point was looked for
}

// TrendPoint is one run's value.
type TrendPoint struct {
	Run   int       `json:"run"` // index in Runs
	Value float64   `json:"value"`
	Range *Interval `json:"range,omitempty"` // 95 %; absent where the sample is too small for one
	N     int       `json:"n"`
}

// TrendChange is where a series changed.
type TrendChange struct {
	Run       int     `json:"run"`             // the first run after it, as an index in Runs
	P         float64 `json:"p"`               // of the permutation test
	AdjustedP float64 `json:"adjusted_p"`      // by Holm, over all series
	Before    float64 `json:"before"`          // mean of the runs since the change before it
	After     float64 `json:"after"`           // mean of the runs up to the next
	Worse     *bool   `json:"worse,omitempty"` // absent where the metric has no better direction
	Text      string  `json:"text"`            // one line
}

// Trend puts runs in the order of their start and looks for changes in each metric of each strategy, with the default options. It
// refuses runs of different scenarios, engines or axes.
func Trend(samples []Sample) (*TrendReport, error) { return TrendOptions{}.Trend(samples) }
