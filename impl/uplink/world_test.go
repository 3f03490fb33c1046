package uplink

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/rendezvous"
	"github.com/punchlab/punchlab/impl/session"
	"github.com/punchlab/punchlab/impl/wire"
)

// world has links and rendezvous servers at addresses, and carries datagrams between them in virtual time.
type world struct {
	t      *testing.T
	now    time.Time
	rand   *rand.Rand
	loss   float64
	nodes  []*node
	flying []flight // in the order of their arrival: all take as long
}

const oneWay = 20 * time.Millisecond

type flight struct {
	arrives  time.Time
	from, to netip.AddrPort
	b        []byte
}

// part is what a node is.
type part interface {
	HandleTimeout(now time.Time)
	Deadline() time.Time
	packet(now time.Time, from, to netip.AddrPort, b []byte)
	ready() core.Output
}

type node struct {
	part
	at   netip.AddrPort
	dead bool
}

func newWorld(t *testing.T, loss float64) *world {
	return &world{t: t, now: epoch, rand: rand.New(rand.NewPCG(1, 2)), loss: loss}
}

func (w *world) add(at netip.AddrPort, p part) *node {
	n := &node{part: p, at: at}
	w.nodes = append(w.nodes, n)
	return n
}

// flush sends what a node has to send.
func (w *world) flush(n *node) {
	for _, p := range n.ready().Packets {
		if w.rand.Float64() >= w.loss {
			w.flying = append(w.flying, flight{w.now.Add(oneWay), n.at, p.To, bytes.Clone(p.B)})
		}
	}
}

// live passes time.
func (w *world) live(d time.Duration) {
	for end := w.now.Add(d); ; {
		var next time.Time
		var due *node
		for _, n := range w.nodes {
			if at := n.Deadline(); !n.dead && !at.IsZero() && (due == nil || at.Before(next)) {
				next, due = at, n
			}
		}
		if len(w.flying) > 0 && (due == nil || w.flying[0].arrives.Before(next)) {
			f := w.flying[0]
			if f.arrives.After(end) {
				break
			}
			w.now = f.arrives
			w.flying = w.flying[1:]
			if at := slices.IndexFunc(w.nodes, func(n *node) bool { return n.at == f.to && !n.dead }); at >= 0 {
				w.nodes[at].packet(w.now, f.from, f.to, f.b)
				w.flush(w.nodes[at])
			}
			continue
		}
		if due == nil || next.After(end) {
			break
		}
		if next.After(w.now) {
			w.now = next
		}
		due.HandleTimeout(w.now)
		w.flush(due)
	}
}

// until passes time until something holds, in small steps, and says how long that took.
func (w *world) until(what string, most time.Duration, holds func() bool) time.Duration {
	w.t.Helper()
	began := w.now
	for at := began; !holds(); {
		at = at.Add(10 * time.Millisecond)
		if w.live(at.Sub(w.now)); w.now.Before(at) {
			w.now = at
		}
		if w.now.Sub(began) > most {
			w.t.Fatalf("%s: not within %v", what, most)
		}
	}
	return w.now.Sub(began)
}

// hub is a rendezvous.
type hub struct {
	*rendezvous.Server
	node   *node
	events []any
}

func (h *hub) packet(now time.Time, from, to netip.AddrPort, b []byte) {
	h.HandlePacket(now, from, to, b)
}

func (h *hub) ready() core.Output {
	out := h.Ready()
	h.events = append(h.events, out.Events...)
	return out
}

