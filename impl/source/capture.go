package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/punchlab/punchlab/impl/media"
)

// session is one run of the capture, with the encoders that it feeds. The Hub's lock guards it.
type session struct {
	hub      *Hub
	ctx      context.Context
	cancel   context.CancelCauseFunc
	asIs     *rendition // the input's H.264; nil: pictures are uncompressed
	format   rawFormat  // of those
	encoders []*encoder
	clock    clock
	planned  time.Time
	keyless  time.Time // since when there has been no key frame
}

var errInputOver = errors.New("the input has ended")

// capture runs one session, after so many that failed, and says why it has ended.
func (h *Hub) capture(tries int) error {
	ctx, cancel := context.WithCancelCause(h.ctx)
	defer cancel(nil)
	s := &session{hub: h, ctx: ctx, cancel: cancel, clock: clock{begun: h.begun}, keyless: time.Now()}
	h.mu.Lock()
	encode := h.encode
	h.stats.Captures++
	h.running = cancel
	if !h.wanted() { // while it was not known here
		cancel(errUnwanted)
	}
	h.mu.Unlock()
	var err error
	switch {
	case h.cfg.Input.Kind == Pipe:
		err = s.readPipe()
	case encode:
		err = s.run(false, tries, s.readRaw)
	default:
		err = s.run(true, tries, s.readFLV)
	}
	s.end()
	cause := context.Cause(ctx)
	switch {
	case h.ctx.Err() != nil:
		return errClosed
	case cause == nil || errors.Is(cause, errStall) || cannotCopy(cause):
		return err
	}
	return cause
}

// cannotCopy says whether an error means that the video has to be encoded.
func cannotCopy(err error) bool {
	return errors.Is(err, errNotH264) || errors.Is(err, errBFrames) || errors.Is(err, errNoKey)
}

// noFLV is what ffmpeg says where a video is none that FLV may hold. The last one may also mean that too little is known of it yet.
var noFLV = []string{"not compatible with flv", "not supported in the official FLV", "Could not write header"}

// unfitText says whether what ffmpeg says means that the video is no H.264, after so many tries.
func unfitText(said string, tries int) bool {
	last := len(noFLV) - 1
	if tries > 0 && strings.Contains(said, noFLV[last]) {
		return true
	}
	return slices.ContainsFunc(noFLV[:last], func(s string) bool { return strings.Contains(said, s) })
}

// run runs ffmpeg and reads what it captures.
func (s *session) run(copies bool, tries int, read func(io.Reader, *time.Timer) error) error {
	what := "capture " + s.hub.cfg.Input.String()
	p, err := s.hub.cfg.spawn(captureArgs(s.hub.cfg, copies, tries > 0), false)
	if err != nil {
		return err
	}
	defer p.close()
	s.hub.wg.Go(func() { p.follow(s.ctx, endGrace) })
	stall := time.AfterFunc(s.hub.cfg.Stall, func() { s.cancel(errStall) })
	defer stall.Stop()
	err = read(p.stdout, stall)
	if cannotCopy(err) {
		s.cancel(err)
	}
	if errors.Is(context.Cause(s.ctx), errStall) {
		err = errStall
	}
	p.end(endGrace)
	if said := p.tail.String(); copies && err != errStall && unfitText(said, tries) {
		return fmt.Errorf("%s: %w (%s)", what, errNotH264, said)
	}
	return p.reason(what, err)
}

// start begins to offer what is captured.
func (s *session) start(asIs *rendition, f rawFormat, from time.Time) {
	h := s.hub
	h.mu.Lock()
	s.asIs, s.format = asIs, f
	if s.ctx.Err() == nil {
		h.session = s
		h.plan(time.Now())
	}
	h.mu.Unlock()
	h.observe(Started{Input: h.cfg.Input, Copy: asIs != nil, Took: time.Since(from)})
}

// end ends the session's encoders.
func (s *session) end() {
	h := s.hub
	h.mu.Lock()
	if h.session == s {
		h.session = nil
	}
	if s.asIs != nil {
		s.asIs.over = true
	}
	encoders := s.encoders
	s.encoders = nil
	for _, e := range encoders {
		e.stop()
	}
	h.mu.Unlock()
	for _, e := range encoders {
		<-e.gone
	}
	h.notify()
}

// readFLV passes on H.264.
func (s *session) readFLV(from io.Reader, stall *time.Timer) error {
	f, began := newFLVReader(from), time.Now()
	for first := true; ; first = false {
		p, at, err := f.next()
		if err != nil {
			return err
		}
		stall.Reset(s.hub.cfg.Stall)
		if first {
			s.start(newRendition(0), rawFormat{}, began)
		}
		now := time.Now()
		if err := s.passOn(now, p, at); err != nil {
			return err
		}
	}
}

// noKeyAfter is how long a stream may have no key frame before it is encoded.
const noKeyAfter = 12 * time.Second

