package camera

import (
	"net/netip"
	"testing"
	"time"

	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/punch"
	"github.com/punchlab/punchlab/impl/wire"
)

var near = netip.MustParseAddrPort("10.0.0.7:6000") // the viewer in the camera's network

// neighbour is a camera that answers in the local network, and a viewer that is paired with it.
func neighbour(t testing.TB, flags wire.Flags) (*Camera, *guest) {
	k := key(t, 10)
	c := newCamera(t, func(cfg *Config) { cfg.LAN, cfg.Paired = true, []identity.PublicKey{k.Public()} })
	g := newGuest(t, c, 10, flags)
	g.hello.Proof = identity.Proof{}
	return c, g
}

// A paired viewer is answered in the local network, by less than it sent, and watches without a rendezvous.
func TestNeighboursNeedNoRendezvous(t *testing.T) {
	for name, hand := range map[string]func(c *Camera, b []byte){
		"unicast":   func(c *Camera, b []byte) { c.HandlePacket(epoch, near, local, b) },
		"multicast": func(c *Camera, b []byte) { c.HandleLAN(epoch, near, b) },
	} {
		c, g := neighbour(t, wire.FlagDirect|wire.FlagRelay)
		noise1 := g.introduction(1, 1, 0).Noise1
		hand(c, noise1)
		out := c.Ready()
		ps := append([]core.Packet(nil), out.Packets...)
		if len(ps) != 1 || ps[0].To != near || ps[0].From.IsValid() || len(ps[0].B) > len(noise1) {
			t.Fatalf("%s: sent %v", name, kinds(ps))
		}
		accepted := false
		for _, e := range out.Events {
			a, ok := e.(ViewerAccepted)
			accepted = accepted || ok && a.LAN
		}
		if !accepted {
			t.Errorf("%s: events %v", name, out.Events)
		}
		g.finish(ps)
		b, err := wire.Marshal(&wire.Use{Sequence: 1})
		if err != nil {
			t.Fatal(err)
		}
		c.HandlePacket(epoch, near, local, g.sess.Seal(nil, b))
		if n := kinds(packets(c))[near][wire.RTP]; n == 0 {
			t.Errorf("%s: no media", name)
		}
	}
}

func TestStrangersHearNothing(t *testing.T) {
	c, _ := neighbour(t, wire.FlagDirect)
	stranger := newGuest(t, c, 11, wire.FlagDirect) // with the label's proof: that needs the rendezvous
	noise1 := stranger.introduction(1, 1, 0).Noise1
	off, g := neighbour(t, wire.FlagDirect)
	off.cfg.LAN = false
	paired := g.introduction(1, 1, 0).Noise1
	for name, n := range map[string]int{
		"a stranger":            hear(c, noise1),
		"not an initiation":     hear(c, []byte{7, 1, 0, 0}),
		"nothing":               hear(c, nil),
		"where it was not told": hear(off, paired),
	} {
		if n != 0 || len(c.viewers)+len(off.viewers) != 0 {
			t.Errorf("%s: %d packets, %d viewers", name, n, len(c.viewers)+len(off.viewers))
		}
	}
	if ps, err := stranger.introduce(epoch, stranger.introduction(2, 2, 0)); err != nil || len(ps) == 0 {
		t.Errorf("by the rendezvous: %v", err)
	}
}

func hear(c *Camera, b []byte) int {
	c.HandleLAN(epoch, near, b)
	n := len(packets(c))
	c.HandlePacket(epoch, near, local, b)
	return n + len(packets(c))
}

// Beyond a rate, who comes has to show first that it receives where it says.
func TestNeighboursAreNotFlooded(t *testing.T) {
	c, g := neighbour(t, wire.FlagDirect)
	cookies, bytes, got := 0, 0, 0
	for stamp := range uint64(3 * maxKnocks) {
		b := g.introduction(1, stamp+1, 0).Noise1
		got += len(b)
		c.HandleLAN(epoch, near, b)
		for _, p := range packets(c) {
			bytes += len(p.B)
			if wire.Classify(p.B) == wire.Cookie {
				cookies++
			}
		}
	}
	if cookies != 2*maxKnocks || bytes > got || len(c.viewers) > c.cfg.MaxViewers {
		t.Errorf("%d cookies, %d bytes for %d, %d viewers", cookies, bytes, got, len(c.viewers))
	}
}

// The same initiation by the local network and by the rendezvous is one viewer, whichever comes first.
func TestOneInitiationByTwoWays(t *testing.T) {
	c, g := neighbour(t, wire.FlagDirect|wire.FlagRelay)
	m := g.introduction(5, 1, wire.MinChannel)
	c.HandleLAN(epoch, near, m.Noise1)
	first := packets(c)
	ps, err := g.introduce(epoch, m)
	k := kinds(ps)
	if err != nil || len(c.viewers) != 1 || k[seen][wire.Response] != 1 || k[seen][wire.RTP] == 0 {
		t.Fatalf("introduced after the knock: %v, %d viewers, sent %v", err, len(c.viewers), k)
	}
	v := c.viewers[0]
	if v.intro != 5 || v.channel != wire.MinChannel || !v.policy.Relay {
		t.Errorf("introduction %d, channel %#x, relay %v", v.intro, v.channel, v.policy.Relay)
	}
	// The session's keys may be had at both places now: an address has to show that it receives.
	g.finish(first)
	if ps := g.send(epoch, near, &wire.Use{Sequence: 1}); kinds(ps)[near][wire.RTP] != 0 {
		t.Error("media goes to the knock's source unasked")
	}
	if v.agent.Find(punch.To(near)) == nil {
		t.Error("the knock's source is forgotten")
	}

	c, g = neighbour(t, wire.FlagDirect)
	m = g.introduction(5, 1, 0)
	if _, err := g.introduce(epoch, m); err != nil {
		t.Fatal(err)
	}
	c.HandleLAN(epoch, near, m.Noise1)
	if ps := packets(c); kinds(ps)[near][wire.Response] != 1 || len(ps) != 1 || len(c.viewers) != 1 {
		t.Errorf("the knock after the introduction: %v, %d viewers", kinds(ps), len(c.viewers))
	}
}

// A viewer that watches already keeps its path when the rendezvous brings its initiation at last.
func TestALateIntroductionChangesNothing(t *testing.T) {
	c, g := neighbour(t, wire.FlagDirect|wire.FlagRelay)
	m := g.introduction(5, 1, wire.MinChannel)
	c.HandleLAN(epoch, near, m.Noise1)
	g.finish(packets(c))
	g.send(epoch, near, &wire.Use{Sequence: 1})
	ps, err := g.introduce(epoch.Add(time.Second), m)
	v := c.viewers[0]
	if err != nil || len(ps) != 0 || v.path != punch.To(near) || v.intro != 5 || !v.policy.Relay {
		t.Errorf("%v, sent %v, path %v, introduction %d", err, kinds(ps), v.path, v.intro)
	}
	now := epoch.Add(time.Second)
	if n := kinds(advance(c, &now, time.Second))[near][wire.RTP]; n < 25 {
		t.Errorf("%d packets in the second after", n)
	}
}