func (w *world) hub(at netip.AddrPort, cfg rendezvous.Config) *hub {
	w.t.Helper()
	cfg.Static, cfg.Rand = key(w.t, 3), random(byte(100+len(w.nodes)))
	s, err := rendezvous.New(cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	h := &hub{Server: s}
	h.node = w.add(at, h)
	return h
}

// device is a link.
type device struct {
	*Link
	box      core.Outbox
	node     *node
	key      identity.Key
	ups      int
	downs    int
	denied   []wire.Code
	presence map[identity.UID]wire.Status
}

func (d *device) packet(now time.Time, from, _ netip.AddrPort, b []byte) {
	d.box.Begin()
	if index, ok := session.ReceiverIndex(b); ok && d.Owns(index) {
		_, _ = d.Handle(now, from, b)
	}
}

func (d *device) HandleTimeout(now time.Time) {
	d.box.Begin()
	d.Link.HandleTimeout(now)
}

func (d *device) ready() core.Output { return d.box.Ready() }

// device starts one with the n-th key at an address.
func (w *world) device(n byte, at string, hello wire.Message, servers ...netip.AddrPort) *device {
	w.t.Helper()
	d := &device{key: key(w.t, n), presence: map[identity.UID]wire.Status{}}
	var err error
	d.Link, err = New(Config{
		Session: session.Config{Static: d.key, Rand: random(n + byte(len(w.nodes)))}, Rendezvous: key(w.t, 3).Public(), Addrs: servers,
		Keepalive: 15 * time.Second, Hello: hello,
		Up: func(time.Time, wire.Message) { d.ups++ }, Down: func(time.Time) { d.downs++ },
		Denied: func(_ time.Time, c wire.Code, _ time.Duration) { d.denied = append(d.denied, c) },
		Presence: func(_ time.Time, all []wire.Status) {
			for _, s := range all {
				d.presence[s.UID] = s
			}
		},
	}, &d.box)
	if err == nil {
		d.node = w.add(netip.MustParseAddrPort(at), d)
		err = d.Start(w.now)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	w.flush(d.node)
	return d
}

func (w *world) camera(n byte, servers ...netip.AddrPort) *device {
	return w.device(n, fmt.Sprintf("192.0.2.%d:20000", n), &wire.Register{Version: 1}, servers...)
}

func (w *world) do(n *node, f func()) {
	f()
	w.flush(n)
}

// With a tenth of all datagrams lost: where a server dies, all its cameras are at the other one two keepalives later at the latest, and
// most within one.
func TestServerDies(t *testing.T) {
	w := newWorld(t, 0.1)
	a, b := w.hub(first, rendezvous.Config{}), w.hub(other, rendezvous.Config{})
	var cameras []*device
	for n := range 20 {
		cameras = append(cameras, w.camera(byte(10+n), first, other))
	}
	w.live(5 * time.Minute)
	if n := a.Stats().Online + b.Stats().Online; n < len(cameras) {
		t.Fatalf("%d cameras online", n)
	}
	a.node.dead = true
	w.until("most at the other", 15*time.Second, func() bool { return b.Stats().Online >= len(cameras)*4/5 })
	w.until("all at the other", 15*time.Second, func() bool { return b.Stats().Online == len(cameras) })
}

// A server that drains has sent everybody to the other one after a moment, and serves nobody any more.
func TestServerDrains(t *testing.T) {
	w := newWorld(t, 0)
	a, b := w.hub(first, rendezvous.Config{}), w.hub(other, rendezvous.Config{})
	var cameras []*device
	for n := range 20 {
		cameras = append(cameras, w.camera(byte(10+n), first, other))
	}
	w.live(time.Minute)
	w.do(a.node, func() { a.Drain(w.now) })
	w.until("all at the other", 1500*time.Millisecond, func() bool { return b.Stats().Online == len(cameras) })
	if !a.Drained() || a.Stats().Online != 0 {
		t.Errorf("drained: %v; %d online", a.Drained(), a.Stats().Online)
	}
	late := w.camera(60, first, other)
	w.until("a new one", time.Second, late.Up)
	if late.Remote() != other || !slices.Equal(late.denied, []wire.Code{wire.CodeShuttingDown}) {
		t.Errorf("by %v, denied %v", late.Remote(), late.denied)
	}
}

// A camera that is revoked while it is online goes at once, knows why, and does not come back by itself while it is.
func TestRevokedWhileOnline(t *testing.T) {
	w := newWorld(t, 0)
	var revoked wire.Code
	h := w.hub(first, rendezvous.Config{
		Trust:    func(time.Time, identity.PublicKey, []byte) wire.Code { return revoked },
		Standing: func(time.Time, identity.PublicKey, identity.Certificate) wire.Code { return revoked },
	})
	c := w.camera(10, first)
	w.until("online", time.Second, func() bool { return h.Stats().Online == 1 })
	revoked = wire.CodeRevoked
	w.do(h.node, func() { h.Recheck(w.now) })
	w.until("gone", 100*time.Millisecond, func() bool { return c.downs == 1 })
	w.live(10 * time.Minute)
	if n := len(c.denied); n < 3 || n > 5 || c.denied[0] != wire.CodeRevoked || c.denied[n-1] != wire.CodeRevoked || c.Up() {
		t.Errorf("denied %v in 10 min", c.denied)
	}
	revoked = 0
	w.until("back when it is served again", 20*time.Minute, func() bool { return h.Stats().Online == 1 })
}

// A camera that starts again behind another port takes its own place at once. A copy does not displace it, and hears why; it gets in
// only after the camera has gone.
func TestCopyOfAKey(t *testing.T) {
	w := newWorld(t, 0)
	h := w.hub(first, rendezvous.Config{})
	w.camera(10, first)
	w.live(time.Minute)
	w.nodes[1].dead = true
	c := w.device(10, "192.0.2.10:30000", &wire.Register{Version: 1}, first)
	if took := w.until("restarted", time.Minute, func() bool { return c.Up() && lastMoved(h) == c.node.at }); took > 500*time.Millisecond {
		t.Errorf("restarted, it is back after %v", took)
	}
	w.live(time.Minute)
	imitation := w.device(10, "198.51.100.7:7", &wire.Register{Version: 1}, first)
	w.live(5 * time.Minute)
	if n := len(imitation.denied); !c.Up() || c.downs != 0 || imitation.Up() || n < 3 || n > 6 || imitation.denied[0] != wire.CodeDuplicateKey {
		t.Errorf("the camera is up: %v, was down %d times; its copy is: %v, denied %v", c.Up(), c.downs, imitation.Up(), imitation.denied)
	}
	if !slices.ContainsFunc(h.events, func(e any) bool {
		d, ok := e.(rendezvous.Duplicated)
		return ok && d.Holder == c.node.at && d.Newcomer == imitation.node.at
	}) {
		t.Errorf("nobody was told: %v", h.events)
	}
	c.node.dead = true
	w.until("the copy, once the camera is gone", 3*time.Minute, func() bool { return imitation.Up() && imitation.proven })
}

// lastMoved is where a hub has last seen a device appear.
func lastMoved(h *hub) (at netip.AddrPort) {
	for _, e := range h.events {
		if m, ok := e.(rendezvous.Moved); ok {
			at = m.To
		}
	}
	return at
}

// What a viewer knows of cameras comes to be what is so: they come, say goodbye, fall silent, and the rendezvous starts again; a third of
// all datagrams is lost.
func TestPresenceComesTrue(t *testing.T) {
	w := newWorld(t, 0.3)
	h := w.hub(first, rendezvous.Config{})
	var cameras []*device
	for n := range 6 {
		cameras = append(cameras, w.camera(byte(10+n), first))
	}
	v := w.device(90, "192.0.2.90:20000", &wire.Login{Version: 1}, first)
	var uids []identity.UID
	for n := range 40 { // most of them are nowhere
		uids = append(uids, key(t, byte(10+n)).Public().UID())
	}
	w.do(v.node, func() { v.box.Begin(); v.Watch(w.now, uids...) })
	know := func(want map[int]wire.State) func() bool {
		return func() bool {
			for i, u := range uids {
				if s, told := v.presence[u]; !told || s.State != want[i] {
					return false
				}
			}
			return true
		}
	}
	on := wire.StateOnline
	w.until("all known", time.Minute, know(map[int]wire.State{0: on, 1: on, 2: on, 3: on, 4: on, 5: on}))
	cameras[1].node.dead = true
	w.do(cameras[2].node, func() { cameras[2].box.Begin(); cameras[2].Close(0) })
	w.until("one is silent, one left, unless its goodbye was lost", 90*time.Second, func() bool {
		left := v.presence[uids[2]].State
		return know(map[int]wire.State{0: on, 1: wire.StateSilent, 2: left, 3: on, 4: on, 5: on})() && left > on
	})
	w.camera(20, first) // the eleventh
	w.until("another one", time.Minute, func() bool { return v.presence[uids[10]].State == on })
	h.node.dead = true
	clear(v.presence)
	w.hub(first, rendezvous.Config{})
	w.until("all anew from another process", 3*time.Minute, know(map[int]wire.State{0: on, 3: on, 4: on, 5: on, 10: on}))
}
