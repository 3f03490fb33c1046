package rendezvous

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/wire"
)

var (
	alternate  = addr("203.0.113.2:3479")
	sequential = wire.Class{Mapping: wire.AddressAndPortDependent, Ports: wire.PortsSequential, Step: 2}
	random     = wire.Class{Mapping: wire.AddressAndPortDependent, Ports: wire.PortsRandom}
)

// pair is a viewer introduced to a camera.
type pair struct {
	r        *rig
	v, c     *device
	vid, cid uint64 // how each knows the connection
}

func (r *rig) introduce(v, c *device, id uint64, relay bool) pair {
	r.t.Helper()
	m := connect(id, c)
	m.Relay = relay
	v.send(m)
	peer, _ := v.read().(*wire.Peer)
	in, _ := c.read().(*wire.Introduce)
	if peer == nil || in == nil {
		r.t.Fatalf("peer %+v, introduce %+v", peer, in)
	}
	c.send(&wire.IntroduceAck{ID: in.ID})
	return pair{r, v, c, id, in.ID}
}

func (r *rig) pair(relay bool) pair {
	r.t.Helper()
	c, v := r.camera(), r.viewer()
	return r.introduce(v, c, 1<<63+7, relay)
}

// sample sends one from an address to the alternate socket.
func (d *device) sample(from netip.AddrPort, id uint64) {
	d.r.t.Helper()
	d.r.s.HandlePacket(d.r.now, from, alternate, d.sealed(&wire.Sample{ID: id}))
	d.r.drain()
}

func port(a netip.AddrPort, p uint16) netip.AddrPort { return netip.AddrPortFrom(a.Addr(), p) }

// located reads a Located and acknowledges it.
func (d *device) located() *wire.Located {
	d.r.t.Helper()
	m, _ := d.read().(*wire.Located)
	if m != nil {
		d.send(&wire.LocatedAck{ID: m.ID, Sequence: m.Sequence})
	}
	return m
}

// move has a device appear from another address and answer the probe there.
func (d *device) move(to netip.AddrPort) {
	d.r.t.Helper()
	d.addr = to
	d.send(&wire.Ping{Sequence: 1 << 40})
	ping, _ := d.read().(*wire.Ping)
	if ping == nil {
		d.r.t.Fatal("the new address is not probed")
	}
	d.send(&wire.Pong{Sequence: ping.Sequence})
}

func same(t *testing.T, what string, got, want wire.Message) {
	t.Helper()
	if d := cmp.Diff(want, got, cmpopts.EquateComparable(netip.AddrPort{})); d != "" {
		t.Errorf("%s (-want +got):\n%s", what, d)
	}
}

// What a device reports reaches those that are introduced to it. The latest report counts, also where an older one comes
// after it; addresses of the server's own are left out.
func TestReports(t *testing.T) {
	r := newRig(t, withGrids)
	c, v := r.camera(), r.viewer()
	host := wire.Ats([]netip.AddrPort{addr("10.0.0.2:5000"), core.Over(core.TCP, addr("192.0.2.9:5000"))})
	newer := c.sealed(&wire.Report{Sequence: 2, Class: sequential,
		Candidates: append(wire.Ats([]netip.AddrPort{addr("203.0.113.2:7"), core.Over(core.TLS, addr("[2001:db8::1]:443"))}), host...)})
	older := c.sealed(&wire.Report{Sequence: 1, Class: random})
	for i, b := range [][]byte{newer, older} {
		r.give(c.addr, b)
		same(t, "acknowledgement", c.read(), &wire.Reported{Sequence: uint32(2 - i)})
	}
	v.send(connect(7, c))
	c.read()
	peer, _ := v.read().(*wire.Peer)
	same(t, "peer", peer, &wire.Peer{ID: 7, Endpoint: wire.At(c.addr), Channel: peer.Channel, Class: sequential, Candidates: host})

	c.join(&wire.Register{Version: wire.ProtocolVersion}, 2) // a renewed session counts anew
	c.send(&wire.Report{Sequence: 1, Class: random})
	c.read()
	v.send(connect(8, c))
	if peer, _ := v.read().(*wire.Peer); peer == nil || peer.Class != random || peer.Candidates != nil {
		t.Errorf("after the second report: %+v", peer)
	}
	c.send(&wire.Goodbye{})
	r.out = nil
	c.join(&wire.Register{Version: wire.ProtocolVersion}, 3) // it may be behind another NAT now
	v.send(connect(9, c))
	if peer, _ := v.read().(*wire.Peer); peer == nil || !peer.Class.IsZero() {
		t.Errorf("after an absence: %+v", peer)
	}
}

