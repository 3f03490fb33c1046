package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/rendezvous"
)

var (
	errAway  = errors.New("NATS is away")
	errEntry = errors.New("not an entry of the directory")
)

// tieKey is where a party's connection is kept, by the id that it knows it by.
func tieKey(k identity.PublicKey, id uint64) string {
	uid := k.UID()
	return fmt.Sprintf("%s.%016x", uid.Compact(), id)
}

// tieKeys are both parties' keys of a connection.
func tieKeys(t rendezvous.Tie) [2]string {
	return [2]string{tieKey(t.Viewer, t.ViewerID), tieKey(t.Camera, t.CameraID)}
}

// saveTie keeps a connection for both parties, so that another node can go on with it.
func (n *Node) saveTie(t rendezvous.Tie) {
	b, err := cbor.Marshal(t)
	if err != nil {
		return
	}
	kept := true
	for _, key := range tieKeys(t) {
		sealed, err := n.secrets.seal(n.cfg.Rand, key, b)
		if err != nil {
			return
		}
		done := n.tieOp(func(ctx context.Context, kv jetstream.KeyValue) error {
			_, err := kv.Put(ctx, key, sealed)
			return err
		})
		kept = kept && done
	}
	if kept {
		n.count(func(s *Stats) { s.Kept++ })
	}
}

// dropTie forgets a connection.
func (n *Node) dropTie(t rendezvous.Tie) {
	for _, key := range tieKeys(t) {
		n.tieOp(func(ctx context.Context, kv jetstream.KeyValue) error { return kv.Purge(ctx, key) })
	}
}

// tieTries is how often something is tried with the connections, a second apart: NATS takes as long to choose another leader.
const tieTries = 12

// tieOp does something with the connections, if NATS is there, and says whether it was done: one that is not kept ends with its node, and
// no sooner.
func (n *Node) tieOp(do func(context.Context, jetstream.KeyValue) error) (done bool) {
	for range tieTries {
		_, kv := n.buckets()
		if kv == nil {
			break
		}
		ctx, cancel := context.WithTimeout(n.ctx, n.cfg.Timeout)
		err := do(ctx, kv)
		cancel()
		if err == nil {
			return true
		}
		select {
		case <-time.After(time.Second):
		case <-n.ctx.Done():
			return false
		}
	}
	n.count(func(s *Stats) { s.Lost++ })
	return false
}

// loadTie is a party's connection; false: it is not known.
func (n *Node) loadTie(k identity.PublicKey, id uint64) (t rendezvous.Tie, ok bool) {
	_, kv := n.buckets()
	if kv == nil {
		return t, false
	}
	ctx, cancel := context.WithTimeout(n.ctx, n.cfg.Timeout)
	defer cancel()
	key := tieKey(k, id)
	e, err := kv.Get(ctx, key)
	if err != nil {
		return t, false
	}
	plain, err := n.secrets.open(key, e.Value())
	if err == nil {
		err = decoding.Unmarshal(plain, &t)
	}
	if err != nil {
		n.count(func(s *Stats) { s.Bad++ })
		return t, false
	}
	return t, true
}
