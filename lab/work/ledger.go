package work

import (
	"fmt"
	"maps"

	"github.com/punchlab/punchlab/lab/record"
	"github.com/punchlab/punchlab/lab/runner"
)

// ledger says of each trial of a run how often it was tried and whether it is done. It is not safe for concurrent use.
//
//	open ──attempt──▶ open, tried once more ──verdict, last attempt, given up, cell stopped──▶ closed
//
// The records of a trial come with rising attempts, and none after the one that closes it. So whatever comes with an attempt that
// has been, or after the end, is a repetition, and is not taken.
type ledger struct {
	plan  runner.Plan
	index map[int]int // place among the plan's cells, by Index
	cells [][]state
	left  []int // open trials, by cell
	open  int
}

type state struct {
	closed   bool
	attempts uint8
}

func newLedger(p runner.Plan) *ledger {
	l := &ledger{plan: p, index: map[int]int{}, cells: make([][]state, len(p.Cells)), left: make([]int, len(p.Cells))}
	for i, c := range p.Cells {
		l.index[c.Index] = i
		l.cells[i] = make([]state, p.Trials)
		for n := range l.cells[i] {
			s := &l.cells[i][n]
			if p.Mine != nil && !p.Mine(c.Index, n) {
				s.closed = true
			} else if p.Done != nil {
				verdict, attempts := p.Done(c.Index, n)
				s.closed, s.attempts = verdict, uint8(min(attempts, 255))
			}
			if !s.closed {
				l.left[i]++
				l.open++
			}
		}
	}
	return l
}

// find returns a trial's state; nil: the plan has no such trial.
func (l *ledger) find(cell, n int) *state {
	i, ok := l.index[cell]
	if !ok || n < 0 || n >= len(l.cells[i]) {
		return nil
	}
	return &l.cells[i][n]
}

// check says why a record cannot be one of this run's. It is the last guard against a worker that runs something else.
func (l *ledger) check(t record.Trial) error {
	if l.find(t.Cell, t.Trial) == nil {
		return fmt.Errorf("the run has no trial %d of cell %d", t.Trial, t.Cell)
	}
	c := l.plan.Cells[l.index[t.Cell]]
	if !maps.Equal(c.Params, t.Params) {
		return fmt.Errorf("cell %d is %v there and %v here", t.Cell, t.Params, c.Params)
	}
	if seed := runner.Seed(l.plan.Seed, c.Params, t.Trial); seed != t.Seed {
		return fmt.Errorf("trial %d of cell %d has the seed %d there and %d here", t.Trial, t.Cell, t.Seed, seed)
	}
	return nil
}

// take notes a record, and reports whether it is new.
func (l *ledger) take(t record.Trial) bool {
	s := l.find(t.Cell, t.Trial)
	if s.closed || t.Attempt < int(s.attempts) {
		return false
	}
	s.attempts = uint8(min(t.Attempt+1, 255))
	if runner.Final(t) {
		l.close(t.Cell, t.Trial)
	}
	return true
}

// close ends a trial.
func (l *ledger) close(cell, n int) {
	if s := l.find(cell, n); s != nil && !s.closed {
		s.closed = true
		l.left[l.index[cell]]--
		l.open--
	}
}

// closeCell ends the trials that a cell has left.
func (l *ledger) closeCell(cell int) {
	for n := range l.cells[l.index[cell]] {
		l.close(cell, n)
	}
}

// unit is what is open of the number-th stretch of a cell; ok is false when nothing is.
func (l *ledger) unit(cell, number, size int) (u unit, ok bool) {
	i := l.index[cell]
	u = unit{Cell: cell, Number: number}
	tried := false
	for n := number * size; n < min((number+1)*size, len(l.cells[i])); n++ {
		s := l.cells[i][n]
		if s.closed {
			continue
		}
		u.Trials = append(u.Trials, n)
		u.Attempts = append(u.Attempts, int(s.attempts))
		tried = tried || s.attempts > 0
	}
	if !tried {
		u.Attempts = nil
	}
	return u, len(u.Trials) > 0
}

// units lists what is open. With a stop rule the cells take turns, so that few trials run past the end of theirs.
func (l *ledger) units(size int) (all []unit) {
	numbers := (l.plan.Trials + size - 1) / size
	outer, inner := len(l.plan.Cells), numbers
	if l.plan.Stop != nil {
		outer, inner = inner, outer
	}
	for a := range outer {
		for b := range inner {
			cell, number := a, b
			if l.plan.Stop != nil {
				cell, number = b, a
			}
			if u, ok := l.unit(l.plan.Cells[cell].Index, number, size); ok {
				all = append(all, u)
			}
		}
	}
	return all
}
