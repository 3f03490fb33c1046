package gate

import (
	"time"
)

// VerdictSchema names the JSON form of a Verdict.
const VerdictSchema = "punchlab/gate/1"

// Verdict is what Compare found, for a terminal, a report or a machine.
type Verdict struct {
	Schema   string   `json:"schema"`
	Decision Decision `json:"decision"`
	Why      string   `json:"why"` // one sentence

	Scenario   string       `json:"scenario"`
	Engine     string       `json:"engine"`
	Alpha      float64      `json:"alpha"`      // chance of a false red, over all findings together
	Confidence float64      `json:"confidence"` // of every interval
	Paired     bool         `json:"paired,omitempty"`
	A          Side         `json:"baseline"`
	B          Side         `json:"candidate"`
	Allowed    []Difference `json:"allowed,omitempty"`  // differences of environment that were let pass
	Problems   []string     `json:"problems,omitempty"` // why a pass is impossible: a missing cell, an incomplete run

	Overall []Finding     `json:"overall"` // a metric of a group over all its cells
	Cells   []CellVerdict `json:"cells"`   // in the scenario's order
}

// Side says which run a side of the comparison is.
type Side struct {
	Source        string    `json:"source"`
	Commit        string    `json:"commit"`
	Dirty         bool      `json:"dirty,omitempty"`
	Start         time.Time `json:"start"`
	Seed          uint64    `json:"seed"`
	Strategy      string    `json:"strategy,omitempty"` // where two strategies of one run are compared
	Cells         int       `json:"cells"`              // with a trial
	Trials        int       `json:"trials"`
	HarnessErrors int       `json:"harness_errors,omitempty"`
	Complete      bool      `json:"complete"`
}

// CellVerdict is one cell on both sides.
type CellVerdict struct {
	Cell     int               `json:"cell"`
	Params   map[string]string `json:"params"`
	Oracle   string            `json:"oracle,omitempty"`
	Decision Decision          `json:"decision"`
	Why      string            `json:"why"`
	Findings []Finding         `json:"findings"`
}

// Finding is one metric of one group or cell, on both sides.
type Finding struct {
	Metric   string   `json:"metric"`          // "direct_rate", "first_frame_s.p95"
	Group    string   `json:"group,omitempty"` // the strategy, or AllStrategies; "" for a cell or a scenario without strategies
	Decision Decision `json:"decision"`
	Why      string   `json:"why"` // one sentence
	Unit     string   `json:"unit,omitempty"`
	Better   string   `json:"better,omitempty"`  // "higher" or "lower"
	Watched  bool     `json:"watched,omitempty"` // it can fail the gate, and nothing waits for it to pass

	A Figure `json:"baseline"`
	B Figure `json:"candidate"`
	// Effect is the candidate against the baseline: a difference of rates in 0–1, or the ratio of a statistic less 1. It is
	// adjusted for the cells, and absent without data or where the baseline's statistic is 0. Worse is the same, above 0
	// where the candidate is worse.
	Effect *float64  `json:"effect,omitempty"`
	Worse  *float64  `json:"worse,omitempty"`
	Range  *Interval `json:"range,omitempty"` // of Effect

	P         *float64 `json:"p,omitempty"`          // one-sided: that the candidate is no worse; absent: not tested
	AdjustedP *float64 `json:"adjusted_p,omitempty"` // by Holm, in its family
	Alpha     float64  `json:"alpha"`                // of the family
	Margin    float64  `json:"margin"`               // an effect below it does not fail
	Tolerance float64  `json:"tolerance"`            // a pass excludes a regression as large
	// Detectable is the smallest regression, in the unit of Worse, that this finding would fail 95 times of 100; absent where
	// there are too few trials for any.
	Detectable *float64 `json:"detectable,omitempty"`
}

// AllStrategies is the group of findings over all cells of a scenario that has several strategies.
const AllStrategies = "all strategies"

// Figure is a side's value of a metric. Value is absent without data; K is of a rate.
type Figure struct {
	Value *float64 `json:"value,omitempty"`
	K     int      `json:"k,omitempty"`
	N     int      `json:"n"`
}

// Interval is a range from Low to High; an end that is not known is absent.
type Interval struct {
	Low  *float64 `json:"low,omitempty"`
	High *float64 `json:"high,omitempty"`
}

// Counts says how many findings and cells fail, pass and are undecided.
func (v *Verdict) Counts() (fail, pass, undecided int) {
	for _, c := range v.Cells {
		switch c.Decision {
		case Fail:
			fail++
		case Pass:
			pass++
		default:
			undecided++
		}
	}
	return fail, pass, undecided
}
