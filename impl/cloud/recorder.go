package cloud

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/punchlab/punchlab/impl/media"
)

// inputs is how many pictures wait for the disk before some are left out: 20 s at 25 a second.
const inputs = 512

// Recorder records one camera's video. Its methods are safe for concurrent use and, but for Close, never wait for the network
// or the disk.
type Recorder struct {
	cfg  Config
	sp   *spool
	in   chan input
	stop chan struct{} // closed: nothing more is written
	wg   sync.WaitGroup

	drained chan struct{} // the uploader has ended
	cancel  context.CancelFunc

	telling sync.Mutex

	mu      sync.Mutex
	closed  bool
	skip    bool // up to the next key frame
	skipped int  // of the overrun that lasts
	stats   Stats
}

// NewRecorder begins to record what is written, and to store what an earlier run left in the spool. A spool that another
// recorder holds is an error; a full disk or a store that refuses is an event.
func NewRecorder(c Config) (*Recorder, error) {
	c = c.withDefaults()
	if err := c.validate(); err != nil {
		return nil, fmt.Errorf("record: %w", err)
	}
	r := &Recorder{cfg: c, in: make(chan input, inputs), stop: make(chan struct{}), drained: make(chan struct{})}
	sp, err := openSpool(&r.cfg, r.tell, r.publish)
	if err != nil {
		return nil, fmt.Errorf("record: %w", err)
	}
	r.sp = sp
	cut, err := newCutter(&r.cfg, sp, r.tell)
	if err != nil {
		return nil, fmt.Errorf("record: %w", errors.Join(err, sp.close()))
	}
	up := &uploader{cfg: &r.cfg, sp: sp, tell: r.tell, count: r.count}
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	cutting := make(chan struct{}) // closed: nothing more is cut
	r.wg.Go(func() { defer close(cutting); r.cut(cut) })
	r.wg.Go(func() { defer close(r.drained); up.run(ctx, cutting) })
	return r, nil
}

// ErrClosed says that a recorder records no more.
var ErrClosed = errors.New("the recorder is closed")

// Write records an access unit, in decoding order. Its data must not change afterwards. The only error is ErrClosed.
func (r *Recorder) Write(au media.AccessUnit) error {
	at := au.Captured
	if at.IsZero() {
		at = r.cfg.Now()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return ErrClosed
	}
	if !r.skip || au.Key {
		select {
		case r.in <- input{au: au, at: at}:
			r.skip = false
			return nil
		default:
			r.skip = true
		}
	}
	r.skipped++
	r.stats.Overrun++
	return nil
}

// Motion says that something moves now: where the recorder waits for it, a part begins with the pre-roll, or goes on.
func (r *Recorder) Motion(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed || !r.cfg.OnMotion {
		return
	}
	select {
	case r.in <- input{at: now, motion: true}:
	default: // the disk is far behind; a motion that lasts is told again
	}
}

// Stats returns what was done so far.
func (r *Recorder) Stats() Stats {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.stats
}

// Close ends the part, and stores what waits until the context ends. What is then left stays in the spool for the next run; the
// error says how much.
func (r *Recorder) Close(ctx context.Context) error {
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return nil
	}
	r.closed = true
	r.mu.Unlock()
	close(r.stop)
	select {
	case <-r.drained:
	case <-ctx.Done():
	}
	r.cancel()
	r.wg.Wait()
	err := r.sp.close()
	if s := r.Stats(); s.Waiting > 0 {
		lost := ""
		if s.InMemory > 0 {
			lost = fmt.Sprintf("; but %d bytes that the disk did not take are lost", s.InMemory)
		}
		return fmt.Errorf("close recorder: %d segments (%d bytes) are not stored: they stay in %s for the next run%s",
			s.Waiting, s.WaitBytes, r.cfg.Spool, lost)
	}
	return err
}

// cut feeds the cutter until the recorder is closed.
func (r *Recorder) cut(c *cutter) {
	idle := time.NewTimer(idleAfter)
	defer idle.Stop()
	for {
		select {
		case in := <-r.in:
			r.feed(c, in)
			idle.Reset(idleAfter)
		case <-idle.C:
			c.stop()
		case <-r.stop:
			for len(r.in) > 0 { // nobody writes any more
				r.feed(c, <-r.in)
			}
			c.stop()
			r.tellOverrun()
			return
		}
	}
}

func (r *Recorder) feed(c *cutter, in input) {
	if err := c.handle(in); err != nil {
		r.tell(Lost{Err: err})
	}
	r.count(func(s *Stats) { s.AccessUnits, s.MediaBytes, s.Recording = c.units, c.media, c.part != nil })
	if in.au.Key {
		r.tellOverrun()
	}
}

func (r *Recorder) tellOverrun() {
	r.mu.Lock()
	n := r.skipped
	r.skipped = 0
	r.mu.Unlock()
	if n > 0 {
		r.tell(Overrun{AccessUnits: n})
	}
}

func (r *Recorder) tell(e any) {
	r.telling.Lock()
	defer r.telling.Unlock()
	r.cfg.Event(e)
}

func (r *Recorder) count(f func(*Stats)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f(&r.stats)
}

// publish takes over what the spool counts.
func (r *Recorder) publish(s Stats) {
	r.count(func(t *Stats) {
		t.Segments, t.Lost, t.Waiting, t.WaitBytes, t.InMemory = s.Segments, s.Lost, s.Waiting, s.WaitBytes, s.InMemory
	})
}
