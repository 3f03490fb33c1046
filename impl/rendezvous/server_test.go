package rendezvous

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/session"
	"github.com/punchlab/punchlab/impl/wire"
)

func TestIntroduction(t *testing.T) {
	r := newRig(t, nil)
	c, v := r.camera(), r.viewer()
	v.send(connect(7, c))
	if len(r.out) != 2 || r.out[0].To != c.addr {
		t.Fatalf("%d packets, the first to %v: the camera comes first, the first flight waits for it", len(r.out), r.out[0].To)
	}
	in, _ := c.read().(*wire.Introduce)
	peer, _ := v.read().(*wire.Peer)
	if in == nil || peer == nil || in.Endpoint != wire.At(v.addr) || peer.Endpoint != wire.At(c.addr) || peer.ID != 7 || in.ID == 7 ||
		in.Channel == 0 || peer.Channel == 0 || !bytes.Equal(in.Noise1, make([]byte, 256)) {
		t.Fatalf("introduce %+v, peer %+v", in, peer)
	}
	v.send(connect(7, c)) // its answer was lost
	if again, _ := v.read().(*wire.Peer); again == nil || !reflect.DeepEqual(again, peer) || c.take() != nil {
		t.Errorf("a repeated connect: %+v", again)
	}
	r.advance(60 * time.Millisecond)
	if _, ok := c.read().(*wire.Introduce); !ok {
		t.Error("introduce is not repeated after 50 ms")
	}
	v.send(&wire.IntroduceAck{ID: in.ID}) // not its business
	c.send(&wire.IntroduceAck{ID: in.ID})
	r.advance(10 * time.Second)
	if b := c.take(); b != nil || r.dropped("unknown introduction") != 1 {
		t.Errorf("introduce is repeated after its acknowledgement, or a stranger's one was taken: %v", r.s.Stats().Dropped)
	}
	r.advance(time.Minute)
	if len(r.s.intros) != 0 {
		t.Error("introductions are not forgotten")
	}
}

func TestCameraThatDoesNotAnswer(t *testing.T) {
	r := newRig(t, nil)
	c, v := r.camera(), r.viewer()
	v.send(connect(7, c))
	v.read()
	r.advance(6 * time.Second)
	n := 0
	for c.take() != nil {
		n++
	}
	if m, _ := v.read().(*wire.Refused); m == nil || m.Code != wire.CodeUnavailable || n < 8 || n > 12 {
		t.Errorf("%d introductions, then %+v", n, m)
	}
}

func TestCameraThatRefuses(t *testing.T) {
	r := newRig(t, nil)
	c, v := r.camera(), r.viewer()
	v.send(connect(7, c))
	v.read()
	in := c.read().(*wire.Introduce)
	c.send(&wire.IntroduceAck{ID: in.ID, Code: wire.CodeBusy})
	if m, _ := v.read().(*wire.Refused); m == nil || m.Code != wire.CodeBusy || r.s.Stats().Relays != 0 {
		t.Errorf("refused %+v, stats %+v", m, r.s.Stats())
	}
}

func TestConnectsAreLimited(t *testing.T) {
	r := newRig(t, func(c *Config) { c.ConnectsPerSecond = 1 })
	c, v := r.camera(), r.viewer()
	codes := map[wire.Code]int{}
	for id := range uint64(20) {
		v.send(connect(id+1, c))
		if m, ok := v.read().(*wire.Refused); ok {
			codes[m.Code]++
		}
	}
	if codes[wire.CodeRateLimited] != 10 {
		t.Errorf("refused %v", codes)
	}
}

func TestRoles(t *testing.T) {
	r := newRig(t, nil)
	c, v := r.camera(), r.viewer()
	c.send(connect(7, c))
	v.send(&wire.Peer{ID: 1, Endpoint: wire.At(v.addr)})
	v.send(&wire.Consent{})
	if n := r.dropped("message that nobody asked for"); n != 3 || len(r.out) != 0 {
		t.Errorf("%d dropped, %d answers", n, len(r.out))
	}
	d := r.device()
	r.give(d.addr, d.initiation(&wire.Ping{}, 1))
	r.give(d.addr, d.initiation(&wire.Register{Version: 9}, 2))
	if len(r.out) != 0 || r.s.Stats().Registrations != 2 {
		t.Errorf("stats %+v", r.s.Stats())
	}
}

