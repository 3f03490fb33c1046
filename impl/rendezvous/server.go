package rendezvous

import (
	"container/list"
	"errors"
	"net/netip"
	"time"

	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/session"
	"github.com/punchlab/punchlab/impl/wire"
)

// pendingLife is how long an unconfirmed session is kept.
const pendingLife = 10 * time.Second

// Server is a rendezvous.
type Server struct {
	cfg       Config
	box       core.Outbox
	responder *session.Responder
	timers    timers

	clients map[clientKey]*client
	byIndex map[uint32]*link
	cameras map[identity.UID]*client
	offline *list.List // of *client, the longest first
	intros  map[uint64]*intro
	relays  map[relayKey]*relayEnd
	ties    list.List // of *tie, the longest unused first
	relayed bucket    // of all relays, bytes

	discovery  discovery
	window     time.Time // handshakes are counted from then, for a second
	handshakes int
	nrelays    int
	stats      Stats
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
}

// New returns a server.
func New(cfg Config) (*Server, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Server{
		cfg: cfg, offline: list.New(),
		clients: map[clientKey]*client{}, byIndex: map[uint32]*link{}, cameras: map[identity.UID]*client{},
		intros: map[uint64]*intro{}, relays: map[relayKey]*relayEnd{},
		stats: Stats{Dropped: core.Drops{}},
	}
	s.responder, err = session.NewResponder(session.Config{
		Static: cfg.Static, Rand: cfg.Rand, Prologue: []byte(core.PrologueRendezvous),
		Taken: func(i uint32) bool { return s.byIndex[i] != nil },
	})
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
}

// Deadline is when HandleTimeout is wanted.
func (s *Server) Deadline() time.Time { return s.timers.deadline() }

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
	st.Registrations = len(s.clients)
	st.Relays = s.nrelays
	st.Ties = s.ties.Len()
	return st
}

// Why packets are dropped, beside what session and wire say.
var (
	errKind     = errors.New("not a datagram for a rendezvous")
	errOld      = errors.New("initiation is not newer than the last")
	errFull     = errors.New("no room for another device")
	errSession  = errors.New("unknown session")
	errSource   = errors.New("from an address that is not validated")
	errUnasked  = errors.New("message that nobody asked for")
	errChannel  = errors.New("channel is not bound to this address")
	errQuota    = errors.New("relay quota used up")
	errIntro    = errors.New("unknown introduction")
	errNotReady = errors.New("the other party of the relay is away")
	errTie      = errors.New("unknown connection")
	errSample   = errors.New("sample from another address than the device's")
	errRate     = errors.New("too many samples for one connection")
)

// underLoad counts a handshake and says whether cookies are due.
func (s *Server) underLoad(now time.Time) bool {
	if now.Sub(s.window) >= time.Second {
		s.window, s.handshakes = now, 0
	}
	s.handshakes++
	return s.cfg.HandshakesPerSecond < 0 || s.handshakes > s.cfg.HandshakesPerSecond
}

// initiation opens a handshake. Retransmissions get the same response again.
func (s *Server) initiation(now time.Time, from, to netip.AddrPort, b []byte) error {
	load := s.underLoad(now)
	req, reply, err := s.responder.Open(now, from, load, b)
	if err != nil {
		return err
	}
	if reply != nil {
		s.stats.Cookies++
		s.box.Send(to, from, core.Handshake, reply)
		return nil
	}
	m, err := wire.Unmarshal(req.Payload())
	if err != nil {
		return err
	}
	role, err := roleOf(m)
	if err != nil {
		return err
	}
	c, err := s.client(clientKey{req.Peer(), role})
	if err != nil {
		return err
	}
	if l := c.pending; l != nil && l.initiation == req.ID() && l.remote == from {
		s.box.Send(l.local, from, core.Handshake, l.response)
		return nil
	}
	if known, ok := s.cfg.Store.Load(req.Peer()); ok && req.Timestamp() <= known.Stamp {
		return errOld
	}
	return s.accept(now, c, req, from, to)
}

func roleOf(m wire.Message) (Role, error) {
	version := uint8(0)
	r := Camera
	switch m := m.(type) {
	case *wire.Register:
		version = m.Version
	case *wire.Login:
		version, r = m.Version, Viewer
	default:
		return 0, errUnasked
	}
	if version != wire.ProtocolVersion {
		return 0, wire.CodeVersion
	}
	return r, nil
}

