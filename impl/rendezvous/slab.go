package rendezvous

import (
	"iter"
	"time"

	"github.com/punchlab/punchlab/impl/identity"
)

// The records of devices lie side by side in chunks, and name each other by number:
//
//	slab    chunk │ record 1 │ record 2 │ … │ record 128 │   chunk │ record 129 │ …
//	                  ▲  │next, prev
//	queue   first ────┘  └──► … ──► last        a record is in one queue, or free
//
// A million of them are some thousands of objects to the garbage collector, and where each stands in its queue is found
// without a search: what falls due first is first, since everybody in a queue waits equally long.

// chunk is as many records as are allocated at a time.
type chunk [128]client

const chunkSize = len(chunk{})

// slab holds records by their number, from 1.
type slab struct {
	chunks []*chunk
	made   uint32 // numbers given out so far
	free   uint32 // the first record to use again, the next one in its next; 0: none
	used   int
}

// at is the record of a number that get has given out.
func (b *slab) at(id uint32) *client {
	return &b.chunks[(id-1)/uint32(chunkSize)][(id-1)%uint32(chunkSize)]
}

// get returns a zero record with its number.
func (b *slab) get() *client {
	b.used++
	if id := b.free; id != 0 {
		c := b.at(id)
		b.free = c.next
		*c = client{id: id}
		return c
	}
	if int(b.made) == len(b.chunks)*chunkSize {
		b.chunks = append(b.chunks, new(chunk))
	}
	b.made++
	c := b.at(b.made)
	c.id = b.made
	return c
}

// put takes a record back, which is in no queue.
func (b *slab) put(c *client) {
	b.used--
	*c = client{id: c.id, next: b.free}
	b.free = c.id
}

// all are the records in use from a number on.
func (b *slab) all(from uint32) iter.Seq2[uint32, *client] {
	return func(yield func(uint32, *client) bool) {
		for id := max(from, 1); id <= b.made; id++ {
			if c := b.at(id); c.role != 0 && !yield(id, c) {
				return
			}
		}
	}
}

// queueKind names the queues that a record may be in.
type queueKind uint8

const (
	noQueue      queueKind = iota
	queueQuiet             // online, in the order in which they were heard
	queueAsked             // online, and pinged after a silence: in the order of the next ping
	queueOffline           // cameras, in the order in which they went
	queueGuests            // viewers, in the order in which they went, or visited from another node
	queues
)

// queue is a list of records, by number.
type queue struct {
	first, last uint32
	n           int
}

// enqueue moves a record to the end of a queue.
func (s *Server) enqueue(c *client, k queueKind) {
	s.dequeue(c)
	q := &s.queues[k]
	c.queue, c.prev, c.next = k, q.last, 0
	if q.last != 0 {
		s.slab.at(q.last).next = c.id
	} else {
		q.first = c.id
	}
	q.last = c.id
	q.n++
}

// dequeue takes a record out of its queue.
func (s *Server) dequeue(c *client) {
	if c.queue == noQueue {
		return
	}
	q := &s.queues[c.queue]
	if c.prev != 0 {
		s.slab.at(c.prev).next = c.next
	} else {
		q.first = c.next
	}
	if c.next != 0 {
		s.slab.at(c.next).prev = c.prev
	} else {
		q.last = c.prev
	}
	q.n--
	c.queue, c.prev, c.next = noQueue, 0, 0
}

// head is the first of a queue; nil: it is empty.
func (s *Server) head(k queueKind) *client {
	if id := s.queues[k].first; id != 0 {
		return s.slab.at(id)
	}
	return nil
}

// directory finds records by name. Those that are online have a place of their own, so that asking for one that is offline
// and for one that never was is the same.
type directory struct{ online, away map[identity.UID]uint32 }

func (d *directory) find(u identity.UID) uint32 {
	if id := d.online[u]; id != 0 {
		return id
	}
	return d.away[u]
}

// instant is a time as records keep it: nanoseconds since the server's first call.
type instant int64

// at is a time's instant.
func (s *Server) at(t time.Time) instant {
	if s.base.IsZero() {
		s.base = t
	}
	i := instant(t.Sub(s.base))
	s.latest = max(s.latest, i)
	return i
}

// time is the opposite of at.
func (s *Server) time(i instant) time.Time { return s.base.Add(time.Duration(i)) }
