package rendezvous

import (
	"net/netip"
	"slices"
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

// client is the record of a device that proved its key: all that a camera costs while nobody watches it. The fields are in an
// order that leaves no gaps, those with pointers first.
type client struct {
	busy       *affairs       // nil: none
	remote     netip.AddrPort // validated; of a visitor, by its node
	candidates string         // as reported, packed
	crypt      session.Compact
	key        identity.PublicKey
	stamp      uint64 // the greatest of its handshakes
	boot       uint64 // as it said last
	serial     uint64 // of its certificate, as the next three
	notBefore  int64
	notAfter   int64
	last       instant // heard
	started    instant // its session
	since      instant // online
	due        instant // the next ping, while it is asked
	id         uint32  // in the slab
	prev, next uint32  // in its queue
	rtt        uint32  // microseconds; 0: unknown
	ping       uint32  // the number of the last one
	reported   uint32  // sequence of the last Report
	local      uint32  // the socket that it speaks to
	class      wire.Class
	maker      uint16 // of its certificate; 0: it has none
	role       Role   // 0: the record is free
	queue      queueKind
	pings      uint8 // unanswered ones
	proven     bool  // it has been online, here or elsewhere
}

// affairs are what a device has going on beside being online.
type affairs struct {
	pending  *pending // waits for confirmation
	proxy    *Proxy   // it visits from another node
	intros   map[uint64]*intro
	asked    []*intro // of a camera
	connects bucket
	unknown  bucket // cameras asked for that are not online
	channel  uint16 // the last one given out
	ends     []*relayEnd
	relayed  bucket  // bytes, of all its relays
	ties     []*side // the longest unused first
	probe    *probe
	watching *watching
	duel     duel

	challenge *challenge // nil: no other node wants to know whether it is there
	suspect   instant    // until then it is introduced to nobody unless Claimed; see Expel
}

// probe is a question to an address that is not the device's.
type probe struct {
	to     netip.AddrPort
	number uint64
	credit int         // bytes that may go there
	asked  *wire.Again // from there
}

// idle says whether nothing is going on that must be remembered.
func (a *affairs) idle() bool {
	return a.pending == nil && a.proxy == nil && len(a.intros) == 0 && len(a.asked) == 0 && len(a.ends) == 0 && len(a.ties) == 0 &&
		a.probe == nil && a.watching == nil && a.duel.until.IsZero() && a.challenge == nil && a.suspect == 0
}

// affairs are the device's, made where it has none.
func (c *client) affairs() *affairs {
	if c.busy == nil {
		c.busy = &affairs{}
	}
	return c.busy
}

// settle forgets a camera's affairs once there are none. A viewer's stay: what it has asked for lately is among them.
func (c *client) settle() {
	if c.busy != nil && c.role == Camera && c.busy.idle() {
		c.busy = nil
	}
}

func (c *client) pending() *pending {
	if c.busy == nil {
		return nil
	}
	return c.busy.pending
}

// proxy is how a device visits from another node; nil: it does not.
func (c *client) proxy() *Proxy {
	if c.busy == nil {
		return nil
	}
	return c.busy.proxy
}

func (c *client) ties() []*side {
	if c.busy == nil {
		return nil
	}
	return c.busy.ties
}

func (c *client) ends() []*relayEnd {
	if c.busy == nil {
		return nil
	}
	return c.busy.ends
}

// uid is the device's name.
func (c *client) uid() identity.UID { return c.key.UID() }

// here says whether a device has a session with this node.
func (c *client) here() bool { return c.crypt.LocalIndex() != 0 }

// online says whether a device can be told something, here or by its node.
func (c *client) online() bool { return c.here() || c.proxy() != nil }

// endpoint is where a device has been seen to receive; zero: it is offline.
func (c *client) endpoint() netip.AddrPort {
	if !c.online() {
		return netip.AddrPort{}
	}
	return c.remote
}

// trip is the round trip to a device; 0: unknown.
func (c *client) trip() time.Duration { return time.Duration(c.rtt) * time.Microsecond }

// setTrip keeps a round trip, of at most an hour.
func (c *client) setTrip(d time.Duration) {
	c.rtt = uint32(min(max(0, d), time.Hour) / time.Microsecond)
}

// known is the record of a device; nil: there is none.
func (s *Server) known(k identity.PublicKey, r Role) *client {
	if id := s.names[r].find(k.UID()); id != 0 {
		return s.slab.at(id)
	}
	return nil
}

// camera is the one of that name that is online here, and no suspect; nil: there is none.
func (s *Server) camera(u identity.UID) *client {
	if id := s.names[Camera].online[u]; id != 0 {
		if c := s.slab.at(id); !s.suspect(c) {
			return c
		}
	}
	return nil
}

// suspect says whether a camera may be a copy, which another node is to judge first.
func (s *Server) suspect(c *client) bool { return c.busy != nil && s.latest < c.busy.suspect }

// client finds or makes the record of a device.
func (s *Server) client(now time.Time, k identity.PublicKey, r Role) (*client, error) {
	u := k.UID()
	if id := s.names[r].find(u); id != 0 {
		return s.slab.at(id), nil
	}
	if r == Viewer && s.queues[queueGuests].n >= s.cfg.MaxGuests {
		s.makeRoom(now, queueGuests)
	}
	if s.slab.used >= s.cfg.MaxRegistrations && !s.makeRoom(now, queueGuests) && !s.makeRoom(now, queueOffline) {
		return nil, errFull
	}
	c := s.slab.get()
	c.key, c.role = k, r
	if s.cfg.Store != nil {
		known, _ := s.cfg.Store.Load(k)
		c.stamp, c.boot = known.Stamp, known.Boot
	}
	s.names[r].away[u] = c.id
	s.rest(c)
	return c, nil
}

// rest queues a device that is not here with others like it. A viewer's key costs nothing, and its owner may make many.
func (s *Server) rest(c *client) {
	if c.role == Viewer {
		s.enqueue(c, queueGuests)
	} else {
		s.enqueue(c, queueOffline)
	}
}

// makeRoom forgets the first in a queue, rather one by whom nothing is relayed; false: there is none.
func (s *Server) makeRoom(now time.Time, k queueKind) bool {
	const tries = 8
	for range tries {
		if c := s.head(k); c != nil && len(c.ends()) > 0 {
			s.enqueue(c, k)
		}
	}
	c := s.head(k)
	if c != nil {
		s.forget(now, c)
	}
	return c != nil
}

// forget makes room: nothing refers to the device afterwards, which is offline.
func (s *Server) forget(now time.Time, c *client) {
	s.dropPending(c)
	s.unwatch(now, c)
	for len(c.ties()) > 0 {
		s.untie(c.busy.ties[0].tie)
	}
	for len(c.ends()) > 0 {
		s.closeRelay(c.busy.ends[0].relay)
	}
	s.endIntros(c)
	s.dequeue(c)
	u := c.uid()
	delete(s.names[c.role].away, u)
	if s.cfg.Store != nil && c.proven && s.names[Camera+Viewer-c.role].find(u) == 0 {
		s.cfg.Store.Forget(c.key)
	}
	s.slab.put(c)
}

// tell sends a message to a device at its endpoint, or by its node; to one that is offline, nowhere.
func (s *Server) tell(c *client, p core.Purpose, m wire.Message) {
	switch proxy := c.proxy(); {
	case c.here():
		s.send(c, s.sockets[c.local], c.remote, p, m)
	case proxy != nil:
		s.cfg.Others.Tell(*proxy, c.key, c.role, m)
	}
}

// socket is the number under which records know one of the server's sockets.
func (s *Server) socket(local netip.AddrPort) uint32 {
	at := slices.Index(s.sockets, local)
	if at < 0 {
		at = len(s.sockets)
		s.sockets = append(s.sockets, local)
	}
	return uint32(at)
}

// heard notes a sign of life.
func (s *Server) heard(now time.Time, c *client) {
	c.last, c.pings = s.at(now), 0
	s.enqueue(c, queueQuiet)
}

// gap is the time between pings to a silent device, so that they fit between its own silence and the expiry.
func (s *Server) gap() time.Duration {
	return min(pingAgain, (s.cfg.Expiry-s.cfg.Keepalive)/serverPings)
}

// patience is the silence after which a device is asked.
func (s *Server) patience() time.Duration { return s.cfg.Expiry - serverPings*s.gap() }

// survey asks devices that have been silent, and lets those go that do not answer: so many at a time that others are served
// meanwhile, also where a million are silent at once because this server was cut off.
func (s *Server) survey(now time.Time) {
	const step = 1000
	for range step {
		c := s.head(queueQuiet)
		if c == nil || s.at(now) < c.last+instant(s.patience()) {
			break
		}
		s.question(now, c)
	}
	for range step {
		c := s.head(queueAsked)
		if c == nil || s.at(now) < c.due {
			break
		}
		s.question(now, c)
	}
}

// question pings a silent device, or lets it go.
func (s *Server) question(now time.Time, c *client) {
	switch {
	case s.ended(now, c):
		s.away(now, c, CauseEnded)
	case c.pings >= serverPings:
		s.away(now, c, CauseSilent)
	default:
		c.pings++
		c.ping++
		c.due = s.at(now) + instant(s.gap())
		s.enqueue(c, queueAsked)
		s.tell(c, core.Keepalive, &wire.Ping{Sequence: uint64(c.ping)})
	}
}

// surveyDue is when survey is wanted.
func (s *Server) surveyDue() (at time.Time) {
	if c := s.head(queueQuiet); c != nil {
		at = s.time(c.last).Add(s.patience())
	}
	if c := s.head(queueAsked); c != nil {
		at = core.Earliest(at, s.time(c.due))
	}
	return at
}

// ended says whether a device's session has lasted as long as one may.
func (s *Server) ended(now time.Time, c *client) bool {
	return s.at(now)-c.started >= instant(session.RejectAfterTime)
}

// away marks a device offline.
func (s *Server) away(now time.Time, c *client, cause Cause) {
	if !c.here() {
		return
	}
	delete(s.byIndex, c.crypt.LocalIndex())
	c.crypt = session.Compact{}
	s.rest(c)
	s.dropProbe(c)
	s.unwatch(now, c)
	u := c.uid()
	delete(s.names[c.role].online, u)
	s.names[c.role].away[u] = c.id
	if cause != CauseDraining { // what is relayed goes on
		s.rebind(c)
	}
	s.save(now, c)
	if c.role == Camera {
		s.stats.Online--
		s.box.Emit(Offline{UID: u, Key: c.key, Cause: cause, Since: s.time(c.since), At: now})
		s.changed(now, u, cause.state(), now)
	} else if s.cfg.Others != nil {
		s.box.Emit(Left{Viewer: c.key})
	}
	if c.busy != nil && !s.suspect(c) {
		c.busy.suspect = 0
	}
	c.settle()
}

// save writes what must outlive a restart.
func (s *Server) save(now time.Time, c *client) {
	if s.cfg.Store != nil {
		s.cfg.Store.Save(c.key, Record{Stamp: c.stamp, Boot: c.boot, LastSeen: now.Unix(), Role: c.role})
	}
}

// probe asks whether a device receives at an address that it has sent size bytes from. No more bytes go there than came. The number
// is random: a device that forges its source address cannot answer for whom it names.
func (s *Server) probe(c *client, from, to netip.AddrPort, size int) *probe {
	a := c.affairs()
	if a.probe == nil || a.probe.to != from {
		a.probe = &probe{to: from, number: s.random()}
	}
	p := a.probe
	p.credit += size
	b, err := wire.Marshal(&wire.Ping{Sequence: p.number})
	if err != nil || p.number == 0 {
		return p
	}
	if cost := len(b) + session.TransportOverhead; cost <= p.credit {
		p.credit -= cost
		s.seal(&c.crypt, to, from, core.Keepalive, b)
	}
	return p
}

func (s *Server) dropProbe(c *client) {
	if c.busy != nil {
		c.busy.probe = nil
	}
}

// pong moves the endpoint where it answers a probe from the address probed.
func (s *Server) pong(now time.Time, c *client, from, to netip.AddrPort, m *wire.Pong) {
	if p := c.pending(); p != nil && p.challenge != 0 && m.Sequence == p.challenge {
		s.duplicated(now, c, p)
	}
	if q := c.challenge(); q != nil && m.Sequence == q.number {
		q.answered = now
	}
	if c.busy == nil || c.busy.probe == nil {
		return
	}
	p := c.busy.probe
	if p.number == 0 || m.Sequence != p.number || from != p.to || !from.IsValid() {
		return
	}
	s.dropProbe(c)
	old := c.remote
	c.remote, c.local = from, s.socket(to)
	s.rebind(c)
	s.box.Emit(Moved{UID: c.uid(), From: old, To: from, At: now})
	s.moved(now, c)
	if p.asked != nil {
		s.again(now, c, from, p.asked)
	}
	c.settle()
}

// Release lets a camera go that has registered at another node, which stands in for this one from now on.
func (s *Server) Release(now time.Time, camera identity.PublicKey) {
	s.box.Begin()
	if c := s.known(camera, Camera); c != nil {
		s.away(now, c, CauseElsewhere)
	}
}