// A report from an address that is not validated is not answered there, nor taken.
func TestReportFromElsewhere(t *testing.T) {
	r := newRig(t, nil)
	c := r.camera()
	c.addr = addr("198.51.100.77:7")
	c.send(&wire.Report{Sequence: 1, Class: random})
	if m, ok := c.read().(*wire.Ping); !ok || len(r.out) != 0 || !r.s.camera(c.key.Public().UID()).class.IsZero() {
		t.Errorf("answered by %+v and %d more", m, len(r.out))
	}
}

// A sample tells the other party where the device's next mapping lies; it moves nothing and gets no answer.
func TestSamples(t *testing.T) {
	r := newRig(t, withGrids)
	p := r.pair(false)
	p.v.sample(port(p.v.addr, 6001), p.vid)
	same(t, "camera's first", p.c.read(), &wire.Sampled{ID: p.cid, Endpoint: wire.At(port(p.v.addr, 6001)), Count: 1})
	p.v.sample(port(p.v.addr, 6003), p.vid)
	same(t, "camera's second", p.c.read(), &wire.Sampled{ID: p.cid, Endpoint: wire.At(port(p.v.addr, 6003)), Count: 2})
	p.c.sample(port(p.c.addr, 7001), p.cid)
	same(t, "viewer's", p.v.read(), &wire.Sampled{ID: p.vid, Endpoint: wire.At(port(p.c.addr, 7001)), Count: 1})
	if len(r.out) != 0 || len(all[Moved](r.said)) != 0 || r.s.Stats().Samples != 3 {
		t.Errorf("beside the samples: %v, %+v, %+v", r.out, r.said, r.s.Stats())
	}
	r.advance(r.s.patience() - time.Second)
	p.c.sample(port(p.c.addr, 7002), p.cid)
	r.advance(time.Second)
	if m, ok := p.c.read().(*wire.Ping); !ok { // the device is asked at home, as if no sample had come
		t.Errorf("a sample counts as a sign of life of the endpoint: %+v", m)
	}
}

// A device that reaches the server by a stream alone may have its UDP mappings sampled all the same.
func TestSampleBesideAStream(t *testing.T) {
	r := newRig(t, withGrids)
	c, v := r.camera(), r.device()
	bare := v.addr
	v.addr = core.Over(core.TLS, bare)
	v.join(&wire.Login{Version: wire.ProtocolVersion}, 1)
	p := r.introduce(v, c, 7, false)
	v.sample(port(bare, 6001), p.vid)
	same(t, "camera's", c.read(), &wire.Sampled{ID: p.cid, Endpoint: wire.At(port(bare, 6001)), Count: 1})
}

// Samples that would aim the other party at somebody else, that concern somebody else's connection, or that are too many.
func TestForgedSamples(t *testing.T) {
	r := newRig(t, withGrids)
	p := r.pair(false)
	stranger := r.viewer()
	victim := addr("198.51.100.77:7")
	p.v.sample(victim, p.vid)
	p.v.sample(core.Over(core.TCP, port(p.v.addr, 9)), p.vid)
	p.v.sample(addr("[2001:db8:9::1]:7"), p.vid)
	stranger.sample(port(stranger.addr, 9), p.vid)
	stranger.sample(port(stranger.addr, 9), p.cid)
	p.v.sample(port(p.v.addr, 9), p.cid) // the camera's name for it
	p.c.sample(port(p.c.addr, 9), p.vid)
	r.give(p.v.addr, []byte{7, 1, 0, 0})
	if len(r.out) != 0 || r.dropped(errSample.Error()) != 3 || r.dropped(errTie.Error()) != 4 {
		t.Errorf("sent %v; dropped %v", r.out, r.s.Stats().Dropped)
	}
	b := p.v.sealed(&wire.Sample{ID: p.vid})
	r.give(p.v.addr, b)
	r.give(p.v.addr, b) // a copy
	for range 200 {
		p.v.sample(port(p.v.addr, 9), p.vid)
	}
	if n := len(r.out); n != sampleBurst || r.dropped(errRate.Error()) != 201-sampleBurst {
		t.Errorf("%d of 201 samples passed on", n)
	}
	p.c.send(&wire.Goodbye{})
	r.out = nil
	r.advance(time.Second)
	p.v.sample(port(p.v.addr, 9), p.vid)
	if len(r.out) != 0 || r.dropped(errNotReady.Error()) != 1 {
		t.Errorf("sent to one who is away: %v", r.out)
	}
}

