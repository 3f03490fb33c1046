package rendezvous

import (
	"errors"
	"net/netip"
	"slices"
	"time"

	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/wire"
)

// A connection's home is the node that serves its camera. There the viewer, if another node serves it, is a proxy:
//
//	viewer ──► its node ── Others.Ask ──► home: Visit ──► camera
//	       ◄── Told     ◄── Others.Tell ──
//	       ◄── Carried  ◄── Others.Frame ── frames, both ways, between channels that either node has given out
//
// Neither device sees more than its own node. A tie that its home has lost with its life is restored elsewhere from what the
// nodes keep of it (Tied, Tie).

// Visit is a device that another node serves, and what it says.
type Visit struct {
	Device     identity.PublicKey
	Role       Role
	Stamp      uint64 // of its handshake there: of two nodes that serve it the one with the greater stamp does so now
	Proxy      Proxy
	Class      wire.Class
	Candidates []wire.Endpoint
	Tie        *Tie           // what its message is about, where the nodes know that; nil otherwise
	From       netip.AddrPort // where its message came from
	Message    wire.Message   // *wire.Connect, *wire.Again, *wire.Sample or *wire.LocatedAck; nil: none
}

// Datagrams is what Others may be besides: it takes datagrams that come to the server's sockets from other nodes.
type Datagrams interface {
	// Datagram takes one whose first byte is TypeNode. b may be written to, and must not change after it was handed to Carried.
	Datagram(now time.Time, from netip.AddrPort, b []byte) error
}

// TypeNode is the first byte of datagrams between nodes: unassigned on the shared port (RFC 9443 §3), and nothing that a device
// takes.
const TypeNode byte = 9

// Left says that a viewer is not served here any more. Without Config.Others it is not emitted.
type Left struct{ Viewer identity.PublicKey }

var (
	errElsewhere = errors.New("from a node that the device has left")
	errStranger  = errors.New("from a node about a device that it does not serve")
)

// datagram hands over what another node sent.
func (s *Server) datagram(now time.Time, from netip.AddrPort, b []byte) error {
	d, ok := s.cfg.Others.(Datagrams)
	if !ok || len(b) == 0 || b[0] != TypeNode {
		return errKind
	}
	return d.Datagram(now, from, b)
}

// ToNode sends a datagram of at most n bytes to another node, as write appends it to what it is given. It is for Others, while
// it is called by the core.
func (s *Server) ToNode(to netip.AddrPort, n int, write func([]byte) []byte) {
	s.box.Send(netip.AddrPort{}, to, core.Forward, write(s.box.Room(n)))
}

// Describe is a device that is served here, as another node needs to know it; false: it is not. Proxy.Node is left empty.
func (s *Server) Describe(device identity.PublicKey, role Role) (v Visit, ok bool) {
	c := s.known(device, role)
	if c == nil || !c.here() {
		return v, false
	}
	return Visit{
		Device: device, Role: role, Stamp: c.stamp, Proxy: Proxy{Endpoint: c.endpoint(), RTT: c.trip()},
		Class: c.class, Candidates: unpack(c.candidates), From: c.endpoint(),
	}, true
}

// Visit takes what another node says of a device that it serves, and does what the device asks for.
func (s *Server) Visit(now time.Time, v Visit) error {
	s.box.Begin()
	c, err := s.visitor(now, v)
	if err != nil {
		return err
	}
	if v.Tie != nil {
		s.restore(now, *v.Tie)
	}
	return s.asks(now, c, v.From, v.Message)
}

// Resume is Visit for a device that is served here: its message is about a connection that was lost with its home, and goes on
// here.
func (s *Server) Resume(now time.Time, t Tie, device identity.PublicKey, role Role, from netip.AddrPort, m wire.Message) error {
	s.box.Begin()
	c := s.known(device, role)
	if c == nil || !c.here() {
		return errNotReady
	}
	if !s.restore(now, t) {
		s.refuse(c, ownID(m), wire.CodeUnavailable)
		return nil
	}
	return s.asks(now, c, from, m)
}

// ownID is the id by which a device knows the connection that its message is about.
func ownID(m wire.Message) uint64 {
	switch m := m.(type) {
	case *wire.Connect:
		return m.ID
	case *wire.Again:
		return m.ID
	case *wire.Sample:
		return m.ID
	case *wire.LocatedAck:
		return m.ID
	}
	return 0
}

func (s *Server) asks(now time.Time, c *client, from netip.AddrPort, m wire.Message) error {
	switch m := m.(type) {
	case nil:
	case *wire.Connect:
		if c.role != Viewer {
			return errUnasked
		}
		s.connect(now, c, from, m)
	case *wire.Again:
		s.again(now, c, from, m)
	case *wire.Sample:
		return s.sample(now, c, from, m)
	case *wire.LocatedAck:
		return s.located(now, c, from, m)
	default:
		return errUnasked
	}
	return nil
}

