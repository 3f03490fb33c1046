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
	// doubted is since when nobody says that the camera is online, though it was; zero: it is not in doubt.
	doubted time.Time
}

// Watch is rendezvous.Others'.
func (n *Node) Watch(_ time.Time, camera identity.UID, on bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	w := n.watched[camera]
	switch {
	case on && w == nil:
		n.watched[camera] = &watched{}
		n.claims.push(func() { n.watch(camera) })
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
	// Other NATS servers hear of the subscription a while later: what is written until then is told to nobody here.
	n.lookLater(camera)
}

// lookAt reads how a watched camera is, until the directory answers.
func (n *Node) lookAt(camera identity.UID) {
	kv, _ := n.buckets()
	if kv == nil {
		return // until NATS is back
	}
	e, _, err := n.look(kv, camera)
	if err != nil { // no leader yet, say
		n.lookLater(camera)
		return
	}
	n.seen(camera, e)
}

// lookLater looks once more, unless the camera is not watched any more by then.
func (n *Node) lookLater(camera identity.UID) {
	time.AfterFunc(n.cfg.Timeout, func() {
		n.mu.Lock()
		w := n.watched[camera]
		n.mu.Unlock()
		if w != nil {
			n.claims.push(func() { n.lookAt(camera) })
		}
	})
}

// lookForMissing reads how watched cameras are that are not known to be online, after a node was heard of whose entries counted for
// nothing before.
func (n *Node) lookForMissing() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for camera, w := range n.watched {
		if w.sub != nil && (w.last.State != wire.StateOnline || !w.doubted.IsZero()) {
			n.claims.push(func() { n.lookAt(camera) })
		}
	}
}

// lookAgain is lookAt for one that may be in doubt since before NATS was away.
func (n *Node) lookAgain(camera identity.UID) {
	n.mu.Lock()
	if w := n.watched[camera]; w != nil {
		w.doubted = time.Time{}
	}
	n.mu.Unlock()
	n.lookAt(camera)
}

// lookAtAll reads how all watched cameras are, after NATS was away.
func (n *Node) lookAtAll() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for camera, w := range n.watched {
		if w.sub == nil {
			n.claims.push(func() { n.watch(camera) })
		} else {
			n.claims.push(func() { n.lookAgain(camera) })
		}
	}
}

// seen takes what the directory says of a watched camera.
func (n *Node) seen(camera identity.UID, e entry) {
	if e.State == wire.StateOnline && !n.lives(e.Node, e.Epoch) {
		e = entry{}
	}
	n.mu.Lock()
	w := n.watched[camera]
	switch {
	case w == nil:
		n.mu.Unlock()
		return
	case w.said && w.last == e:
		w.doubted = time.Time{}
		n.mu.Unlock()
		return
	case w.said && w.last.State == wire.StateOnline && e.State == wire.StateUnavailable:
		n.doubt(camera, w)
		n.mu.Unlock()
		return
	}
	w.last, w.said, w.doubted = e, true, time.Time{}
	n.mu.Unlock()
	if e.Node == n.cfg.Name && e.State == wire.StateOnline {
		return // the core knows
	}
	n.present(camera, e)
}

func (n *Node) present(camera identity.UID, e entry) {
	n.do(func(now time.Time) { n.core.Load().Presence(now, camera, e.State, time.Unix(e.Since, 0)) })
}

// orphaned doubts the watched cameras of a node that has ended.
func (n *Node) orphaned(p *peer) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for camera, w := range n.watched {
		if w.last.Node == p.name && w.last.Epoch == p.epoch && w.last.State == wire.StateOnline {
			n.doubt(camera, w)
		}
	}
}

// doubt gives a camera whose node has ended, or is not known any more, a keepalive to register with another one. The caller
// holds mu.
func (n *Node) doubt(camera identity.UID, w *watched) {
	if !w.doubted.IsZero() {
		return
	}
	since := n.cfg.Now()
	w.doubted = since
	time.AfterFunc(n.cfg.Keepalive, func() { n.claims.push(func() { n.resolve(camera, since) }) })
}

// resolve ends the doubt that began then, unless NATS is away: it is ended when that is back.
func (n *Node) resolve(camera identity.UID, since time.Time) {
	kv, _ := n.buckets()
	if kv == nil {
		return
	}
	e, _, err := n.look(kv, camera)
	if err != nil { // no leader yet, say
		time.AfterFunc(n.cfg.Timeout, func() { n.claims.push(func() { n.resolve(camera, since) }) })
		return
	}
	if e.State != wire.StateOnline || n.lives(e.Node, e.Epoch) {
		if e.State != wire.StateUnavailable {
			n.seen(camera, e)
			return
		}
	}
	n.mu.Lock()
	w := n.watched[camera]
	gone := w != nil && w.doubted.Equal(since)
	if gone {
		w.last.State, w.last.Since, w.doubted = wire.StateSilent, w.doubted.Unix(), time.Time{}
		e = w.last
	}
	n.mu.Unlock()
	if gone {
		n.present(camera, e)
	}
}