// Again tells both where the other is, with what it last reported.
func TestAgain(t *testing.T) {
	r := newRig(t, nil)
	p := r.pair(false)
	p.c.send(&wire.Report{Sequence: 1, Class: sequential})
	p.v.send(&wire.Report{Sequence: 1, Class: random, Candidates: []wire.Endpoint{wire.At(addr("10.0.0.2:5000"))}})
	p.c.read()
	p.v.read()
	p.v.send(&wire.Again{ID: p.vid})
	same(t, "viewer's", p.v.located(), &wire.Located{ID: p.vid, Sequence: 1, Endpoint: wire.At(p.c.addr), Class: sequential})
	same(t, "camera's", p.c.located(), &wire.Located{ID: p.cid, Sequence: 1, Endpoint: wire.At(p.v.addr), Class: random,
		Candidates: []wire.Endpoint{wire.At(addr("10.0.0.2:5000"))}})
	p.c.send(&wire.Again{ID: p.cid, Relay: true})
	v, c := p.v.located(), p.c.located()
	if v == nil || c == nil || v.Sequence != 2 || c.Sequence != 2 || v.Channel == 0 || c.Channel == 0 || r.s.Stats().Relays != 1 {
		t.Fatalf("viewer's %+v, camera's %+v, stats %+v", v, c, r.s.Stats())
	}
	p.v.send(&wire.Again{ID: p.vid, Relay: true}) // the relay that there is
	if again := p.v.located(); again == nil || again.Channel != v.Channel || r.s.Stats().Relays != 1 {
		t.Errorf("the second relay: %+v", again)
	}
	r.advance(10 * time.Second)
	if p.v.take() != nil {
		t.Error("located is repeated after its acknowledgement")
	}
}

// Located is repeated until it is acknowledged, and not longer than 5 s.
func TestLocatedIsRepeated(t *testing.T) {
	r := newRig(t, nil)
	p := r.pair(false)
	p.v.send(&wire.Again{ID: p.vid})
	var seen []uint32
	for range 2 {
		r.advance(10 * time.Second)
		for {
			m, ok := p.v.read().(*wire.Located)
			if !ok {
				break
			}
			seen = append(seen, m.Sequence)
		}
		p.v.send(&wire.Ping{Sequence: 1})
		p.v.read()
	}
	if len(seen) < 8 || len(seen) > 12 || slices.Max(seen) != 1 {
		t.Errorf("located %v", seen)
	}
	r.out = nil
	p.v.send(&wire.Again{ID: p.vid})
	first := p.v.read().(*wire.Located)
	p.c.located()
	p.v.send(&wire.LocatedAck{ID: p.vid, Sequence: first.Sequence - 1}) // of an older one
	r.advance(100 * time.Millisecond)
	if again, _ := p.v.read().(*wire.Located); again == nil || again.Sequence != first.Sequence {
		t.Errorf("after the acknowledgement of an older one: %+v", again)
	}
	r.advance(10 * time.Second)
	r.out = nil
	p.c.join(&wire.Register{Version: wire.ProtocolVersion}, 2) // where it was; but the viewer may not know
	if m := p.v.located(); m == nil || m.Sequence <= first.Sequence {
		t.Errorf("what was never acknowledged is not told at the next occasion: %+v", m)
	}
}

// The first repetition leaves the party twice the round trip that its handshake took.
func TestLocatedWaitsForSlowParties(t *testing.T) {
	r := newRig(t, nil)
	p := r.pair(false)
	r.s.known(p.v.key.Public(), Viewer).setTrip(400 * time.Millisecond)
	p.v.send(&wire.Again{ID: p.vid})
	p.v.read()
	r.advance(799 * time.Millisecond)
	if p.v.take() != nil {
		t.Error("repeated within twice the round trip")
	}
	r.advance(time.Millisecond)
	if p.v.take() == nil {
		t.Error("not repeated after twice the round trip")
	}
}

