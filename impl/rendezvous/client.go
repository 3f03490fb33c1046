package rendezvous

import (
	"container/list"
	"net/netip"
	"time"

	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/session"
	"github.com/punchlab/punchlab/impl/wire"
)

const (
	serverPings = 3               // unanswered ones after which a silent device is offline
	pingAgain   = 2 * time.Second // between them
)

type clientKey struct {
	key  identity.PublicKey
	role Role
}

// client is a device that proved its key.
type client struct {
	key        clientKey
	uid        identity.UID
	current    *link // confirmed; nil: offline, or a proxy
	proxy      *Proxy
	since      time.Time // online
	pending    *link     // waits for confirmation
	last       time.Time
	pings      int // unanswered ones
	timer      timer
	place      *list.Element // among the offline ones
	intros     map[uint64]*intro
	connects   bucket
	channel    uint16 // the last one given out
	ends       []*relayEnd
	relayed    bucket     // bytes, of all its relays
	ties       []*side    // the longest unused first
	class      wire.Class // as reported
	candidates []wire.Endpoint
}

// link is one session of a device.
type link struct {
	client        *client
	sess          *session.Session
	remote, local netip.AddrPort // validated
	initiation    [16]byte
	response      []byte
	started       time.Time
	rtt           time.Duration
	ping          uint64
	probing       netip.AddrPort // where the last probe of a new address went
	probe         uint64         // its number
	credit        int            // bytes that may go there
	asked         *wire.Again    // from a new address
	reported      uint32         // sequence of the last Report
}

// online says whether a device can be told something, here or by its node.
func (c *client) online() bool { return c.current != nil || c.proxy != nil }

// endpoint is where a device has been seen to receive; zero: it is offline.
func (c *client) endpoint() netip.AddrPort {
	switch {
	case c.current != nil:
		return c.current.remote
	case c.proxy != nil:
		return c.proxy.Endpoint
	}
	return netip.AddrPort{}
}

// rtt is the round trip to a device; 0: unknown.
func (c *client) rtt() time.Duration {
	switch {
	case c.current != nil:
		return c.current.rtt
	case c.proxy != nil:
		return c.proxy.RTT
	}
	return 0
}

// known is the record of a device; nil: there is none.
func (s *Server) known(k identity.PublicKey, r Role) *client { return s.clients[clientKey{k, r}] }

// tell sends a message to a device at its endpoint, or by its node; to one that is offline, nowhere.
func (s *Server) tell(c *client, p core.Purpose, m wire.Message) {
	switch {
	case c.current != nil:
		s.send(c.current, c.current.local, c.current.remote, p, m)
	case c.proxy != nil:
		s.cfg.Others.Tell(*c.proxy, c.key.key, c.key.role, m)
	}
}

// client finds or makes the record of a device.
func (s *Server) client(k clientKey) (*client, error) {
	if c := s.clients[k]; c != nil {
		return c, nil
	}
	if len(s.clients) >= s.cfg.MaxRegistrations {
		oldest := s.offline.Front()
		if oldest == nil {
			return nil, errFull
		}
		s.forget(oldest.Value.(*client))
	}
	c := &client{key: k, uid: k.key.UID()}
	c.timer.due = func(now time.Time) { s.check(now, c) }
	c.place = s.offline.PushBack(c)
	s.clients[k] = c
	return c, nil
}

func (s *Server) forget(c *client) {
	s.dropPending(c)
	for len(c.ties) > 0 {
		s.untie(c.ties[0].tie)
	}
	s.timers.set(&c.timer, time.Time{})
	s.offline.Remove(c.place)
	delete(s.clients, c.key)
	other := clientKey{c.key.key, Camera + Viewer - c.key.role}
	if _, memory := s.cfg.Store.(Memory); memory && s.clients[other] == nil {
		s.cfg.Store.Forget(c.key.key)
	}
}

func (s *Server) dropPending(c *client) {
	if c.pending != nil {
		delete(s.byIndex, c.pending.sess.LocalIndex())
		c.pending = nil
	}
}

