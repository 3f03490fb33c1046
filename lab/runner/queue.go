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
// configured and its NATs proved once per batch. Trials to run again are handed out before new ones: their lab is warm.
// It is safe for concurrent use.
type queue struct {
	mu      sync.Mutex
	again   []task
	batches [][]task
	left    int // tasks not handed out
}

// newQueue cuts the plan's open trials into batches for so many workers: small enough that all workers end at about the
// same time, large enough that configuring labs stays a small part.
func newQueue(p Plan, workers int) *queue {
	q := &queue{}
	byTopology := map[string][]task{}
	var order []string
	for i := range p.Cells {
		c := &p.Cells[i]
		for n := range p.Trials {
			if p.Mine != nil && !p.Mine(c.Index, n) {
				continue
			}
			t := task{cell: c, trial: n}
			if p.Done != nil {
				verdict, attempts := p.Done(c.Index, n)
				if verdict {
					continue
				}
				t.attempt = attempts
			}
			d := c.Topology.Digest()
			if byTopology[d] == nil {
				order = append(order, d)
			}
			byTopology[d] = append(byTopology[d], t)
			q.left++
		}
	}
	size := max(1, min(p.Trials, q.left/(3*workers)))
	for _, d := range order {
		for ts := byTopology[d]; len(ts) > 0; {
			n := min(size, len(ts))
			q.batches = append(q.batches, ts[:n])
			ts = ts[n:]
		}
	}
	return q
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
	if len(q.batches) == 0 {
		return nil
	}
	b := q.batches[0]
	q.batches = q.batches[1:]
	q.left -= len(b)
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
