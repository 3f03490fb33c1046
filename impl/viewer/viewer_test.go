package viewer

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/media"
	"github.com/punchlab/punchlab/impl/punch"
	"github.com/punchlab/punchlab/impl/session"
	"github.com/punchlab/punchlab/impl/wire"
)

// The request says what the viewer knows and wants, and it is repeated until there is an answer.
func TestConnectRequest(t *testing.T) {
	s := newScene(t)
	s.ask("adaptive")
	want := identity.PairingProof(s.label.Secret, key(t, 1).Public(), s.label.Key)
	if s.connect.Camera != s.label.UID() || !s.connect.Relay || s.hello.ID != s.connect.ID || s.hello.Proof != want || s.hello.Flags != 7 {
		t.Errorf("connect %+v, hello %+v", s.connect, s.hello)
	}
	again := 0
	for _, p := range s.advance(300 * time.Millisecond) {
		if len(p.B) > session.MinInitiation { // the others are pings
			again++
		}
	}
	if again != 2 {
		t.Errorf("repeated %d times in 300 ms, with a round trip of 20 ms", again)
	}
	s.advance(5 * time.Second)
	if f, ok := last[Failed](s); !ok || f.Code != wire.CodeRendezvousSilent || !strings.Contains(f.Cause, rendezvous.String()) {
		t.Errorf("failed %+v", f)
	}
	s.must(s.v.Connect(s.now, s.label, "direct")) // idle again
}

// The punches go out with the answer, and stop when there is a path.
func TestPunches(t *testing.T) {
	s := newScene(t)
	s.ask("direct")
	ps := s.fromHome(&wire.Peer{ID: s.connect.ID, Endpoint: wire.At(cameraSeen)})
	if to(ps, cameraSeen, wire.PunchPacket) != 1 {
		t.Fatal("no punch at once")
	}
	p, err := wire.OpenPunch(s.hello.PunchKey, ps[0].B)
	if err != nil || p.ID != s.connect.ID || p.Counter != 1 || p.FromCamera {
		t.Errorf("punch %+v, %v", p, err)
	}
	if n := to(s.advance(400*time.Millisecond), cameraSeen, wire.PunchPacket); n != 4 {
		t.Errorf("%d more in 400 ms", n)
	}
	s.give(cameraSeen, s.response)
	if n := to(s.advance(2*time.Second), cameraSeen, wire.PunchPacket); n != 0 {
		t.Errorf("%d more with a path", n)
	}
}

// Only a punch of the camera's counts: a host that is punched may send the viewer's own ones back, and no path leads there.
func TestPunchesSentBack(t *testing.T) {
	s := newScene(t)
	s.ask("adaptive")
	s.fromHome(&wire.Peer{ID: s.connect.ID, Endpoint: wire.At(cameraSeen), Channel: wire.MinChannel})
	frame, err := wire.AppendChannelData(nil, wire.MinChannel, s.response)
	s.must(err)
	s.give(rendezvous, frame)
	punched := func(p wire.Punch) {
		s.give(cameraElse, wire.AppendPunch(nil, s.hello.PunchKey, p, wire.MinPunch))
	}
	punched(wire.Punch{ID: s.connect.ID, Counter: 9})
	punched(wire.Punch{ID: s.connect.ID + 1, Counter: 9, FromCamera: true})
	if s.v.watches[0].path != punch.ViaRelay || s.v.Stats().Dropped["from nobody who is watched"] != 2 {
		t.Errorf("path %v, dropped %v", s.v.watches[0].path, s.v.Stats().Dropped)
	}
	punched(wire.Punch{ID: s.connect.ID, Counter: 1, FromCamera: true})
	if s.v.watches[0].path != punch.To(cameraElse) {
		t.Errorf("path %v: the camera's punch is ignored", s.v.watches[0].path)
	}
}

