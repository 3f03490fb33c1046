package cluster

import (
	"crypto/rand"
	"testing"
	"time"

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