// confirm makes a pending session the device's own: it has shown that it holds the keys and receives at its address.
func (s *Server) confirm(now time.Time, l *link) {
	c := l.client
	old := c.current
	c.pending, c.current = nil, l
	l.rtt = now.Sub(l.started)
	l.response = nil
	switch {
	case old != nil:
		delete(s.byIndex, old.sess.LocalIndex())
		if old.remote != l.remote || old.local != l.local {
			s.rebind(c)
			s.box.Emit(Moved{UID: c.uid, From: old.remote, To: l.remote, At: now})
		}
	default:
		s.offline.Remove(c.place)
		c.place = nil
		c.proxy = nil
		s.rebind(c)
		c.class, c.candidates = wire.Class{}, nil // it may be behind another NAT now
		if c.key.role == Camera {
			s.cameras[c.uid] = c
			s.stats.Online++
			c.since = now
			s.box.Emit(Online{UID: c.uid, Key: c.key.key, Endpoint: l.remote, At: now})
		}
	}
	s.timers.set(&c.timer, now.Add(s.patience()))
	s.moved(now, c)
}

// patience is the silence after which a device is asked.
func (s *Server) patience() time.Duration {
	return max(s.cfg.Expiry-serverPings*pingAgain, s.cfg.Keepalive)
}

func (c *client) heard(now time.Time) {
	c.last = now
	c.pings = 0
}

// check is the device's timer: it asks a silent one, and lets it go when it does not answer.
func (s *Server) check(now time.Time, c *client) {
	if p := c.pending; p != nil && now.Sub(p.started) >= pendingLife {
		s.dropPending(c)
	}
	if c.current == nil {
		return
	}
	l := c.current
	end := l.started.Add(session.RejectAfterTime)
	if core.Due(now, end) {
		s.away(now, c, CauseEnded)
		return
	}
	if due := c.last.Add(s.patience()); now.Before(due) {
		s.timers.set(&c.timer, core.Earliest(due, end))
		return
	}
	if c.pings >= serverPings {
		s.away(now, c, CauseSilent)
		return
	}
	c.pings++
	l.ping++
	s.send(l, l.local, l.remote, core.Keepalive, &wire.Ping{Sequence: l.ping})
	s.timers.set(&c.timer, now.Add(pingAgain))
}

// away marks a device offline.
func (s *Server) away(now time.Time, c *client, cause Cause) {
	if c.current == nil {
		return
	}
	delete(s.byIndex, c.current.sess.LocalIndex())
	c.current = nil
	s.timers.set(&c.timer, time.Time{})
	if c.pending != nil {
		s.timers.set(&c.timer, c.pending.started.Add(pendingLife))
	}
	c.place = s.offline.PushBack(c)
	s.rebind(c)
	if c.key.role == Camera {
		delete(s.cameras, c.uid)
		s.stats.Online--
		s.box.Emit(Offline{UID: c.uid, Key: c.key.key, Cause: cause, Since: c.since, At: now})
	} else if s.cfg.Others != nil {
		s.box.Emit(Left{Viewer: c.key.key})
	}
}

// probe asks whether a device receives at an address it has sent size bytes from. No more bytes go there than came. The
// number is random: a device that forges its source address cannot answer for whom it names.
func (s *Server) probe(l *link, from, to netip.AddrPort, size int) {
	if l.probing != from {
		l.probing, l.credit = from, 0
		l.probe = s.random()
	}
	l.credit += size
	b, err := wire.Marshal(&wire.Ping{Sequence: l.probe})
	if err != nil || l.probe == 0 {
		return
	}
	if cost := len(b) + session.TransportOverhead; cost <= l.credit {
		l.credit -= cost
		s.seal(l, to, from, core.Keepalive, b)
	}
}

// pong moves the endpoint where it answers a probe from the address probed.
func (s *Server) pong(now time.Time, l *link, from, to netip.AddrPort, m *wire.Pong) {
	if l.client.current != l || l.probe == 0 || m.Sequence != l.probe || from != l.probing || !from.IsValid() {
		return
	}
	old := l.remote
	l.remote, l.local, l.probing = from, to, netip.AddrPort{}
	s.rebind(l.client)
	s.box.Emit(Moved{UID: l.client.uid, From: old, To: from, At: now})
	s.moved(now, l.client)
	if m := l.asked; m != nil {
		l.asked = nil
		s.again(now, l.client, from, m)
	}
}

// Release lets a camera go that has registered at another node, which stands in for this one from now on.
func (s *Server) Release(now time.Time, camera identity.PublicKey) {
	s.box.Begin()
	if c := s.known(camera, Camera); c != nil {
		s.away(now, c, CauseElsewhere)
	}
}
