package camera

import (
	"testing"
	"time"

	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/media"
	"github.com/punchlab/punchlab/impl/punch"
	"github.com/punchlab/punchlab/impl/session"
	"github.com/punchlab/punchlab/impl/wire"
)

func TestStampsAreBounded(t *testing.T) {
	c := newCamera(t, nil)
	for i := range 3 * maxStamps {
		c.remember(identity.PublicKey{byte(i), byte(i >> 8)}, uint64(i))
		c.remember(identity.PublicKey{9, 9}, uint64(i))
	}
	if len(c.stamps) != maxStamps || len(c.order) != maxStamps || c.stamps[identity.PublicKey{9, 9}] == 0 {
		t.Errorf("%d stamps, %d in order", len(c.stamps), len(c.order))
	}
}

func TestBlindBudget(t *testing.T) {
	for _, flags := range []wire.Flags{wire.FlagDirect, wire.FlagRelay, wire.FlagDirect | wire.FlagRelay} {
		c := newCamera(t, nil)
		g := newGuest(t, c, 10, flags)
		now := epoch
		_, err := g.introduce(now, g.introduction(1, 1, wire.MinChannel))
		if err != nil {
			t.Fatal(err)
		}
		advance(c, &now, time.Minute)
		blind := punch.ForFlags(flags).Blind
		if n := int(c.Stats().Traffic.Of(core.Media).Bytes); n > blind+blind/100 || flags&wire.FlagRelay == 0 && n < blind/2 {
			t.Errorf("flags %v: %d bytes of media, the budget is %d", flags, n, blind)
		}
		if len(c.viewers) != 0 || len(c.byIndex) != 0 {
			t.Error("the viewer is still there")
		}
	}
}

func TestPausedStreamGoesOn(t *testing.T) {
	c := newCamera(t, nil)
	g := newGuest(t, c, 10, wire.FlagDirect)
	now := epoch
	ps, err := g.introduce(now, g.introduction(1, 1, 0))
	if err != nil {
		t.Fatal(err)
	}
	g.finish(ps)
	advance(c, &now, 8*time.Second)
	sent := c.Stats().FramesSent
	if c.viewers[0].stream.paused.IsZero() {
		t.Fatalf("not paused after %d frames", sent)
	}
	ps = g.send(now, seen, &wire.Use{Sequence: 1})
	if n := kinds(ps)[seen][wire.RTP]; n < replayBurst || n > replayBurst+4 {
		t.Errorf("%d packets at once", n)
	}
	if k := kinds(append(ps, advance(c, &now, time.Second)...)); k[seen][wire.RTP] < int(2*sent) {
		t.Errorf("%d frames, sent again as %v", sent, k)
	}
	if n := c.Stats().FramesSent - sent; n < 25 || n > 27 {
		t.Errorf("%d frames in the second after", n)
	}
}

func TestSessionEnds(t *testing.T) {
	c := newCamera(t, func(cfg *Config) { cfg.Source = func() media.Source { return &frames{n: 3} } })
	g := newGuest(t, c, 10, wire.FlagDirect)
	now := epoch
	ps, err := g.introduce(now, g.introduction(1, 1, 0))
	if err != nil {
		t.Fatal(err)
	}
	g.finish(ps)
	for end := epoch.Add(session.RejectAfterTime); now.Before(end) && len(c.viewers) == 1; {
		g.send(now, seen, &wire.Consent{Sequence: 1})
		advance(c, &now, min(20*time.Second, end.Sub(now)))
	}
	if d := now.Sub(epoch); len(c.viewers) != 0 || d != session.RejectAfterTime {
		t.Errorf("%d viewers after %v", len(c.viewers), d)
	}
	if ps, err = g.introduce(now, g.introduction(2, 2, 0)); err != nil {
		t.Fatal(err)
	}
	g.finish(ps)
	plain, err := wire.Marshal(&wire.Consent{Sequence: 1})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.viewers[0].sealed(now.Add(session.RejectAfterTime), punch.To(seen), g.sess.Seal(nil, plain)); err != session.ErrExpired {
		t.Errorf("opened late: %v", err)
	}
}

