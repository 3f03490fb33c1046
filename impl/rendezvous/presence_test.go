package rendezvous

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/wire"
)

// uid is a name that nobody has.
func uid(n int) identity.UID { return identity.PublicKey(word(n, 77)).UID() }

func (d *device) uid() identity.UID { return d.key.Public().UID() }

// watch asks about cameras and returns the answer, which it acknowledges.
func (d *device) watch(sequence uint32, cameras ...identity.UID) *wire.Presence {
	d.r.t.Helper()
	d.send(&wire.Watch{Sequence: sequence, Cameras: cameras})
	return d.presence()
}

// presence reads one, and acknowledges it.
func (d *device) presence() *wire.Presence {
	d.r.t.Helper()
	m, _ := d.read().(*wire.Presence)
	if m != nil {
		d.send(&wire.PresenceAck{Sequence: m.Sequence})
	}
	return m
}

func want(t *testing.T, what string, got *wire.Presence, want wire.Presence) {
	t.Helper()
	if d := cmp.Diff(&want, got); d != "" {
		t.Errorf("%s (-want +got):\n%s", what, d)
	}
}

// A viewer is told how its cameras are, and then of each change: until it says that it knows.
func TestPresence(t *testing.T) {
	r := newRig(t, nil)
	c, v := r.camera(), r.viewer()
	r.advance(10 * time.Second)
	want(t, "answer", v.watch(1, c.uid(), uid(1)), wire.Presence{Sequence: 1, Answers: 1,
		Cameras: []wire.Status{{UID: c.uid(), State: wire.StateOnline, Age: 10}, {UID: uid(1)}}})
	c.send(&wire.Goodbye{})
	first := v.read()
	want(t, "goodbye", first.(*wire.Presence), wire.Presence{Sequence: 2, Cameras: []wire.Status{{UID: c.uid(), State: wire.StateLeft}}})
	r.advance(3 * time.Second)
	repeated := 0
	for m := v.read(); m != nil; m = v.read() {
		repeated++
		age := m.(*wire.Presence).Cameras[0].Age
		want(t, "again", m.(*wire.Presence), wire.Presence{Sequence: 2, Cameras: []wire.Status{{UID: c.uid(), State: wire.StateLeft, Age: age}}})
	}
	if repeated < 4 || repeated > 8 {
		t.Errorf("repeated %d times in 3 s", repeated)
	}
	v.send(&wire.PresenceAck{Sequence: 1}) // of an older one
	r.advance(lastPresence)
	if v.take() == nil {
		t.Error("an old acknowledgement ended it")
	}
	v.send(&wire.PresenceAck{Sequence: 2})
	r.out = nil
	r.advance(2 * lastPresence)
	if v.take() != nil || len(r.s.timers) != 0 {
		t.Error("repeated after its acknowledgement")
	}
	c.join(register, 2)
	want(t, "back", v.presence(), wire.Presence{Sequence: 3, Cameras: []wire.Status{{UID: c.uid(), State: wire.StateOnline}}})
	r.advance(20 * time.Second)
	v.send(&wire.Ping{Sequence: 1})
	v.read()
	r.advance(10 * time.Second)
	r.discard(c.addr) // R's pings
	want(t, "silence", v.presence(), wire.Presence{Sequence: 4, Cameras: []wire.Status{{UID: c.uid(), State: wire.StateSilent}}})
	other := r.viewer() // has not seen it go
	want(t, "a newcomer", other.watch(1, c.uid()), wire.Presence{Sequence: 1, Answers: 1, Cameras: []wire.Status{{UID: c.uid()}}})
	want(t, "who has", v.watch(2, c.uid()), wire.Presence{Sequence: 5, Answers: 2, Cameras: []wire.Status{{UID: c.uid(), State: wire.StateSilent}}})
	v.send(&wire.Watch{Sequence: 3, Cameras: []identity.UID{c.uid()}, End: true})
	want(t, "no more", v.presence(), wire.Presence{Sequence: 6, Answers: 3})
	c.join(register, 3)
	if v.take() != nil || other.presence() == nil {
		t.Error("told who does not watch, or not told who does")
	}
}

// What is not acknowledged is repeated more and more rarely, but not ever more.
func TestPresenceIsRepeated(t *testing.T) {
	r := newRig(t, nil)
	v := r.viewer()
	v.send(&wire.Watch{Sequence: 1, Cameras: []identity.UID{uid(1)}})
	n := 0
	for range 2 {
		r.advance(20 * time.Second)
		v.send(&wire.Ping{Sequence: 2})
		for m := v.read(); m != nil; m = v.read() {
			if _, ok := m.(*wire.Presence); ok {
				n++
			}
		}
	}
	if n < 13 || n > 15 {
		t.Errorf("sent %d times in 40 s", n)
	}
}

