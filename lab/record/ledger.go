package record

import (
	"fmt"
	"maps"
)

// ledger refuses records that contradict each other. It holds some bytes a trial.
type ledger struct {
	params  map[int]map[string]string // by cell
	verdict map[page]*[pageSize]int32 // line of the verdict of a cell's trial; 0: none
}

// page is a stretch of a cell's trials.
type page struct{ cell, of int }

const pageSize = 64

func newLedger() *ledger {
	return &ledger{params: map[int]map[string]string{}, verdict: map[page]*[pageSize]int32{}}
}

// check takes in the trial on a line.
func (l *ledger) check(line int, t Trial) error {
	if p, ok := l.params[t.Cell]; !ok {
		l.params[t.Cell] = t.Params
	} else if !maps.Equal(p, t.Params) {
		return fmt.Errorf("cell %d has params %v here and %v before", t.Cell, t.Params, p)
	}
	if !t.Outcome.HasVerdict() {
		return nil
	}
	key := page{t.Cell, t.Trial / pageSize}
	if l.verdict[key] == nil {
		l.verdict[key] = new([pageSize]int32)
	}
	at := &l.verdict[key][t.Trial%pageSize]
	if *at != 0 {
		return fmt.Errorf("trial %d of cell %d has a verdict already on line %d: only harness errors are run again", t.Trial, t.Cell, *at)
	}
	*at = int32(line)
	return nil
}