// Media that overtakes the response is kept, and bounded.
func TestMediaBeforeTheResponse(t *testing.T) {
	s := newScene(t)
	s.ask("direct")
	first := s.frame(0)
	for range 10 { // duplicates fill the room
		for _, p := range first {
			s.give(cameraSeen, p)
		}
	}
	if s.v.Stats().Dropped["too much media before the handshake's answer"] == 0 || len(s.v.watches[0].early) != maxEarly {
		t.Errorf("%d kept", len(s.v.watches[0].early))
	}
	ps := s.give(cameraSeen, s.response)
	if f, ok := last[FrameReceived](s); !ok || f.Frame.Index != 0 || f.Frame.Hash() != media.EmbeddedClip().At(0).Hash {
		t.Errorf("frame %d, %v", f.Frame.Index, ok)
	}
	if to(ps, cameraSeen, wire.Transport) != 2 { // Use and Consent
		t.Errorf("sent %v", ps)
	}
}

// Forged responses leave the handshake as it was.
func TestForgedResponses(t *testing.T) {
	s := newScene(t)
	s.ask("direct")
	for i := range s.response {
		bad := bytes.Clone(s.response)
		bad[i] ^= 1
		s.give(cameraElse, bad)
		s.give(cameraElse, s.response[:i])
	}
	if _, ok := last[Connected](s); ok {
		t.Fatal("connected by a forgery")
	}
	s.give(cameraSeen, s.response)
	if c, ok := last[Connected](s); !ok || c.Path != punch.To(cameraSeen) {
		t.Errorf("connected %+v", c)
	}
}

// A challenge is answered where it came from, by Use where the path is wanted.
func TestChallenges(t *testing.T) {
	s := newScene(t)
	s.ask("direct")
	s.give(cameraSeen, s.response)
	use := func(ps []core.Packet) *wire.Use {
		t.Helper()
		for _, p := range ps {
			if wire.Classify(p.B) != wire.Transport {
				continue
			}
			plain, err := s.cam.Open(nil, p.B)
			s.must(err)
			m, err := wire.Unmarshal(plain)
			s.must(err)
			if u, ok := m.(*wire.Use); ok {
				return u
			}
		}
		return nil
	}
	ps := s.fromCamera(cameraElse, &wire.PathChallenge{Token: wire.Token{7}})
	if u := use(ps); u == nil || u.Token != (wire.Token{7}) || u.Next != 0 || ps[0].To != cameraElse {
		t.Fatalf("use %+v, sent %v", u, ps)
	}
	for _, p := range s.frame(0) {
		s.give(cameraElse, p)
	}
	s.fromCamera(cameraElse, &wire.ConsentAck{Sequence: 1})
	if p, ok := last[PathConfirmed](s); !ok || p.Path != punch.To(cameraElse) {
		t.Errorf("confirmed %+v", p)
	}
	third := netip.MustParseAddrPort("198.51.100.1:40000")
	ps = s.fromCamera(third, &wire.PathChallenge{Token: wire.Token{8}})
	if u := use(ps); u != nil || len(ps) != 1 || ps[0].To != third || s.v.watches[0].path.Addr != cameraElse {
		t.Errorf("a path that is not wanted: sent %v, use %+v", ps, u)
	}
}

// With relay alone, nothing goes to the camera's own address and nothing is taken from it.
func TestRelayAlone(t *testing.T) {
	s := newScene(t)
	s.ask("relay")
	if len(s.hello.Candidates) != 0 || s.hello.Flags&wire.FlagDirect != 0 {
		t.Errorf("hello %+v", s.hello)
	}
	ps := s.fromHome(&wire.Peer{ID: s.connect.ID, Endpoint: wire.At(cameraSeen), Channel: wire.MinChannel})
	ps = append(ps, s.give(cameraSeen, s.response)...)
	if _, ok := last[Connected](s); ok {
		t.Error("connected directly")
	}
	frame, err := wire.AppendChannelData(nil, wire.MinChannel+1, s.response)
	s.must(err)
	ps = append(ps, s.give(rendezvous, frame)...)
	frame, err = wire.AppendChannelData(nil, wire.MinChannel, s.response)
	s.must(err)
	ps = append(ps, s.give(cameraElse, frame)...) // not the rendezvous
	if _, ok := last[Connected](s); ok {
		t.Error("connected by a stranger's frame")
	}
	ps = append(ps, s.give(rendezvous, frame)...)
	ps = append(ps, s.advance(3*time.Second)...)
	if c, ok := last[Connected](s); !ok || c.Path != punch.ViaRelay {
		t.Errorf("connected %+v", c)
	}
	for _, p := range ps {
		if p.To != rendezvous {
			t.Errorf("%v to %v", wire.Classify(p.B), p.To)
		}
	}
}