// accept answers a handshake with a session that is pending until it is confirmed.
func (s *Server) accept(now time.Time, c *client, req *session.Request, from, to netip.AddrPort) error {
	expiry := uint16(s.cfg.Expiry / time.Second)
	var alternate wire.Endpoint
	if other := s.alternate(to); other.IsValid() {
		alternate = wire.At(other)
	}
	var answer wire.Message = &wire.LoggedIn{Endpoint: wire.At(from), Expiry: expiry, Alternate: alternate}
	if c.key.role == Camera {
		answer = &wire.Registered{Endpoint: wire.At(from), Keepalive: uint16(s.cfg.Keepalive / time.Second), Expiry: expiry,
			Alternate: alternate}
	}
	payload, err := wire.Marshal(answer)
	if err != nil {
		return err
	}
	sess, response, err := req.Accept(payload)
	if err != nil {
		return err
	}
	s.cfg.Store.Save(req.Peer(), Record{Stamp: req.Timestamp(), LastSeen: now.Unix(), Role: c.key.role})
	s.stats.Handshakes++
	s.dropPending(c)
	c.pending = &link{client: c, sess: sess, remote: from, local: to, initiation: req.ID(), response: response, started: now}
	s.byIndex[sess.LocalIndex()] = c.pending
	if c.current == nil {
		s.timers.set(&c.timer, now.Add(pendingLife))
	}
	s.box.Send(to, from, core.Handshake, response)
	return nil
}

// transport opens a sealed message.
func (s *Server) transport(now time.Time, from, to netip.AddrPort, b []byte) error {
	index, _ := session.ReceiverIndex(b)
	l := s.byIndex[index]
	if l == nil {
		return errSession
	}
	if age := now.Sub(l.started); age >= session.RejectAfterTime || l.client.pending == l && age >= pendingLife {
		return session.ErrExpired
	}
	plain, err := l.sess.Open(nil, b)
	if err != nil {
		return err
	}
	m, err := wire.Unmarshal(plain)
	if err != nil {
		return err
	}
	if l.client.pending == l {
		if from != l.remote {
			return errSource
		}
		s.confirm(now, l)
	}
	if m, ok := m.(*wire.Sample); ok { // it says nothing about the device's endpoint, and gets no answer
		return s.sample(now, l.client, from, m)
	}
	l.client.heard(now)
	if _, pong := m.(*wire.Pong); !pong && (from != l.remote || to != l.local) {
		return s.elsewhere(now, l, from, to, m, len(b))
	}
	return s.message(now, l, from, to, m)
}

// elsewhere takes a message that came from an address, or to a socket, that is not the device's endpoint.
func (s *Server) elsewhere(now time.Time, l *link, from, to netip.AddrPort, m wire.Message, size int) error {
	s.probe(l, from, to, size)
	switch m := m.(type) {
	case *wire.Ping, *wire.Connect, *wire.Report: // the answer, or the camera, would go to an address that nobody vouches for
		return errSource
	case *wire.Again: // once the probe is answered
		l.asked = m
		return nil
	}
	return s.message(now, l, from, to, m)
}

// message does what a device asks for.
func (s *Server) message(now time.Time, l *link, from, to netip.AddrPort, m wire.Message) error {
	switch m := m.(type) {
	case *wire.Ping:
		s.send(l, to, from, core.Keepalive, &wire.Pong{Sequence: m.Sequence, Endpoint: wire.At(from)})
	case *wire.Pong:
		s.pong(now, l, from, to, m)
	case *wire.Goodbye:
		s.away(now, l.client, CauseGoodbye)
	case *wire.Connect:
		if l.client.key.role != Viewer {
			return errUnasked
		}
		s.connect(now, l.client, from, m)
	case *wire.IntroduceAck:
		return s.acknowledged(now, l.client, m)
	case *wire.Report:
		s.report(l, m)
	case *wire.Again:
		s.again(now, l.client, from, m)
	case *wire.LocatedAck:
		return s.located(now, l.client, from, m)
	default:
		return errUnasked
	}
	return nil
}

// send seals a message to a device.
func (s *Server) send(l *link, from, to netip.AddrPort, p core.Purpose, m wire.Message) {
	b, err := wire.Marshal(m)
	if err != nil { // a programmer's mistake, but no reason to stop serving everybody
		s.stats.Dropped.Count(err)
		return
	}
	s.seal(l, from, to, p, b)
}

// seal sends a message unless the session's counters are used up.
func (s *Server) seal(l *link, from, to netip.AddrPort, p core.Purpose, b []byte) {
	if sealed := l.sess.Seal(nil, b); sealed != nil {
		s.box.Send(from, to, p, sealed)
	}
}
