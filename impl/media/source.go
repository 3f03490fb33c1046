package media

import (
	"bytes"
	"fmt"
	"io"
)

// Source delivers access units in decoding order, Index and PTS growing.
type Source interface {
	// Next returns the next access unit, io.EOF after the last, or ErrPending where a live source has none yet. The first is a
	// key frame.
	Next() (AccessUnit, error)
}

type loop struct {
	clip *Clip
	next int
}

// Loop returns a source that repeats the clip for ever, with indices and PTS that go on growing.
func (c *Clip) Loop() Source { return &loop{clip: c} }

func (l *loop) Next() (AccessUnit, error) {
	au := l.clip.At(l.next)
	l.next++
	return au, nil
}

// Reader is a Source that parses an Annex B stream as it arrives, from a file or a pipe. An access
// unit is delivered when the next one begins or the stream ends.
type Reader struct {
	r     io.Reader
	fps   int
	index int
	group grouper
	buf   []byte // not yet parsed; starts at a start code once synced
	sync  bool
	done  []pending
	err   error
}

type pending struct {
	data []byte
	key  bool
}

// NewReader returns a source of r's access units, fps of them a second.
func NewReader(r io.Reader, fps int) (*Reader, error) {
	if fps <= 0 {
		return nil, fmt.Errorf("read h264: frame rate is %d, give frames per second above 0", fps)
	}
	return &Reader{r: r, fps: fps}, nil
}

// Next returns the next access unit; io.EOF after the last; an error that does not go away where the
// stream is not H.264 or r failed.
func (s *Reader) Next() (AccessUnit, error) {
	for len(s.done) == 0 {
		if s.err != nil {
			return AccessUnit{}, s.err
		}
		s.fill()
	}
	p := s.done[0]
	s.done = s.done[1:]
	au := AccessUnit{Index: s.index, PTS: ptsOf(s.index, s.fps), Key: p.key, Data: p.data, Hash: Sum(p.data)}
	s.index++
	return au, nil
}

// fill reads once and parses what became whole.
func (s *Reader) fill() {
	const chunk = 32 << 10
	from := len(s.buf)
	s.buf = append(s.buf, make([]byte, chunk)...)
	n, err := s.r.Read(s.buf[from:])
	s.buf = s.buf[:from+n]
	s.err = s.parse(max(from-2, 0))
	if s.err != nil || err == nil {
		return
	}
	if err != io.EOF {
		s.err = fmt.Errorf("read h264: %w", err)
		return
	}
	s.err = s.finish()
}

// parse takes every NAL unit that another start code follows; the first from bytes hold none.
func (s *Reader) parse(from int) error {
	begin := 0
	for {
		at := nextStartCode(s.buf, from)
		if at < 0 {
			break
		}
		if s.sync {
			if err := s.push(s.buf[begin+3 : at]); err != nil {
				return err
			}
		}
		s.sync = true
		begin, from = at, at+3
	}
	if !s.sync {
		begin = max(len(s.buf)-2, 0)
	}
	s.buf = s.buf[:copy(s.buf, s.buf[begin:])]
	if len(s.buf) > maxAccessUnit {
		return fmt.Errorf("read h264: access unit %d: %w", s.index+len(s.done), errTooLarge)
	}
	return nil
}

func (s *Reader) push(nal []byte) error {
	nal = bytes.TrimRight(nal, "\x00")
	if len(nal) == 0 {
		return nil
	}
	au, key, err := s.group.push(nal)
	if err != nil {
		return fmt.Errorf("read h264: access unit %d: %w", s.index+len(s.done), err)
	}
	if au != nil {
		s.done = append(s.done, pending{au, key})
	}
	return nil
}

// finish takes what the end of the stream completes.
func (s *Reader) finish() error {
	if s.sync {
		if err := s.push(s.buf[3:]); err != nil {
			return err
		}
	}
	if au, key := s.group.flush(); au != nil {
		s.done = append(s.done, pending{au, key})
	}
	if s.index == 0 && len(s.done) == 0 {
		return fmt.Errorf("read h264: the stream ended without a picture, expected an Annex B byte stream: %w", io.ErrUnexpectedEOF)
	}
	return io.EOF
}