// visitor makes a device one that another node serves. It stays among those that are offline, so that it makes room for
// others like them.
func (s *Server) visitor(now time.Time, v Visit) (*client, error) {
	if v.Stamp < s.stamp(s.known(v.Device, v.Role), v.Device) {
		return nil, errElsewhere
	}
	c, err := s.client(now, v.Device, v.Role)
	if err != nil {
		return nil, err
	}
	if c.here() {
		if v.Stamp == c.stamp {
			return nil, errElsewhere
		}
		s.away(now, c, CauseElsewhere)
	}
	if v.Stamp > c.stamp {
		c.stamp = v.Stamp
		s.save(now, c)
	}
	p := v.Proxy
	moved := c.proxy() == nil || *c.proxy() != p
	c.affairs().proxy, c.proven = &p, true
	c.remote, c.class, c.candidates = p.Endpoint, v.Class, pack(v.Candidates)
	c.setTrip(p.RTT)
	s.rest(c)
	if moved {
		s.rebind(c)
		s.moved(now, c)
	}
	return c, nil
}

// Leave takes that a node does not serve a device any more.
func (s *Server) Leave(now time.Time, node string, device identity.PublicKey, role Role) {
	s.box.Begin()
	if c := s.known(device, role); c != nil && c.proxy() != nil && c.proxy().Node == node {
		c.busy.proxy = nil
		s.rebind(c)
	}
}

// NodeGone takes that a node has ended: it serves nobody any more.
func (s *Server) NodeGone(now time.Time, node string) {
	s.box.Begin()
	for _, c := range s.slab.all(0) {
		if c.proxy() != nil && c.proxy().Node == node {
			c.busy.proxy = nil
			s.rebind(c)
		}
	}
}

// restore makes a connection one that the core knows, with the parties that it has now; false: one of them is not here.
func (s *Server) restore(now time.Time, t Tie) bool {
	v, c := s.known(t.Viewer, Viewer), s.known(t.Camera, Camera)
	if v == nil || c == nil || !v.online() || !c.here() {
		return false
	}
	for _, of := range []struct {
		c  *client
		id uint64
	}{{c, t.CameraID}, {v, t.ViewerID}} {
		at := slices.IndexFunc(of.c.ties(), func(d *side) bool { return d.id == of.id })
		if at < 0 {
			continue
		}
		old := of.c.ties()[at].tie
		if old.sides[0].client == v && old.sides[1].client == c && old.names() == t {
			return true
		}
		s.cede(old)
	}
	restored := s.newTie(now, v, c, t.ViewerID, t.CameraID)
	restored.acked = true
	for i := range restored.sides {
		restored.sides[i].sequence = laterSequence(now)
	}
	return true
}

// laterSequence is above those that another node gave to Located before: it grows by two a second, which is as fast as they do
// in the long run.
func laterSequence(now time.Time) uint32 {
	const begin = 1_767_225_600 // 2026
	return uint32(max(0, now.Unix()-begin)) * tellPerSecond
}

// Cede forgets a connection whose home is another node now. Nobody is told.
func (s *Server) Cede(now time.Time, device identity.PublicKey, role Role, id uint64) {
	s.box.Begin()
	c := s.known(device, role)
	if c == nil {
		return
	}
	if at := slices.IndexFunc(c.ties(), func(d *side) bool { return d.id == id }); at >= 0 {
		s.cede(c.ties()[at].tie)
	}
}

func (s *Server) cede(t *tie) {
	if t.relay != nil {
		s.closeRelay(t.relay)
	}
	t.acked = false // so that it is not taken for over
	s.untie(t)
}

// Refuse tells a device that is served here that nobody could do what it asked for.
func (s *Server) Refuse(now time.Time, device identity.PublicKey, role Role, id uint64, code wire.Code) {
	s.box.Begin()
	if c := s.known(device, role); c != nil && c.here() {
		s.refuse(c, id, code)
	}
}

// Found takes that a camera that a viewer asked for is served at another node: the question does not count as one in vain.
func (s *Server) Found(viewer identity.PublicKey) {
	if c := s.known(viewer, Viewer); c != nil && c.busy != nil {
		c.busy.unknown.tokens++
		s.misses.of(c.remote).tokens++
		s.unknown.tokens++
	}
}

// Told takes what another node's core says to a device that is served here.
func (s *Server) Told(now time.Time, node string, device identity.PublicKey, role Role, m wire.Message) error {
	s.box.Begin()
	c := s.known(device, role)
	if c == nil || !c.here() {
		return errStranger
	}
	switch m := m.(type) {
	case *wire.Peer:
		m.Channel = s.relayTo(now, c, node, m.Channel)
	case *wire.Located:
		m.Channel = s.relayTo(now, c, node, m.Channel)
	case *wire.Refused, *wire.Sampled:
	default:
		return errUnasked
	}
	s.tell(c, core.Signal, m)
	return nil
}

