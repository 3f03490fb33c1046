package uplink

import (
	"net/netip"
	"slices"
	"time"

	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/session"
	"github.com/punchlab/punchlab/impl/wire"
)

// message does what every rendezvous session does and leaves the rest to the owner.
func (l *Link) message(now time.Time, from netip.AddrPort, m wire.Message) wire.Message {
	switch m := m.(type) {
	case *wire.Ping:
		l.sendTo(from, core.Keepalive, &wire.Pong{Sequence: m.Sequence})
		switch {
		case l.sess == nil:
		case isStream(l.remote) && !isStream(from) && l.IsRemote(from):
			l.byDatagrams(now, from)
		case l.unanswer > 0: // it did not count, from an address that the pong vouches for now
			l.unanswer = 0
			l.askAgain(now)
		}
		return m // for an owner that doubts: it has moved, and is reachable again by what it sends behind the pong
	case *wire.Pong:
		l.pong(now, from, m)
		return nil
	case *wire.Reported:
		l.reported(m)
		return nil
	case *wire.Presence:
		l.presence(now, m)
		return nil
	case *wire.Goodbye:
		if l.sess != nil {
			l.dismissed(now, from, m.Code)
		}
		return m
	}
	return m
}

func (l *Link) pong(now time.Time, from netip.AddrPort, m *wire.Pong) {
	if isStream(l.remote) && !isStream(from) && l.IsRemote(from) && m.Sequence == l.ping {
		l.byDatagrams(now, from)
		return
	}
	if m.Sequence != l.asked {
		return
	}
	if l.unanswer == 1 {
		l.sample(now.Sub(l.pinged))
	}
	if !m.Endpoint.IsZero() {
		l.appears(now, m.Endpoint.AddrPort, l.idle)
	}
	l.unanswer, l.idle = 0, 0
	l.next = now.Add(l.rhythm.every - l.jitter(l.rhythm.every/5) - l.lead())
	l.proved()
}

// appears takes where the rendezvous sees this device after nothing was sent for idle; 0: nothing follows from it.
func (l *Link) appears(now time.Time, at netip.AddrPort, idle time.Duration) {
	was := l.reflexive
	l.reflexive = at
	before := l.rhythm.forgotten
	switch {
	case isStream(at) || !was.IsValid() || isStream(was):
	case at == was && idle > 0:
		l.rhythm.kept(now, idle)
	case at == was:
	case at.Addr() != was.Addr(): // another network
		l.rhythm.reset(l.rhythm.usual, l.rhythm.longest)
	case l.expecting || idle == 0 || slices.Contains(l.report.candidates, wire.At(at)): // a port mapping, or nobody knows
	default:
		l.rhythm.forgot(now, idle)
	}
	l.expecting = false
	if l.rhythm.forgotten != before {
		l.update(now)
	}
	if was.IsValid() && at != was && l.cfg.Moved != nil {
		l.cfg.Moved(now, was, at)
	}
}

// keep sends the ping that is due, or does something about the silence.
func (l *Link) keep(now time.Time) {
	switch {
	case l.unanswer >= l.most():
		l.lost(now)
	case !l.ways[datagrams].going() && !l.ways[streams].going() && (now.Sub(l.since) > session.RekeyAfterTime || l.sess.NeedsRekey()):
		_ = l.renew(now)
		l.sendPing(now)
	default:
		l.sendPing(now)
	}
}

// sendPing sends the next ping, and if it is the first unanswered one takes note of the silence before it.
func (l *Link) sendPing(now time.Time) {
	if l.unanswer == 0 {
		if l.idle = 0; !l.spoke.IsZero() {
			l.idle = now.Sub(l.spoke)
		}
	}
	l.askAgain(now)
}

func (l *Link) askAgain(now time.Time) {
	l.ping++
	l.asked = l.ping
	l.pinged = now
	l.unanswer++
	wait := l.pongRTO() << min(l.unanswer-1, 5)
	if l.unanswer >= l.most() {
		wait = max(wait, lastWait)
	}
	l.next = now.Add(wait)
	l.Send(core.Keepalive, &wire.Ping{Sequence: l.ping})
	l.spoke = now
}

// Probe asks at once whether the rendezvous hears this device, whose owner has reason to doubt it: it may have moved, or a
// NAT may have forgotten it. Nothing is asked while an answer is waited for.
func (l *Link) Probe(now time.Time) {
	if l.sess != nil && l.unanswer == 0 {
		l.sendPing(now)
	}
}
