package attack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/session"
	"github.com/punchlab/punchlab/impl/wire"
	"github.com/punchlab/punchlab/lab"
)

// RogueRendezvous holds a rendezvous' key and serves its devices, but tells them what it likes: R as impl/PROTOCOL.md §18 has
// it ("a dishonest R"). It keeps sessions, introduces, and nothing else: no relay, no STUN, no streams.
type RogueRendezvous struct {
	Key     identity.Key
	Port    uint16 // 0: 4479
	Lie     Lie    // nil: it tells the truth
	Peer    func(truth wire.Peer) wire.Peer
	Secrets []Secret // that it looks for in what passes
	Seed    uint64
	Ready   func() // called once it serves; nil: nobody asks
	// Hear is given each message that a device says in its session; nil: nobody is. It must not block, nor keep m.
	Hear func(from identity.PublicKey, m wire.Message)
}

// Told is something that a rogue rendezvous tells a camera.
type Told struct {
	To        identity.PublicKey // whose key registered here
	Introduce wire.Introduce     // an ID of 0 becomes one of its own
	After     time.Duration
}

// Lie is what cameras are told when a viewer asks for one. truth.ID is 0. random is the rogue's.
type Lie func(camera, viewer identity.PublicKey, truth wire.Introduce, random io.Reader) ([]Told, error)

// PointAt names a false viewer endpoint, so that the camera sends to a third party.
func PointAt(victim netip.AddrPort) Lie {
	return func(camera, _ identity.PublicKey, truth wire.Introduce, _ io.Reader) ([]Told, error) {
		truth.Endpoint = wire.At(victim)
		return []Told{{To: camera, Introduce: truth}}, nil
	}
}

// Repeat tells the truth, and again n times as if the viewer had asked again: with the initiation that was captured.
func Repeat(n int, gap time.Duration) Lie {
	return func(camera, _ identity.PublicKey, truth wire.Introduce, _ io.Reader) (all []Told, err error) {
		for i := range n + 1 {
			all = append(all, Told{To: camera, Introduce: truth, After: time.Duration(i) * gap})
		}
		return all, nil
	}
}

// HandOver brings the viewer to an impostor in the camera's place, and the viewer's initiation, which nobody has used yet, to the
// camera as if the viewer were at the impostor's address.
func HandOver(impostor identity.PublicKey, at netip.AddrPort) Lie {
	return func(camera, _ identity.PublicKey, truth wire.Introduce, _ io.Reader) ([]Told, error) {
		stolen := truth
		stolen.Endpoint = wire.At(at)
		return []Told{{To: impostor, Introduce: truth}, {To: camera, Introduce: stolen}}, nil
	}
}

// Substitute hands the camera an initiation of the rogue's own in place of the viewer's.
func Substitute() Lie {
	return func(camera, _ identity.PublicKey, truth wire.Introduce, random io.Reader) (all []Told, err error) {
		truth.Noise1, err = initiation(ToCamera, camera, random)
		return []Told{{To: camera, Introduce: truth}}, err
	}
}

// Name returns "rogue-rendezvous".
func (a *RogueRendezvous) Name() string { return "rogue-rendezvous" }

// defaultPort is the rendezvous'.
const defaultPort = 4479

// Run serves. The host's first address is the rendezvous'.
func (a *RogueRendezvous) Run(ctx context.Context, m *lab.Machine, b Budget) (Report, error) {
	r, err := enter(a, m, b)
	if err != nil {
		return r, err
	}
	s, err := newRogue(a, &r)
	if err != nil {
		return r, fmt.Errorf("rogue-rendezvous: %w", err)
	}
	err = serve(ctx, m, b, served{core: s, at: listenAt(m, a.Port), ready: a.Ready}, &r)
	return r, errors.Join(err, s.broken)
}

func listenAt(m *lab.Machine, port uint16) netip.AddrPort {
	if port == 0 {
		port = defaultPort
	}
	return netip.AddrPortFrom(m.Addr(), port)
}

// rogue is a RogueRendezvous without I/O.
type rogue struct {
	*RogueRendezvous
	report    *Report
	find      searcher
	box       core.Outbox
	random    io.Reader
	draw      *rand.Rand
	responder *session.Responder
	asCamera  *session.Responder       // opens what is meant for a camera, if its key will do
	answered  map[[16]byte][]byte      // responses, by the initiation's id
	sessions  map[uint32]*client       // by local index
	online    map[identity.UID]*client // cameras
	due       []due
	broken    error
}

// client is a device that a rogue serves.
type client struct {
	session *session.Session
	key     identity.PublicKey
	at      netip.AddrPort
	camera  bool
	asked   map[uint64]bool
}

type due struct {
	at   time.Time
	to   *client
	tell wire.Message
}

func newRogue(a *RogueRendezvous, r *Report) (s *rogue, err error) {
	random := seeded(a.Seed)
	s = &rogue{
		RogueRendezvous: a, report: r, random: random, draw: rand.New(seeded(a.Seed + 1)),
		answered: map[[16]byte][]byte{}, sessions: map[uint32]*client{}, online: map[identity.UID]*client{},
	}
	if s.find, err = newSearcher(a.Secrets); err != nil {
		return nil, err
	}
	c := session.Config{
		Static: a.Key, Rand: random, Prologue: []byte(core.PrologueRendezvous), Taken: func(i uint32) bool { return s.sessions[i] != nil },
	}
	if s.responder, err = session.NewResponder(c); err != nil {
		return nil, err
	}
	c.Prologue = []byte(core.PrologueCamera)
	s.asCamera, err = session.NewResponder(c)
	return s, err
}

