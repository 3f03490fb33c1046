package fabric

import "time"

// event is a packet that waits for its time at the end of a stage.
type event struct {
	due time.Duration
	seq uint64 // keeps packets of the same time in order
	pkt *Packet
}

func (e *event) before(o *event) bool {
	return e.due < o.due || e.due == o.due && e.seq < o.seq
}

// eventHeap is a 4-ary min-heap: flatter than a binary one, and a node's children share a cache line or two.
type eventHeap []event

func (h *eventHeap) push(e event) {
	q := append(*h, e)
	*h = q
	i := len(q) - 1
	for i > 0 {
		p := (i - 1) / 4
		if !e.before(&q[p]) {
			break
		}
		q[i] = q[p]
		i = p
	}
	q[i] = e
}

func (h *eventHeap) pop() event {
	q := *h
	top, last := q[0], q[len(q)-1]
	q[len(q)-1] = event{}
	q = q[:len(q)-1]
	*h = q
	if len(q) == 0 {
		return top
	}
	i := 0
	for {
		c := 4*i + 1
		if c >= len(q) {
			break
		}
		end := min(c+4, len(q)) // fixed before c moves: beyond are another node's children
		for k := c + 1; k < end; k++ {
			if q[k].before(&q[c]) {
				c = k
			}
		}
		if !q[c].before(&last) {
			break
		}
		q[i] = q[c]
		i = c
	}
	q[i] = last
	return top
}
