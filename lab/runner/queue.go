package runner

import (
	"slices"
	"sync"
	"time"
)

// maxAttempts bounds how often a trial is run again after harness errors.
const maxAttempts = 6

// task is one trial to run.
type task struct {
	cell    *Cell
	trial   int
	attempt int
	late    bool // the attempt before was void because the machine was late
}

// calm is how long a trial that met a late machine waits before its next attempt, under a limit of lateness: what holds up a virtual
// machine often lasts for half a minute, and would use up all attempts. A limit far below what timers can do is not missed
// because of that, and waits for nothing.
func (t task) calm(limit time.Duration) time.Duration {
	if !t.late {
		return 0
	}
	return min(30*time.Second, 15_000*limit, 250*time.Millisecond<<(2*max(0, t.attempt-1)))
}

// batch is what one worker runs, one trial after another.
type batch struct {
	tasks []task
	done  func() // told when each of them has come to its end; nil: nobody asks
}

// queue hands out batches: trials of one topology, which one worker runs one after another on one lab, so that a lab is
// configured and its NATs proved once per batch. Batches get smaller towards the end, so that all workers end at about the
// same time. Trials that leave the camera alone for long come first and one by one, but only so many at once: most workers have
// something to do meanwhile. It is safe for concurrent use.
type queue struct {
	mu      sync.Mutex
	workers int
	stops   bool     // cells may end before their last trial
	rows    [][]task // by topology, in the order of the cells
	quiet   []task   // that leave the camera alone
	resting int      // of those, under way
	rest    int      // most of them while there are others; 0: they are in rows, as others are
	left    int      // tasks not handed out
}

// maxBatch is the most trials of a batch. Configuring and proving a lab costs about as much as ten connect-only trials.
const maxBatch = 20

// stopBatch is the most of a plan whose cells may end early: what runs past a cell's end was for nothing.
const stopBatch = 5

// newQueue sorts the plan's open trials by topology, and those of one topology by number: trials of the same number, which differ
// in strategy, run one after the other, under the same conditions.
func newQueue(p Plan, workers, rest int) *queue {
	q := &queue{workers: workers, rest: rest, stops: p.Stop != nil}
	row := map[string]int{} // by digest
	rowOf := make([]int, len(p.Cells))
	for i, c := range p.Cells {
		d := c.Topology.Digest()
		if _, ok := row[d]; !ok {
			row[d] = len(q.rows)
			q.rows = append(q.rows, nil)
		}
		rowOf[i] = row[d]
	}
	for n := range p.Trials {
		for i := range p.Cells {
			t, open := p.task(&p.Cells[i], n)
			if !open {
				continue
			}
			q.left++
			if rest > 0 && p.idle(n) > 0 {
				q.quiet = append(q.quiet, t)
			} else {
				q.rows[rowOf[i]] = append(q.rows[rowOf[i]], t)
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
	q.rows = slices.DeleteFunc(q.rows, func(row []task) bool { return len(row) == 0 })
	if len(q.quiet) > 0 && (q.resting < q.rest || len(q.rows) == 0) {
		return q.leaveAlone()
	}
	if len(q.rows) == 0 {
		return nil
	}
	i, most := 0, maxBatch
	if q.stops {
		i, most = q.lowest(), stopBatch
	}
	row := q.rows[i]
	n := min(len(row), max(1, min(most, q.left/(3*q.workers))))
	q.rows[i] = row[n:]
	q.left -= n
	return &batch{tasks: row[:n:n]} // clipped: a worker appends to it
}

// leaveAlone hands out a trial whose worker will wait for most of it.
func (q *queue) leaveAlone() *batch {
	t := q.quiet[0]
	q.quiet = q.quiet[1:]
	q.resting++
	q.left--
	return &batch{tasks: []task{t}, done: func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.resting--
	}}
}

// lowest returns the row that has come least far: trials of many cells at once leave fewer to run past the end of each.
func (q *queue) lowest() int {
	least := 0
	for i, row := range q.rows {
		if row[0].trial < q.rows[least][0].trial {
			least = i
		}
	}
	return least
}

// again returns the next attempt of a trial that has none left when ok is false.
func (t task) again() (next task, ok bool) {
	t.attempt++
	return t, t.attempt < maxAttempts
}