// A relay that was closed because it was idle is opened again.
func TestAgainRenewsTheRelay(t *testing.T) {
	r := newRig(t, nil)
	p := r.pair(true)
	idle := func(d time.Duration) (relays int) {
		for range d / (10 * time.Second) {
			r.advance(10 * time.Second)
			p.v.send(&wire.Ping{Sequence: 1})
			p.c.send(&wire.Ping{Sequence: 1})
		}
		r.out = nil
		return r.s.Stats().Relays
	}
	idle(time.Minute + 50*time.Second)
	r.give(p.v.addr, frame(t, wire.MinChannel, 100))
	if n := idle(time.Minute + 50*time.Second); n != 1 {
		t.Fatalf("%d relays, though a frame came by", n)
	}
	if n := idle(20 * time.Second); n != 0 {
		t.Fatalf("%d relays after 2 min without a frame", n)
	}
	p.v.send(&wire.Again{ID: p.vid, Relay: true})
	v, c := p.v.located(), p.c.located()
	r.give(p.c.addr, frame(t, c.Channel, 99))
	if channel, data, err := wire.ParseChannelData(p.v.take()); err != nil || channel != v.Channel || len(data) != 95 {
		t.Errorf("the new relay brought channel %#x, %d bytes, %v", channel, len(data), err)
	}
}

// Who moves is followed, without being asked: the other party hears it at once.
func TestMovedPartyIsLocated(t *testing.T) {
	r := newRig(t, nil)
	p := r.pair(false)
	p.v.move(addr("198.51.100.1:1"))
	same(t, "camera's", p.c.located(), &wire.Located{ID: p.cid, Sequence: 1, Endpoint: wire.At(p.v.addr)})
	p.c.move(addr("198.51.100.2:2"))
	same(t, "viewer's", p.v.located(), &wire.Located{ID: p.vid, Sequence: 1, Endpoint: wire.At(p.c.addr)})
	was := p.c.addr
	p.c.addr = addr("198.51.100.3:3") // by a new handshake
	p.c.join(&wire.Register{Version: wire.ProtocolVersion}, 2)
	r.advance(holderPings * holderRTO)
	r.discard(was) // where it does not answer any more
	same(t, "viewer's second", p.v.located(), &wire.Located{ID: p.vid, Sequence: 2, Endpoint: wire.At(p.c.addr)})
	p.c.join(&wire.Register{Version: wire.ProtocolVersion}, 3) // nowhere else
	stream := core.Over(core.TLS, addr("198.51.100.3:4"))
	p.c.move(stream)
	same(t, "viewer's third", p.v.located(), &wire.Located{ID: p.vid, Sequence: 3, Endpoint: wire.At(stream)})
	if len(r.out) != 0 {
		t.Errorf("%d more", len(r.out))
	}
}

// A party that was away while the other moved is told when it is back; so is the other one of where it is now.
func TestReturnedPartyIsLocated(t *testing.T) {
	r := newRig(t, nil)
	p := r.pair(false)
	p.c.send(&wire.Goodbye{})
	p.v.send(&wire.Again{ID: p.vid})
	same(t, "the camera is away", p.v.read(), &wire.Refused{ID: p.vid, Code: wire.CodeUnavailable})
	p.v.move(addr("198.51.100.1:1"))
	p.c.addr = addr("198.51.100.2:2")
	p.c.hs = nil
	r.give(p.c.addr, p.c.initiation(&wire.Register{Version: wire.ProtocolVersion}, 2))
	sess, _, err := p.c.hs.Finish(p.c.take())
	if err != nil {
		t.Fatal(err)
	}
	p.c.sess = sess
	p.c.send(&wire.Ping{Sequence: 1})
	same(t, "camera's", p.c.located(), &wire.Located{ID: p.cid, Sequence: 1, Endpoint: wire.At(p.v.addr)})
	same(t, "viewer's", p.v.located(), &wire.Located{ID: p.vid, Sequence: 1, Endpoint: wire.At(p.c.addr)})
}

