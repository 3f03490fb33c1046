package rendezvous

import (
	"time"

	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/wire"
)

const (
	drainRetry = 30 * time.Second      // after which a device that was denied may try here again
	drainTime  = time.Second           // over which devices are sent away
	drainEvery = 10 * time.Millisecond // a few at a time
	drainIdle  = 5 * time.Second       // silence after which a relay is closed then
)

// drain is how far Drain has come.
type drain struct {
	begun bool
	next  uint32 // record
	each  int    // devices in a step
	due   time.Time
}

// Drain begins to end: new handshakes are denied, devices are sent away within a second or so, and relays go on until they are
// idle. It cannot be taken back.
func (s *Server) Drain(now time.Time) {
	s.box.Begin()
	if s.drain.begun {
		return
	}
	online := s.queues[queueQuiet].n + s.queues[queueAsked].n
	s.drain = drain{begun: true, next: 1, each: online/int(drainTime/drainEvery) + 1, due: now}
	for _, e := range s.relays {
		s.hasten(now, e.relay)
	}
	s.drainOn(now)
}

// hasten has a relay close as soon as it is idle for drainIdle.
func (s *Server) hasten(now time.Time, r *relay) { s.timers.set(&r.timer, now.Add(drainIdle)) }

// relayIdle is the silence after which a relay is closed.
func (s *Server) relayIdle() time.Duration {
	if s.drain.begun {
		return min(drainIdle, s.cfg.RelayIdle)
	}
	return s.cfg.RelayIdle
}

// drainOn sends the next few devices away.
func (s *Server) drainOn(now time.Time) {
	d := &s.drain
	if !core.Due(now, d.due) {
		return
	}
	left := d.each
	for id, c := range s.slab.all(d.next) {
		if !c.here() {
			continue
		}
		if left == 0 {
			d.next, d.due = id, now.Add(drainEvery)
			return
		}
		left--
		s.dismiss(now, c, wire.CodeShuttingDown, CauseDraining)
	}
	d.due = time.Time{}
}

// Drained says that nobody is served any more: all devices have been sent away, and no relay is in use.
func (s *Server) Drained() bool { return s.drain.begun && s.drain.due.IsZero() && s.nrelays == 0 }
