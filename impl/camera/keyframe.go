package camera

import (
	"time"

	"github.com/punchlab/punchlab/impl/media"
)

// A viewer that has lost something for good cannot go on without a key frame, and says so (RFC 4585 §6.3.1). A source that can is
// asked for one. Of a stored one the last group of pictures is sent again, with later times: its next key frame may be far.
const (
	keyGap   = 500 * time.Millisecond // between requests to a source
	longGOP  = time.Second            // a shorter group of pictures is soon over
	maxGOP   = 1024                   // access units that are kept of a group, and their bytes
	maxBytes = 8 << 20
)

// again is what is kept to give a viewer a key frame.
type again struct {
	gop   []media.AccessUnit // what the source has given since the last key frame, that one included; nil: too much
	bytes int
	queue []media.AccessUnit // to be sent before what the source gives next
	shift time.Duration      // by which the source's PTS are late for that
	asked time.Time          // when the source was asked for a key frame
}

// read takes the next access unit from what is sent again, or from the source.
func (v *viewer) read() (media.AccessUnit, error) {
	s := &v.stream
	if !v.cam.private.IsZero() {
		return media.AccessUnit{}, media.ErrPending
	}
	a := &s.again
	if len(a.queue) > 0 {
		au := a.queue[0]
		a.queue = a.queue[1:]
		return au, nil
	}
	au, err := s.source.Next()
	if err != nil || !au.Captured.IsZero() {
		return au, err
	}
	if _, asks := s.source.(media.KeyFramer); asks {
		return au, nil
	}
	au.PTS += a.shift
	a.keep(au)
	return au, nil
}

// keep remembers the group of pictures that an access unit belongs to.
func (a *again) keep(au media.AccessUnit) {
	if au.Key {
		a.gop, a.bytes = a.gop[:0], 0
	}
	if a.bytes += len(au.Data); len(a.gop) >= maxGOP || a.bytes > maxBytes || len(a.gop) == 0 && !au.Key {
		a.gop = nil
		return
	}
	a.gop = append(a.gop, au)
}

// keyFrame gives a viewer a key frame soon.
func (v *viewer) keyFrame(now time.Time) {
	s := &v.stream
	if s.ended || !s.begun || !s.again.asked.IsZero() && now.Sub(s.again.asked) < keyGap {
		return
	}
	if source, ok := s.source.(media.KeyFramer); ok {
		s.again.asked = now
		source.RequestKeyFrame()
		return
	}
	if !s.live && s.again.rewind() {
		s.again.asked = now
		v.pull(now)
	}
}

// rewind queues the last group of pictures once more, up to the access unit that is next. It does not where the group is short, or
// is being sent again already.
func (a *again) rewind() bool {
	last := len(a.gop) - 1
	if last < 0 || len(a.queue) > 0 || a.gop[last].PTS-a.gop[0].PTS < longGOP {
		return false
	}
	by := a.gop[last].PTS - a.gop[0].PTS
	for _, au := range a.gop {
		au.PTS += by
		a.queue = append(a.queue, au)
	}
	a.shift += by
	for i := range a.gop { // the group is where it is sent now
		a.gop[i].PTS += by
	}
	return true
}
