package runner

import (
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

// queue hands out batches: trials of one topology, which one worker runs one after another on one lab, so that a lab is
// configured and its NATs proved once per batch. Batches get smaller towards the end, so that all workers end at about the
// same time. Trials to run again are handed out first. It is safe for concurrent use.
type queue struct {
	mu      sync.Mutex
	workers int
	again   []task
	rows    [][]task // by topology, in the order of the cells
	left    int      // tasks not handed out
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
func (q *queue) next() []task {
	q.mu.Lock()
	defer q.mu.Unlock()
	if n := len(q.again); n > 0 {
		t := q.again[n-1]
		q.again = q.again[:n-1]
		q.left--
		return []task{t}
	}
	for len(q.rows) > 0 && len(q.rows[0]) == 0 {
		q.rows = q.rows[1:]
	}
	if len(q.rows) == 0 {
		return nil
	}
	n := min(len(q.rows[0]), max(1, min(maxBatch, q.left/(3*q.workers))))
	b := q.rows[0][:n]
	q.rows[0] = q.rows[0][n:]
	q.left -= n
	return b
}

// retry puts a trial back, and reports whether it has another attempt.
func (q *queue) retry(t task) bool {
	if t.attempt+1 >= maxAttempts {
		return false
	}
	t.attempt++
	q.mu.Lock()
	defer q.mu.Unlock()
	q.again = append(q.again, t)
	q.left++
	return true
}
