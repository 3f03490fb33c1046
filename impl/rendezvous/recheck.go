package rendezvous

import (
	"time"

	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/wire"
)

// walk goes through all records in steps.
type walk struct {
	next uint32 // record; 0: none is going on
	due  time.Time
}

// Recheck asks Config.Standing about every camera that is online and sends those away that it does not want any more, with
// its code: after another revocation list was read, say, or the time has come for certificates to expire. It does so in
// steps, by HandleTimeout, so that nobody waits.
func (s *Server) Recheck(now time.Time) {
	s.box.Begin()
	if s.cfg.Standing == nil {
		return
	}
	s.recheck = walk{next: 1, due: now}
	s.walkOn(now)
}

// walkOn is the next step of Recheck.
func (s *Server) walkOn(now time.Time) {
	if !core.Due(now, s.recheck.due) {
		return
	}
	const step = 4096 // records: some milliseconds' work
	begin, end := s.recheck.next, s.recheck.next+step
	s.recheck = walk{next: end, due: now}
	for id, c := range s.slab.all(begin) {
		if id >= end {
			return
		}
		if c.role != Camera || !c.here() {
			continue
		}
		if code := s.cfg.Standing(now, c.key, s.certificate(c)); code != 0 {
			s.dismiss(now, c, code, CauseUntrusted)
		}
	}
	s.recheck = walk{}
}

// fallen says why a device that was admitted would not be now; 0: it would. Drain may have begun, and lists may have been read.
func (s *Server) fallen(now time.Time, c *client, cert identity.Certificate) wire.Code {
	switch {
	case s.drain.begun:
		return wire.CodeShuttingDown
	case s.cfg.Standing == nil || c.role != Camera:
		return 0
	}
	return s.cfg.Standing(now, c.key, cert)
}

// dismiss sends a device away.
func (s *Server) dismiss(now time.Time, c *client, code wire.Code, cause Cause) {
	s.tell(c, core.Keepalive, &wire.Goodbye{Code: code})
	s.away(now, c, cause)
}
