package record

import (
	"fmt"
	"maps"
)

// ledger refuses records that contradict each other, and lets those of one cell share what they have in common: a run of a
// hundred thousand trials has as many equal Params. It holds some bytes a trial.
type ledger struct {
	cells   map[int]*shared
	verdict map[page]*[pageSize]int32 // line of the verdict of a cell's trial; 0: none
}

// shared is what the trials of a cell have in common.
type shared struct {
	params   map[string]string
	oracle   string
	possible *Possible
}

// page is a stretch of a cell's trials.
type page struct{ cell, of int }

const pageSize = 64

func newLedger() *ledger {
	return &ledger{cells: map[int]*shared{}, verdict: map[page]*[pageSize]int32{}}
}

// check takes in the trial on a line.
func (l *ledger) check(line int, t *Trial) error {
	if err := l.share(t); err != nil {
		return err
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

// share replaces what equals its cell's by its cell's.
func (l *ledger) share(t *Trial) error {
	c := l.cells[t.Cell]
	if c == nil {
		l.cells[t.Cell] = &shared{t.Params, t.Oracle, t.Possible}
		return nil
	}
	if !maps.Equal(c.params, t.Params) {
		return fmt.Errorf("cell %d has params %v here and %v before", t.Cell, t.Params, c.params)
	}
	t.Params = c.params
	if t.Oracle == c.oracle {
		t.Oracle = c.oracle
	}
	if t.Possible != nil && c.possible != nil && *t.Possible == *c.possible {
		t.Possible = c.possible
	}
	for _, o := range Outcomes {
		if t.Outcome == o {
			t.Outcome = o
		}
	}
	return nil
}
