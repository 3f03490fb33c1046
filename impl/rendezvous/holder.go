package rendezvous

import (
	"net/netip"
	"time"

	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/wire"
)

// A camera's key is proved in the handshake, but a key can be copied. Who registers with a key whose holder is online at another
// address takes its place only where the holder does not answer:
//
//	newcomer                     R                          holder
//	   │── handshake, ping ─────►│── ping ────────────────►│
//	   │◄─ pong ─────────────────│     answers in time: ◄──│      Goodbye duplicate-key to the newcomer, who for a minute is
//	   │                         │                         │      denied at once; the holder may come from elsewhere meanwhile
//	   │                         │── ping, after an RTO ──►│
//	   │◄─ serves the newcomer ──│     is silent for two RTO      it was the same device: it has moved, or started again
//
// The session by which the holder answers is the older one: a device that made the newer one has forgotten it, and does not
// answer. A device that renews its session where it is has nobody beside it.

const (
	holderPings = 2                      // to the holder before the newcomer takes over
	holderRTO   = 100 * time.Millisecond // least wait for an answer to each
	holderMost  = 2 * time.Second        // greatest
	duelLife    = time.Minute            // after the holder has answered
)

// duel is what is known of a copy.
type duel struct {
	until time.Time
	loser netip.AddrPort // where it came from
}

// held says whether a pending session would displace a camera that may be another.
func (s *Server) held(c *client, p *pending) bool {
	return c.role == Camera && c.here() && c.remote != p.remote
}

// contest asks the holder whether it lives. Until then the newcomer gets pongs alone.
func (s *Server) contest(now time.Time, c *client, p *pending, m wire.Message) error {
	if p.challenge == 0 {
		if p.challenge = s.random(); p.challenge == 0 {
			return errContest
		}
		s.challenge(now, c, p)
	}
	ping, ok := m.(*wire.Ping)
	if !ok {
		return errContest
	}
	s.sendBy(&p.crypt, p.local, p.remote, core.Keepalive, &wire.Pong{Sequence: ping.Sequence, Endpoint: wire.At(p.remote)})
	return nil
}

// challenge pings the holder.
func (s *Server) challenge(now time.Time, c *client, p *pending) {
	p.asked++
	s.tell(c, core.Keepalive, &wire.Ping{Sequence: p.challenge})
	s.timers.set(&p.timer, now.Add(min(max(2*c.trip(), holderRTO), holderMost)))
}

// unanswered is the timer of a challenge.
func (s *Server) unanswered(now time.Time, c *client, p *pending) {
	if s.held(c, p) && p.asked < holderPings {
		s.challenge(now, c, p)
		return
	}
	s.confirm(now, c, p)
}

// duplicated sends the newcomer away: the holder has answered.
func (s *Server) duplicated(now time.Time, c *client, p *pending) {
	s.sendBy(&p.crypt, p.local, p.remote, core.Keepalive, &wire.Goodbye{Code: wire.CodeDuplicateKey})
	s.stats.Denied++
	s.stats.Duplicates++
	if s.reportable(now) {
		s.box.Emit(Duplicated{UID: c.uid(), Holder: c.remote, Newcomer: p.remote, At: now})
	}
	c.affairs().duel = duel{until: now.Add(duelLife), loser: p.remote}
	s.dropPending(c)
}

// copied says for how long yet a device that registers from an address is known to be a copy; 0: it is not. Others with its key
// are not: the holder itself may have started anew behind another port.
func (s *Server) copied(now time.Time, c *client, from netip.AddrPort) time.Duration {
	if c.busy == nil || c.busy.duel.until.IsZero() {
		return 0
	}
	if !now.Before(c.busy.duel.until) || !c.here() {
		c.busy.duel = duel{}
		c.settle()
		return 0
	}
	if from != c.busy.duel.loser || from == c.remote {
		return 0
	}
	return c.busy.duel.until.Sub(now)
}