// Again from a new address is answered as soon as the address is validated, and with no more than a probe before.
func TestAgainFromElsewhere(t *testing.T) {
	r := newRig(t, nil)
	p := r.pair(false)
	p.v.addr = addr("198.51.100.1:1")
	b := p.v.sealed(&wire.Again{ID: p.vid, Relay: true})
	r.give(p.v.addr, b)
	if len(r.out) != 1 || r.out[0].To != p.v.addr || len(r.out[0].B) > len(b) {
		t.Fatalf("%d answers", len(r.out))
	}
	ping, _ := p.v.read().(*wire.Ping)
	if ping == nil {
		t.Fatal("no probe")
	}
	p.v.send(&wire.Pong{Sequence: ping.Sequence})
	if m := p.v.located(); m == nil || m.Endpoint != wire.At(p.c.addr) || m.Channel == 0 {
		t.Errorf("viewer's %+v", m)
	}
	var last *wire.Located
	for m := p.c.located(); m != nil; m = p.c.located() {
		last = m
	}
	if last == nil || last.Endpoint != wire.At(p.v.addr) || last.Channel == 0 {
		t.Errorf("camera's %+v", last)
	}
}

// A camera that has not acknowledged the introduction does not know the connection: it is told of it by introduce alone,
// and of what has changed meanwhile after its acknowledgement.
func TestNothingIsLocatedBeforeTheIntroduction(t *testing.T) {
	r := newRig(t, nil)
	c, v := r.camera(), r.viewer()
	v.send(connect(1<<63, c))
	in := c.read().(*wire.Introduce)
	r.out = nil
	v.send(&wire.Again{ID: 1 << 63})
	if m := v.located(); m == nil || c.take() != nil {
		t.Fatalf("the viewer was told %+v; the camera is told, too", m)
	}
	v.move(addr("198.51.100.1:1"))
	if c.take() != nil {
		t.Error("the camera is told of a connection that it does not know")
	}
	c.send(&wire.IntroduceAck{ID: in.ID})
	same(t, "camera's", c.located(), &wire.Located{ID: in.ID, Sequence: 1, Endpoint: wire.At(v.addr), Channel: in.Channel})
}

// A device that moves all the time has its peers told at a bounded rate, and in the end of where it has come to rest.
func TestRestlessPartyIsNoAmplifier(t *testing.T) {
	r := newRig(t, nil)
	p := r.pair(false)
	n := 0
	for i := range 200 {
		p.v.move(netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, 100, byte(i)}), 1))
		for p.c.located() != nil {
			n++
		}
	}
	if n != tellBurst {
		t.Errorf("the camera was told %d times of 200 moves in no time", n)
	}
	r.advance(time.Second)
	m := p.c.located()
	if m == nil || m.Endpoint != wire.At(p.v.addr) {
		t.Errorf("at rest the camera is told %+v", m)
	}
	r.out = nil // copies
	r.advance(5 * time.Second)
	if p.c.take() != nil {
		t.Error("the camera is told once more")
	}
}

// Strangers, the other side's name for a connection, and too many requests.
func TestAgainOfOthers(t *testing.T) {
	r := newRig(t, nil)
	p := r.pair(false)
	stranger := r.viewer()
	for _, id := range []uint64{p.vid, p.cid} {
		stranger.send(&wire.Again{ID: id, Relay: true})
		same(t, "stranger's", stranger.read(), &wire.Refused{ID: id, Code: wire.CodeUnavailable})
	}
	stranger.send(&wire.LocatedAck{ID: p.vid, Sequence: 1, Code: wire.CodeEnded})
	p.v.send(&wire.Again{ID: p.cid})
	p.v.read()
	if len(r.out) != 0 || r.s.Stats().Relays != 0 || r.s.Stats().Ties != 1 {
		t.Errorf("a stranger had an effect: %v, %+v", r.out, r.s.Stats())
	}
	n := 0
	for range 100 {
		p.v.send(&wire.Again{ID: p.vid})
		for p.v.located() != nil {
			n++
		}
		for p.c.located() != nil {
			n++
		}
	}
	if n != 2*tellBurst {
		t.Errorf("100 times again brought %d messages", n)
	}
}

