package source

import (
	"errors"
	"slices"
	"time"
)

const (
	// maxEncoders run at a time for readers, beside one that takes over.
	maxEncoders = 2
	// encoderPause is how long none is started after one has failed.
	encoderPause = 5 * time.Second
)

// plan decides which reader gets which rendition, and starts and ends encoders; the lock is held.
func (h *Hub) plan(now time.Time) {
	s := h.session
	if s == nil || s.ctx.Err() != nil {
		return
	}
	o := offer{asIs: s.asIs != nil, ladder: h.steps(now), first: step(h.ladder, h.cfg.First)}
	if o.asIs {
		o.rate = s.asIs.meter.rate()
	}
	wanted := make([]int, len(h.readers))
	for i, r := range h.readers {
		wanted[i] = r.choose(now, o)
	}
	if len(h.readers) == 0 && h.cfg.Always && !o.asIs {
		wanted = h.keep(o)
	}
	wanted = assign(wanted, maxEncoders)
	for i, rate := range wanted {
		made := s.rendition(rate, len(o.ladder) > 0)
		if i < len(h.readers) && made != nil {
			h.readers[i].turnTo(made)
		}
	}
	h.retire(wanted)
}

// keep is what runs without a reader, so that the first one need not wait.
func (h *Hub) keep(o offer) []int {
	for _, e := range h.session.encoders {
		return []int{e.rate}
	}
	if len(o.ladder) == 0 {
		return nil
	}
	return []int{o.first}
}

// rendition finds what has a rate, or starts an encoder for it; nil: there can be none now. The Hub's lock is held.
func (s *session) rendition(rate int, may bool) *rendition {
	if rate == 0 {
		return s.asIs
	}
	for _, e := range s.encoders {
		if e.rate == rate && !e.over {
			return e.rendition
		}
	}
	if !may {
		return s.asIs
	}
	return s.startEncoder(rate).rendition
}

// turnTo has the reader go on elsewhere.
func (r *Reader) turnTo(next *rendition) {
	if r.next == next {
		return
	}
	from := r.next
	r.next = next
	if from != nil && from.rate != next.rate {
		r.hub.told = append(r.hub.told, Switched{From: from.rate, To: next.rate})
	}
}

// steps are the rates that encoders may have; none: there is no encoder. The lock is held.
func (h *Hub) steps(now time.Time) []int {
	if h.cfg.Mode == Copy || now.Before(h.deaf) {
		return nil
	}
	return h.ladder
}

// encoderOf finds a rendition's encoder; nil: it has none, or has ended. The lock is held.
func (h *Hub) encoderOf(r *rendition) *encoder {
	if h.session == nil {
		return nil
	}
	for _, e := range h.session.encoders {
		if e.rendition == r {
			return e
		}
	}
	return nil
}

// tidy ends what nobody reads; the lock is held.
func (h *Hub) tidy() {
	if h.session != nil && (len(h.readers) > 0 || !h.cfg.Always) {
		h.retire(nil)
	}
}

// retire ends the encoders that no reader has and no rate asks for; the lock is held.
func (h *Hub) retire(wanted []int) {
	s := h.session
	s.encoders = slices.DeleteFunc(s.encoders, func(e *encoder) bool {
		used := slices.Contains(wanted, e.rate) || slices.ContainsFunc(h.readers, func(r *Reader) bool {
			return r.next == e.rendition || r.now == e.rendition
		})
		if !used {
			e.stop()
		}
		return !used
	})
}

// failed says that an encoder has ended by itself.
func (h *Hub) failed(e *encoder, err error) {
	h.mu.Lock()
	s := e.session
	e.over = true
	s.encoders = slices.DeleteFunc(s.encoders, func(other *encoder) bool { return other == e })
	pause := encoderPause
	if errors.Is(err, ErrNoFFmpeg) {
		pause = 10 * encoderPause
	}
	h.deaf = time.Now().Add(pause)
	h.stats.Failures++
	uncompressed := s.asIs == nil
	h.mu.Unlock()
	h.observe(Failed{Input: h.cfg.Input, Err: err, Retry: pause})
	if uncompressed {
		s.cancel(err)
	}
	h.notify()
}
