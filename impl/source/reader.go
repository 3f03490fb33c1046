package source

import (
	"context"
	"errors"
	"io"
	"math"
	"time"

	"github.com/punchlab/punchlab/impl/media"
)

// Reader is one reader's video: a media.Source, media.KeyFramer and media.Adaptive. Next does not wait. It is safe for concurrent
// use. Whoever has opened it closes it.
type Reader struct {
	hub    *Hub
	ready  chan struct{} // room for one: there may be something new
	closed bool          // the Hub's lock guards this and the rest

	appetite
	place
}

// place is where a reader is.
//
//	now   p p p p p p p …          where it reads: up to the picture for which next was asked for a key frame
//	next      p p p K p …          where it goes on: as soon as that has a key frame of a picture which it has not had
type place struct {
	now, next *rendition
	pos       int64 // in now
	last      int64 // number of the newest picture it has had; 0: none
	base      time.Duration
	pts       time.Duration // of the last one
	index     int
}

// maxLag is how far behind the newest picture a reader may be before it goes on at the newest key frame.
const maxLag = 2 * time.Second

var (
	_ media.Source    = (*Reader)(nil)
	_ media.KeyFramer = (*Reader)(nil)
	_ media.Adaptive  = (*Reader)(nil)
	_ io.Closer       = (*Reader)(nil)
)

// Next returns the next access unit, media.ErrPending where it is still to come, or io.EOF when the input is over or the reader closed.
func (r *Reader) Next() (media.AccessUnit, error) {
	h := r.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	if r.closed || h.closed {
		return media.AccessUnit{}, io.EOF
	}
	if r.turn() {
		h.tidy()
	}
	if r.now == nil {
		return media.AccessUnit{}, h.pending()
	}
	h.stats.Skipped += r.catchUp()
	u := r.now.at(r.pos)
	if u == nil || u.number >= r.until() {
		return media.AccessUnit{}, h.pending()
	}
	r.pos++
	return r.unit(u), nil
}

// pending is why there is nothing; the lock is held.
func (h *Hub) pending() error {
	if h.over {
		return io.EOF
	}
	return media.ErrPending
}

// turn goes on in the next rendition, where that can be, and says whether it has.
func (r *Reader) turn() bool {
	if r.next == nil || r.next == r.now {
		return false
	}
	switch {
	case r.now == nil && r.last == 0: // the reader's first: with what there is of the running group
		if r.next.key < 0 {
			return false
		}
		r.pos = r.next.key
	default:
		n, ok := r.next.keyAfter(r.last)
		if !ok || !r.readUpTo(n) {
			return false
		}
		r.pos = n
	}
	r.now = r.next
	return true
}

// readUpTo says whether the reader has had every picture before unit n of the next rendition, as far as it still can.
func (r *Reader) readUpTo(n int64) bool {
	if r.now == nil {
		return true
	}
	if u := r.now.at(r.pos); u != nil {
		return u.number >= r.next.at(n).number
	}
	if before := r.next.at(n - 1); before != nil && !r.now.over {
		return r.last >= before.number
	}
	return true
}

// until is the picture before which the reader stops, since the next rendition has it as a key frame, or soon will. That is asked for as
// soon as its encoder runs.
func (r *Reader) until() int64 {
	e := r.hub.encoderOf(r.next)
	if r.next == r.now || e == nil || !e.joined || r.now.over {
		return math.MaxInt64
	}
	if e.forced > r.last {
		return e.forced
	}
	e.force = true
	return math.MaxInt64
}

// catchUp goes to the newest key frame where the reader is too slow, and says how many units that leaves out.
func (r *Reader) catchUp() (skipped int64) {
	end := r.now.end()
	if end == r.now.first || r.now.key <= r.pos {
		return 0
	}
	at, newest := r.now.at(r.pos), r.now.at(end-1)
	if at != nil && newest.captured.Sub(at.captured) <= maxLag {
		return 0
	}
	skipped = r.now.key - r.pos
	r.pos = r.now.key
	return skipped
}

// unit makes an access unit of the reader's own stream.
func (r *Reader) unit(u *unit) media.AccessUnit {
	if r.index == 0 {
		r.base = u.pts
		r.pts = -time.Millisecond
	}
	r.pts = max(u.pts-r.base, r.pts+time.Millisecond)
	r.last = max(r.last, u.number)
	au := media.AccessUnit{Index: r.index, PTS: r.pts, Key: u.key, Data: u.data, Hash: u.hash, Captured: u.captured}
	r.index++
	return au
}

// Wait waits until Next may have something else to say than media.ErrPending, and returns the context's error if that ends before.
func (r *Reader) Wait(ctx context.Context) error {
	select {
	case <-r.ready:
		return nil
	case <-r.hub.ctx.Done():
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Read waits for the next access unit. The error is io.EOF, the context's, or none.
func (r *Reader) Read(ctx context.Context) (media.AccessUnit, error) {
	for {
		au, err := r.Next()
		if !errors.Is(err, media.ErrPending) {
			return au, err
		}
		if err := r.Wait(ctx); err != nil {
			return au, err
		}
	}
}

// tell wakes who waits.
func (r *Reader) tell() {
	select {
	case r.ready <- struct{}{}:
	default:
	}
}

// RequestKeyFrame asks for a key frame soon: an encoder makes one; of video that is passed on as it is, the running group of pictures
// comes again.
func (r *Reader) RequestKeyFrame() {
	h := r.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	if r.closed || r.now == nil {
		return
	}
	h.stats.KeyFrames++
	if e := h.encoderOf(r.now); e != nil {
		e.force = true
		return
	}
	if r.now.key >= 0 && r.now.key < r.pos {
		r.pos = r.now.key
	}
}

// SetTarget says how much this reader's path carries, in bits a second. Others may get another rendition.
func (r *Reader) SetTarget(bps int) {
	h := r.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	if bps > 0 && !r.closed {
		r.target = bps
		h.plan(time.Now())
	}
}

// Floor is the least that SetTarget can bring about, in bits a second: below it, leave out frames.
func (r *Reader) Floor() int {
	h := r.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.steps(time.Now())) > 0 {
		return h.cfg.Floor
	}
	if h.session != nil && h.session.asIs != nil {
		return max(h.session.asIs.meter.rate(), h.cfg.Floor)
	}
	return h.cfg.Floor
}

// Close ends the reader. The last one ends the capture, after Config.Linger.
func (r *Reader) Close() error {
	h := r.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	if !r.closed {
		r.closed = true
		h.leave(r)
		r.tell()
	}
	return nil
}
