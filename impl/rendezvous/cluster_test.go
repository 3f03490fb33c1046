package rendezvous

import (
	"bytes"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/wire"
)

// wired is what joins two servers in a test: what one says to the other arrives once the first has finished.
type wired struct {
	node  string // of the rig whose core calls
	from  *rig
	to    *rig
	posts *[]func()
	watch map[identity.UID]bool
}

func (w *wired) post(f func()) { *w.posts = append(*w.posts, f) }

func (w *wired) Ask(_ time.Time, device identity.PublicKey, role Role, from netip.AddrPort, m wire.Message) bool {
	v, ok := w.from.s.Describe(device, role)
	if !ok {
		w.from.t.Error("asked for a device that is not served")
	}
	v.Proxy.Node, v.From, v.Message = w.node, from, m
	w.post(func() { _ = w.to.s.Visit(w.to.now, v) })
	return true
}

func (w *wired) Tell(_ Proxy, device identity.PublicKey, role Role, m wire.Message) {
	w.post(func() { _ = w.to.s.Told(w.to.now, w.node, device, role, m) })
}

func (w *wired) Frame(_ Proxy, device identity.PublicKey, role Role, channel uint16, b []byte) {
	frame, err := wire.AppendChannelData(nil, channel, b)
	if err != nil {
		w.from.t.Error(err)
	}
	w.post(func() {
		w.to.s.box.Begin() // as HandlePacket does before Datagram
		_ = w.to.s.Carried(w.to.now, w.node, device, role, frame)
	})
}

func (w *wired) Watch(_ time.Time, camera identity.UID, on bool) { w.watch[camera] = on }

// pairOfNodes are two servers with one key: viewers come to a, cameras to b.
type pairOfNodes struct {
	a, b  *rig
	posts []func()
}

func newPair(t *testing.T) *pairOfNodes {
	t.Helper()
	p := &pairOfNodes{}
	ofA := &wired{node: "a", posts: &p.posts, watch: map[identity.UID]bool{}}
	ofB := &wired{node: "b", posts: &p.posts, watch: map[identity.UID]bool{}}
	p.a = newRig(t, func(c *Config) { c.Others = ofA })
	p.b = newRig(t, func(c *Config) { c.Others = ofB; c.Rand = rand.NewChaCha8([32]byte{9}) })
	p.b.n = 100 // other devices than a's
	ofA.from, ofA.to, ofB.from, ofB.to = p.a, p.b, p.b, p.a
	return p
}

// settle delivers what the two have said to each other.
func (p *pairOfNodes) settle() {
	for len(p.posts) > 0 {
		f := p.posts[0]
		p.posts = p.posts[1:]
		f()
		p.a.drain()
		p.b.drain()
	}
}

// introduced is a viewer at a and a camera at b that have been introduced with a relay.
type introduced struct {
	*pairOfNodes
	v, c               *device
	vid, cid           uint64
	vchannel, cchannel uint16
}

func (p *pairOfNodes) introduce() introduced {
	p.a.t.Helper()
	x := introduced{pairOfNodes: p, v: p.a.viewer(), c: p.b.camera(), vid: 77}
	x.v.send(connect(x.vid, x.c))
	p.settle()
	in, ok := x.c.read().(*wire.Introduce)
	if !ok || in.Endpoint.AddrPort != x.v.addr || in.Channel == 0 {
		p.a.t.Fatalf("the camera is told %+v", in)
	}
	peer, ok := x.v.read().(*wire.Peer)
	if !ok || peer.ID != x.vid || peer.Endpoint.AddrPort != x.c.addr || peer.Channel == 0 {
		p.a.t.Fatalf("the viewer is told %+v", peer)
	}
	x.cid, x.vchannel, x.cchannel = in.ID, peer.Channel, in.Channel
	x.c.send(&wire.IntroduceAck{ID: x.cid})
	p.settle()
	return x
}

// frame sends a relay frame and returns what the other device gets.
func (x *introduced) frame(from, to *device, channel uint16) []byte {
	b, err := wire.AppendChannelData(nil, channel, []byte("frame"))
	if err != nil {
		x.a.t.Fatal(err)
	}
	from.r.give(from.addr, b)
	x.settle()
	return to.take()
}