func (s *rogue) HandlePacket(now time.Time, from, _ netip.AddrPort, b []byte) {
	s.box.Begin()
	s.find.look(b, "a datagram to the rendezvous", s.report)
	switch kind := wire.Classify(b); kind {
	case wire.Initiation:
		s.greet(now, from, b)
	case wire.Transport:
		s.hear(now, from, b)
	default:
		s.report.Counts["dropped: "+kind.String()]++
	}
}

// greet opens a session with whoever asks.
func (s *rogue) greet(now time.Time, from netip.AddrPort, b []byte) {
	if id, ok := session.InitiationID(b); ok && s.answered[id] != nil {
		s.box.Send(netip.AddrPort{}, from, core.Signal, s.answered[id])
		return
	}
	q, _, err := s.responder.Open(now, from, false, b)
	if err != nil {
		s.report.Counts["dropped: "+core.Reason(err)]++
		return
	}
	m, err := wire.Unmarshal(q.Payload())
	c := &client{key: q.Peer(), at: from, asked: map[uint64]bool{}}
	var answer wire.Message
	switch m.(type) {
	case *wire.Register:
		c.camera, answer = true, &wire.Registered{Endpoint: wire.At(from), Keepalive: 15, Expiry: 30}
	case *wire.Login:
		answer = &wire.LoggedIn{Endpoint: wire.At(from), Expiry: 30}
	default:
		s.report.Counts["dropped: "+core.Reason(err)]++
		return
	}
	payload, err := wire.Marshal(answer)
	if err != nil {
		s.broken = err
		return
	}
	var response []byte
	if c.session, response, err = q.Accept(payload); err != nil {
		s.broken = err
		return
	}
	s.answered[q.ID()], s.sessions[c.session.LocalIndex()] = response, c
	s.box.Send(netip.AddrPort{}, from, core.Signal, response)
}

// hear takes what a device says in its session.
func (s *rogue) hear(now time.Time, from netip.AddrPort, b []byte) {
	index, _ := session.ReceiverIndex(b)
	c := s.sessions[index]
	if c == nil {
		return
	}
	plain, err := c.session.Open(nil, b)
	if err != nil {
		return
	}
	if c.at = from; c.camera {
		s.online[c.key.UID()] = c
	}
	s.find.look(plain, "what the rendezvous is told", s.report)
	m, err := wire.Unmarshal(plain)
	if err != nil {
		return
	}
	if s.Hear != nil {
		s.Hear(c.key, m)
	}
	switch m := m.(type) {
	case *wire.Ping:
		s.say(c, &wire.Pong{Sequence: m.Sequence, Endpoint: wire.At(from)})
	case *wire.Report:
		s.say(c, &wire.Reported{Sequence: m.Sequence})
	case *wire.Connect:
		s.introduce(now, c, m)
	case *wire.IntroduceAck:
		if m.Code == 0 {
			s.report.Counts["introductions that a camera took"]++
		} else {
			s.report.Counts["introductions that a camera refused: "+m.Code.String()]++
		}
	case *wire.Again:
		s.say(c, &wire.Refused{ID: m.ID, Code: wire.CodeUnavailable})
	}
}

// introduce tells the viewer where the camera is, and cameras what the lie is.
func (s *rogue) introduce(now time.Time, viewer *client, m *wire.Connect) {
	camera := s.online[m.Camera]
	if camera == nil {
		s.say(viewer, &wire.Refused{ID: m.ID, Code: wire.CodeUnavailable})
		return
	}
	if viewer.asked[m.ID] {
		return
	}
	viewer.asked[m.ID] = true
	s.report.Counts["introductions"]++
	s.pry(now, viewer, m.Noise1)
	truth := wire.Introduce{Endpoint: wire.At(viewer.at), Noise1: append([]byte(nil), m.Noise1...)}
	tell := []Told{{To: camera.key, Introduce: truth}}
	if s.Lie != nil {
		var err error
		if tell, err = s.Lie(camera.key, viewer.key, truth, s.random); err != nil {
			s.broken = err
			return
		}
	}
	for _, t := range tell {
		if t.Introduce.ID == 0 {
			t.Introduce.ID = s.draw.Uint64() | 1
		}
		if to := s.online[t.To.UID()]; to != nil {
			s.due = append(s.due, due{now.Add(t.After), to, &t.Introduce})
		}
	}
	peer := wire.Peer{ID: m.ID, Endpoint: wire.At(camera.at)}
	if s.Peer != nil {
		peer = s.Peer(peer)
	}
	s.say(viewer, &peer)
	s.flush(now)
}

// pry tries whether what a viewer says to a camera opens with what the rendezvous has.
func (s *rogue) pry(now time.Time, viewer *client, noise1 []byte) {
	if q, _, err := s.asCamera.Open(now, viewer.at, false, noise1); err == nil {
		s.report.Gained = append(s.report.Gained, fmt.Sprintf("a Hello of %d bytes opened with the rendezvous' key", len(q.Payload())))
	}
}

func (s *rogue) say(c *client, m wire.Message) {
	b, err := wire.Marshal(m)
	if err != nil {
		s.broken = fmt.Errorf("rogue-rendezvous: %T: %w", m, err)
		return
	}
	s.box.Send(netip.AddrPort{}, c.at, core.Signal, c.session.Seal(nil, b))
}

func (s *rogue) flush(now time.Time) {
	left := s.due[:0]
	for _, d := range s.due {
		if core.Due(now, d.at) {
			s.say(d.to, d.tell)
		} else {
			left = append(left, d)
		}
	}
	s.due = left
}

func (s *rogue) HandleTimeout(now time.Time) {
	s.box.Begin()
	s.flush(now)
}

func (s *rogue) Deadline() (next time.Time) {
	for _, d := range s.due {
		next = core.Earliest(next, d.at)
	}
	return next
}

func (s *rogue) Ready() core.Output { return s.box.Ready() }
