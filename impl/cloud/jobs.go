package cloud

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// listEvery is how often the playlist of a part that grows is stored, at most: each time it is stored whole.
const listEvery = 16 * time.Second

// job is one call of the store.
type job struct {
	part *part
	seg  *segment // put it; nil: put the playlist
	ask  bool     // list what the store has of the part
	body []byte
	at   int // entries of the playlist that is put
	end  bool
}

// next returns what to do now, or nil and when to look again; zero: when woken.
func (s *spool) next(now time.Time) (*job, time.Time) {
	s.mu.Lock()
	defer s.unlock()
	defer s.tellLost()
	for {
		s.fold()
		s.forgetEmpty()
		j, due, again := s.pick(now)
		if !again {
			return j, due
		}
	}
}

// pick returns a part's list that is due, or the oldest segment. again: a segment was dropped, look again.
func (s *spool) pick(now time.Time) (j *job, due time.Time, again bool) {
	for _, p := range s.parts {
		if p.ask {
			return &job{part: p, ask: true}, due, false
		}
		if !p.dirty || len(p.list.Entries) == 0 {
			continue
		}
		p.list.Ended = p.ended && p.waiting == 0
		at := p.put.Add(listEvery)
		if p.list.Ended || !now.Before(at) {
			return &job{part: p, body: p.list.encode(&p.keys), at: len(p.list.Entries), end: p.list.Ended}, due, false
		}
		if due.IsZero() || at.Before(due) {
			due = at
		}
	}
	if len(s.queue) == 0 {
		return nil, due, false
	}
	seg := s.queue[0]
	body, err := s.read(seg)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, errForged):
		s.drop(seg, err)
		return nil, due, true
	case err != nil:
		s.noteDisk(err)
		return nil, now.Add(s.cfg.RetryMax), false
	}
	seg.busy = true
	return &job{part: seg.part, seg: seg, body: body}, due, false
}

// read returns a segment's bytes. What is not as it was written is set aside.
func (s *spool) read(seg *segment) ([]byte, error) {
	if seg.data != nil {
		return seg.data, nil
	}
	path := filepath.Join(seg.part.dir, seg.name.String())
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if err := seg.part.keys.check(seg.name, b); err != nil {
		aside := filepath.Join(s.cfg.Spool, filepath.Base(path)+damaged)
		return nil, errors.Join(fmt.Errorf("segment %s in the spool: %w. It is set aside as %s: check the disk", path, err, aside),
			os.Rename(path, aside))
	}
	return b, nil
}

// done says that a job was done, and failed that it was not. listed is the answer to an asking job.
func (s *spool) done(j *job, now time.Time, listed []segmentName) {
	s.mu.Lock()
	defer s.unlock()
	switch {
	case j.ask:
		s.answer(j.part, listed)
	case j.seg != nil:
		s.stored(j.seg)
	case j.end:
		s.finish(j.part)
	default:
		j.part.put, j.part.dirty = now, len(j.part.list.Entries) > j.at
	}
}

func (s *spool) failedJob(j *job) {
	s.mu.Lock()
	defer s.unlock()
	if j.seg != nil {
		j.seg.busy = false
	}
}

// stored forgets a segment that the store has.
func (s *spool) stored(seg *segment) {
	s.queue = s.queue[1:]
	p := seg.part
	p.list.add(seg.name)
	p.dirty = true
	p.waiting--
	onDisk := seg.data == nil
	if !onDisk {
		s.memory -= seg.size
	}
	s.saveList(p)
	if onDisk {
		s.disk -= seg.size
		s.noteDisk(os.Remove(filepath.Join(p.dir, seg.name.String())))
	}
	s.flush()
}

// saveList writes a part's list. A list that cannot be written is made again from what the store has.
func (s *spool) saveList(p *part) {
	s.noteDisk(writeFile(filepath.Join(p.dir, playlistName), p.list.encode(&p.keys)))
}

// finish forgets a part that is stored whole. The playlist goes last: a folder without it is one of which nothing was stored.
func (s *spool) finish(p *part) {
	s.parts = slices.DeleteFunc(s.parts, func(q *part) bool { return q == p })
	files, err := os.ReadDir(p.dir)
	for _, f := range files {
		if f.Name() != playlistName {
			err = errors.Join(err, os.Remove(filepath.Join(p.dir, f.Name())))
		}
	}
	if err == nil {
		err = os.RemoveAll(p.dir)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		s.noteDisk(err)
	}
}

// answer adds to a part's list what the store has of it, and takes what it has not for lost.
func (s *spool) answer(p *part, have []segmentName) {
	p.ask, p.dirty = false, true
	has := map[uint64]segmentName{}
	for _, n := range have {
		has[n.Seq] = n
	}
	for i, n := range p.list.Entries {
		if h, ok := has[n.Seq]; ok && n.lost() {
			p.list.Entries[i] = h
		}
	}
	for {
		n, ok := has[p.list.next()]
		if !ok || len(s.queue) > 0 && s.queue[0].part == p && s.queue[0].name.Seq <= n.Seq {
			break
		}
		p.list.add(n)
	}
	s.saveList(p)
}

// partPath is a part's place in the store, without the store's prefix.
func (s *spool) partPath(p *part, file string) string {
	return strings.Join([]string{s.cfg.UID.Compact(), p.name.String(), file}, "/")
}
