package source

import (
	"context"
	"os"
	"sync"
	"time"

	"github.com/punchlab/punchlab/impl/media"
)

// encoder is an ffmpeg that codes a session's pictures at one rate.
//
//	session ── food ──► queue ──► Matroska ──► ffmpeg ──► FLV ──► rendition
//	                                 └─── plates: which picture has which time ──┘
type encoder struct {
	*rendition
	session *session
	queue   chan *food
	cancel  context.CancelFunc
	gone    chan struct{} // closed when its process and goroutines have ended

	// The Hub's lock guards these.
	force  bool  // the next picture is to be a key frame
	forced int64 // number of the last picture that was to be one
	broken bool  // H.264 was dropped: nothing until the next key frame
	fed    bool  // it has its first picture
	joined bool  // its first picture has come out

	mu     sync.Mutex
	plates []plate
	since  time.Time // there are plates and none has come out; zero: there are none
	hung   bool      // it was ended for that
}

// food is a picture on its way to an encoder.
type food struct {
	unit
	raw   *rawFrame // nil: H.264
	force bool      // it is to be a key frame
}

func (f *food) release() {
	if f.raw != nil {
		f.raw.release()
	}
}

// plate is a picture inside ffmpeg.
type plate struct {
	ms int64 // its time there
	of unit
}

// Pictures that wait for an encoder: uncompressed ones are large, and a group of H.264 comes at once.
const (
	rawQueue = 6
	avcQueue = maxUnits
)

// startEncoder starts an encoder; the Hub's lock is held.
func (s *session) startEncoder(rate int) *encoder {
	size := rawQueue
	if s.asIs != nil {
		size = avcQueue
	}
	ctx, cancel := context.WithCancel(s.ctx)
	e := &encoder{rendition: newRendition(rate), session: s, queue: make(chan *food, size), cancel: cancel, gone: make(chan struct{})}
	if s.asIs != nil && s.asIs.key >= 0 { // it begins where a decoder can
		for n := s.asIs.key; n < s.asIs.end(); n++ {
			e.feed(&food{unit: *s.asIs.at(n)})
		}
	}
	s.encoders = append(s.encoders, e)
	s.hub.stats.Encoders++
	s.hub.wg.Go(func() { e.run(ctx) })
	return e
}

// stop ends the encoder soon; the Hub's lock is held.
func (e *encoder) stop() {
	e.over = true
	e.cancel()
}

// feed queues a picture, or leaves it out where the encoder is too slow; the Hub's lock is held.
func (e *encoder) feed(f *food) {
	if f.raw == nil && !f.key && (e.broken || !e.fed) {
		return
	}
	f.force = e.force
	select {
	case e.queue <- f:
		e.broken, e.fed, e.force = false, true, false
		if f.force {
			e.forced = f.number
		}
	default:
		f.release()
		e.broken = true
		e.session.hub.stats.Dropped++
	}
}

// run runs ffmpeg until it ends or is ended.
func (e *encoder) run(ctx context.Context) {
	defer close(e.gone)
	h := e.session.hub
	fps := 0
	if e.session.asIs == nil {
		fps = e.session.format.num / e.session.format.den
	}
	p, err := h.cfg.spawn(encoderArgs(h.cfg, e.rate, fps), true)
	if err != nil {
		h.failed(e, err)
		return
	}
	defer p.close()
	var writer sync.WaitGroup
	writer.Go(func() {
		e.write(ctx, p.stdin)
		e.cancel()
	})
	writer.Go(func() { p.follow(ctx, 0) })
	writer.Go(func() { e.watch(ctx, p) })
	err = e.read(p.stdout)
	wanted := ctx.Err() == nil
	if e.hangs(0) {
		wanted, err = true, errStall
	}
	e.cancel()
	p.end(0)
	writer.Wait()
	if wanted {
		h.failed(e, p.reason("encode", err))
	}
}

// watch ends ffmpeg where pictures go in and none comes out.
func (e *encoder) watch(ctx context.Context, p *process) {
	limit := e.session.hub.cfg.Stall
	tick := time.NewTicker(limit / 4)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if e.hangs(limit) {
			p.end(0)
			return
		}
	}
}

// hangs says whether no picture came out for as long as the limit, or was found so before.
func (e *encoder) hangs(limit time.Duration) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.hung = e.hung || limit > 0 && !e.since.IsZero() && time.Since(e.since) > limit
	return e.hung
}

// write writes what is queued to ffmpeg. It ends with the context, or when ffmpeg takes no more.
func (e *encoder) write(ctx context.Context, stdin *os.File) {
	stop := context.AfterFunc(ctx, func() { _ = stdin.SetWriteDeadline(time.Unix(1, 0)) })
	defer stop()
	var m *mkvWriter
	var begun time.Duration
	for {
		var f *food
		select {
		case f = <-e.queue:
		case <-ctx.Done():
			return
		}
		if m == nil {
			var err error
			if f.raw != nil {
				m, err = newRawMKV(stdin, e.session.format)
			} else {
				m, err = newAVCMKV(stdin)
			}
			if begun = f.pts; err != nil {
				f.release()
				return
			}
		}
		ms := m.time(f.pts-begun, f.force)
		e.mu.Lock()
		if len(e.plates) == 0 {
			e.since = time.Now()
		}
		e.plates = append(e.plates, plate{ms: ms, of: unit{number: f.number, captured: f.captured, pts: f.pts}})
		e.mu.Unlock()
		err := m.write(ms, f.data, f.key)
		f.release()
		if err != nil {
			return
		}
	}
}

// read takes what ffmpeg has encoded.
func (e *encoder) read(stdout *os.File) error {
	h := e.session.hub
	f := newFLVReader(stdout)
	for {
		p, at, err := f.next()
		if err != nil {
			return err
		}
		u, ok := e.plate(at.Milliseconds())
		if !ok {
			continue
		}
		u.data, u.hash, u.key = p.data, media.Sum(p.data), p.key
		h.mu.Lock()
		if !e.over {
			e.add(u)
		}
		e.joined = true
		h.mu.Unlock()
		h.notify()
	}
}

// plate finds the picture that ffmpeg has given a time.
func (e *encoder) plate(ms int64) (unit, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for i, p := range e.plates {
		if p.ms >= ms {
			e.plates, e.since = e.plates[i+1:], time.Now()
			if len(e.plates) == 0 {
				e.since = time.Time{}
			}
			return p.of, p.ms == ms
		}
	}
	return unit{}, false
}
