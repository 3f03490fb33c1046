package rendezvous

import (
	"container/list"
	"errors"
	"io"
	"net/netip"
	"time"

	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/session"
	"github.com/punchlab/punchlab/impl/wire"
)

// Server is a rendezvous.
type Server struct {
	cfg       Config
	box       core.Outbox
	responder *session.Responder
	timers    timers

	base    time.Time // of instants
	latest  instant
	slab    slab
	queues  [queues]queue
	names   [Viewer + 1]directory
	byIndex map[uint32]uint32 // of sessions, pending ones too
	sockets []netip.AddrPort  // that devices speak to
	makers  makers
	watched map[identity.UID]*watched
	intros  map[uint64]*intro
	relays  map[relayKey]*relayEnd
	ties    list.List // of *tie, the longest unused first
	relayed bucket    // of all relays, bytes

	discovery discovery
	load      load
	pending   int // sessions that wait for confirmation
	nrelays   int
	nwatches  int
	unknown   bucket // cameras asked for that are not online, by all viewers
	misses    shares // of unknown
	lookups   bucket // cameras named in watches, by all viewers
	denials   bucket // events
	recheck   walk
	drain     drain
	stats     Stats
}

// Stats counts since New.
type Stats struct {
	Traffic       core.Traffic
	Dropped       core.Drops // packets, by reason
	Handshakes    int64
	Cookies       int64
	Online        int // cameras now
	Registrations int // devices remembered now
	Introductions int64
	Refused       int64 // of them
	Relays        int   // now
	RelayedBytes  int64 // payload, without framing
	RelayedFrames int64
	OverQuota     int64 // frames
	Bindings      int64 // STUN requests answered
	Samples       int64 // passed on
	Ties          int   // now
	Denied        int64 // devices that were not admitted
	Duplicates    int64 // of them, those that hold the key of another one
	Watches       int   // now: cameras that viewers watch, each counted for each viewer
	Presences     int64 // messages that told of them
}

// New returns a server.
func New(cfg Config) (*Server, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Server{
		cfg: cfg, byIndex: map[uint32]uint32{}, watched: map[identity.UID]*watched{},
		intros: map[uint64]*intro{}, relays: map[relayKey]*relayEnd{},
		stats: Stats{Dropped: core.Drops{}},
	}
	for _, r := range []Role{Camera, Viewer} {
		s.names[r] = directory{online: map[identity.UID]uint32{}, away: map[identity.UID]uint32{}}
	}
	s.responder, err = session.NewResponder(session.Config{
		Static: cfg.Static, Rand: cfg.Rand, Prologue: []byte(core.PrologueRendezvous),
		Taken: func(i uint32) bool { return s.byIndex[i] != 0 },
	})
	if err == nil {
		_, err = io.ReadFull(cfg.Rand, s.misses.seed[:])
	}
	return s, err
}

// HandlePacket takes a datagram.
func (s *Server) HandlePacket(now time.Time, from, to netip.AddrPort, b []byte) {
	s.box.Begin()
	var err error
	switch wire.Classify(b) {
	case wire.ChannelData:
		err = s.relay(now, from, to, b)
	case wire.Transport:
		err = s.transport(now, from, to, b)
	case wire.Initiation:
		err = s.initiation(now, from, to, b)
	case wire.STUN:
		err = s.stun(now, from, to, b)
	default:
		err = s.datagram(now, from, b)
	}
	if err != nil {
		s.stats.Dropped.Count(err)
	}
}

// HandleTimeout does what is due.
func (s *Server) HandleTimeout(now time.Time) {
	s.box.Begin()
	s.timers.run(now)
	s.survey(now)
	s.walkOn(now)
	s.drainOn(now)
}

// Deadline is when HandleTimeout is wanted.
func (s *Server) Deadline() time.Time {
	at := core.Earliest(s.timers.deadline(), s.surveyDue())
	return core.Earliest(core.Earliest(at, s.recheck.due), s.drain.due)
}

// Ready returns what is to be sent and was noticed.
func (s *Server) Ready() core.Output { return s.box.Ready() }

// Stats returns the counts so far.
func (s *Server) Stats() Stats {
	st := s.stats
	st.Traffic = s.box.Traffic()
	st.Dropped = core.Drops{}
	for k, v := range s.stats.Dropped {
		st.Dropped[k] = v
	}
	st.Registrations = s.slab.used
	st.Watches = s.nwatches
	st.Relays = s.nrelays
	st.Ties = s.ties.Len()
	return st
}

