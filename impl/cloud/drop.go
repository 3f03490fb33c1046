package cloud

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// enforce drops the oldest segments until the bounds are kept. Where the disk is full the oldest on disk make room for the
// newer in memory.
func (s *spool) enforce() {
	bound := fmt.Errorf("the spool %s holds its bound of %d bytes while the store takes nothing: make the store reachable, or raise the bound",
		s.cfg.Spool, s.cfg.Bound)
	for s.disk > s.cfg.Bound && s.dropOldest(false, bound) {
	}
	neither := fmt.Errorf("neither the store nor the disk of %s takes anything: make one of them do so", s.cfg.Spool)
	for s.memory > s.cfg.Memory && s.dropOldest(!full(s.failed), neither) {
		s.flush()
	}
	s.forgetEmpty()
}

// dropOldest drops the oldest segment that is not being stored just now, and says whether there was one.
func (s *spool) dropOldest(inMemory bool, why error) bool {
	for _, seg := range s.queue {
		if seg.dropped || seg.busy || inMemory && seg.data == nil {
			continue
		}
		s.drop(seg, why)
		return true
	}
	return false
}

// drop forgets a segment's bytes. Its place stays: the list tells of it once the ones before it are stored.
func (s *spool) drop(seg *segment, why error) {
	if seg.data == nil {
		_ = os.Remove(filepath.Join(seg.part.dir, seg.name.String())) // what stays is found and stored by a later run
		s.disk -= seg.size
	} else {
		s.memory -= seg.size
	}
	seg.dropped, seg.data, seg.name.MAC = true, nil, [32]byte{}
	seg.part.waiting--
	s.counts.Lost++
	s.lost.Segments++
	s.lost.Duration += seg.name.Duration
	s.lost.Err = why
}

func (s *spool) tellLost() {
	if s.lost.Segments > 0 {
		s.tell(s.lost)
		s.lost = Lost{}
	}
}

// fold moves dropped segments at the queue's head to their part's list.
func (s *spool) fold() {
	for len(s.queue) > 0 && s.queue[0].dropped {
		seg := s.queue[0]
		s.queue = s.queue[1:]
		seg.part.list.add(seg.name)
		seg.part.dirty = true
		s.saveList(seg.part)
	}
}

// forgetEmpty removes ended parts of which nothing is stored nor can be, so that an outage of any length takes bounded memory;
// the next part's playlist tells of them.
func (s *spool) forgetEmpty() {
	for i := 0; i < len(s.parts); i++ {
		p := s.parts[i]
		if !p.ended || p.waiting > 0 || p.ask || p.stored() {
			continue
		}
		s.queue = slices.DeleteFunc(s.queue, func(seg *segment) bool { return seg.part == p })
		s.parts = slices.Delete(s.parts, i, i+1)
		s.noteDisk(os.RemoveAll(p.dir))
		if i < len(s.parts) {
			s.parts[i].list.LostBefore = p.list.LostBefore
		} else {
			s.after = &p.list.LostBefore
		}
		i--
	}
}

// stored says whether the store has anything of the part.
func (p *part) stored() bool {
	for _, n := range p.list.Entries {
		if !n.lost() {
			return true
		}
	}
	return !p.put.IsZero()
}
