package cloud

import (
	"errors"
	"os"
	"path/filepath"
	"time"
)

// growing is the segment that is being recorded. Its ciphertext goes to a file of its own as it comes, so that a program that
// is killed leaves all but its last picture.
type growing struct {
	part *part
	name segmentName // without duration and HMAC
	seal *sealer
	file *os.File // nil: the disk does not take it
}

// open begins a segment.
func (s *spool) open(p *part, start time.Time, jump bool) *growing {
	s.mu.Lock()
	defer s.unlock()
	n := segmentName{Seq: s.state.Next, Start: start.UTC().Truncate(time.Millisecond), Jump: jump}
	g := &growing{part: p, name: n, seal: p.keys.seal(n.Seq)}
	f, err := os.OpenFile(g.openPath(), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		s.noteDisk(err)
		return g
	}
	g.file = f
	return g
}

func (g *growing) openPath() string { return filepath.Join(g.part.dir, openName+g.name.facts()) }

// write adds MPEG-TS packets.
func (s *spool) write(g *growing, plain []byte) {
	b := g.seal.write(plain)
	if g.file == nil {
		return
	}
	if _, err := g.file.Write(b); err != nil {
		s.discard(g, err)
	}
}

// discard gives up the segment's file, not the segment.
func (s *spool) discard(g *growing, err error) {
	path := g.file.Name()
	_ = g.file.Close() // what it holds is removed
	g.file = nil
	s.mu.Lock()
	defer s.unlock()
	s.noteDisk(errors.Join(err, os.Remove(path)))
}

// finish ends the segment, and has it stored.
func (s *spool) finishSegment(g *growing, d time.Duration) segmentName {
	from := g.openPath()
	g.name.Duration = d.Round(time.Millisecond)
	tail, mac := g.seal.finish(g.name.facts())
	g.name.MAC = mac
	seg := &segment{part: g.part, name: g.name, size: int64(len(g.seal.out)), data: g.seal.out}
	if g.file != nil {
		_, err := g.file.Write(tail)
		if err == nil {
			err = g.file.Sync()
		}
		if err != nil {
			s.discard(g, err)
		}
	}
	if g.file != nil {
		err := errors.Join(g.file.Close(), os.Rename(from, filepath.Join(g.part.dir, g.name.String())), syncDir(g.part.dir))
		if err == nil {
			seg.data = nil
		} else {
			s.mu.Lock()
			s.noteDisk(err)
			s.mu.Unlock()
		}
	}
	s.mu.Lock()
	s.state.Next = g.name.Seq + 1
	s.mu.Unlock()
	s.insert(seg)
	return g.name
}