// Where all devices are online a new one is refused; the device that has been offline longest makes room.
func TestMemoryIsBounded(t *testing.T) {
	r := newRig(t, func(c *Config) { c.MaxRegistrations = 3; c.MaxIntroductions = 2 })
	a, b, v := r.camera(), r.camera(), r.viewer()
	d := r.device()
	if m := d.refused(&wire.Register{Version: wire.ProtocolVersion}, 1); m == nil || m.Code != wire.CodeOverloaded || m.Retry != 60 {
		t.Errorf("a device too many got %+v", m)
	}
	a.send(&wire.Goodbye{})
	b.send(&wire.Goodbye{})
	d.join(&wire.Register{Version: wire.ProtocolVersion}, 2)
	if s := r.s.Stats(); s.Registrations != 3 || r.s.known(a.key.Public(), Camera) != nil || r.s.known(b.key.Public(), Camera) == nil {
		t.Errorf("not the one that went offline first was forgotten: %+v", s)
	}
	for id := range uint64(4) {
		v.send(connect(id+1, d))
	}
	if s := r.s.Stats(); s.Introductions != 2 || s.Relays != 2 || s.Refused != 2 {
		t.Errorf("introductions are not bounded: %+v", s)
	}
	r.advance(10 * time.Minute)
	if len(r.s.byIndex) != 0 || len(r.s.intros) != 0 || len(r.s.relays) != 0 || len(r.s.timers) != 0 {
		t.Errorf("left: %d sessions, %d introductions, %d relays, %d timers", len(r.s.byIndex), len(r.s.intros), len(r.s.relays), len(r.s.timers))
	}
}

func TestNewSessionReplacesTheOldOnlyWhenConfirmed(t *testing.T) {
	r := newRig(t, nil)
	c := r.camera()
	old, oldAddr := c.sess, c.addr
	c.addr = addr("192.0.2.200:1")
	first := bytes.Clone(c.initiation(&wire.Register{Version: wire.ProtocolVersion}, 2))
	r.give(c.addr, first)
	r.give(c.addr, first) // a retransmission gets the same response
	one, two := c.take(), c.take()
	if one == nil || !bytes.Equal(one, two) {
		t.Fatal("the repeated initiation is not answered alike")
	}
	r.give(oldAddr, first) // a copy from elsewhere is none
	if r.dropped("initiation is not newer than the last") != 1 {
		t.Errorf("dropped %v", r.s.Stats().Dropped)
	}
	if r.s.camera(c.key.Public().UID()).remote != oldAddr {
		t.Error("moved by an unconfirmed session")
	}
	sess, _, err := c.hs.Finish(one)
	if err != nil {
		t.Fatal(err)
	}
	c.sess = sess
	c.send(&wire.Ping{Sequence: 1})
	if r.s.camera(c.key.Public().UID()).remote != oldAddr {
		t.Error("moved before the old address was asked")
	}
	r.advance(holderPings * holderRTO)
	if r.s.camera(c.key.Public().UID()).remote != c.addr {
		t.Error("not moved by the confirmed session")
	}
	r.give(oldAddr, old.Seal(nil, []byte{0xa2, 0, 5, 1, 1}))
	if r.dropped("unknown session") != 1 || len(all[Moved](r.said)) != 1 {
		t.Errorf("dropped %v, events %+v", r.s.Stats().Dropped, r.said)
	}
}

func all[E any](events []any) (es []E) {
	for _, e := range events {
		if e, ok := e.(E); ok {
			es = append(es, e)
		}
	}
	return es
}

// Packets from an address that is not the device's own: asked for a pong there, never with more bytes than came, and no
// introduction from there.
func TestNewAddressMustAnswer(t *testing.T) {
	r := newRig(t, nil)
	c, v := r.camera(), r.viewer()
	home, away := v.addr, addr("198.51.100.77:7")
	b := v.sealed(connect(7, c))
	r.give(away, b)
	if c.take() != nil || len(r.out) != 1 || r.out[0].To != away || len(r.out[0].B) > len(b) {
		t.Fatalf("answers %v", r.out)
	}
	v.addr = away
	ping, _ := v.read().(*wire.Ping)
	v.send(&wire.Pong{Sequence: ping.Sequence + 1})
	v.send(&wire.Pong{Sequence: ping.Sequence})
	v.send(connect(7, c))
	if in, _ := c.read().(*wire.Introduce); in == nil || in.Endpoint != wire.At(away) {
		t.Errorf("introduce %+v", in)
	}
	if m := all[Moved](r.said); len(m) != 1 || m[0].From != home || m[0].To != away {
		t.Errorf("events %+v", r.said)
	}
}

