package cluster

import (
	"context"
	"crypto/rand"
	"sync"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/nats-io/nats.go"
	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/rendezvous"
	"github.com/punchlab/punchlab/impl/wire"
)

// A camera that nobody says to be online any more is not said to be gone at once: its node, or NATS, may have forgotten it for
// a moment. One that says goodbye, or was seen to fall silent, is.
func TestDoubt(t *testing.T) {
	_, k := newTestSecrets(t)
	n, err := New(Config{Key: k, Name: "n", Keepalive: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Kill()
	core, err := rendezvous.New(rendezvous.Config{Static: k, Rand: rand.Reader})
	if err != nil {
		t.Fatal(err)
	}
	n.core.Store(core)
	n.do = func(f func(time.Time)) { f(time.Now()) }
	uid := k.Public().UID()
	n.watched[uid] = &watched{}
	online := entry{Node: "other", Epoch: 5, State: wire.StateOnline, Since: 1}
	for i, step := range []struct {
		seen    entry
		state   wire.State
		doubted bool
	}{
		{entry{}, wire.StateUnavailable, false},
		{online, wire.StateOnline, false},
		{entry{}, wire.StateOnline, true},
		{online, wire.StateOnline, false},
		{entry{}, wire.StateOnline, true},
		{entry{Node: "other", Epoch: 5, State: wire.StateLeft}, wire.StateLeft, false},
		{entry{Node: "another", Epoch: 6, State: wire.StateOnline}, wire.StateOnline, false},
		{entry{Node: "n", Epoch: n.epoch + 1, State: wire.StateOnline}, wire.StateOnline, true}, // of this node before it was started again
		{entry{Node: "another", Epoch: 6, State: wire.StateSilent}, wire.StateSilent, false},
	} {
		n.seen(uid, step.seen)
		if w := n.watched[uid]; w.last.State != step.state || w.doubted.IsZero() == step.doubted {
			t.Errorf("step %d: state %v, doubted %v", i, w.last.State, w.doubted)
		}
	}
}

// newTestNode is a node with a core, at a NATS server in this process, of which the node other lives.
func newTestNode(t *testing.T, timeout time.Duration) *Node {
	t.Helper()
	_, k := newTestSecrets(t)
	s, err := Embed(ServerConfig{Key: k, Name: "nats"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	c := Config{Key: k, Name: "n", Memory: true, Timeout: timeout, Hello: time.Hour}
	c.URL, c.Options = s.Connect()
	n, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Kill)
	core, err := rendezvous.New(rendezvous.Config{Static: k, Rand: rand.Reader, Others: n})
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	err = n.Start(core, func(f func(time.Time)) {
		mu.Lock()
		defer mu.Unlock()
		f(time.Now())
	})
	if err != nil {
		t.Fatal(err)
	}
	until(t, n, "the buckets are there", func() bool {
		n.changed() // it tries again each Hello, and on a busy machine does not have them at once
		return n.cameras != nil
	})
	return n
}

// until waits for what is true of a node.
func until(t *testing.T, n *Node, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
		n.mu.Lock()
		done := ok()
		n.mu.Unlock()
		if done {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("not so: %s", what)
		}
	}
}

// otherHolds writes that the node other serves a camera.
func otherHolds(t *testing.T, n *Node, uid identity.UID) {
	t.Helper()
	b, err := cbor.Marshal(entry{Node: "other", Epoch: 5, Stamp: 1, State: wire.StateOnline, Since: 1})
	if err == nil {
		b, err = n.secrets.seal(rand.Reader, uid.Compact(), b)
	}
	if err == nil {
		kv, _ := n.buckets()
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		_, err = kv.Put(ctx, uid.Compact(), b)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// A camera that comes online before all NATS servers have heard of the subscription is noticed all the same.
func TestWatchBeforeTheSubscriptionIsKnown(t *testing.T) {
	t.Parallel()
	n := newTestNode(t, 3*time.Second) // until the second look: what follows the first one is done by then
	n.greeted(&letter{Kind: kindHello, Node: "other", Epoch: 5})
	uid := n.cfg.Key.Public().UID()
	n.Watch(time.Now(), uid, true)
	w := n.watched[uid]
	until(t, n, "it was looked up", func() bool { return w.said })
	if err := w.sub.Unsubscribe(); err != nil { // as if it were on its way to the other servers
		t.Fatal(err)
	}
	otherHolds(t, n, uid)
	until(t, n, "the camera is online", func() bool { return w.last.State == wire.StateOnline })
}

// So is one whose node is heard of later than its entry.
func TestWatchBeforeTheNodeIsKnown(t *testing.T) {
	t.Parallel()
	n := newTestNode(t, 100*time.Millisecond)
	n.mu.Lock()
	n.since = n.since.Add(-24 * time.Hour) // every node had its time to say that it lives
	n.mu.Unlock()
	uid := n.cfg.Key.Public().UID()
	n.Watch(time.Now(), uid, true)
	w := n.watched[uid]
	until(t, n, "it was looked up", func() bool { return w.said })
	otherHolds(t, n, uid)
	time.Sleep(3 * n.cfg.Timeout) // both looks are over
	n.mu.Lock()
	if w.last.State == wire.StateOnline {
		t.Error("the entry of a node that is not known counts")
	}
	n.mu.Unlock()
	n.greeted(&letter{Kind: kindHello, Node: "other", Epoch: 5})
	until(t, n, "the camera is online", func() bool { return w.last.State == wire.StateOnline })
}

// However much a node has to do, who challenges one of its cameras hears at once that it is asked: it would be taken over otherwise.
func TestChallengeIsHeardAtOnce(t *testing.T) {
	t.Parallel()
	n := newTestNode(t, 10*time.Second)
	release := make(chan struct{})
	defer close(release)
	for range 2 * askWorkers {
		n.asks.push(func() { <-release })
	}
	heard := make(chan *letter, 1)
	subject := n.prefix + "node.other"
	_, err := n.nc.Subscribe(subject, func(m *nats.Msg) {
		if b, err := n.secrets.open(subject, m.Data); err == nil {
			if l, err := unmarshal(b); err == nil {
				heard <- l
			}
		}
	})
	if err == nil {
		err = n.nc.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
	b, err := (&letter{Kind: kindChallenge, Node: "other", Epoch: 5, Device: n.cfg.Key.Public(), Ref: 7}).marshal()
	if err == nil {
		b, err = n.secrets.seal(rand.Reader, n.prefix+"all", b)
	}
	if err != nil {
		t.Fatal(err)
	}
	n.letter(n.prefix+"all", b)
	select {
	case l := <-heard:
		if l.Kind != kindVerdict || !l.Answer || l.Ref != 7 {
			t.Errorf("it heard %+v", l)
		}
	case <-time.After(30 * time.Second):
		t.Error("it heard nothing")
	}
}

// A camera that was sent away as a copy is one no more when the directory takes it.
func TestSuspectIsCleared(t *testing.T) {
	t.Parallel()
	n := newTestNode(t, 10*time.Second)
	uid := n.cfg.Key.Public().UID()
	n.suspect(uid)
	n.hold(uid, holding{key: n.cfg.Key.Public(), stamp: 1, since: time.Now(), state: wire.StateOnline})
	until(t, n, "it is cleared", func() bool { return !n.suspects[uid] })
}

// What a process said that has ended may come once more: it does not put the one that followed it to death.
func TestLettersOfAnEndedProcess(t *testing.T) {
	t.Parallel()
	n := newTestNode(t, 10*time.Second)
	subject := n.prefix + "all"
	sealed := func(l *letter) []byte {
		b, err := l.marshal()
		if err == nil {
			b, err = n.secrets.seal(rand.Reader, subject, b)
		}
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	old := sealed(&letter{Kind: kindHello, Node: "other", Epoch: 5})
	for _, b := range [][]byte{old, sealed(&letter{Kind: kindHello, Node: "other", Epoch: 6}), old} {
		n.letter(subject, b)
	}
	if !n.lives("other", 6) || n.lives("other", 5) || n.Stats().Bad != 1 {
		t.Errorf("the process lives: %v, the one before it: %v; %+v", n.lives("other", 6), n.lives("other", 5), n.Stats())
	}
}
