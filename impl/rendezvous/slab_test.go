package rendezvous

import (
	"flag"
	"os"
	"slices"
	"testing"
	"unsafe"

	"pgregory.net/rapid"
)

// As lab/internal/steady, which the implementation may not import: the same examples in every run.
func init() {
	if os.Getenv("PUNCHLAB_SOAK") == "" {
		if err := flag.Set("rapid.seed", "1"); err != nil {
			panic(err)
		}
	}
}

// Records and queues are their model: lists of numbers, each used once, given back and given out again.
func TestQueues(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := &Server{}
		model := map[queueKind][]uint32{}
		in := map[uint32]queueKind{}
		drop := func(id uint32) {
			k := in[id]
			model[k] = slices.DeleteFunc(model[k], func(x uint32) bool { return x == id })
		}
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			ids := make([]uint32, 0, len(in))
			for id := range in {
				ids = append(ids, id)
			}
			slices.Sort(ids)
			if len(ids) == 0 || rapid.IntRange(0, 3).Draw(t, "what") == 0 {
				c := s.slab.get()
				c.role = Camera
				if _, twice := in[c.id]; twice || c.queue != noQueue || c.next != 0 || s.slab.at(c.id) != c {
					t.Fatalf("record %d is in use, or not empty: %+v", c.id, c)
				}
				in[c.id] = noQueue
				continue
			}
			id := rapid.SampledFrom(ids).Draw(t, "record")
			k := queueKind(rapid.IntRange(0, int(queues)-1).Draw(t, "queue"))
			drop(id)
			if k == noQueue {
				s.dequeue(s.slab.at(id))
				s.slab.put(s.slab.at(id))
				delete(in, id)
				continue
			}
			s.enqueue(s.slab.at(id), k)
			model[k], in[id] = append(model[k], id), k
		}
		for k := queueQuiet; k < queues; k++ {
			var got []uint32
			for id := s.queues[k].first; id != 0; id = s.slab.at(id).next {
				got = append(got, id)
			}
			if !slices.Equal(got, model[k]) || s.queues[k].n != len(got) {
				t.Fatalf("queue %d has %v (%d), want %v", k, got, s.queues[k].n, model[k])
			}
			if c := s.head(k); c == nil != (len(got) == 0) || c != nil && c.id != got[0] {
				t.Fatalf("head %+v", c)
			}
		}
		used := 0
		for id := range s.slab.all(0) {
			used++
			if _, ok := in[id]; !ok {
				t.Fatalf("record %d is not in use", id)
			}
		}
		if used != len(in) || s.slab.used != used {
			t.Fatalf("%d records, %d counted, want %d", used, s.slab.used, len(in))
		}
	})
}

// The record is what a million cameras cost a million times.
func TestRecordIsSmall(t *testing.T) {
	if n := unsafe.Sizeof(client{}); n > 312 {
		t.Errorf("%d bytes; look for a gap between the fields, or for what belongs to affairs", n)
	}
}