// The camera's Bye, and its silence, end the connection; the viewer says Bye too.
func TestEnds(t *testing.T) {
	s := newScene(t)
	s.ask("direct")
	s.give(cameraSeen, s.response)
	s.fromCamera(cameraSeen, &wire.Bye{Code: wire.CodeShuttingDown})
	if c, ok := last[Closed](s); !ok || c.Code != wire.CodeShuttingDown || len(s.v.watches) != 0 {
		t.Errorf("closed %+v", c)
	}
	s = newScene(t)
	s.ask("direct")
	s.fromHome(&wire.Peer{ID: s.connect.ID, Endpoint: wire.At(cameraSeen)})
	s.give(cameraSeen, s.response)
	s.fromCamera(cameraSeen, &wire.ConsentAck{Sequence: 1})
	s.advance(11 * time.Second)
	if f, ok := last[Failed](s); !ok || f.Code != wire.CodePathLost {
		t.Errorf("failed %+v", f)
	}
	s = newScene(t)
	s.ask("direct")
	s.give(cameraSeen, s.response)
	s.v.Close(s.now)
	if ps := s.packets(); to(ps, cameraSeen, wire.Transport) != 1 || to(ps, rendezvous, wire.Transport) != 1 {
		t.Errorf("on closing sent %v", ps)
	}
	if !s.v.Deadline().IsZero() || len(s.give(cameraSeen, s.response)) != 0 {
		t.Error("alive after Close")
	}
}

// Consent leaves every 5 s × 0.8–1.2.
func TestConsentInterval(t *testing.T) {
	s := newScene(t)
	s.ask("direct")
	s.give(cameraSeen, s.response)
	previous := s.now
	for i := range 8 {
		at := s.v.watches[0].consent
		if d := at.Sub(previous); i > 0 && (d < 4*time.Second || d > 6*time.Second) {
			t.Errorf("consent %d after %v", i, d)
		}
		previous = at
		for s.now.Before(at) {
			s.fromCamera(cameraSeen, &wire.ConsentAck{Sequence: 1})
			s.advance(min(time.Second, at.Sub(s.now)))
		}
	}
}