// A camera that is offline and one that never was get answers of the same bytes, names aside, and as many.
func TestUnknownAndOfflineLookAlike(t *testing.T) {
	r := newRig(t, nil)
	gone := r.camera()
	gone.send(&wire.Goodbye{})
	answers := map[string]bool{}
	for _, u := range []identity.UID{gone.uid(), uid(1)} {
		v := r.viewer()
		v.send(&wire.Watch{Sequence: 1, Cameras: []identity.UID{u}})
		if len(r.out) != 1 {
			t.Fatalf("%d answers", len(r.out))
		}
		size := len(r.out[0].B)
		m := v.presence()
		if m.Cameras[0].UID != u {
			t.Errorf("told of %v", m.Cameras[0].UID)
		}
		m.Cameras[0].UID = identity.UID{}
		answers[fmt.Sprint(size, *m)] = true
	}
	if len(answers) != 1 {
		t.Errorf("answers %v", answers)
	}
}

// More than a message holds goes in several; what changes while one is on its way goes in the next, and only the last state.
func TestPresenceOfMany(t *testing.T) {
	r := newRig(t, nil)
	v := r.viewer()
	var cameras []*device
	var uids []identity.UID
	for range wire.MaxWatched {
		cameras = append(cameras, r.camera())
		uids = append(uids, cameras[len(cameras)-1].uid())
	}
	one, two := v.watch(1, uids...), v.presence()
	if one == nil || two == nil || one.Answers != 1 || two.Answers != 0 || len(one.Cameras) != wire.MaxStatuses ||
		len(two.Cameras) != wire.MaxWatched-wire.MaxStatuses || v.take() != nil {
		t.Fatalf("%+v, %+v", one, two)
	}
	for _, c := range cameras[:5] {
		c.send(&wire.Goodbye{})
	}
	m, _ := v.read().(*wire.Presence)
	if m == nil || len(m.Cameras) != 1 || v.take() != nil {
		t.Fatalf("at first %+v, and more", m)
	}
	cameras[0].join(register, 2)
	v.send(&wire.PresenceAck{Sequence: m.Sequence})
	next := v.presence()
	states := map[identity.UID]wire.State{}
	for _, s := range next.Cameras {
		states[s.UID] = s.State
	}
	if len(next.Cameras) != 5 || states[uids[0]] != wire.StateOnline || states[uids[4]] != wire.StateLeft || v.take() != nil {
		t.Errorf("then %+v", next)
	}
}

// The answer to a watch does not wait for the acknowledgement of what is on its way.
func TestWatchIsAnsweredAtOnce(t *testing.T) {
	r := newRig(t, nil)
	c, v := r.camera(), r.viewer()
	v.watch(1, c.uid())
	c.send(&wire.Goodbye{})
	lost, _ := v.read().(*wire.Presence)
	want(t, "second watch", v.watch(2, uid(1)), wire.Presence{Sequence: lost.Sequence + 1, Answers: 2,
		Cameras: []wire.Status{{UID: c.uid(), State: wire.StateLeft}, {UID: uid(1)}}})
}

// What one viewer watches is bounded, and what all do; how often they ask, too. Nothing is left when they go.
func TestWatchesAreBounded(t *testing.T) {
	r := newRig(t, func(c *Config) { c.MaxWatches = watchesEach + 10 })
	ask := func(v *device, from, n int) (told int) {
		var uids []identity.UID
		for i := range n {
			uids = append(uids, uid(from+i))
		}
		for part := range slices.Chunk(uids, wire.MaxWatched) {
			v.send(&wire.Watch{Sequence: uint32(from + 1), Cameras: part})
			for m := v.presence(); m != nil; m = v.presence() {
				told += len(m.Cameras)
			}
		}
		return told
	}
	greedy, other := r.viewer(), r.viewer()
	if n := ask(greedy, 0, 300); n != watchesEach {
		t.Errorf("one viewer watches %d cameras", n)
	}
	if n := ask(other, 1000, 50); n != 10 || r.s.Stats().Watches != watchesEach+10 {
		t.Errorf("the other one watches %d, all %d", n, r.s.Stats().Watches)
	}
	ask(greedy, 0, watchesEach)
	ask(greedy, 0, watchesEach)
	ask(greedy, 0, watchesEach)
	if r.dropped(errWatches.Error()) == 0 {
		t.Errorf("as often as it likes: %v", r.s.Stats().Dropped)
	}
	r.camera().send(&wire.Watch{Sequence: 1, Cameras: []identity.UID{uid(1)}})
	if r.dropped(errUnasked.Error()) != 1 {
		t.Error("a camera watches")
	}
	greedy.send(&wire.Goodbye{})
	other.join(login, 2) // by its new session it asks anew
	if n := r.s.Stats().Watches; n != 0 || len(r.s.watched) != 0 {
		t.Errorf("%d watches are left, %d cameras", n, len(r.s.watched))
	}
	if m := other.watch(1, uid(0)); m == nil || m.Sequence != 1 || len(m.Cameras) != 1 {
		t.Errorf("in a new session: %+v", m)
	}
}

func TestWatchesOfAllAreLimited(t *testing.T) {
	r := newRig(t, func(c *Config) { c.WatchesPerSecond = 2 })
	a, b := r.viewer(), r.viewer()
	if a.watch(1, uid(1), uid(2)) == nil || b.watch(1, uid(1)) != nil || r.dropped(errWatches.Error()) != 1 {
		t.Errorf("dropped %v", r.s.Stats().Dropped)
	}
	r.advance(time.Second)
	if b.watch(1, uid(1)) == nil {
		t.Error("not told a second later")
	}
}

