package runner

import (
	"slices"
	"sync"
)

// maxAttempts bounds how often a trial is run again after harness errors.
const maxAttempts = 6

// task is one trial to run.
type task struct {
	cell    *Cell
	trial   int
	attempt int
}

// batch is what one worker runs, one trial after another.
type batch struct {
	tasks []task
	done  func() // told when each of them has come to its end; nil: nobody asks
}

// queue hands out batches: trials of one topology, which one worker runs one after another on one lab, so that a lab is
// configured and its NATs proved once per batch. Batches get smaller towards the end, so that all workers end at about the
// same time. It is safe for concurrent use.
type queue struct {
	mu      sync.Mutex
	workers int
	ended   func(cell int) bool // by a stop rule; nil: none is
	rows    [][]task            // by topology, in the order of the cells
	left    int                 // tasks not handed out
}

// maxBatch is the most trials of a batch. Configuring and proving a lab costs about as much as ten connect-only trials.
const maxBatch = 20

// newQueue sorts the plan's open trials by topology.
func newQueue(p Plan, workers int) *queue {
	q := &queue{workers: workers}
	row := map[string]int{} // by digest
	for i := range p.Cells {
		c := &p.Cells[i]
		d := c.Topology.Digest()
		if _, ok := row[d]; !ok {
			row[d] = len(q.rows)
			q.rows = append(q.rows, nil)
		}
		for n := range p.Trials {
			if t, open := p.task(c, n); open {
				q.rows[row[d]] = append(q.rows[row[d]], t)
				q.left++
			}
		}
	}
	return q
}

// task returns a trial of the plan, and whether it is this run's to do.
func (p Plan) task(c *Cell, n int) (task, bool) {
	t := task{cell: c, trial: n}
	if p.Mine != nil && !p.Mine(c.Index, n) {
		return t, false
	}
	if p.Done == nil {
		return t, true
	}
	verdict, attempts := p.Done(c.Index, n)
	t.attempt = attempts
	return t, !verdict
}

// next returns the next batch, or nil when nothing waits.
func (q *queue) next() *batch {
	q.mu.Lock()
	defer q.mu.Unlock()
	for {
		for len(q.rows) > 0 && len(q.rows[0]) == 0 {
			q.rows = q.rows[1:]
		}
		if len(q.rows) == 0 {
			return nil
		}
		n := min(len(q.rows[0]), max(1, min(maxBatch, q.left/(3*q.workers))))
		b := &batch{tasks: q.open(q.rows[0][:n])}
		q.rows[0] = q.rows[0][n:]
		q.left -= n
		if q.ended != nil { // trials of many cells at once: fewer of each run past its end
			q.rows = append(q.rows[1:], q.rows[0])
		}
		if len(b.tasks) > 0 {
			return b
		}
	}
}

// open leaves out the trials of cells that have ended.
func (q *queue) open(tasks []task) []task {
	if q.ended == nil {
		return tasks
	}
	return slices.DeleteFunc(slices.Clone(tasks), func(t task) bool { return q.ended(t.cell.Index) })
}

// again returns the next attempt of a trial that has none left when ok is false.
func (t task) again() (next task, ok bool) {
	t.attempt++
	return t, t.attempt < maxAttempts
}
