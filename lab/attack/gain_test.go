package attack

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/session"
	"github.com/punchlab/punchlab/impl/viewer"
	"github.com/punchlab/punchlab/lab"
)

// An attack that could gain something says so: otherwise "nothing was gained" would mean nothing. Each attacker here is given
// what a real one has not.
func TestGainsAreNoticed(t *testing.T) {
	now, from := time.Unix(1000, 0), netip.MustParseAddrPort("192.0.2.7:1000")
	key, err := identity.NewKey(seeded(1))
	if err != nil {
		t.Fatal(err)
	}
	hello, err := initiation(ToCamera, key.Public(), seeded(2)) // for whoever holds key
	if err != nil {
		t.Fatal(err)
	}
	gains := func(name string, r Report, want ...string) {
		t.Helper()
		if len(r.Gained) != len(want) {
			t.Errorf("%s gained %q, want %q", name, r.Gained, want)
			return
		}
		for i, w := range want {
			if !strings.Contains(r.Gained[i], w) {
				t.Errorf("%s gained %q, want %q", name, r.Gained[i], w)
			}
		}
	}

	r := Report{Counts: map[string]int64{}}
	secrets := []Secret{{"the ephemeral key", hello[8:40]}}
	p, err := newPoser(&Impostor{Server: from, Key: key.Public(), Own: key, Victim: key.Public(), Secrets: secrets}, &r)
	if err != nil {
		t.Fatal(err)
	}
	p.HandlePacket(now, from, netip.AddrPort{}, hello)
	answer := make([]byte, 90)
	copy(answer, []byte{session.TypeResponse, session.Version, 0, 0})
	copy(answer[4:], p.hijack[4:8])
	p.HandlePacket(now, from, netip.AddrPort{}, answer)
	gains("an impostor with the camera's key", r, "the ephemeral key was readable", "Hello opened", "registration by a public key alone")

	r = Report{Counts: map[string]int64{}}
	s, err := newRogue(&RogueRendezvous{Key: key, Secrets: secrets}, &r)
	if err != nil {
		t.Fatal(err)
	}
	s.pry(now, &client{at: from}, hello)
	s.HandlePacket(now, from, netip.AddrPort{}, hello)
	gains("a rendezvous with the camera's key", r, "Hello of", "the ephemeral key was readable")

	if _, err := newSearcher([]Secret{{"a short one", []byte("1234567")}}); err == nil {
		t.Error("a secret that chance finds is taken")
	}
}

// To claim a key, its private half is needed: with it the same initiation opens.
func TestClaim(t *testing.T) {
	server, err := identity.NewKey(seeded(1))
	if err != nil {
		t.Fatal(err)
	}
	victim, err := identity.NewKey(seeded(2))
	if err != nil {
		t.Fatal(err)
	}
	r, err := session.NewResponder(session.Config{Static: server, Rand: seeded(3), Prologue: []byte(core.PrologueRendezvous)})
	if err != nil {
		t.Fatal(err)
	}
	for _, private := range [][32]byte{{1}, victim.Private()} {
		b, err := claim(private, victim.Public(), server.Public(), seeded(4))
		if err != nil || len(b) != session.MinInitiation {
			t.Fatalf("%d bytes, %v", len(b), err)
		}
		q, _, err := r.Open(time.Unix(1, 0), netip.AddrPort{}, false, b)
		if private == victim.Private() {
			if err != nil || q.Peer() != victim.Public() {
				t.Errorf("with the private key: %v", err)
			}
		} else if !errors.Is(err, session.ErrAuth) {
			t.Errorf("without the private key: %v", err)
		}
	}
}

// chatter sends three packets whenever it is called.
type chatter struct{ box core.Outbox }

func (c *chatter) HandlePacket(time.Time, netip.AddrPort, netip.AddrPort, []byte) {}
func (c *chatter) Deadline() time.Time                                            { return time.Time{} }
func (c *chatter) Ready() core.Output                                             { return c.box.Ready() }
func (c *chatter) HandleTimeout(time.Time) {
	c.box.Begin()
	for range 3 {
		c.box.Send(netip.AddrPort{}, netip.AddrPort{}, core.Control, []byte("abc"))
	}
}

// A core behind a budget says no more than that allows, by packets and by time.
func TestMeteredCore(t *testing.T) {
	begun := time.Unix(50, 0)
	for name, tt := range map[string]struct {
		b    Budget
		sent int
		why  Ended
	}{"packets": {Budget{7, time.Hour}, 7, SpentPackets}, "time": {Budget{1000, 4 * time.Second}, 12, SpentTime}} {
		m := &metered{Core: &chatter{}, account: newMeter(tt.b, begun), received: &Count{}}
		sent := 0
		for i := range 20 {
			m.HandleTimeout(begun.Add(time.Duration(i) * time.Second))
			sent += len(m.Ready().Packets)
		}
		if sent != tt.sent || m.account.ended != tt.why || m.account.spent.Bytes != int64(3*tt.sent) {
			t.Errorf("%s: %d packets, want %d; %s", name, sent, tt.sent, m.account.ended)
		}
	}
}

// On a LAN an impostor that has the camera's address is asked by viewers that look for it there. It learns that somebody does,
// and no more.
func TestImpostorNearby(t *testing.T) {
	t.Parallel()
	for _, engine := range lab.RouterEngines() {
		c := newCast(t, newLab(t, engine))
		c.serve()
		own, err := identity.NewKey(seeded(99))
		if err != nil {
			t.Fatal(err)
		}
		const port = 4478
		registered := make(chan struct{}, 1)
		end := inBackground(t, &Impostor{Server: c.at, Key: c.serverKey.Public(), Own: own, Victim: c.label.Key, Port: port, Secrets: c.secrets(),
			Registered: func(netip.AddrPort) { registered <- struct{}{} }}, c.l.Host("on-path"), Budget{100, enough})
		<-registered
		owner := c.act("camera", "direct", func(a *actor) (core.Core, func(time.Time) error, error) { // the owner is at home, the camera away
			v, err := viewer.New(viewer.Config{Static: c.ownerKey, Rendezvous: []netip.AddrPort{c.at}, RendezvousKey: c.label.RendezvousKey, Rand: seeded(3)})
			a.viewer = v
			return v, v.Start, err
		})
		until(t, "the owner logs in", func() bool { return saw[viewer.LoggedIn](owner) })
		owner.device.Node().Do(func(now time.Time) {
			near := netip.AddrPortFrom(c.l.Host("on-path").Addr(), port)
			err = owner.viewer.Ask(now, viewer.Request{Label: c.label, Strategy: "direct", Near: []netip.AddrPort{near}})
		})
		if err != nil {
			t.Fatal(err)
		}
		until(t, "the owner gives up", func() bool { return saw[viewer.Failed](owner) })
		r := end()
		nothing(t, r)
		if r.Counts["captured: initiation"] == 0 || r.Counts["forged responses"] == 0 || saw[viewer.Connected](owner) {
			t.Errorf("%s: %v", engine, r.Counts)
		}
	}
}

// What would go past a Middle is refused, not ignored.
func TestMiddleRefusesIPv6(t *testing.T) {
	t.Parallel()
	l := newLabOf(t, "dual-stack", lab.EngineTable)
	_, err := (&Middle{}).Run(t.Context(), l.Host("camera"), Budget{1, time.Second})
	if err == nil || !strings.Contains(err.Error(), "IPv6") {
		t.Error(err)
	}
}