func TestRelay(t *testing.T) {
	r := newRig(t, nil)
	c, v := r.camera(), r.viewer()
	v.send(connect(7, c))
	in, peer := c.read().(*wire.Introduce), v.read().(*wire.Peer)
	frame := func(channel uint16, text string) []byte {
		b, err := wire.AppendChannelData(nil, channel, []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	r.give(c.addr, frame(in.Channel, "hello"))
	r.give(v.addr, frame(peer.Channel, "world"))
	if got, want := v.take(), frame(peer.Channel, "hello"); !bytes.Equal(got, want) {
		t.Errorf("viewer got %x, want %x", got, want)
	}
	if got, want := c.take(), frame(in.Channel, "world"); !bytes.Equal(got, want) {
		t.Errorf("camera got %x, want %x", got, want)
	}
	r.give(v.addr, frame(peer.Channel+1, "x")) // not bound
	r.s.HandlePacket(r.now, v.addr, addr("203.0.113.2:3478"), frame(peer.Channel, "x"))
	short := frame(peer.Channel, "x")
	binary.BigEndian.PutUint16(short[2:], 9)
	r.give(v.addr, short)
	c.send(&wire.Goodbye{})
	r.give(v.addr, frame(peer.Channel, "x"))
	s := r.s.Stats()
	if len(r.out) != 0 || s.RelayedFrames != 2 || s.Dropped["channel is not bound to this address"] != 2 || s.Dropped["malformed channel data"] != 1 ||
		s.Dropped["the other party of the relay is away"] != 1 {
		t.Errorf("stats %+v", s)
	}
}

func TestConfig(t *testing.T) {
	key, err := identity.NewKey(rand.NewChaCha8([32]byte{}))
	if err != nil {
		t.Fatal(err)
	}
	grid := func(change func(*Grid)) Config {
		g := grid4
		change(&g)
		return Config{Static: key, Rand: rand.NewChaCha8([32]byte{}), Grids: []Grid{grid4, g}}
	}
	if _, err := New(grid(func(*Grid) {})); err != nil {
		t.Error(err)
	}
	for name, c := range map[string]Config{
		"no key":             {Rand: rand.NewChaCha8([32]byte{})},
		"no randomness":      {Static: key},
		"fractional seconds": {Static: key, Rand: rand.NewChaCha8([32]byte{}), Keepalive: 1500 * time.Millisecond},
		"early expiry":       {Static: key, Rand: rand.NewChaCha8([32]byte{}), Keepalive: 15 * time.Second, Expiry: 10 * time.Second},
		"one address":        grid(func(g *Grid) { g.Addrs[1] = g.Addrs[0] }),
		"no address":         grid(func(g *Grid) { g.Addrs = [2]netip.Addr{} }),
		"second is none":     grid(func(g *Grid) { g.Addrs[1] = netip.Addr{} }),
		"two families":       grid(func(g *Grid) { g.Addrs[1] = netip.MustParseAddr("2001:db8::1") }),
		"any address":        grid(func(g *Grid) { g.Addrs[0] = netip.IPv4Unspecified() }),
		"one port":           grid(func(g *Grid) { g.Ports[1] = g.Ports[0] }),
		"no port":            grid(func(g *Grid) { g.Ports[1] = 0 }),
		"one public address": grid(func(g *Grid) { g.Public[0] = g.Addrs[0] }),
		"public family":      grid(func(g *Grid) { g.Public = grid6.Addrs }),
		"below 0":            {Static: key, Rand: rand.NewChaCha8([32]byte{}), RelayRate: -1},
	} {
		if _, err := New(c); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// FuzzHandlePacket feeds a server two datagrams from two addresses. What opens has a valid key, so the sealed side is
// fuzzed by FuzzMessage.
// FuzzMessage feeds what an authentic but ill-meaning device may say.
// A session is confirmed from the address that got the response, from no other.
func TestConfirmationComesFromTheSameAddress(t *testing.T) {
	r := newRig(t, nil)
	d := r.device()
	r.give(d.addr, d.initiation(&wire.Register{Version: wire.ProtocolVersion}, 1))
	sess, _, err := d.hs.Finish(d.take())
	if err != nil {
		t.Fatal(err)
	}
	d.sess = sess
	r.give(addr("198.51.100.77:7"), d.sealed(&wire.Ping{Sequence: 1}))
	if r.s.Stats().Online != 0 || len(r.out) != 0 {
		t.Errorf("confirmed from elsewhere: sent %v", r.out)
	}
	d.send(&wire.Ping{Sequence: 2})
	if r.s.Stats().Online != 1 {
		t.Error("not confirmed")
	}
}

// A probe longer than what came from the new address waits until enough has come.
func TestProbeIsNoAmplifier(t *testing.T) {
	r := newRig(t, nil)
	c := r.camera()
	away := addr("198.51.100.77:7")
	came, went := 0, 0
	for i := range uint64(6) {
		b := c.sealed(&wire.Ping{Sequence: i})
		came += len(b)
		r.give(away, b)
		for _, p := range r.out {
			went += len(p.B)
		}
		r.out = nil
		if went > came {
			t.Fatalf("%d bytes went to an address that %d came from", went, came)
		}
	}
	if went == 0 {
		t.Error("no probe at all")
	}
}

// A device that forges its source address can have a victim probed, but not answer for it: the probe's number cannot be
// guessed. Otherwise the cameras and the relay would send to the victim.
func TestProbeCannotBeGuessed(t *testing.T) {
	r := newRig(t, nil)
	v := r.viewer()
	victim := addr("198.51.100.77:7")
	for guess := range uint64(1000) {
		r.give(victim, v.sealed(&wire.Ping{Sequence: 1 << 40}))
		r.give(victim, v.sealed(&wire.Pong{Sequence: guess}))
	}
	if m := all[Moved](r.said); len(m) != 0 {
		t.Errorf("moved to the victim: %+v", m)
	}
	r.advance(time.Minute)
	for _, p := range r.out {
		if plain, err := v.sess.Open(nil, p.B); p.To == victim && err == nil && plain[2] != byte(wire.TypePing) {
			t.Errorf("a message of type %d for the victim", plain[2])
		}
	}
}

// A known address gets a pong and no probe, a new one a probe and no pong.
func TestPingIsAnsweredByOneDatagram(t *testing.T) {
	r := newRig(t, nil)
	c := r.camera()
	ping := c.sealed(&wire.Ping{Sequence: 1 << 40})
	c.send(&wire.Ping{Sequence: 2})
	if p, ok := c.read().(*wire.Pong); !ok || p.Sequence != 2 || len(r.out) != 0 {
		t.Errorf("at home: pong %+v and %d more", p, len(r.out))
	}
	c.addr = addr("198.51.100.77:7")
	r.give(c.addr, ping)
	if len(r.out) != 1 || len(r.out[0].B) > len(ping) {
		t.Fatalf("%d answers to a new address", len(r.out))
	}
	if m, ok := c.read().(*wire.Ping); !ok {
		t.Errorf("a new address got %+v", m)
	}
}

// A session ends 24 h after its handshake, however lively it is; an unconfirmed one after 10 s, also where the device has
// another.
func TestSessionsEnd(t *testing.T) {
	r := newRig(t, nil)
	c := r.camera()
	joined := r.now
	for r.s.Stats().Online == 1 && r.now.Sub(joined) < 25*time.Hour {
		c.send(&wire.Ping{Sequence: 1})
		c.take()
		r.advance(time.Second)
		if r.s.Stats().Online == 1 {
			r.advance(14 * time.Second)
		}
	}
	if off := all[Offline](r.said); len(off) != 1 || off[0].At.Sub(joined) != session.RejectAfterTime {
		t.Errorf("offline %+v", off)
	}
	c.join(&wire.Register{Version: wire.ProtocolVersion}, 2)
	r.give(c.addr, c.initiation(&wire.Register{Version: wire.ProtocolVersion}, 3))
	late, _, err := c.hs.Finish(c.take())
	if err != nil {
		t.Fatal(err)
	}
	r.advance(pendingLife)
	r.give(c.addr, late.Seal(nil, []byte{0xa2, 0, 5, 1, 1}))
	if r.dropped(session.ErrExpired.Error()) != 1 || c.take() != nil {
		t.Errorf("confirmed after 10 s; dropped %v", r.s.Stats().Dropped)
	}
}

// One viewer cannot use up the relays, and a camera that does not answer holds none.
func TestRelaysOfOneViewerAreBounded(t *testing.T) {
	r := newRig(t, func(c *Config) { c.ConnectsPerSecond = 1000 })
	c, greedy, other := r.camera(), r.viewer(), r.viewer()
	for id := range uint64(relaysEach + 10) {
		greedy.send(connect(id+1, c))
	}
	if n := r.s.Stats().Relays; n != relaysEach {
		t.Errorf("%d relays", n)
	}
	for greedy.take() != nil {
	}
	other.send(connect(1000, c))
	if p, _ := other.read().(*wire.Peer); p == nil || p.Channel == 0 {
		t.Errorf("the other viewer got %+v", p)
	}
	r.advance(introGiveUp + time.Second)
	if n := r.s.Stats().Relays; n != 0 {
		t.Errorf("%d relays for a camera that does not answer", n)
	}
}

// A viewer that comes again and again is not refused a relay for those that it has left behind: the idlest makes room, and none that
// carries something.
func TestIdleRelaysMakeRoom(t *testing.T) {
	r := newRig(t, func(c *Config) { c.ConnectsPerSecond = 1000 })
	c, v := r.camera(), r.viewer()
	ask := func(id uint64) (channel uint16) {
		v.send(connect(id, c))
		peer, _ := v.read().(*wire.Peer)
		in, _ := c.read().(*wire.Introduce)
		if peer == nil || in == nil {
			t.Fatalf("peer %+v, introduce %+v", peer, in)
		}
		c.send(&wire.IntroduceAck{ID: in.ID})
		return peer.Channel
	}
	carried := func(channel uint16) bool {
		b, err := wire.AppendChannelData(nil, channel, []byte("media"))
		if err != nil {
			t.Fatal(err)
		}
		r.give(v.addr, b)
		return c.take() != nil
	}
	first := ask(1)
	for id := range uint64(relaysEach - 1) {
		ask(id + 2)
	}
	r.advance(relaySpare - time.Second)
	if channel := ask(1000); channel != 0 {
		t.Error("a relay made room that was idle for 9 s")
	}
	if !carried(first) {
		t.Fatal("the first relay carries nothing")
	}
	r.advance(time.Second)
	if channel := ask(1001); channel == 0 {
		t.Error("no idle relay made room")
	}
	if n := r.s.Stats().Relays; n != relaysEach {
		t.Errorf("%d relays", n)
	}
	if !carried(first) {
		t.Error("the relay that carried something made room")
	}
}

// Viewers with keys made for it leave no more behind than so many records, in memory and in the database; cameras are not
// forgotten for them, nor are viewers by whom something is relayed.
func TestGuestsAreBounded(t *testing.T) {
	book := notebook{}
	r := newRig(t, func(c *Config) { c.Store, c.MaxGuests = book, 5 })
	c, v := r.camera(), r.viewer()
	r.introduce(v, c, 7, true)
	gone := r.camera()
	gone.send(&wire.Goodbye{})
	v.send(&wire.Goodbye{})
	for range 20 {
		d := r.viewer()
		d.send(&wire.Goodbye{})
	}
	if n := r.s.Stats().Registrations; n != 2+5 || len(book) != n {
		t.Errorf("%d devices remembered, %d in the database", n, len(book))
	}
	for _, d := range []*device{c, gone} {
		if r.s.known(d.key.Public(), Camera) == nil {
			t.Error("a camera was forgotten")
		}
	}
	if r.s.known(v.key.Public(), Viewer) == nil || r.s.Stats().Relays != 1 {
		t.Error("a viewer was forgotten whose relay is open")
	}
}

// Nor can many viewers have one camera's channels searched through for long.
func TestRelaysOfOneCameraAreBounded(t *testing.T) {
	r := newRig(t, func(c *Config) { c.ConnectsPerSecond = 1000 })
	c := r.camera()
	for range 6 {
		v := r.viewer()
		for id := range uint64(relaysEach) {
			v.send(connect(id+1, c))
		}
	}
	if n := r.s.Stats().Relays; n != relaysOfCamera {
		t.Errorf("%d relays", n)
	}
}
