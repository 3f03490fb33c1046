package nat

import "math"

// Every record with an end stands in one heap. A refresh only writes the record's new end; when the old one comes, the
// record is put back. So a packet costs nothing here, and what has ended is gone before the next packet is looked at.

// due is a record's place in the heap.
type due struct {
	at  int64  // nanoseconds
	ref uint32 // class and number
	gen uint32 // the record's when it was put here: another one means that this place is no longer its own
}

// Classes of records in due.ref, above their number.
const (
	dueMapping = iota << 29
	duePin
	dueSession
	dueStatic
	dueMask = 3 << 29
)

const never = math.MaxInt64

// timers is a 4-ary heap: new ends are mostly the latest and stay where they are put.
type timers []due

func (h *timers) push(d due) {
	*h = append(*h, d)
	q := *h
	i := len(q) - 1
	for i > 0 {
		up := (i - 1) / 4
		if q[up].at <= d.at {
			break
		}
		q[i] = q[up]
		i = up
	}
	q[i] = d
}

func (h *timers) pop() due {
	q := *h
	top, last := q[0], q[len(q)-1]
	q = q[:len(q)-1]
	*h = q
	if len(q) == 0 {
		return top
	}
	i := 0
	for {
		least := 4*i + 1
		if least >= len(q) {
			break
		}
		for j := least + 1; j < min(4*i+5, len(q)); j++ {
			if q[j].at < q[least].at {
				least = j
			}
		}
		if q[least].at >= last.at {
			break
		}
		q[i] = q[least]
		i = least
	}
	q[i] = last
	return top
}

// expire ends what has reached its end.
func (t *Table) expire() {
	for len(t.timers) > 0 && t.timers[0].at <= t.now {
		d := t.timers.pop()
		i := d.ref &^ dueMask
		switch d.ref & dueMask {
		case dueMapping:
			if m := t.maps.at(i); m.gen != d.gen {
				continue
			} else if m.expires > t.now {
				t.timers.push(due{m.expires, d.ref, d.gen})
			} else if m.sessions == 0 { // otherwise it ends with the last of them
				t.endMapping(i)
			}
		case duePin:
			if p := t.pins.at(i); p.gen != d.gen {
				continue
			} else if p.expires > t.now {
				t.timers.push(due{p.expires, d.ref, d.gen})
			} else {
				t.endPin(i)
			}
		case dueSession:
			if s := t.sessions.at(i); s.gen != d.gen {
				continue
			} else if s.expires > t.now {
				t.timers.push(due{s.expires, d.ref, d.gen})
			} else {
				t.endSession(i)
			}
		case dueStatic:
			t.expireStatic(i, d.gen)
		}
	}
}

// after is the time in d; far away it is never.
func (t *Table) after(d int64) int64 {
	if d > never-t.now {
		return never
	}
	return t.now + d
}