// others are nodes that know of some cameras.
type others struct {
	asked []wire.Message
	watch map[identity.UID]bool
}

func (o *others) Ask(_ time.Time, _ identity.PublicKey, _ Role, _ netip.AddrPort, m wire.Message) bool {
	o.asked = append(o.asked, m)
	return true
}
func (o *others) Tell(Proxy, identity.PublicKey, Role, wire.Message)    {}
func (o *others) Frame(Proxy, identity.PublicKey, Role, uint16, []byte) {}
func (o *others) Watch(_ time.Time, u identity.UID, on bool)            { o.watch[u] = on }

// Cameras at other nodes are watched by them; one that moves from node to node is never said to be gone.
func TestPresenceElsewhere(t *testing.T) {
	o := &others{watch: map[identity.UID]bool{}}
	r := newRig(t, func(c *Config) { c.Others = o })
	v, c := r.viewer(), r.camera()
	tell := func(u identity.UID, s wire.State) {
		r.s.Presence(r.now, u, s, r.now.Add(-5*time.Second))
		r.drain()
	}
	want(t, "answer", v.watch(1, uid(1), c.uid()), wire.Presence{Sequence: 1, Answers: 1,
		Cameras: []wire.Status{{UID: uid(1)}, {UID: c.uid(), State: wire.StateOnline}}})
	if !o.watch[uid(1)] || !o.watch[c.uid()] {
		t.Errorf("watched elsewhere: %v", o.watch)
	}
	tell(uid(2), wire.StateOnline) // nobody asked
	tell(uid(1), wire.StateSilent) // as known
	if v.take() != nil {
		t.Error("told what is no news")
	}
	tell(uid(1), wire.StateOnline)
	want(t, "there", v.presence(), wire.Presence{Sequence: 2, Cameras: []wire.Status{{UID: uid(1), State: wire.StateOnline, Age: 5}}})
	late := r.viewer()
	want(t, "a newcomer", late.watch(1, uid(1)), wire.Presence{Sequence: 1, Answers: 1,
		Cameras: []wire.Status{{UID: uid(1), State: wire.StateOnline, Age: 5}}})
	r.s.Release(r.now, c.key.Public())
	tell(c.uid(), wire.StateOnline)
	if m := v.presence(); m == nil || m.Cameras[0].State != wire.StateOnline {
		t.Errorf("moved to another node: %+v", m)
	}
	c.join(register, 2)
	v.presence()
	tell(c.uid(), wire.StateSilent) // the other node has missed it since
	if v.take() != nil {
		t.Error("told that a camera is gone that is here")
	}
	tell(c.uid(), wire.StateOnline)
	c.send(&wire.Goodbye{})
	if v.take() != nil {
		t.Error("told that a camera is gone that is at another node")
	}
	tell(uid(1), wire.StateLeft)
	want(t, "gone", v.presence(), wire.Presence{Sequence: 5, Cameras: []wire.Status{{UID: uid(1), State: wire.StateLeft, Age: 5}}})
	v.send(&wire.Goodbye{})
	late.send(&wire.Goodbye{})
	if o.watch[uid(1)] || o.watch[c.uid()] {
		t.Errorf("still watched elsewhere: %v", o.watch)
	}
}

// Whatever happens in whatever order, an acknowledging viewer knows in the end how its cameras are.
func TestPresenceConverges(t *testing.T) {
	for seed := range uint64(8) {
		random := rand.New(rand.NewPCG(seed, 1))
		r := newRig(t, nil)
		v := r.viewer()
		var cameras []*device
		known := map[identity.UID]wire.State{}
		online := map[identity.UID]bool{}
		read := func(lose float64) {
			for m := v.read(); m != nil; m = v.read() {
				if p, ok := m.(*wire.Presence); ok && random.Float64() >= lose {
					for _, s := range p.Cameras {
						known[s.UID] = s.State
					}
					v.send(&wire.PresenceAck{Sequence: p.Sequence})
				}
			}
		}
		for range 40 {
			d := r.device()
			cameras = append(cameras, d)
			v.send(&wire.Watch{Sequence: uint32(len(cameras)), Cameras: []identity.UID{d.uid()}})
		}
		for stamp := range uint64(100) {
			d := cameras[random.IntN(len(cameras))]
			if online[d.uid()] {
				d.send(&wire.Goodbye{})
			} else {
				d.join(register, stamp+1)
			}
			online[d.uid()] = !online[d.uid()]
			read(0.5)
			r.advance(time.Duration(random.IntN(100)) * time.Millisecond)
		}
		for range 5 {
			read(0)
			r.advance(lastPresence / 5)
		}
		read(0)
		for u, s := range known {
			if (s == wire.StateOnline) != online[u] {
				t.Errorf("seed %d: told %v of a camera that is online: %v", seed, s, online[u])
			}
		}
		if len(known) != len(cameras) || len(r.s.timers) != 0 {
			t.Errorf("seed %d: told of %d, %d timers", seed, len(known), len(r.s.timers))
		}
	}
}
