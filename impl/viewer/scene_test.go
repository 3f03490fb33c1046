package viewer

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/media"
	"github.com/punchlab/punchlab/impl/session"
	"github.com/punchlab/punchlab/impl/wire"
)

var (
	epoch      = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	rendezvous = netip.MustParseAddrPort("203.0.113.1:3478")
	cameraSeen = netip.MustParseAddrPort("198.51.100.1:20000") // where the rendezvous saw the camera
	cameraElse = netip.MustParseAddrPort("198.51.100.1:30000")
	local      = netip.MustParseAddrPort("10.0.0.2:5000")
	me         = netip.MustParseAddrPort("192.0.2.1:20000")
)

func random(n byte) io.Reader { return rand.NewChaCha8([32]byte{n}) }

func home() []netip.AddrPort { return []netip.AddrPort{rendezvous} }

func key(t testing.TB, n byte) identity.Key {
	k, err := identity.NewKey(random(n))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// scene is a viewer with a rendezvous and a camera that do as the test says.
type scene struct {
	t        testing.TB
	v        *Viewer
	now      time.Time
	home     *session.Session // the rendezvous'
	label    identity.Label
	connect  *wire.Connect
	hello    *wire.Hello
	cam      *session.Session
	response []byte
	sender   *media.Sender
	welcome  wire.Welcome
	said     []any
}

// newScene logs the viewer in.
func newScene(t testing.TB) *scene {
	t.Helper()
	s := &scene{t: t, now: epoch, label: identity.Label{Key: key(t, 3).Public(), RendezvousKey: key(t, 2).Public(), Secret: identity.Secret{1}}}
	v, err := New(Config{Static: key(t, 1), Rendezvous: []netip.AddrPort{rendezvous}, RendezvousKey: key(t, 2).Public(), Rand: random(4)})
	if err != nil {
		t.Fatal(err)
	}
	s.v = v
	s.welcome = wire.Welcome{Profile: wire.ProfileAES128GCM, PayloadType: media.DefaultPayloadType, ClockRate: 90000}
	s.must(v.Start(s.now))
	r, err := session.NewResponder(session.Config{Static: key(t, 2), Rand: random(5), Prologue: []byte(core.PrologueRendezvous)})
	s.must(err)
	req, _, err := r.Open(s.now, me, false, s.packets()[0].B)
	s.must(err)
	var answer []byte
	s.home, answer, err = req.Accept(s.marshal(&wire.LoggedIn{Endpoint: wire.At(me), Expiry: 35}))
	s.must(err)
	s.now = s.now.Add(20 * time.Millisecond)
	s.give(rendezvous, answer)
	return s
}

func (s *scene) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *scene) marshal(m wire.Message) []byte {
	s.t.Helper()
	b, err := wire.Marshal(m)
	s.must(err)
	return b
}

func (s *scene) packets() (ps []core.Packet) {
	out := s.v.Ready()
	s.said = append(s.said, out.Events...)
	for _, p := range out.Packets {
		p.B = bytes.Clone(p.B)
		ps = append(ps, p)
	}
	return ps
}

func (s *scene) give(from netip.AddrPort, b []byte) []core.Packet {
	s.v.HandlePacket(s.now, from, local, bytes.Clone(b))
	return s.packets()
}

// fromHome hands over a message of the rendezvous.
func (s *scene) fromHome(m wire.Message) []core.Packet {
	return s.give(rendezvous, s.home.Seal(nil, s.marshal(m)))
}

// fromCamera hands over a sealed message of the camera's.
func (s *scene) fromCamera(from netip.AddrPort, m wire.Message) []core.Packet {
	return s.give(from, s.cam.Seal(nil, s.marshal(m)))
}

// ask calls Connect and opens what the viewer sends, as the rendezvous and the camera would.
func (s *scene) ask(strategy string) {
	s.t.Helper()
	s.must(s.v.Connect(s.now, s.label, strategy))
	ps := s.packets()
	plain, err := s.home.Open(nil, ps[len(ps)-1].B)
	s.must(err)
	m, err := wire.Unmarshal(plain)
	s.must(err)
	s.connect = m.(*wire.Connect)
	r, err := session.NewResponder(session.Config{Static: key(s.t, 3), Rand: random(6), Prologue: []byte(core.PrologueCamera)})
	s.must(err)
	req, _, err := r.Open(s.now, me, false, s.connect.Noise1)
	s.must(err)
	m, err = wire.Unmarshal(req.Payload())
	s.must(err)
	s.hello = m.(*wire.Hello)
	s.cam, s.response, err = req.Accept(s.marshal(&s.welcome))
	s.must(err)
	s.sender, err = media.NewSender(media.SenderConfig{Keys: media.NewKeys(s.cam.Export)})
	s.must(err)
}

// frame makes the packets of the n-th access unit.
func (s *scene) frame(n int) [][]byte {
	s.t.Helper()
	ps, err := s.sender.Packetize(nil, s.now, media.EmbeddedClip().At(n))
	s.must(err)
	var out [][]byte
	for _, p := range ps {
		out = append(out, bytes.Clone(p))
	}
	return out
}

func (s *scene) advance(d time.Duration) (ps []core.Packet) {
	end := s.now.Add(d)
	for {
		at := s.v.Deadline()
		if at.IsZero() || at.After(end) {
			break
		}
		s.now = at
		s.v.HandleTimeout(at)
		ps = append(ps, s.packets()...)
	}
	s.now = end
	return ps
}

func last[E any](s *scene) (e E, ok bool) {
	for _, x := range s.said {
		if x, is := x.(E); is {
			e, ok = x, true
		}
	}
	return e, ok
}

func to(ps []core.Packet, addr netip.AddrPort, kind wire.Kind) (n int) {
	for _, p := range ps {
		if p.To == addr && wire.Classify(p.B) == kind {
			n++
		}
	}
	return n
}