// A party says that a connection is over: it is told no more of it.
func TestEndedTie(t *testing.T) {
	r := newRig(t, nil)
	p := r.pair(false)
	p.v.move(addr("198.51.100.1:1"))
	m := p.c.read().(*wire.Located)
	p.c.send(&wire.LocatedAck{ID: p.cid, Sequence: m.Sequence, Code: wire.CodeEnded})
	p.v.move(addr("198.51.100.1:2"))
	r.advance(6 * time.Second)
	if p.c.take() != nil || r.s.Stats().Ties != 0 {
		t.Errorf("told of an ended connection; %+v", r.s.Stats())
	}
	p = r.introduce(p.v, p.c, 99, false)
	p.v.send(&wire.Again{ID: p.vid})
	m = p.c.read().(*wire.Located)
	p.c.send(&wire.LocatedAck{ID: p.cid, Sequence: m.Sequence, Code: wire.CodeEnded})
	p.v.read() // it has not acknowledged
	r.advance(6 * time.Second)
	if p.v.take() != nil {
		t.Error("the other party is told on and on")
	}
}

// The peers of a device that moves hear of it in the order in which they last had to do with it, the last one first.
func TestOrderOfLocated(t *testing.T) {
	r := newRig(t, nil)
	c := r.camera()
	first, second, third := r.introduce(r.viewer(), c, 1, false), r.introduce(r.viewer(), c, 2, false), r.introduce(r.viewer(), c, 3, false)
	second.v.send(&wire.Again{ID: second.vid})
	second.v.located()
	c.located()
	c.move(addr("198.51.100.1:1"))
	var order []netip.AddrPort
	for _, p := range r.out {
		order = append(order, p.To)
	}
	if !slices.Equal(order, []netip.AddrPort{second.v.addr, third.v.addr, first.v.addr}) {
		t.Errorf("told %v", order)
	}
}

// A tie ends with a failed introduction, with a newer connection of the same two, after a day without use, and with its
// party's record.
func TestTiesEnd(t *testing.T) {
	r := newRig(t, nil)
	c, v, silent := r.camera(), r.viewer(), r.camera()
	ties := func(when string, want int) {
		t.Helper()
		if s := r.s.Stats(); s.Ties != want || s.Ties != r.s.ties.Len() {
			t.Errorf("%s: %d ties, want %d", when, s.Ties, want)
		}
		r.out = nil
	}
	r.introduce(v, c, 1, true)
	ties("introduced", 1)
	v.send(connect(5, c)) // its introduction is lost, or late
	r.introduce(v, r.camera(), 6, true)
	r.out = nil
	ties("introduced elsewhere, too", 3)
	r.introduce(v, c, 2, true)
	ties("introduced again", 3)
	r.advance(introGiveUp + time.Second)
	ties("the late one given up", 2)
	r.s.untie(r.s.known(v.key.Public(), Viewer).ties()[0].tie)
	v.send(connect(3, silent))
	ties("before the acknowledgement", 2)
	r.advance(introGiveUp + time.Second)
	ties("not acknowledged", 1)
	v.send(connect(4, c))
	in := c.read().(*wire.Introduce)
	c.send(&wire.IntroduceAck{ID: in.ID, Code: wire.CodeBusy})
	ties("refused", 1)
	v.send(connect(8, silent))
	silent.send(&wire.Goodbye{})
	ties("the camera has gone", 2)
	r.advance(lastGap)
	ties("the camera is missed", 1)
	r.advance(tieLife - time.Minute)
	ties("before its end", 1)
	v.join(&wire.Login{Version: wire.ProtocolVersion}, 2)
	v.send(&wire.Again{ID: 2}) // in vain, but it is used
	r.advance(tieLife - time.Minute)
	ties("before its end, again", 1)
	r.advance(time.Minute)
	ties("after its end", 0)
	if len(r.s.timers) != 0 {
		t.Errorf("%d timers are left", len(r.s.timers))
	}
}