func (x *introduced) relays(t *testing.T) {
	t.Helper()
	for _, way := range []struct {
		from, to      *device
		channel, want uint16
	}{{x.v, x.c, x.vchannel, x.cchannel}, {x.c, x.v, x.cchannel, x.vchannel}} {
		got := x.frame(way.from, way.to, way.channel)
		channel, data, err := wire.ParseChannelData(got)
		if err != nil || channel != way.want || string(data) != "frame" {
			t.Errorf("relayed %x: channel %x, want %x, %v", got, channel, way.want, err)
		}
	}
}

// A viewer at one node and a camera at another are introduced, relayed, located and sampled as if they had one.
func TestTwoNodes(t *testing.T) {
	x := newPair(t).introduce()
	x.relays(t)
	x.v.send(&wire.Again{ID: x.vid, Relay: true})
	x.settle()
	for _, d := range []struct {
		*device
		id      uint64
		channel uint16
		other   *device
	}{{x.v, x.vid, x.vchannel, x.c}, {x.c, x.cid, x.cchannel, x.v}} {
		m, ok := d.read().(*wire.Located)
		if !ok || m.ID != d.id || m.Channel != d.channel || m.Endpoint.AddrPort != d.other.addr {
			t.Errorf("located %+v", m)
		}
		d.send(&wire.LocatedAck{ID: d.id, Sequence: m.Sequence})
		x.settle()
	}
	x.a.advance(10 * time.Second)
	x.b.advance(10 * time.Second)
	x.settle()
	if m := x.v.read(); m != nil {
		t.Errorf("acknowledged, and told again: %T", m)
	}
	x.v.send(&wire.Sample{ID: x.vid})
	x.settle()
	if m, ok := x.c.read().(*wire.Sampled); !ok || m.ID != x.cid || m.Endpoint.AddrPort != x.v.addr {
		t.Errorf("sampled %+v", m)
	}
}

// until reads messages until one of a type comes.
func until[M wire.Message](d *device) M {
	for {
		switch m := d.read().(type) {
		case M:
			return m
		case nil:
			var none M
			d.r.t.Fatalf("no %T", none)
		}
	}
}

// Idle relays are closed at both nodes, and opened anew.
func TestRelayOverNodesIdles(t *testing.T) {
	x := newPair(t).introduce()
	x.a.advance(3 * time.Minute)
	x.b.advance(3 * time.Minute)
	x.posts = nil
	if a, b := x.a.s.Stats().Relays, x.b.s.Stats().Relays; a+b != 0 {
		t.Fatalf("%d and %d relays are left", a, b)
	}
	v, c := x.a.device(), x.b.device() // the others' sessions are over by now
	v.key, c.key = x.v.key, x.c.key
	v.join(&wire.Login{Version: wire.ProtocolVersion}, 2)
	c.join(&wire.Register{Version: wire.ProtocolVersion}, 2)
	x.v, x.c = v, c
	v.send(connect(78, c))
	x.settle()
	peer, in := until[*wire.Peer](v), until[*wire.Introduce](c)
	x.vchannel, x.cchannel = peer.Channel, in.Channel
	x.relays(t)
}

// A connection goes on at a third node, by what the nodes keep of it.
func TestTieIsRestored(t *testing.T) {
	x := newPair(t).introduce()
	third := newPair(t)
	third.b.now = epoch.Add(time.Hour)
	tie := Tie{Viewer: x.v.key.Public(), Camera: x.c.key.Public(), ViewerID: x.vid, CameraID: x.cid}

	c := third.b.device()
	c.key = x.c.key
	c.join(&wire.Register{Version: wire.ProtocolVersion}, 2)
	visit, _ := x.a.s.Describe(x.v.key.Public(), Viewer)
	visit.Proxy.Node, visit.Tie, visit.Message = "a", &tie, &wire.Again{ID: x.vid}
	if err := third.b.s.Visit(third.b.now, visit); err != nil {
		t.Fatal(err)
	}
	third.b.drain()
	m, ok := c.read().(*wire.Located)
	if !ok || m.ID != x.cid || m.Endpoint.AddrPort != x.v.addr {
		t.Fatalf("located %+v", m)
	}
	if m.Sequence < 3600 {
		t.Errorf("sequence %d: the camera has heard greater ones from the lost node, and drops it", m.Sequence)
	}
	if n := third.b.s.Stats().Ties; n != 1 {
		t.Errorf("%d ties", n)
	}
	third.b.s.Cede(third.b.now, c.key.Public(), Camera, x.cid)
	third.b.drain()
	if n := third.b.s.Stats().Ties; n != 0 {
		t.Errorf("ceded, and %d ties", n)
	}
	for _, e := range third.b.said {
		if _, over := e.(Untied); over {
			t.Error("a connection that was ceded is said to be over")
		}
	}
}

