package camera

import (
	"net/netip"
	"testing"
	"time"

	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/punch"
	"github.com/punchlab/punchlab/impl/session"
	"github.com/punchlab/punchlab/impl/wire"
)

// Everything of the first flight leaves in the call that hands over the introduction, the handshake's answer first.
func TestFirstFlight(t *testing.T) {
	c := newCamera(t, nil)
	g := newGuest(t, c, 10, wire.FlagDirect)
	host := netip.MustParseAddrPort("10.1.0.2:6000")
	g.hello.Candidates = wire.Ats([]netip.AddrPort{host})
	ps, err := g.introduce(epoch, g.introduction(1, 1, 0))
	if err != nil || len(ps) < 4 || ps[0].To != seen || wire.Classify(ps[0].B) != wire.Response {
		t.Fatalf("%d packets, %v", len(ps), err)
	}
	k := kinds(ps)
	if k[seen][wire.RTP] < 3 || k[host][wire.Response] != 1 || k[host][wire.RTP] != 0 || len(k) != 2 {
		t.Errorf("sent %v", k)
	}
}

func TestWhoIsNotAdmitted(t *testing.T) {
	for name, tc := range map[string]struct {
		code   wire.Code
		change func(g *guest, m *Config)
	}{
		"wrong proof":    {wire.CodeNotPaired, func(g *guest, _ *Config) { g.hello.Proof = identity.Proof{1} }},
		"no proof":       {wire.CodeNotPaired, func(g *guest, _ *Config) { g.hello.Proof = identity.Proof{} }},
		"other version":  {wire.CodeVersion, func(g *guest, _ *Config) { g.hello.Version = 9 }},
		"other profile":  {wire.CodeProfile, func(g *guest, _ *Config) { g.hello.Profile = 1 }},
		"for other keys": {wire.CodeMalformed, func(g *guest, m *Config) { m.Static = key(g.t, 99) }},
	} {
		c := newCamera(t, nil)
		g := newGuest(t, c, 10, wire.FlagDirect|wire.FlagRelay)
		cfg := c.cfg
		tc.change(g, &cfg)
		real := c.cfg
		c.cfg.Static = cfg.Static
		m := g.introduction(1, 1, wire.MinChannel)
		c.cfg = real
		ps, err := g.introduce(epoch, m)
		if err == nil || len(ps) != 0 || len(c.viewers) != 0 {
			t.Errorf("%s: %v, sent %v", name, err, kinds(ps))
		}
		if code := admitted(c, m); code != tc.code {
			t.Errorf("%s: code %v, want %v", name, code, tc.code)
		}
	}
}

// A recorded initiation serves nobody: the rendezvous itself could bring it again.
func TestInitiationIsNotReplayed(t *testing.T) {
	c := newCamera(t, nil)
	g := newGuest(t, c, 10, wire.FlagDirect)
	m := g.introduction(1, 5, 0)
	if ps, err := g.introduce(epoch, m); err != nil || len(ps) == 0 {
		t.Fatal(err)
	}
	if ps, err := g.introduce(epoch, m); err != nil || len(ps) != 0 {
		t.Errorf("the repeated introduction: %v, sent %v", err, kinds(ps))
	}
	now := epoch
	advance(c, &now, 20*time.Second) // never heard: forgotten
	if len(c.viewers) != 0 {
		t.Fatal("still there")
	}
	m.ID = 2
	if ps, err := g.introduce(now, m); err == nil || len(ps) != 0 {
		t.Errorf("the replayed initiation: %v, sent %v", err, kinds(ps))
	}
	if ps, err := g.introduce(now, g.introduction(3, 6, 0)); err != nil || len(ps) == 0 {
		t.Errorf("a newer one: %v", err)
	}
}