func TestStampWithoutAClock(t *testing.T) {
	r, err := session.NewResponder(session.Config{Static: key(t, 2), Rand: random(50), Prologue: []byte(core.PrologueRendezvous)})
	if err != nil {
		t.Fatal(err)
	}
	last := uint64(0)
	for boot, now := range []time.Time{epoch, time.Unix(10, 0), time.Unix(5, 0)} {
		c := newCamera(t, func(cfg *Config) { cfg.Boot = uint64(boot) + 1 })
		if err := c.Start(now); err != nil {
			t.Fatal(err)
		}
		req, _, err := r.Open(now, seen, false, packets(c)[0].B)
		if err != nil {
			t.Fatal(err)
		}
		if req.Timestamp() <= last {
			t.Errorf("start %d at %v: timestamp %d after %d", boot+1, now, req.Timestamp(), last)
		}
		last = req.Timestamp()
	}
}

func TestChannelsAreGivenAnew(t *testing.T) {
	c := newCamera(t, nil)
	old, g := newGuest(t, c, 10, wire.FlagDirect|wire.FlagRelay), newGuest(t, c, 11, wire.FlagDirect|wire.FlagRelay)
	ps, err := old.introduce(epoch, old.introduction(1, 1, wire.MinChannel))
	if err != nil {
		t.Fatal(err)
	}
	old.finish(ps)
	if ps, err = g.introduce(epoch, g.introduction(2, 1, wire.MinChannel)); err != nil {
		t.Fatal(err)
	}
	g.finish(ps)
	plain, err := wire.Marshal(&wire.Consent{Sequence: 1})
	if err != nil {
		t.Fatal(err)
	}
	for i, who := range []*guest{g, old} {
		frame, err := wire.AppendChannelData(nil, wire.MinChannel, who.sess.Seal(nil, plain))
		if err != nil {
			t.Fatal(err)
		}
		c.HandlePacket(epoch, rendezvous, local, frame)
		if heard := c.viewers[1-i].confirmed; heard != (who == g) {
			t.Errorf("viewer %d heard through the relay: %v", 1-i, heard)
		}
	}
}

func TestBlindBudgetOfRepetitions(t *testing.T) {
	c := newCamera(t, nil)
	g := newGuest(t, c, 10, wire.FlagDirect)
	if _, err := g.introduce(epoch, g.introduction(1, 1, 0)); err != nil {
		t.Fatal(err)
	}
	v := c.viewers[0]
	for range 100 {
		v.resendTo(punch.ViaRelay, v.stream.sender.Since(epoch, nil, 0))
	}
	if n := c.Stats().Traffic.Of(core.Media).Bytes; n > int64(v.policy.Blind) {
		t.Errorf("%d bytes of media, the budget is %d", n, v.policy.Blind)
	}
}

// Who connects again and again without being heard takes no more than one place: the others' are free.
func TestOneViewerTakesOnePlace(t *testing.T) {
	c := newCamera(t, func(cfg *Config) { cfg.MaxViewers = 2 })
	greedy := newGuest(t, c, 10, wire.FlagDirect)
	var first []core.Packet
	for i := range uint64(20) {
		ps, err := greedy.introduce(epoch, greedy.introduction(i+1, i+1, 0))
		if err != nil {
			t.Fatalf("introduction %d: %v", i, err)
		}
		if first = ps; c.Stats().Viewers != 1 {
			t.Fatalf("it has %d places", c.Stats().Viewers)
		}
	}
	other := newGuest(t, c, 11, wire.FlagDirect)
	ps, err := other.introduce(epoch, other.introduction(100, 1, 0))
	if err != nil {
		t.Fatal(err)
	}
	other.finish(ps)
	greedy.finish(first)
	for _, g := range []*guest{other, greedy} {
		g.send(epoch, seen, &wire.Use{Sequence: 1, Next: 1})
	}
	if s := c.Stats(); s.Viewers != 2 {
		t.Errorf("%d viewers", s.Viewers)
	}
}
