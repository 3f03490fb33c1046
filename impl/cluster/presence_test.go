package cluster_test

import (
	"testing"
	"time"

	"github.com/punchlab/punchlab/impl/camera"
	"github.com/punchlab/punchlab/impl/identity"
	program "github.com/punchlab/punchlab/impl/program/rendezvous"
	"github.com/punchlab/punchlab/impl/rendezvous"
	"github.com/punchlab/punchlab/impl/viewer"
	"github.com/punchlab/punchlab/impl/wire"
)

func presence(t *testing.T, v *role[*viewer.Viewer], uid identity.UID, want wire.State) viewer.Presence {
	t.Helper()
	return await(t, v.events, func(e viewer.Presence) bool { return e.Camera == uid && e.State == want })
}

// A viewer at one node is told how a camera at another one is: when it comes, says goodbye, falls silent, or changes its node.
func TestPresenceAcrossNodes(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	n := r.nodes(3)
	key := newKey()
	uid := key.Public().UID()
	v := r.viewer(n[2].at)
	v.do(t, func(now time.Time) error { return v.core.Watch(now, []identity.UID{uid}) })
	presence(t, v, uid, wire.StateUnavailable)

	c := r.camera(key, n[0].at, n[1].at)
	presence(t, v, uid, wire.StateOnline)
	c.node.Do(c.core.Close)
	presence(t, v, uid, wire.StateLeft)

	c = r.camera(key, n[0].at, n[1].at)
	presence(t, v, uid, wire.StateOnline)
	n[0].Kill() // the camera goes to another node, and is not said to be gone
	await(t, n[1].events, yes[rendezvous.Online])
	drain(v.events)
	c.node.Suspend()
	began := time.Now()
	e := presence(t, v, uid, wire.StateSilent)
	if took := time.Since(began); took > 10*keepalive { // two, and what a busy machine adds
		t.Errorf("a lost camera was known after %v: %+v", took, e)
	}
}

// A copy of a camera registers at another node: it is sent away, and the camera goes on.
func TestCopyAtAnotherNode(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	n := r.nodes(2)
	key := newKey()
	c := r.camera(key, n[0].at)
	await(t, c.events, yes[camera.Registered])
	eventually(t, "the camera is in the directory", func() bool { return n[0].Stats().Cluster.Claims >= 1 })
	r.camera(key, n[1].at)
	await(t, n[1].events, yes[rendezvous.Online])
	await(t, n[1].events, yes[rendezvous.Offline])
	if s := n[0].Stats(); s.Core.Online != 1 {
		t.Errorf("the camera was displaced: %+v", s.Core)
	}
	v := r.viewer(n[0].at)
	connect(t, v, c, "relay")
}

// While NATS is away each node serves its own devices and says so; when it is back, they are there for all.
func TestNATSAway(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	n := r.changed(2, func(o *program.Options) { // on a busy machine one is back seconds after the other, which doubts cameras for a keepalive
		o.Limits.Keepalive, o.Limits.Expiry = 10*keepalive, 20*keepalive
	})
	addr := r.nats.Addr()
	c := r.camera(newKey(), n[0].at)
	await(t, c.events, yes[camera.Registered])
	eventually(t, "the camera is in the directory", func() bool { return n[0].Stats().Cluster.Claims >= 1 })
	uid := c.core.Label("127.0.0.1:1").Key.UID()
	watcher := r.viewer(n[1].at)
	watcher.do(t, func(now time.Time) error { return watcher.core.Watch(now, []identity.UID{uid}) })
	presence(t, watcher, uid, wire.StateOnline)
	if err := r.nats.Close(); err != nil {
		t.Fatal(err)
	}
	for _, s := range n {
		eventually(t, "the nodes say that NATS is away", func() bool {
			h, ready := s.Health()
			return h.Status == "alone" && h.Why != "" && ready
		})
	}
	local := r.viewer(n[0].at)
	connect(t, local, c, "relay")
	late := r.camera(newKey(), n[0].at) // registered meanwhile
	await(t, late.events, yes[camera.Registered])
	label := c.core.Label("127.0.0.1:1")
	remote := r.viewer(n[1].at)
	remote.do(t, func(now time.Time) error { return remote.core.Connect(now, label, "relay") })
	await(t, remote.events, yes[viewer.Failed])

	r.startNATS(addr) // and has forgotten everything
	for _, s := range n {
		eventually(t, "the nodes are back", func() bool { h, _ := s.Health(); return h.Status == "ok" && len(h.Nodes) == 1 })
	}
	eventually(t, "all cameras are in the directory", func() bool { return n[0].Stats().Cluster.Claims >= 3 })
	for _, cam := range []*role[*camera.Camera]{c, late} {
		v := r.viewer(n[1].at)
		connect(t, v, cam, "relay")
	}
	c.node.Do(c.core.Close)
	for gone := false; !gone; { // the one thing that is told of it: that the others had forgotten it meanwhile is not
		switch e := await(t, watcher.events, yes[viewer.Presence]); e.State {
		case wire.StateLeft:
			gone = true
		case wire.StateSilent, wire.StateUnavailable:
			t.Fatalf("the camera is said to be gone: %+v", e)
		}
	}
}

// Three nodes with a NATS server each: one may die, with its NATS server, and the others go on.
func TestEmbeddedServers(t *testing.T) {
	t.Parallel()
	r := &rig{t: t, key: newKey(), number: rigs.Add(1)}
	routes := func(i int) string { return r.at(i).String() + ":6248" }
	var n []*server
	for i := 1; i <= 3; i++ {
		n = append(n, r.serve(i, func(o *program.Options) {
			o.NATS = program.Embedded
			o.Cluster.Routes = routes(i)
			for j := 1; j <= 3; j++ {
				if j != i {
					o.Cluster.Peers = append(o.Cluster.Peers, routes(j))
				}
			}
		}))
	}
	for _, s := range n {
		s.join(t)
	}
	for _, s := range n {
		eventually(t, "the nodes know each other", func() bool { return s.Stats().Cluster.Nodes == 2 })
	}
	c := r.camera(newKey(), n[0].at, n[1].at)
	await(t, n[0].events, yes[rendezvous.Online])
	eventually(t, "the camera is in the directory", func() bool { return n[0].Stats().Cluster.Claims >= 1 })
	v := r.viewer(n[2].at)
	connect(t, v, c, "relay")
	kept(t, n[0])
	n[0].Kill()
	died := time.Now()
	drain(v.events)
	frames(t, v, 5)
	t.Logf("frames again after %v", time.Since(died))
	fresh := r.viewer(n[2].at)
	connect(t, fresh, c, "relay")
	t.Logf("introduced anew after %v", time.Since(died))
}
