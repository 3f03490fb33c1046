package rendezvous

import (
	"container/heap"
	"time"

	"github.com/punchlab/punchlab/impl/core"
)

// timer calls due at a time, once. It is part of what it is about.
type timer struct {
	at    time.Time
	place int // in the heap, from 1; 0: not set
	due   func(now time.Time)
}

// timers holds what is set, by time.
type timers []*timer

// set arms t for a time, or disarms it with the zero time.
func (h *timers) set(t *timer, at time.Time) {
	switch {
	case at.IsZero():
		if t.place > 0 {
			heap.Remove(h, t.place-1)
		}
		t.at = at
	case t.place > 0:
		t.at = at
		heap.Fix(h, t.place-1)
	default:
		t.at = at
		heap.Push(h, t)
	}
}

// run calls what is due.
func (h *timers) run(now time.Time) {
	for len(*h) > 0 && core.Due(now, (*h)[0].at) {
		t := heap.Pop(h).(*timer)
		t.due(now)
	}
}

func (h *timers) deadline() time.Time {
	if len(*h) == 0 {
		return time.Time{}
	}
	return (*h)[0].at
}

// Len, Less, Swap, Push and Pop are heap.Interface.
func (h *timers) Len() int           { return len(*h) }
func (h *timers) Less(i, j int) bool { return (*h)[i].at.Before((*h)[j].at) }
func (h *timers) Swap(i, j int) {
	s := *h
	s[i], s[j] = s[j], s[i]
	s[i].place, s[j].place = i+1, j+1
}
func (h *timers) Push(x any) {
	t := x.(*timer)
	*h = append(*h, t)
	t.place = len(*h)
}
func (h *timers) Pop() any {
	s := *h
	t := s[len(s)-1]
	s[len(s)-1] = nil
	*h = s[:len(s)-1]
	t.place = 0
	return t
}