// passOn offers a picture as it is, and to the encoders. at is its time in the input.
func (s *session) passOn(now time.Time, p picture, at time.Duration) error {
	h := s.hub
	u := unit{data: p.data, hash: media.Sum(p.data), key: p.key, captured: now, pts: s.clock.at(now, at, true)}
	h.mu.Lock()
	if p.key {
		s.keyless = now
	}
	h.stats.Frames++
	u.number = h.stats.Frames
	for _, e := range s.encoders {
		e.feed(&food{unit: u})
	}
	s.asIs.add(u)
	s.asIs.meter.add(at, len(u.data))
	s.replan(now)
	h.mu.Unlock()
	h.notify()
	if h.cfg.Mode == Auto && now.Sub(s.keyless) > noKeyAfter {
		return errNoKey
	}
	return nil
}

// replan plans now and then: rates are measured, and time passes. The lock is held.
func (s *session) replan(now time.Time) {
	if now.Sub(s.planned) >= replanEvery {
		s.planned = now
		s.hub.plan(now)
	}
}

const replanEvery = 250 * time.Millisecond

// readRaw feeds encoders with uncompressed pictures.
func (s *session) readRaw(from io.Reader, stall *time.Timer) error {
	began := time.Now()
	y, err := newY4MReader(from)
	if err != nil {
		return err
	}
	for first := true; ; first = false {
		f, err := y.next()
		if err != nil {
			return err
		}
		stall.Reset(s.hub.cfg.Stall)
		if first {
			s.start(nil, y.format, began)
		}
		now := time.Now()
		s.serveRaw(now, f)
		f.release()
	}
}

func (s *session) serveRaw(now time.Time, f *rawFrame) {
	h := s.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	h.stats.Frames++
	u := unit{number: h.stats.Frames, data: f.data, key: true, captured: now, pts: s.clock.at(now, 0, false)}
	for _, e := range s.encoders {
		f.hold()
		e.feed(&food{raw: f, unit: u})
	}
	s.replan(now)
}

// readPipe passes on an H.264 stream that comes by itself. What comes faster than it plays is held back; it is never read before
// somebody wants it, and always from then on.
func (s *session) readPipe() error {
	r, err := media.NewReader(s.hub.cfg.Pipe, s.hub.cfg.FPS)
	if err != nil {
		return err
	}
	began := time.Now()
	units := make(chan media.AccessUnit)
	failed := make(chan error, 1)
	go func() { // a read from a pipe cannot be ended: it is left behind
		for {
			au, err := r.Next()
			if err != nil {
				failed <- err
				return
			}
			select {
			case units <- au:
			case <-s.hub.ctx.Done():
				return
			}
		}
	}()
	var begun time.Time
	for {
		select {
		case <-s.hub.ctx.Done():
			return errClosed
		case err := <-failed:
			if err == io.EOF {
				return errInputOver
			}
			return fmt.Errorf("%w: %w", errInputOver, err)
		case au := <-units:
			if begun.IsZero() {
				s.start(newRendition(0), rawFormat{}, began)
				begun = time.Now()
			}
			if !sleep(s.hub.ctx, time.Until(begun.Add(au.PTS))) {
				return errClosed
			}
			now := time.Now()
			if late := now.Sub(begun.Add(au.PTS)); late > time.Second {
				begun = begun.Add(late) // it comes at its own pace
			}
			_ = s.passOn(now, picture{data: au.Data, key: au.Key, vcl: true}, au.PTS)
		}
	}
}

// sleep waits, and says whether the context goes on.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// clock gives pictures their time.
type clock struct {
	begun time.Time // of the Hub's timeline
	pts   time.Duration
	some  bool          // there has been a picture
	shift time.Duration // from the input's times to the timeline
	step  time.Duration // between pictures, smoothed
}

// maxDrift is what pictures may come too early or too late, as in a burst after a pause, before the input's times are taken for broken.
const maxDrift = 3 * time.Second

// at is a picture's time on the Hub's timeline. That is the input's, where it has times (timed) that run as the clock does; else the
// time of arrival, without most of its jitter.
func (c *clock) at(now time.Time, input time.Duration, timed bool) time.Duration {
	arrival := now.Sub(c.begun)
	was, first := c.pts, !c.some
	c.some = true
	switch {
	case first:
		c.pts, c.shift = arrival, arrival-input
		return c.pts
	case timed:
		c.pts = input + c.shift
		if d := arrival - c.pts; d > maxDrift || d < -maxDrift {
			c.shift += d
			c.pts = arrival
		}
	default:
		c.pts = c.smooth(was, arrival)
	}
	c.pts = max(c.pts, was+time.Millisecond)
	return c.pts
}

// smooth follows arrivals slowly, unless pictures are missing.
func (c *clock) smooth(was, arrival time.Duration) time.Duration {
	gap := arrival - was
	if c.step == 0 {
		c.step = gap
	}
	off := gap - c.step
	if off > c.step || off < -c.step {
		return arrival
	}
	c.step += off / 32
	return was + c.step + off/8
}