// Why packets are dropped, beside what session and wire say.
var (
	errKind      = errors.New("not a datagram for a rendezvous")
	errOld       = errors.New("initiation is not newer than the last")
	errFull      = errors.New("no room for another device")
	errSession   = errors.New("unknown session")
	errSource    = errors.New("from an address that is not validated")
	errUnasked   = errors.New("message that nobody asked for")
	errChannel   = errors.New("channel is not bound to this address")
	errQuota     = errors.New("relay quota used up")
	errIntro     = errors.New("unknown introduction")
	errNotReady  = errors.New("the other party of the relay is away")
	errTie       = errors.New("unknown connection")
	errSample    = errors.New("sample from another address than the device's")
	errRate      = errors.New("too many samples for one connection")
	errLoad      = errors.New("more handshakes than are taken in a second")
	errContest   = errors.New("its key's holder is asked first")
	errDismissed = errors.New("it is not served any more")
	errWatches   = errors.New("too many cameras asked for in a short time")
)

// transport opens a sealed message.
func (s *Server) transport(now time.Time, from, to netip.AddrPort, b []byte) error {
	index, _ := session.ReceiverIndex(b)
	id := s.byIndex[index]
	if id == 0 {
		return errSession
	}
	c := s.slab.at(id)
	if p := c.pending(); p != nil && p.crypt.LocalIndex() == index {
		return s.unconfirmed(now, c, p, from, to, b)
	}
	if s.ended(now, c) {
		s.away(now, c, CauseEnded)
		return session.ErrExpired
	}
	m, err := s.open(&c.crypt, b)
	if err != nil {
		return err
	}
	return s.received(now, c, from, to, m, len(b))
}

// open opens and decodes a sealed message.
func (s *Server) open(x *session.Compact, b []byte) (wire.Message, error) {
	plain, err := x.Open(nil, b)
	if err != nil {
		return nil, err
	}
	return wire.Unmarshal(plain)
}

// received takes an authentic message of size bytes of a device that is online.
func (s *Server) received(now time.Time, c *client, from, to netip.AddrPort, m wire.Message, size int) error {
	if m, ok := m.(*wire.Sample); ok { // it says nothing about the device's endpoint, and gets no answer
		return s.sample(now, c, from, m)
	}
	s.heard(now, c)
	if _, pong := m.(*wire.Pong); !pong && (from != c.remote || to != s.sockets[c.local]) {
		return s.elsewhere(now, c, from, to, m, size)
	}
	return s.message(now, c, from, to, m)
}

// elsewhere takes a message that came from an address, or to a socket, that is not the device's endpoint.
func (s *Server) elsewhere(now time.Time, c *client, from, to netip.AddrPort, m wire.Message, size int) error {
	p := s.probe(c, from, to, size)
	switch m := m.(type) {
	case *wire.Ping, *wire.Connect, *wire.Report: // the answer, or the camera, would go to an address that nobody vouches for
		return errSource
	case *wire.Again: // once the probe is answered
		p.asked = m
		return nil
	}
	return s.message(now, c, from, to, m)
}

// message does what a device asks for.
func (s *Server) message(now time.Time, c *client, from, to netip.AddrPort, m wire.Message) error {
	switch m := m.(type) {
	case *wire.Ping:
		s.send(c, to, from, core.Keepalive, &wire.Pong{Sequence: m.Sequence, Endpoint: wire.At(from)})
	case *wire.Pong:
		s.pong(now, c, from, to, m)
	case *wire.Goodbye:
		s.away(now, c, CauseGoodbye)
	case *wire.Connect:
		if c.role != Viewer {
			return errUnasked
		}
		s.connect(now, c, from, m)
	case *wire.IntroduceAck:
		return s.acknowledged(now, c, m)
	case *wire.Report:
		s.report(c, m)
	case *wire.Again:
		s.again(now, c, from, m)
	case *wire.LocatedAck:
		return s.located(now, c, from, m)
	case *wire.Watch:
		return s.watch(now, c, m)
	case *wire.PresenceAck:
		return s.presenceAck(now, c, m)
	default:
		return errUnasked
	}
	return nil
}

// send seals a message to a device that is here.
func (s *Server) send(c *client, from, to netip.AddrPort, p core.Purpose, m wire.Message) {
	if s.latest-c.started >= instant(session.RejectAfterTime) {
		s.stats.Dropped.Count(session.ErrExpired)
		return
	}
	s.sendBy(&c.crypt, from, to, p, m)
}

// sendBy seals a message by a session.
func (s *Server) sendBy(x *session.Compact, from, to netip.AddrPort, p core.Purpose, m wire.Message) {
	b, err := wire.Marshal(m)
	if err != nil { // a programmer's mistake, but no reason to stop serving everybody
		s.stats.Dropped.Count(err)
		return
	}
	s.seal(x, from, to, p, b)
}

// seal sends a message unless the session's counters are used up.
func (s *Server) seal(x *session.Compact, from, to netip.AddrPort, p core.Purpose, b []byte) {
	if sealed := x.Seal(s.box.Room(len(b)+session.TransportOverhead), b); sealed != nil {
		s.box.Send(from, to, p, sealed)
	}
}
