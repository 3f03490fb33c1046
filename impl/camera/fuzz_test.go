package camera

import (
	"net/netip"
	"testing"
	"time"

	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/pairing"
	"github.com/punchlab/punchlab/impl/session"
	"github.com/punchlab/punchlab/impl/wire"
)

func FuzzViewer(f *testing.F) {
	for _, m := range []wire.Message{
		&wire.Use{Sequence: 1}, &wire.Use{Sequence: 9, Next: 1 << 40, Token: wire.Token{1}}, &wire.Consent{Sequence: 1},
		&wire.PathResponse{Token: wire.Token{1}}, &wire.Bye{},
		&wire.Manage{Sequence: 1, Op: wire.OpList}, &wire.Manage{Sequence: 2, Op: wire.OpRelease},
		&wire.Manage{Sequence: 1, Op: wire.OpInvite, Secret: identity.Secret{9}, Role: wire.RoleOwner, Seconds: 1},
		&wire.Manage{Sequence: 3, Op: wire.OpRevoke, Key: key(f, 10).Public()},
	} {
		b, err := wire.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, b)
	}
	f.Fuzz(func(t *testing.T, first, second []byte) {
		if max(len(first), len(second)) > session.MaxPayload {
			return
		}
		c := booked(t, nil)
		g := newGuest(t, c, 10, wire.FlagDirect|wire.FlagRelay)
		now := epoch
		ps, err := g.introduce(now, g.introduction(1, 1, wire.MinChannel))
		if err != nil {
			t.Fatal(err)
		}
		g.finish(ps)
		for _, plain := range [][]byte{first, second} {
			for _, from := range []netip.AddrPort{seen, elsewhere} {
				c.HandlePacket(now, from, local, g.sess.Seal(nil, plain))
				packets(c)
			}
			framed, err := wire.AppendChannelData(nil, wire.MinChannel, g.sess.Seal(nil, plain))
			if err != nil {
				t.Fatal(err)
			}
			c.HandlePacket(now, rendezvous, local, framed)
			packets(c)
			advance(c, &now, time.Second)
		}
		if n := c.Stats().Traffic.Of(core.Media).Bytes; n > 2<<20 {
			t.Errorf("%d bytes of media", n)
		}
		if _, err := pairing.Load(pairing.Config{Camera: c.cfg.Static.Public()}, c.cfg.Book.Marshal()); err != nil {
			t.Errorf("the book cannot be read again: %v", err)
		}
	})
}

func FuzzHello(f *testing.F) {
	for _, flags := range []wire.Flags{0, wire.FlagDirect, wire.FlagRelay, wire.FlagDirect | wire.FlagRelay} {
		c := newCamera(f, nil)
		g := newGuest(f, c, 10, flags)
		g.hello.Candidates = wire.Ats([]netip.AddrPort{elsewhere, local})
		b, err := wire.Marshal(&g.hello)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, uint16(wire.MinChannel))
	}
	f.Fuzz(func(t *testing.T, payload []byte, channel uint16) {
		if len(payload) > session.MaxInitiation-session.InitiationOverhead {
			return
		}
		c := newCamera(t, nil)
		g := newGuest(t, c, 10, 0)
		cfg := session.Config{Static: g.key, Rand: random(9), Prologue: []byte(core.PrologueCamera)}
		hs, err := session.NewInitiator(cfg, c.cfg.Static.Public(), 1, payload)
		if err != nil {
			t.Fatal(err)
		}
		now := epoch
		_, _ = g.introduce(now, &wire.Introduce{ID: 1, Endpoint: wire.At(seen), Noise1: hs.Message(), Channel: channel})
		advance(c, &now, 20*time.Second)
		if len(c.viewers) != 0 || len(c.byIndex) != 0 {
			t.Error("served for ever")
		}
		if n := c.Stats().Traffic.Of(core.Media).Bytes; n > 256<<10 {
			t.Errorf("%d bytes of media for a viewer that was not heard", n)
		}
	})
}
