package cluster

import "sync"

// queue holds what its workers are to do, in order. It never makes anybody wait: what it has no room for is refused.
type queue struct {
	mu     sync.Mutex
	more   sync.Cond
	jobs   []func()
	max    int
	closed bool
}

func newQueue(most int) *queue {
	q := &queue{max: most}
	q.more.L = &q.mu
	return q
}

// push adds a job; false: there is no room.
func (q *queue) push(f func()) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed || len(q.jobs) >= q.max {
		return false
	}
	q.jobs = append(q.jobs, f)
	q.more.Signal()
	return true
}

// work does jobs until close.
func (q *queue) work() {
	for {
		q.mu.Lock()
		for len(q.jobs) == 0 && !q.closed {
			q.more.Wait()
		}
		if q.closed {
			q.mu.Unlock()
			return
		}
		f := q.jobs[0]
		q.jobs[0] = nil
		q.jobs = q.jobs[1:]
		q.mu.Unlock()
		f()
	}
}

func (q *queue) len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.jobs)
}

// close lets the workers go. What has not begun is not done.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed, q.jobs = true, nil
	q.more.Broadcast()
}
