package gate

import (
	"fmt"

	"github.com/punchlab/punchlab/lab/stats"
)

// SequentialSchema names the JSON form of a SequentialReport.
const SequentialSchema = "punchlab/sequential/1"

// SequentialReport is what a sequential run found, cell by cell.
type SequentialReport struct {
	Schema       string           `json:"schema"`
	Decision     Decision         `json:"decision"`
	Rule         string           `json:"rule"`
	Alpha        float64          `json:"alpha"` // over all cells
	Beta         float64          `json:"beta"`  // a cell
	Indifference float64          `json:"indifference"`
	Planned      int              `json:"planned"` // trials that the cells with a threshold would have had
	Used         int              `json:"used"`    // trials that decided, or were not enough to
	Saved        int              `json:"saved"`   // of the planned ones
	Cells        []SequentialCell `json:"cells"`
	Others       []Judgement      `json:"others,omitempty"` // of thresholds that no single trial tells anything of
}

// SequentialCell is one cell and one threshold.
type SequentialCell struct {
	Cell      int               `json:"cell"`
	Params    map[string]string `json:"params"`
	Threshold string            `json:"threshold"`
	Decision  Decision          `json:"decision"`
	Verdict   string            `json:"verdict"` // "pass", "fail", "inconclusive" (all trials were not enough) or "unfinished"
	Good      int               `json:"good"`    // trials that keep to the threshold
	N         int               `json:"n"`       // trials that tell, up to the decision
	Used      int               `json:"used"`    // trials up to the decision
	Saved     int               `json:"saved"`   // trials that this threshold did not need
	Text      string            `json:"text"`    // one line
}

// Verdicts of a cell.
const (
	verdictInconclusive = "inconclusive"
	verdictUnfinished   = "unfinished"
)

// Report decides each cell of a run on its trials in their order. Trials after the decision, of a run that had no stop rule, change
// nothing. The run fails if a cell does, and passes if all do.
func (s *Sequential) Report(run Sample) SequentialReport {
	r := SequentialReport{
		Schema: SequentialSchema, Rule: s.String(), Alpha: s.o.Alpha, Beta: s.o.Beta, Indifference: s.o.Indifference,
		Cells: []SequentialCell{}, Others: Judge(run, s.others),
	}
	var decisions []Decision
	cells, gap := plannedCells(&run)
	for _, c := range cells {
		found := s.reportCell(c, run.Manifest.Complete && run.Truncated == 0)
		if len(found) == 0 {
			continue
		}
		used, saved := 0, s.planned.TrialsPerCell // the cell ends with its slowest threshold
		for _, f := range found {
			used, saved = max(used, f.Used), min(saved, f.Saved)
			decisions = append(decisions, f.Decision)
		}
		r.Planned += s.planned.TrialsPerCell
		r.Used += used
		r.Saved += saved
		r.Cells = append(r.Cells, found...)
	}
	for _, j := range r.Others {
		decisions = append(decisions, j.Decision)
	}
	if gap != "" {
		decisions = append(decisions, Undecided)
	}
	r.Decision = worst(decisions...)
	return r
}

// reportCell is a line for each threshold that the cell has to keep. ended says that there will be no more trials.
func (s *Sequential) reportCell(c *CellSample, ended bool) (found []SequentialCell) {
	var state sequentialCell
	s.look(&state, c, c.Trials(), 0) // a cell without trials has its thresholds too
	for i := range c.Trials() {
		s.look(&state, c, i, c.Numbers[i]+1)
	}
	for j, test := range s.tests {
		st := state.states[j]
		if !st.applies {
			continue
		}
		f := SequentialCell{
			Cell: c.Cell, Params: c.Params, Threshold: test.t.String(), Decision: Undecided, Good: st.good, N: st.n, Used: st.used,
			Saved: max(0, s.planned.TrialsPerCell-st.used),
		}
		switch {
		case st.decision == stats.AcceptGood:
			f.Decision, f.Verdict = Pass, string(Pass)
		case st.decision == stats.AcceptBad:
			f.Decision, f.Verdict = Fail, string(Fail)
		case st.decision == stats.Inconclusive, ended && c.Trials() > 0:
			f.Verdict, f.Saved = verdictInconclusive, 0
		default:
			f.Verdict, f.Saved = verdictUnfinished, 0
		}
		f.Text = f.line(test.t, c)
		found = append(found, f)
	}
	return found
}

func (f SequentialCell) line(t Threshold, c *CellSample) string {
	text := fmt.Sprintf("%s [%s]: %s, %d of %d trials keep to it", t.Expect(), c.Key(), f.Verdict, f.Good, f.N)
	if f.Saved > 0 {
		text += fmt.Sprintf("; %d saved", f.Saved)
	}
	return text
}
