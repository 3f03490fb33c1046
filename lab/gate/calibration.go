package gate

import (
	"time"
)

// CalibrationSchema names the JSON form of a Calibration.
const CalibrationSchema = "punchlab/calibration/1"

// Effect is the regression that a calibration injects into the candidate's side.
type Effect string

// The effects.
const (
	NoEffect   Effect = "none"        // A/A: whatever is found is false
	DirectDrop Effect = "direct-drop" // Size points fewer direct: successes are turned into failures at random
	SlowTail   Effect = "slow-tail"   // the slowest tenth of each cell takes Size longer: p95 grows by Size, the median stays
	SlowAll    Effect = "slow-all"    // every time grows by Size
)

// Calibration is an operating curve: how often the gate says what, by the size of the regression in it.
type Calibration struct {
	Schema   string    `json:"schema"`
	Source   string    `json:"source"`
	Scenario string    `json:"scenario"`
	Engine   string    `json:"engine"`
	Commit   string    `json:"commit"`
	Start    time.Time `json:"start"` // of the run that was drawn from

	Cells      int     `json:"cells"`
	Trials     int     `json:"trials"`   // in the run, with a verdict
	PerCell    int     `json:"per_cell"` // trials of each side of a gate in each cell
	Alpha      float64 `json:"alpha"`
	Confidence float64 `json:"confidence"` // of Red.Low and High
	Seed       uint64  `json:"seed"`

	Points []CalibrationPoint `json:"points"` // A/A first, then by effect and size
}

// CalibrationPoint is a number of gates with the same regression injected.
type CalibrationPoint struct {
	Effect    Effect  `json:"effect"`
	Metric    string  `json:"metric,omitempty"` // that the effect is about
	Size      float64 `json:"size"`             // points of a rate in 0–1, or a share of a time
	Gates     int     `json:"gates"`
	Failed    int     `json:"failed"`
	Passed    int     `json:"passed"`
	Undecided int     `json:"undecided"`
	Named     int     `json:"named"` // failed gates of which a finding over all cells on Metric says so
	Red       Red     `json:"red"`
}

// Red is the share of gates that failed, with its Clopper–Pearson interval.
type Red struct {
	Value float64 `json:"value"`
	Low   float64 `json:"low"`
	High  float64 `json:"high"`
}