// relayTo is the channel by which a device reaches a relay that another node has opened for it with a channel of its own;
// 0: none.
func (s *Server) relayTo(now time.Time, c *client, node string, theirs uint16) uint16 {
	if theirs == 0 || s.cfg.NoRelay {
		return 0
	}
	if e := c.endAt(node, theirs); e != nil {
		e.relay.last = now
		return e.channel
	}
	if s.nrelays >= s.cfg.MaxIntroductions || !s.roomForRelay(now, c) {
		return 0
	}
	ours, ok := c.freeChannel()
	if !ok {
		return 0
	}
	r := &relay{tie: &tie{}, last: now}
	r.tie.relay = r
	// The far end has a record of its own, which stands for the device at the node that opened the relay.
	far := &client{key: c.key, role: c.role, busy: &affairs{proxy: &Proxy{Node: node}}}
	r.ends[0] = relayEnd{relay: r, other: &r.ends[1], client: c, channel: ours}
	r.ends[1] = relayEnd{relay: r, other: &r.ends[0], client: far, channel: theirs}
	for i := range r.ends {
		a := r.ends[i].client.affairs()
		a.ends = append(a.ends, &r.ends[i])
	}
	s.bind(&r.ends[0])
	r.timer.due = func(now time.Time) { s.idle(now, r) }
	s.timers.set(&r.timer, now.Add(s.cfg.RelayIdle))
	s.nrelays++
	return ours
}

// endAt is the device's end of a relay that another node has opened for it.
func (c *client) endAt(node string, theirs uint16) *relayEnd {
	for _, e := range c.ends() {
		if far := e.other.client.proxy(); far != nil && far.Node == node && e.other.client.key == c.key && e.other.channel == theirs {
			return e
		}
	}
	return nil
}

// Carried takes a frame that came by another node, for a relay of a device: with its framing, which has the channel that the
// device has at the node that serves its camera. It is called within Datagrams.Datagram.
func (s *Server) Carried(now time.Time, node string, device identity.PublicKey, role Role, frame []byte) error {
	channel, data, err := wire.ParseChannelData(frame)
	if err != nil {
		return err
	}
	c := s.known(device, role)
	if c == nil {
		return errStranger
	}
	if e := c.endAt(node, channel); e != nil {
		return s.carry(now, e.other, frame, data)
	}
	if c.proxy() == nil || c.proxy().Node != node {
		return errStranger
	}
	for _, e := range c.ends() {
		if e.channel == channel {
			return s.carry(now, e, frame, data)
		}
	}
	return errChannel
}

// Expel sends a camera away that is served here: it is a copy of one that another node serves. Should it come back within a minute,
// it is introduced to nobody until Claimed says that it is the camera after all.
func (s *Server) Expel(now time.Time, camera identity.PublicKey, code wire.Code) {
	s.box.Begin()
	if c := s.known(camera, Camera); c != nil && c.here() {
		s.tell(c, core.Signal, &wire.Goodbye{Code: code})
		c.affairs().suspect = s.at(now) + instant(duelLife)
		c.stamp = 0 // the copy's says nothing of the camera, which it could keep from ever coming here
		s.away(now, c, CauseElsewhere)
	}
}

// Claimed takes that no other node serves a camera.
func (s *Server) Claimed(now time.Time, camera identity.PublicKey) {
	s.box.Begin()
	c := s.known(camera, Camera)
	if c == nil || c.busy == nil || c.busy.suspect == 0 {
		return
	}
	was := s.suspect(c)
	c.busy.suspect = 0
	if c.here() && was {
		s.changed(now, c.uid(), wire.StateOnline, now)
	}
	c.settle()
}

// challenge is a ping by which other nodes learn whether a camera is still there.
type challenge struct {
	number   uint64
	askers   int
	answered time.Time // last
}

// Challenge asks a camera whether it is still there, and returns the number of the question and the round trip that it usually
// takes; 0: it is not served here. Answered tells whether it has answered, and each Challenge is ended by EndChallenge. Several
// that ask at a time share a number.
func (s *Server) Challenge(now time.Time, camera identity.PublicKey) (number uint64, trip time.Duration) {
	s.box.Begin()
	c := s.known(camera, Camera)
	if c == nil || !c.here() {
		return 0, 0
	}
	q := c.challenge()
	if q == nil {
		if number = s.random(); number == 0 {
			return 0, 0
		}
		q = &challenge{number: number}
		c.affairs().challenge = q
	}
	q.askers++
	s.tell(c, core.Keepalive, &wire.Ping{Sequence: q.number})
	return q.number, c.trip()
}

// Answered says whether a camera that is served here has answered a challenge since then. Other words of it are no answer: they
// may have been on their way for long.
func (s *Server) Answered(camera identity.PublicKey, number uint64, since time.Time) bool {
	c := s.known(camera, Camera)
	if c == nil || !c.here() {
		return false
	}
	q := c.challenge()
	return q != nil && q.number == number && !q.answered.Before(since) && !q.answered.IsZero()
}

// EndChallenge ends one Challenge.
func (s *Server) EndChallenge(camera identity.PublicKey) {
	c := s.known(camera, Camera)
	if c == nil {
		return
	}
	if q := c.challenge(); q != nil {
		if q.askers--; q.askers <= 0 {
			c.busy.challenge = nil
			c.settle()
		}
	}
}

// challenge is what other nodes ask a camera; nil: nothing.
func (c *client) challenge() *challenge {
	if c.busy == nil {
		return nil
	}
	return c.busy.challenge
}