// What is remembered of viewers has a bound.
// Until the viewer is heard, no more than the policy's blind budget of media leaves, and nothing after 10 s.
// A paused stream goes on where it stopped when the viewer is heard at last, and everything is sent again.
// Use from an address that nobody vouches for: a challenge, no longer than the question, and no media before its echo.
func TestUseNeedsAnEcho(t *testing.T) {
	c := newCamera(t, nil)
	g := newGuest(t, c, 10, wire.FlagDirect)
	ps, err := g.introduce(epoch, g.introduction(1, 1, 0))
	if err != nil {
		t.Fatal(err)
	}
	g.finish(ps)
	ps = g.send(epoch, elsewhere, &wire.Use{Sequence: 1})
	question, err := wire.Marshal(&wire.Use{Sequence: 1})
	if err != nil {
		t.Fatal(err)
	}
	if len(ps) != 1 || ps[0].To != elsewhere || len(ps[0].B) > len(question)+session.TransportOverhead {
		t.Fatalf("sent %v", kinds(ps))
	}
	plain, err := g.sess.Open(nil, ps[0].B)
	if err != nil {
		t.Fatal(err)
	}
	m, err := wire.Unmarshal(plain)
	if err != nil {
		t.Fatal(err)
	}
	token := m.(*wire.PathChallenge).Token
	wrong := token
	wrong[0]++
	if ps := g.send(epoch.Add(time.Second), elsewhere, &wire.Use{Sequence: 2, Token: wrong}); kinds(ps)[elsewhere][wire.RTP] != 0 {
		t.Error("media for a wrong echo")
	}
	if ps := g.send(epoch.Add(time.Second), elsewhere, &wire.Use{Sequence: 3, Token: token}); kinds(ps)[elsewhere][wire.RTP] == 0 {
		t.Error("no media for the echo")
	}
	if ps := g.send(epoch.Add(time.Second), seen, &wire.Use{Sequence: 3}); len(ps) != 0 || c.viewers[0].path.Addr != elsewhere {
		t.Error("an old Use moved the media")
	}
	if ps := g.send(epoch.Add(time.Second), seen, &wire.Bye{}); len(ps) != 0 || len(c.viewers) != 0 {
		t.Error("Bye did not end it")
	}
}

// A punch is answered once, by its own connection's key, never by more bytes than it had.
func TestPunches(t *testing.T) {
	c := newCamera(t, nil)
	g := newGuest(t, c, 10, wire.FlagDirect)
	if _, err := g.introduce(epoch, g.introduction(1, 1, 0)); err != nil {
		t.Fatal(err)
	}
	now := epoch
	knock := func(p wire.Punch, k wire.PunchKey, size int) int {
		now = now.Add(200 * time.Millisecond)
		c.HandlePacket(now, elsewhere, local, wire.AppendPunch(nil, k, p, size))
		n := 0
		for _, p := range packets(c) {
			n += len(p.B)
		}
		return n
	}
	id, k := g.hello.ID, g.hello.PunchKey
	if n := knock(wire.Punch{ID: id, Counter: 1}, k, wire.DefaultPunch); n == 0 || n > wire.DefaultPunch {
		t.Errorf("answered by %d bytes", n)
	}
	if n := knock(wire.Punch{ID: id, Counter: 2}, k, wire.MinPunch); n > wire.MinPunch {
		t.Errorf("a small one is answered by %d bytes", n)
	}
	for name, n := range map[string]int{
		"repeated":        knock(wire.Punch{ID: id, Counter: 2}, k, wire.DefaultPunch),
		"of another key":  knock(wire.Punch{ID: id, Counter: 3}, wire.PunchKey{99}, wire.DefaultPunch),
		"of nobody":       knock(wire.Punch{ID: 77, Counter: 3}, k, wire.DefaultPunch),
		"of the camera's": knock(wire.Punch{ID: id, Counter: 3, FromCamera: true}, k, wire.DefaultPunch),
		"through the relay ": func() int {
			c.fromViewer(now, punch.ViaRelay, c.viewers[0], wire.AppendPunch(nil, k, wire.Punch{ID: id, Counter: 9}, 192))
			return len(packets(c))
		}(),
	} {
		if n != 0 {
			t.Errorf("a punch %s is answered", name)
		}
	}
}