// Ties are bounded for a viewer, for a camera and in all; the longest unused makes room.
func TestTiesAreBounded(t *testing.T) {
	r := newRig(t, func(c *Config) { c.ConnectsPerSecond = 1e6; c.MaxTies = tiesOfCamera + 10; c.MaxIntroductions = 1e6 })
	greedy := r.viewer()
	var cameras []*device
	for range tiesOfViewer + 5 {
		cameras = append(cameras, r.camera())
	}
	first := r.introduce(greedy, cameras[0], 1, false)
	for i, c := range cameras[1:] {
		r.introduce(greedy, c, uint64(i+2), false)
		greedy.send(&wire.Again{ID: first.vid}) // keeps it in use
		r.out = nil
	}
	v := r.s.known(greedy.key.Public(), Viewer)
	if len(v.ties()) != tiesOfViewer || v.ties()[tiesOfViewer-1].id != first.vid || r.s.Stats().Ties != tiesOfViewer {
		t.Errorf("%d ties of one viewer, %d in all", len(v.ties()), r.s.Stats().Ties)
	}
	popular := r.camera()
	for range 100 {
		d := r.viewer()
		for id := range uint64(3) { // not acknowledged: they do not supersede each other
			d.send(connect(id+1, popular))
		}
		r.out = nil
	}
	c := r.s.known(popular.key.Public(), Camera)
	if len(c.ties()) != tiesOfCamera || r.s.Stats().Ties != r.s.cfg.MaxTies {
		t.Errorf("%d ties of one camera, %d in all", len(c.ties()), r.s.Stats().Ties)
	}
	if len(v.ties()) != 10 || !slices.ContainsFunc(v.ties(), func(d *side) bool { return d.id == first.vid }) {
		t.Errorf("of the first viewer %d are left, and not the one in use", len(v.ties()))
	}
	r.advance(introGiveUp + 5*time.Second)
	if n := r.s.Stats().Ties; n != len(v.ties()) || len(c.ties()) != 0 {
		t.Errorf("%d ties in all, %d of the viewer, %d of the camera", n, len(v.ties()), len(c.ties()))
	}
}

// Requests that the camera does not take push no connection out: neither one that stands nor one that is being made.
func TestRequestsPushNoTieOut(t *testing.T) {
	r := newRig(t, func(c *Config) { c.ConnectsPerSecond = 1e6 })
	c := r.camera()
	var standing []pair
	for i := range 3 {
		standing = append(standing, r.introduce(r.viewer(), c, uint64(i+1), false))
	}
	honest := r.viewer()
	honest.send(connect(1<<63, c))
	in := c.read().(*wire.Introduce)
	for range 10 {
		d := r.viewer()
		for id := range uint64(tiesOfViewer) {
			d.send(connect(id+1, c))
		}
		r.out = nil
	}
	c.send(&wire.IntroduceAck{ID: in.ID})
	for _, p := range append(standing, pair{r, honest, c, 1 << 63, in.ID}) {
		p.v.send(&wire.Again{ID: p.vid})
		if m := p.v.located(); m == nil || m.Endpoint != wire.At(c.addr) {
			t.Errorf("connection %#x: %+v", p.vid, m)
		}
	}
	if n := len(r.s.known(c.key.Public(), Camera).ties()); n != tiesOfCamera {
		t.Errorf("%d ties of the camera", n)
	}
}

// A device that makes room for others takes its ties along.
func TestForgottenPartyHasNoTies(t *testing.T) {
	r := newRig(t, func(c *Config) { c.MaxRegistrations = 3 })
	p := r.pair(false)
	p.v.send(&wire.Goodbye{})
	r.camera()
	r.camera()
	p.c.send(&wire.Again{ID: p.cid})
	same(t, "camera's", p.c.read(), &wire.Refused{ID: p.cid, Code: wire.CodeUnavailable})
	if n := r.s.Stats().Ties; n != 0 {
		t.Errorf("%d ties", n)
	}
}

// Devices learn where samples are welcome.
func TestAlternateIsNamed(t *testing.T) {
	r := newRig(t, withGrids)
	for to, want := range map[string]string{"203.0.113.1:3478": "203.0.113.2:3479", "[fd00::2]:3479": "[2001:db8::1]:3478", "203.0.113.1:9": ""} {
		d := r.device()
		r.s.HandlePacket(r.now, d.addr, addr(to), d.initiation(&wire.Login{Version: wire.ProtocolVersion}, 1))
		r.drain()
		_, payload, err := d.hs.Finish(d.take())
		if err != nil {
			t.Fatal(err)
		}
		m, err := wire.Unmarshal(payload)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if a := m.(*wire.LoggedIn).Alternate; !a.IsZero() {
			got = a.String()
		}
		if got != want {
			t.Errorf("logged in at %s: alternate %q, want %q", to, got, want)
		}
	}
}