// What a node says of a device counts only while the device is there.
func TestVisitsOfOldSessions(t *testing.T) {
	x := newPair(t).introduce()
	key := x.v.key.Public()
	old, _ := x.a.s.Describe(key, Viewer)
	old.Proxy.Node, old.Proxy.Endpoint = "c", addr("198.51.100.9:9")

	newer := old
	newer.Stamp = old.Stamp + 1
	if err := x.b.s.Visit(x.b.now, newer); err != nil {
		t.Fatal(err)
	}
	if err := x.b.s.Visit(x.b.now, old); err == nil {
		t.Error("a node that the viewer has left speaks for him")
	}
	if got := x.b.s.known(key, Viewer).endpoint(); got != newer.Proxy.Endpoint {
		t.Errorf("the viewer is at %v", got)
	}
	x.b.s.Leave(x.b.now, "a", key, Viewer)
	if !x.b.s.known(key, Viewer).online() {
		t.Error("another node says that he has left, and it is believed")
	}
	x.b.s.NodeGone(x.b.now, "c")
	if x.b.s.known(key, Viewer).online() {
		t.Error("his node has ended, and he is online")
	}

	// He comes to this node himself: who else claims him with an older session is not heard.
	v := x.b.device()
	v.key = x.v.key
	v.join(&wire.Login{Version: wire.ProtocolVersion}, newer.Stamp+1)
	same := newer
	same.Stamp++
	for _, claim := range []Visit{newer, same} {
		if err := x.b.s.Visit(x.b.now, claim); err == nil {
			t.Errorf("a node that the viewer has left took him away, with stamp %d", claim.Stamp)
		}
	}
	if _, here := x.b.s.Describe(key, Viewer); !here {
		t.Error("he is not served any more")
	}
}