func TestConfig(t *testing.T) {
	good := newScene(t).v.cfg
	for name, change := range map[string]func(*Config){
		"no key":        func(c *Config) { c.Static = identity.Key{} },
		"no rendezvous": func(c *Config) { c.Rendezvous = nil },
		"no randomness": func(c *Config) { c.Rand = nil },
		"host":          func(c *Config) { c.Host = []netip.AddrPort{netip.MustParseAddrPort("0.0.0.0:1")} },
		"hosts":         func(c *Config) { c.Host = make([]netip.AddrPort, 9) },
		"keepalive":     func(c *Config) { c.Keepalive = 1 },
	} {
		cfg := good
		change(&cfg)
		if _, err := New(cfg); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// FuzzCamera feeds what an authentic but ill-meaning camera or rendezvous may say.
func FuzzCamera(f *testing.F) {
	for _, m := range []wire.Message{
		&wire.PathChallenge{Token: wire.Token{1}}, &wire.ConsentAck{Sequence: 1}, &wire.Bye{},
		&wire.Peer{ID: 1, Endpoint: wire.At(cameraSeen)}, &wire.Refused{ID: 1, Code: 1}, &wire.Ping{Sequence: 3}, &wire.Goodbye{},
	} {
		b, err := wire.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, []byte{0x80, 96, 1, 2})
	}
	f.Fuzz(func(t *testing.T, plain, raw []byte) {
		if len(plain) > session.MaxPayload {
			return
		}
		s := newScene(t)
		s.ask("adaptive")
		s.give(rendezvous, s.home.Seal(nil, plain))
		s.give(cameraSeen, raw)
		s.fromHome(&wire.Peer{ID: s.connect.ID, Endpoint: wire.At(cameraSeen), Channel: wire.MinChannel})
		s.give(cameraSeen, s.response)
		for _, from := range []netip.AddrPort{cameraSeen, cameraElse} {
			s.give(from, s.cam.Seal(nil, plain))
			s.give(from, raw)
		}
		s.advance(20 * time.Second)
		if n := s.v.Stats().Traffic.Total().Packets; n > 2000 {
			t.Errorf("%d packets sent", n)
		}
	})
}

// A session ends 24 h after its handshake, though the camera still answers; nothing more is sealed by it.
func TestSessionEnds(t *testing.T) {
	s := newScene(t)
	s.ask("direct")
	s.give(cameraSeen, s.response)
	start := s.now
	for len(s.v.watches) != 0 && s.now.Sub(start) < 25*time.Hour {
		s.fromCamera(cameraSeen, &wire.ConsentAck{Sequence: 1})
		s.advance(5 * time.Second)
	}
	if f, ok := last[Failed](s); !ok || f.Code != wire.CodeExpired || f.At.Sub(start) != session.RejectAfterTime {
		t.Errorf("failed %+v", f)
	}
	a := &attempt{v: s.v, sess: s.cam, since: start}
	if err := a.sealed(s.now, punch.To(cameraSeen), nil); err != session.ErrExpired {
		t.Errorf("opened late: %v", err)
	}
}

// A camera's punch that was meant to die on its way does not make a path.
func TestLowTTLPunchIsNoSign(t *testing.T) {
	s := newScene(t)
	s.ask("adaptive")
	s.fromHome(&wire.Peer{ID: s.connect.ID, Endpoint: wire.At(cameraSeen), Channel: wire.MinChannel})
	frame, err := wire.AppendChannelData(nil, wire.MinChannel, s.response)
	s.must(err)
	s.give(rendezvous, frame)
	for i, low := range []bool{true, false} {
		p := wire.Punch{ID: s.connect.ID, Counter: uint32(i + 1), FromCamera: true, LowTTL: low}
		ps := s.give(cameraElse, wire.AppendPunch(nil, s.hello.PunchKey, p, wire.MinPunch))
		if direct := s.v.watches[0].path == punch.To(cameraElse); direct == low || (to(ps, cameraElse, wire.Transport) > 0) == low {
			t.Errorf("low TTL %v: path %v, sent %v", low, s.v.watches[0].path, ps)
		}
	}
}

// A copy of media that anybody may have recorded makes no path; a new packet does.
func TestCopiedMediaMakesNoPath(t *testing.T) {
	s := newScene(t)
	s.ask("adaptive")
	s.fromHome(&wire.Peer{ID: s.connect.ID, Endpoint: wire.At(cameraSeen), Channel: wire.MinChannel})
	relayed := func(b []byte) {
		frame, err := wire.AppendChannelData(nil, wire.MinChannel, b)
		s.must(err)
		s.give(rendezvous, frame)
	}
	relayed(s.response)
	for _, b := range s.frame(0) {
		relayed(b)
		s.give(cameraElse, b)
	}
	if s.v.watches[0].path != punch.ViaRelay {
		t.Errorf("path %v by a copy", s.v.watches[0].path)
	}
	s.now = s.now.Add(40 * time.Millisecond)
	s.give(cameraElse, s.frame(1)[0])
	if s.v.watches[0].path != punch.To(cameraElse) {
		t.Errorf("path %v by a new packet", s.v.watches[0].path)
	}
}
