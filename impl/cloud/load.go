package cloud

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// load reads the folders that an earlier run left. All its parts have ended.
func (s *spool) load() error {
	dirs, err := os.ReadDir(s.cfg.Spool)
	if err != nil {
		return err
	}
	for _, d := range dirs {
		if strings.HasPrefix(d.Name(), temporary) {
			err = errors.Join(err, os.Remove(filepath.Join(s.cfg.Spool, d.Name())))
		}
		if n, e := parsePartName(d.Name()); e == nil && d.IsDir() {
			s.parts = append(s.parts, s.newPart(n))
		}
	}
	err = errors.Join(err, s.loadState())
	slices.SortFunc(s.parts, func(a, b *part) int {
		return cmp.Or(cmp.Compare(a.name.Series, b.name.Series), cmp.Compare(a.name.First, b.name.First))
	})
	found := Found{}
	for i, p := range s.parts {
		p.ended, p.dirty = true, true
		waiting, e := s.loadPart(p)
		err = errors.Join(err, e)
		next := s.enqueue(p, waiting)
		found.Segments += p.waiting
		if p.torn {
			found.Damaged++
		}
		if i+1 < len(s.parts) && s.parts[i+1].name.Series == p.name.Series {
			list := &s.parts[i+1].list
			list.LostBefore = min(list.LostBefore, next)
		} else if p.name.Series == s.state.Series {
			s.resume(p, next)
		}
	}
	s.forgetEmpty()
	if found.Bytes = s.disk + s.memory; found.Segments+found.Damaged > 0 {
		s.tell(found)
	}
	s.enforce()
	s.tellLost()
	return err
}

// loadPart reads a part's list and the segments that wait, in order.
func (s *spool) loadPart(p *part) (waiting []*segment, err error) {
	path := filepath.Join(p.dir, playlistName)
	b, err := os.ReadFile(path)
	if err == nil {
		var list playlist
		if list, err = parsePlaylist(b, p.name, &p.keys); err == nil {
			p.list = list
		} else {
			p.ask, p.torn = true, true
			err = os.Rename(path, filepath.Join(s.cfg.Spool, p.name.String()+"-"+playlistName+damaged))
		}
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	files, e := os.ReadDir(p.dir)
	err = errors.Join(err, e)
	for _, f := range files {
		seg, e := s.loadFile(p, f)
		err = errors.Join(err, e)
		if seg != nil {
			waiting = append(waiting, seg)
		}
	}
	slices.SortStableFunc(waiting, func(a, b *segment) int { return cmp.Compare(a.name.Seq, b.name.Seq) })
	return slices.CompactFunc(waiting, func(a, b *segment) bool { return a.name.Seq == b.name.Seq }), err
}

// loadFile returns the segment that a file holds. What is not whole is salvaged; what is stored, removed.
func (s *spool) loadFile(p *part, f fs.DirEntry) (*segment, error) {
	path := filepath.Join(p.dir, f.Name())
	if facts, ok := strings.CutPrefix(f.Name(), openName); ok {
		return s.salvage(p, path, facts)
	}
	n, err := parseSegmentName(f.Name())
	switch {
	case err != nil && strings.HasPrefix(f.Name(), temporary), err == nil && n.Seq < p.list.next():
		return nil, os.Remove(path)
	case err != nil:
		return nil, nil // the list, or somebody else's
	}
	info, err := f.Info()
	if err != nil {
		return nil, err
	}
	return &segment{part: p, name: n, size: info.Size()}, nil
}

// resume goes on with the sequence numbers after the last part's.
func (s *spool) resume(p *part, next uint64) {
	if next < s.state.Next {
		s.after = &next
		p.ask = p.ask || p.waiting == 0
	}
	s.state.Next = max(s.state.Next, next)
}

// enqueue queues a part's segments, and returns the number after them. What is missing before the first the store may have;
// what is missing between them is lost.
func (s *spool) enqueue(p *part, waiting []*segment) (next uint64) {
	if len(waiting) > 0 && waiting[0].name.Seq > p.list.next() {
		p.list.fill(waiting[0].name.Seq, waiting[0].name.Start, s.cfg.Segment)
		p.ask = true
	}
	next = p.list.next()
	var end time.Time
	for _, seg := range waiting {
		s.enqueueLost(p, next, seg.name.Seq, end)
		s.queue = append(s.queue, seg)
		p.waiting++
		if seg.data == nil {
			s.disk += seg.size
		} else {
			s.memory += seg.size
		}
		next, end = seg.name.Seq+1, seg.name.Start.Add(seg.name.Duration)
	}
	return next
}

// enqueueLost queues places of segments that are gone.
func (s *spool) enqueueLost(p *part, from, to uint64, at time.Time) {
	for ; from < to; from++ {
		n := segmentName{Seq: from, Start: at, Duration: s.cfg.Segment}
		s.queue = append(s.queue, &segment{part: p, name: n, dropped: true})
		at = at.Add(s.cfg.Segment)
	}
}

// salvage makes a segment of one that was not ended: its pictures but for the last, whose end may be missing.
func (s *spool) salvage(p *part, path, facts string) (*segment, error) {
	n, err := parseFacts(facts)
	if err != nil {
		return nil, os.Remove(path)
	}
	sealed, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("salvage: %w", err)
	}
	plain := p.keys.decrypt(n.Seq, sealed)
	size, span := wholePictures(plain)
	if size == 0 || n.Seq < p.list.next() {
		return nil, os.Remove(path)
	}
	n.Duration = span.Round(time.Millisecond)
	seal := p.keys.seal(n.Seq)
	seal.write(plain[:size])
	_, n.MAC = seal.finish(n.facts())
	seg := &segment{part: p, name: n, size: int64(len(seal.out))}
	if err := writeFile(filepath.Join(p.dir, n.String()), seal.out); err != nil {
		s.noteDisk(err)
		seg.data = seal.out // and the file stays, for another run
		return seg, nil
	}
	return seg, os.Remove(path)
}

// wholePictures returns how many bytes of a transport stream are whole pictures, all but the last, and how long they show.
func wholePictures(ts []byte) (size int, span time.Duration) {
	var first, last int64
	n := 0
	for at := 0; at+packet <= len(ts); at += packet {
		pts, ok := pictureClock(ts[at : at+packet])
		if !ok {
			continue
		}
		if n++; n == 1 {
			first = pts
		}
		size, last = at, pts
	}
	if n < 2 {
		return 0, 0
	}
	ticks := (last - first) & (1<<clockBits - 1)
	return size, time.Duration(ticks) * time.Second / 90000
}

// pictureClock returns the PTS of the picture that begins in a packet as muxer writes them.
func pictureClock(b []byte) (pts int64, ok bool) {
	pid := binary.BigEndian.Uint16(b[1:]) & 0x1FFF
	if b[0] != 0x47 || pid != videoPID || b[1]&0x40 == 0 || b[3]&0x20 == 0 {
		return 0, false
	}
	pes := 5 + int(b[4])
	if pes+14 > len(b) || b[pes+7]&0x80 == 0 {
		return 0, false
	}
	t := b[pes+9:]
	return int64(t[0]>>1&7)<<30 | int64(t[1])<<22 | int64(t[2]>>1)<<15 | int64(t[3])<<7 | int64(t[4]>>1), true
}
