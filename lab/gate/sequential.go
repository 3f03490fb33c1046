package gate

import (
	"github.com/punchlab/punchlab/lab/record"
)

// SequentialSchema names the JSON form of a SequentialReport.
const SequentialSchema = "punchlab/sequential/1"

// SequentialOptions say how sure a sequential run is to be. The zero value is the default.
type SequentialOptions struct {
	Alpha        float64 // chance that any of the run's cells fails though all keep their thresholds; 0: 0.01
	Beta         float64 // chance that a cell passes that misses its threshold by the indifference; 0: 0.05
	Indifference float64 // how far below the threshold a rate is surely bad, in 0–1; 0: 0.1
}

// Sequential ends cells as soon as their trials decide a threshold: Wald's test, cell by cell, on the trials in their order. What it
// decides depends on the records alone. It is not safe for concurrent use.
type Sequential struct{}

// NewSequential makes the rule of a run whose manifest says its axes and its most trials a cell. It refuses a threshold of which
// single trials say nothing: a minimum, a maximum, harness_error_rate.
func NewSequential(m record.Manifest, thresholds []Threshold, o SequentialOptions) (*Sequential, error) {
	return &Sequential{}, nil
}

// ParseSequential reads the rule that String wrote, as a manifest's Stop has it.
func ParseSequential(m record.Manifest) (*Sequential, error) { return &Sequential{}, nil }

// String is the rule on one line, for the manifest's Stop.
func (s *Sequential) String() string { return "" }

// Stop says whether a cell ends with the trials it has, in their order from 0. It is what runner.Plan.Stop asks for.
func (s *Sequential) Stop(cell int, prefix []record.Trial) bool { return false }

// SequentialReport is what a sequential run found, cell by cell.
type SequentialReport struct {
	Schema       string           `json:"schema"`
	Decision     Decision         `json:"decision"`
	Rule         string           `json:"rule"`
	Alpha        float64          `json:"alpha"` // over all cells
	CellAlpha    float64          `json:"cell_alpha"`
	Beta         float64          `json:"beta"` // a cell
	Indifference float64          `json:"indifference"`
	Planned      int              `json:"planned"` // trials that the cells would have had
	Used         int              `json:"used"`    // trials that decided, or were not enough to
	Saved        int              `json:"saved"`
	Cells        []SequentialCell `json:"cells"`
}

// SequentialCell is one cell and one threshold.
type SequentialCell struct {
	Cell      int               `json:"cell"`
	Params    map[string]string `json:"params"`
	Threshold string            `json:"threshold"`
	Decision  Decision          `json:"decision"`
	Verdict   string            `json:"verdict"` // "pass", "fail", "inconclusive" (the trials were not enough) or "unfinished"
	Good      int               `json:"good"`    // trials that keep to the threshold
	N         int               `json:"n"`       // trials that tell, up to the decision
	Used      int               `json:"used"`    // trials up to the decision
	Saved     int               `json:"saved"`
	Text      string            `json:"text"`
}

// Report decides each cell of a run on its trials in their order. Trials after the decision, of a run that had no stop rule, change
// nothing.
func (s *Sequential) Report(run Sample) SequentialReport {
	return SequentialReport{Schema: SequentialSchema, Decision: Undecided}
}
