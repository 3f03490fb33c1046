package source

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

// Hub captures one input for any number of readers. It is safe for concurrent use.
type Hub struct {
	cfg    Config
	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	wg     sync.WaitGroup
	wake   chan struct{} // room for one: whether a capture is wanted may have changed
	begun  time.Time     // of the timeline

	mu      sync.Mutex
	readers []*Reader
	running context.CancelCauseFunc // ends the capture, if there is one
	session *session                // the capture's, once there is a picture; nil: none
	idle    *time.Timer
	closed  bool
	over    bool // the input has ended for good
	encode  bool // the input's video cannot be passed on
	ladder  []int
	deaf    time.Time // until then no encoder is started
	told    []Event   // to be observed
	stats   Stats

	observing sync.Mutex
}

// New returns a Hub. It starts nothing yet, but that a Config with Always captures at once.
func New(cfg Config) (*Hub, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	h := &Hub{cfg: cfg, wake: make(chan struct{}, 1), begun: time.Now(), encode: cfg.encodes(), ladder: ladder(cfg.Bitrate, cfg.Floor)}
	h.ctx, h.cancel = context.WithCancel(context.Background())
	h.wg.Go(h.supervise)
	return h, nil
}

// Open returns a reader, and starts the capture if it is the first. It does not wait.
func (h *Hub) Open() *Reader {
	h.mu.Lock()
	defer h.mu.Unlock()
	r := &Reader{hub: h, ready: make(chan struct{}, 1)}
	if h.closed {
		r.closed = true
		return r
	}
	if h.idle != nil {
		h.idle.Stop()
	}
	h.readers = append(h.readers, r)
	h.plan(time.Now())
	h.nudge()
	return r
}

// leave forgets a reader; the lock is held.
func (h *Hub) leave(r *Reader) {
	h.readers = slices.DeleteFunc(h.readers, func(other *Reader) bool { return other == r })
	h.plan(time.Now())
	if len(h.readers) > 0 || h.cfg.Always || h.closed {
		return
	}
	if h.idle == nil {
		h.idle = time.AfterFunc(h.cfg.Linger, h.quiet)
		return
	}
	h.idle.Reset(h.cfg.Linger)
}

// quiet ends the capture if nobody has come back.
func (h *Hub) quiet() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.wanted() && h.running != nil {
		h.running(errUnwanted)
	}
}

var (
	errUnwanted = errors.New("nobody reads")
	errStall    = errors.New("no picture came")
	errClosed   = errors.New("closed")
)

// wanted says whether the capture should run; the lock is held.
func (h *Hub) wanted() bool { return !h.closed && (len(h.readers) > 0 || h.cfg.Always) }

// nudge lets the supervisor look again.
func (h *Hub) nudge() {
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

// Close ends the capture and every reader, and waits for the processes.
func (h *Hub) Close() error {
	h.mu.Lock()
	h.closed = true
	if h.idle != nil {
		h.idle.Stop()
	}
	readers := slices.Clone(h.readers)
	h.mu.Unlock()
	h.cancel()
	for _, r := range readers {
		r.tell()
	}
	h.wg.Wait()
	return nil
}

// supervise runs captures for as long as they are wanted.
func (h *Hub) supervise() {
	tries := 0
	for h.await() {
		from := time.Now()
		err := h.capture(tries)
		switch {
		case errors.Is(err, errUnwanted):
			h.observe(Stopped{Input: h.cfg.Input})
			tries = 0
			continue
		case errors.Is(err, errClosed):
			return
		case errors.Is(err, errInputOver):
			h.finish(err)
			return
		case h.unfit(err):
			continue // another way, at once
		}
		if time.Since(from) > healthy+h.cfg.Stall {
			tries = 0
		}
		tries++
		if !h.retry(err, tries) {
			return
		}
	}
}

// await waits until a capture is wanted, and says whether one still may be.
func (h *Hub) await() bool {
	for {
		h.mu.Lock()
		wanted := h.wanted()
		h.mu.Unlock()
		if wanted {
			return true
		}
		select {
		case <-h.wake:
		case <-h.ctx.Done():
			return false
		}
	}
}

// unfit notes that the input's video cannot be passed on, if that is what an error says.
func (h *Hub) unfit(err error) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.encode || h.cfg.Mode != Auto || h.cfg.Input.Kind == Pipe || !cannotCopy(err) {
		return false
	}
	h.encode = true
	return true
}

// retry tells of a failure and pauses.
func (h *Hub) retry(err error, tries int) bool {
	pause := backoff(tries)
	h.mu.Lock()
	h.stats.Failures++
	h.mu.Unlock()
	h.observe(Failed{Input: h.cfg.Input, Err: err, Retry: pause})
	t := time.NewTimer(pause)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-h.ctx.Done():
		return false
	}
}

// finish ends every reader once it has read what there is.
func (h *Hub) finish(err error) {
	h.mu.Lock()
	h.over = true
	readers := slices.Clone(h.readers)
	h.mu.Unlock()
	h.observe(Failed{Input: h.cfg.Input, Err: err})
	for _, r := range readers {
		r.tell()
	}
	h.notify()
}

// observe tells of an event, after those that were noticed with the lock held.
func (h *Hub) observe(e Event) {
	h.observing.Lock()
	defer h.observing.Unlock()
	h.mu.Lock()
	events := append(h.told, e)
	h.told = nil
	h.mu.Unlock()
	for _, e := range events {
		if h.cfg.Observe != nil && e != nil {
			h.cfg.Observe(e)
		}
	}
}

// notify tells everybody that there is something to read.
func (h *Hub) notify() {
	h.mu.Lock()
	n := len(h.readers)
	for _, r := range h.readers {
		r.tell()
	}
	told := len(h.told) > 0
	h.mu.Unlock()
	if told {
		h.observe(nil)
	}
	if n > 0 && h.cfg.Notify != nil {
		h.cfg.Notify()
	}
}

// Stats is what a Hub has done so far.
type Stats struct {
	Readers   int   // now
	Captures  int64 // started
	Encoders  int64 // started
	Failures  int64
	Frames    int64 // captured
	Skipped   int64 // frames that slow readers did not get
	Dropped   int64 // frames that an encoder was too slow for
	Bitrate   int   // of the input's H.264, in bits a second, over the last seconds; 0: it has none
	Running   int   // encoders now
	KeyFrames int64 // asked for
}

// Stats returns the counts so far.
func (h *Hub) Stats() Stats {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.stats
	s.Readers = len(h.readers)
	if h.session != nil {
		s.Running = len(h.session.encoders)
		if h.session.asIs != nil {
			s.Bitrate = h.session.asIs.meter.rate()
		}
	}
	return s
}