// The camera's own punches say so, in case their target sends them back.
func TestOwnPunchesSayWhoSentThem(t *testing.T) {
	c := newCamera(t, nil)
	g := newGuest(t, c, 10, wire.FlagDirect|wire.FlagRelay)
	now := epoch
	ps, err := g.introduce(now, g.introduction(1, 1, wire.MinChannel))
	if err != nil {
		t.Fatal(err)
	}
	g.finish(ps)
	g.send(now, elsewhere, &wire.Consent{Sequence: 1})
	n := 0
	for _, x := range advance(c, &now, 5*time.Second) {
		if wire.Classify(x.B) != wire.PunchPacket {
			continue
		}
		n++
		if p, err := wire.OpenPunch(g.hello.PunchKey, x.B); err != nil || !p.FromCamera || p.Counter != uint32(n) {
			t.Errorf("punch %+v, %v", p, err)
		}
		c.HandlePacket(now, x.To, local, x.B)
		if len(packets(c)) != 0 {
			t.Error("its own punch is answered")
		}
	}
	if n == 0 {
		t.Error("no punches")
	}
}

// A challenge is no longer than what asks for it.
func TestChallengeIsNoLongerThanItsCause(t *testing.T) {
	for _, m := range []wire.Message{&wire.Use{Sequence: 1}, &wire.Consent{Sequence: 1}} {
		c := newCamera(t, nil)
		g := newGuest(t, c, 10, wire.FlagDirect)
		ps, err := g.introduce(epoch, g.introduction(1, 1, 0))
		if err != nil {
			t.Fatal(err)
		}
		g.finish(ps)
		b, err := wire.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		ps = g.send(epoch, elsewhere, m)
		if len(ps) != 1 || len(ps[0].B) > len(b)+session.TransportOverhead {
			t.Errorf("%v is answered by %d packets", m.Type(), len(ps))
		}
		cand := c.viewers[0].agent.Find(punch.To(elsewhere))
		c.begin()
		if err := c.viewers[0].challenge(epoch.Add(time.Hour), cand, wire.MinPunch); err != nil || len(packets(c)) != 0 {
			t.Errorf("a challenge that is longer than the room: %v", err)
		}
	}
}

