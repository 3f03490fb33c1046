package runner

import (
	"sync"

	"github.com/punchlab/punchlab/lab/record"
)

// Final reports whether no further attempt of a record's trial will be made: it has a verdict, or the lab failed it too often.
func Final(r record.Trial) bool { return r.Outcome.HasVerdict() || r.Attempt+1 >= maxAttempts }

// Order takes records as trials end, in any order, and hands them on in the order of their trials, cell by cell, so that a
// stop rule sees the same whatever the number of jobs, shards or workers:
//
//	trials as they end   2 0 3 1 5 4
//	handed on            ─ 0 ─ 1 2 3 ─ 4 5
//	                             └ the rule ends the cell: 3 and what follows is dropped
//
// Without a rule everything is handed on at once. It is safe for concurrent use once its fields are set; Keep and Drop are then
// called by one goroutine at a time, but for Keep without a rule.
type Order struct {
	// Stop says whether a cell ends with the trials it has: 0 to n-1, each by its last record, which is a harness error where the lab
	// failed it each time. It is asked after each trial. nil: never.
	Stop func(cell int, prefix []record.Trial) bool
	Keep func(record.Trial) error // takes a record that counts
	Drop func(record.Trial)       // is told of one that ran past its cell's end; nil: nothing is done

	mu    sync.Mutex
	cells map[int]*sequence
}

// sequence is one cell's trials.
type sequence struct {
	prefix  []record.Trial
	waiting map[int]*pending
	ended   bool
}

// pending are the records of a trial whose turn has not come.
type pending struct {
	attempts []record.Trial
	kept     bool // by an earlier part of the run
}

// Add takes a record of a trial that has just ended. The attempts of one trial come in their order. An error is Keep's.
func (o *Order) Add(r record.Trial) error {
	if o.Stop == nil {
		return o.Keep(r)
	}
	return o.take(r, false)
}

// Recorded takes a record that an earlier part of the run kept.
func (o *Order) Recorded(r record.Trial) {
	if o.Stop != nil && r.Outcome.HasVerdict() {
		_ = o.take(r, true) // keeps nothing that waits: no trial has ended yet
	}
}

// Ended reports whether the rule has ended a cell.
func (o *Order) Ended(cell int) bool {
	if o.Stop == nil {
		return false
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	c := o.cells[cell]
	return c != nil && c.ended
}

func (o *Order) take(r record.Trial, kept bool) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	c := o.cell(r.Cell)
	if c.ended || r.Trial < len(c.prefix) {
		o.drop(r)
		return nil
	}
	p := c.waiting[r.Trial]
	if p == nil {
		p = &pending{}
		c.waiting[r.Trial] = p
	}
	p.attempts, p.kept = append(p.attempts, r), kept
	return o.advance(r.Cell, c)
}

func (o *Order) cell(i int) *sequence {
	if o.cells == nil {
		o.cells = map[int]*sequence{}
	}
	if o.cells[i] == nil {
		o.cells[i] = &sequence{waiting: map[int]*pending{}}
	}
	return o.cells[i]
}

// advance hands on the trials whose turn has come.
func (o *Order) advance(i int, c *sequence) error {
	for !c.ended {
		n := len(c.prefix)
		p := c.waiting[n]
		if p == nil || !Final(p.attempts[len(p.attempts)-1]) {
			return nil
		}
		delete(c.waiting, n)
		for _, r := range p.attempts {
			if p.kept {
				break
			}
			if err := o.Keep(r); err != nil {
				return err
			}
		}
		c.prefix = append(c.prefix, p.attempts[len(p.attempts)-1])
		c.ended = o.Stop(i, c.prefix)
	}
	for _, p := range c.waiting {
		for _, r := range p.attempts {
			o.drop(r)
		}
	}
	c.waiting = nil
	return nil
}

func (o *Order) drop(r record.Trial) {
	if o.Drop != nil {
		o.Drop(r)
	}
}
