package cluster

import (
	"time"

	"github.com/nats-io/nats.go"
	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/wire"
)

// watched is a camera that viewers here watch.
type watched struct {
	sub  *nats.Subscription
	last entry
	said bool // something, to the core
}

// Watch is rendezvous.Others'.
func (n *Node) Watch(_ time.Time, camera identity.UID, on bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	w := n.watched[camera]
	switch {
	case on && w == nil:
		n.watched[camera] = &watched{}
		n.asks.push(func() { n.watch(camera) })
	case !on && w != nil:
		delete(n.watched, camera)
		if w.sub != nil {
			_ = w.sub.Unsubscribe() // of a connection that has gone: it is none any more
		}
	}
}

// watch subscribes to what happens to a camera's entry, and tells how it is now.
func (n *Node) watch(camera identity.UID) {
	if n.nc == nil {
		return
	}
	subject := "$KV.punchlab_cameras_" + n.secrets.id + "." + camera.Compact()
	sub, err := n.nc.Subscribe(subject, func(m *nats.Msg) {
		if e, err := n.readEntry(camera, m.Data); err == nil {
			n.seen(camera, e)
		}
	})
	n.mu.Lock()
	w := n.watched[camera]
	if err == nil && (w == nil || w.sub != nil) { // it is not wanted any more
		n.mu.Unlock()
		_ = sub.Unsubscribe()
		return
	}
	if w != nil {
		w.sub = sub
	}
	n.mu.Unlock()
	n.lookAt(camera)
}

// lookAt reads how a watched camera is.
func (n *Node) lookAt(camera identity.UID) {
	kv, _ := n.buckets()
	if kv == nil {
		return
	}
	if e, _, err := n.look(kv, camera); err == nil {
		n.seen(camera, e)
	}
}

// lookAtAll reads how all watched cameras are, after NATS was away.
func (n *Node) lookAtAll() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for camera, w := range n.watched {
		if w.sub == nil {
			n.asks.push(func() { n.watch(camera) })
		} else {
			n.asks.push(func() { n.lookAt(camera) })
		}
	}
}

// seen takes how a watched camera is.
func (n *Node) seen(camera identity.UID, e entry) {
	if e.State == wire.StateOnline && !n.lives(e.Node, e.Epoch) {
		e.State = wire.StateUnavailable // until it registers with another node
	}
	n.mu.Lock()
	w := n.watched[camera]
	if w == nil || w.said && w.last == e {
		n.mu.Unlock()
		return
	}
	w.last, w.said = e, true
	n.mu.Unlock()
	if e.Node == n.cfg.Name && e.State == wire.StateOnline {
		return // the core knows
	}
	n.present(camera, e)
}

func (n *Node) present(camera identity.UID, e entry) {
	n.do(func(now time.Time) { n.core.Load().Presence(now, camera, e.State, time.Unix(e.Since, 0)) })
}

// orphaned looks after the watched cameras of a node that has ended: those that have not registered with another one after a
// keepalive have gone.
func (n *Node) orphaned(p *peer) {
	n.mu.Lock()
	defer n.mu.Unlock()
	at := n.cfg.Now()
	var all []identity.UID
	for camera, w := range n.watched {
		if w.last.Node == p.name && w.last.Epoch == p.epoch && w.last.State == wire.StateOnline {
			all = append(all, camera)
		}
	}
	if len(all) == 0 {
		return
	}
	n.wg.Go(func() {
		select {
		case <-time.After(n.cfg.Keepalive):
		case <-n.ctx.Done():
			return
		}
		for _, camera := range all {
			n.silent(camera, p, at)
		}
	})
}

// silent tells that a camera has gone, unless it has another node by now.
func (n *Node) silent(camera identity.UID, p *peer, at time.Time) {
	n.mu.Lock()
	w := n.watched[camera]
	gone := w != nil && w.last.Node == p.name && w.last.Epoch == p.epoch && w.last.State == wire.StateOnline
	var e entry
	if gone {
		w.last.State, w.last.Since = wire.StateSilent, at.Unix()
		e = w.last
	}
	n.mu.Unlock()
	if gone {
		n.present(camera, e)
	}
}