// Nodes say to devices what servers say, about relays that are theirs.
func TestStrangers(t *testing.T) {
	x := newPair(t).introduce()
	key := x.v.key.Public()
	for name, err := range map[string]error{
		"a ping":            x.a.s.Told(x.a.now, "b", key, Viewer, &wire.Ping{Sequence: 1}),
		"an introduction":   x.a.s.Told(x.a.now, "b", key, Viewer, &wire.Introduce{}),
		"an unknown device": x.a.s.Told(x.a.now, "b", newKey(t), Viewer, &wire.Refused{ID: 1, Code: wire.CodeUnavailable}),
		"a camera's visit":  x.b.s.Visit(x.b.now, Visit{Device: newKey(t), Role: Camera, Stamp: 1, Message: connect(1, x.c)}),
	} {
		if err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	theirs := x.a.s.known(key, Viewer).ends()[0].other.channel // as b calls it
	frame, err := wire.AppendChannelData(nil, theirs, []byte("frame"))
	if err != nil {
		t.Fatal(err)
	}
	for name, send := range map[string]func(b []byte) error{
		"another node":    func(b []byte) error { return x.a.s.Carried(x.a.now, "c", key, Viewer, b) },
		"another device":  func(b []byte) error { return x.a.s.Carried(x.a.now, "b", newKey(t), Viewer, b) },
		"another channel": func(b []byte) error { b[1] ^= 1; return x.a.s.Carried(x.a.now, "b", key, Viewer, b) },
		"no frame":        func(b []byte) error { return x.a.s.Carried(x.a.now, "b", key, Viewer, b[:3]) },
	} {
		if err := send(bytes.Clone(frame)); err == nil {
			t.Errorf("%s: carried", name)
		}
	}
	if err := x.a.s.Carried(x.a.now, "b", key, Viewer, bytes.Clone(frame)); err != nil {
		t.Errorf("the right one: %v", err)
	}
}

func newKey(t *testing.T) identity.PublicKey {
	t.Helper()
	k, err := identity.NewKey(rand.NewChaCha8([32]byte{99}))
	if err != nil {
		t.Fatal(err)
	}
	return k.Public()
}

// Datagrams of nodes are nothing to a server that is alone.
func TestNodeDatagramsAlone(t *testing.T) {
	r := newRig(t, nil)
	r.give(addr("192.0.2.9:9"), []byte{TypeNode, 1, 0, 0})
	if r.dropped(errKind.Error()) != 1 || len(r.out) != 0 {
		t.Errorf("%+v", r.s.Stats().Dropped)
	}
}

// Another node learns that a camera is there by its answer alone, not by what it had said before.
func TestChallenge(t *testing.T) {
	r := newRig(t, nil)
	c := r.camera()
	k := c.key.Public()
	late := c.sealed(&wire.Ping{Sequence: 9})
	number, _ := r.s.Challenge(r.now, k)
	r.drain()
	ping, _ := c.read().(*wire.Ping)
	if number == 0 || ping == nil || ping.Sequence != number {
		t.Fatalf("challenge %d, the camera got %+v", number, ping)
	}
	r.give(c.addr, late)
	c.send(&wire.Pong{Sequence: number + 1})
	if r.s.Answered(k, number, r.now) {
		t.Error("other words are taken for the answer")
	}
	if same, _ := r.s.Challenge(r.now, k); same != number {
		t.Error("two nodes that ask at a time ask for different answers")
	}
	r.s.EndChallenge(k)
	c.send(&wire.Pong{Sequence: number})
	if !r.s.Answered(k, number, r.now) || r.s.Answered(k, number+1, r.now) || r.s.Answered(r.device().key.Public(), 0, r.now) {
		t.Error("the answer is none")
	}
	if r.s.Answered(k, number, r.now.Add(1)) {
		t.Error("an answer serves who asks later")
	}
	r.s.EndChallenge(k)
	if r.s.Answered(k, number, r.now) || r.s.known(k, Camera).busy != nil {
		t.Error("the challenge is remembered")
	}
	c.send(&wire.Goodbye{})
	if number, _ := r.s.Challenge(r.now, k); number != 0 {
		t.Error("a camera that has gone is asked")
	}
}

// Who was sent away as a copy of a camera at another node is introduced to nobody when it comes back, unless it turns out to be
// the camera; viewers are not told that it is there.
func TestExpelledCopyIsIntroducedToNobody(t *testing.T) {
	for _, claimed := range []bool{false, true} {
		r := newRig(t, nil)
		c, v := r.camera(), r.viewer()
		uid := c.key.Public().UID()
		r.s.Expel(r.now, c.key.Public(), wire.CodeDuplicateKey)
		r.drain()
		v.send(&wire.Watch{Sequence: 1, Cameras: []identity.UID{uid}})
		v.send(&wire.PresenceAck{Sequence: 1})
		r.discard(v.addr)
		r.discard(c.addr)
		c.join(register, 2)
		if claimed {
			r.s.Claimed(r.now, c.key.Public())
			r.drain()
		}
		if told, _ := v.read().(*wire.Presence); (told != nil) != claimed {
			t.Errorf("claimed %v: the viewer was told %+v", claimed, told)
		}
		v.send(connect(7, c))
		if got, _ := c.read().(*wire.Introduce); (got != nil) != claimed {
			t.Errorf("claimed %v: the camera got %+v", claimed, got)
		}
		r.discard(v.addr)
		for range 5 {
			c.send(&wire.Ping{Sequence: 5})
			v.send(&wire.Ping{Sequence: 5})
			r.advance(duelLife / 5)
		}
		r.discard(c.addr)
		v.send(connect(8, c))
		if got, _ := c.read().(*wire.Introduce); got == nil {
			t.Errorf("claimed %v: it is not introduced a minute later", claimed)
		}
		c.send(&wire.Goodbye{})
		r.advance(time.Minute)
		if busy := r.s.known(c.key.Public(), Camera).busy; busy != nil && busy.suspect != 0 {
			t.Errorf("claimed %v: %+v is remembered", claimed, busy)
		}
	}
}

// The timestamps of a copy that was sent away do not keep the camera from coming here when its own node ends.
func TestExpelledCopyLeavesNoTimestamp(t *testing.T) {
	book := notebook{}
	r := newRig(t, func(c *Config) { c.Store = book })
	c := r.device()
	thief := c.copyOf()
	thief.join(register, 1<<64-1)
	r.s.Expel(r.now, c.key.Public(), wire.CodeDuplicateKey)
	if stamp := book[c.key.Public()].Stamp; stamp != 0 {
		t.Errorf("timestamp %d is kept", stamp)
	}
	c.join(register, 2)
}