func TestConfig(t *testing.T) {
	good := newCamera(t, nil).cfg
	for name, change := range map[string]func(*Config){
		"no key":        func(c *Config) { c.Static = identity.Key{} },
		"no rendezvous": func(c *Config) { c.Rendezvous = nil },
		"port 0":        func(c *Config) { c.Rendezvous = []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:0")} },
		"no source":     func(c *Config) { c.Source = nil },
		"no viewers":    func(c *Config) { c.Secret, c.Paired = identity.Secret{}, nil },
		"long consent":  func(c *Config) { c.Consent = time.Minute },
		"keepalive":     func(c *Config) { c.Keepalive = time.Millisecond },
		"no randomness": func(c *Config) { c.Rand = nil },
		"foreign key":   func(c *Config) { c.RendezvousKey = identity.PublicKey{} },
	} {
		cfg := good
		change(&cfg)
		if _, err := New(cfg); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// FuzzViewer feeds what an authentic but ill-meaning viewer may say, by three ways.
// FuzzHello feeds what a viewer may say in its initiation, brought by a rendezvous that says what it likes.
// Unheard, the response goes through the relay again and again: after 60 ms, doubling up to 1 s.
func TestResponseIsRepeatedThroughTheRelay(t *testing.T) {
	c := newCamera(t, nil)
	now := epoch
	c.HandlePacket(now, rendezvous, local, nil)
	if err := c.Start(now); err != nil {
		t.Fatal(err)
	}
	r, err := session.NewResponder(session.Config{Static: key(t, 2), Rand: random(50), Prologue: []byte(core.PrologueRendezvous)})
	if err != nil {
		t.Fatal(err)
	}
	req, _, err := r.Open(now, seen, false, packets(c)[0].B)
	if err != nil {
		t.Fatal(err)
	}
	payload, err := wire.Marshal(&wire.Registered{Endpoint: wire.At(seen), Keepalive: 15, Expiry: 35})
	if err != nil {
		t.Fatal(err)
	}
	_, response, err := req.Accept(payload)
	if err != nil {
		t.Fatal(err)
	}
	c.HandlePacket(now, rendezvous, local, response)
	packets(c)
	g := newGuest(t, c, 10, wire.FlagRelay)
	ps, err := g.introduce(now, g.introduction(1, 1, wire.MinChannel))
	if err != nil {
		t.Fatal(err)
	}
	ps = append(ps, advance(c, &now, 20*time.Second)...)
	n := 0
	for _, p := range ps {
		if _, inner, err := wire.ParseChannelData(p.B); err == nil && wire.Classify(inner) == wire.Response {
			n++
		}
	}
	// At 0, 0.06, 0.18, 0.42, 0.9, 1.86, 2.86 s; then the rendezvous, which answers no ping here, counts as lost.
	if n != 7 {
		t.Errorf("sent %d times", n)
	}
}

// A viewer's session ends 24 h after its handshake, however often it consents.
// A camera that counts its starts needs no clock: its handshakes with the rendezvous are newer than those before.
// A restarted rendezvous gives its channel numbers anew: the newest viewer has the number, an older one has none.
// What is sent again counts too while the viewer has not been heard.

// admitted is the code by which an introduction is refused.
func admitted(c *Camera, m *wire.Introduce) wire.Code {
	req, _, err := c.responder.Open(epoch, m.Endpoint.AddrPort, false, m.Noise1)
	if err != nil {
		return wire.CodeMalformed
	}
	_, code, _ := c.admit(epoch, req)
	return code
}

// A punch that was meant to die on its way says nothing of the way back: it is neither answered nor makes its source a candidate.
func TestLowTTLPunchIsNoSign(t *testing.T) {
	c := newCamera(t, nil)
	g := newGuest(t, c, 10, wire.FlagDirect)
	if _, err := g.introduce(epoch, g.introduction(1, 1, 0)); err != nil {
		t.Fatal(err)
	}
	for i, low := range []bool{true, false} {
		p := wire.Punch{ID: g.hello.ID, Counter: uint32(i + 1), LowTTL: low}
		c.HandlePacket(epoch, elsewhere, local, wire.AppendPunch(nil, g.hello.PunchKey, p, wire.DefaultPunch))
		known := c.viewers[0].agent.Find(punch.To(elsewhere)) != nil
		if n := len(packets(c)); known == low || (n > 0) == low {
			t.Errorf("low TTL %v: %d packets, a candidate: %v", low, n, known)
		}
	}
}

// A viewer that leaves a direct path for the relay may be wrong: for a second new media goes by the direct path too.
func TestMediaGoesByBothForAWhile(t *testing.T) {
	c := newCamera(t, nil)
	g := newGuest(t, c, 10, wire.FlagDirect|wire.FlagRelay)
	now := epoch
	ps, err := g.introduce(now, g.introduction(1, 1, wire.MinChannel))
	if err != nil {
		t.Fatal(err)
	}
	g.finish(ps)
	g.send(now, seen, &wire.Use{Sequence: 1, Next: 1})
	advance(c, &now, 500*time.Millisecond)
	next, _ := c.viewers[0].stream.sender.LastSeq()
	c.begin()
	c.viewers[0].moveTo(now, punch.ViaRelay, next+1)
	packets(c)
	if n := kinds(advance(c, &now, bothLife-50*time.Millisecond))[seen][wire.RTP]; n < 20 {
		t.Errorf("%d packets by the direct path in the first second", n)
	}
	advance(c, &now, 100*time.Millisecond)
	if n := kinds(advance(c, &now, time.Second))[seen][wire.RTP]; n != 0 {
		t.Errorf("%d packets by the direct path later", n)
	}
}
