package cluster_test

import (
	"context"
	"testing"
	"time"

	"github.com/punchlab/punchlab/impl/camera"
	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/punch"
	"github.com/punchlab/punchlab/impl/rendezvous"
	"github.com/punchlab/punchlab/impl/viewer"
	"github.com/punchlab/punchlab/impl/wire"
)

// A viewer at one node watches a camera at another one, directly and by a relay through both.
func TestAcrossNodes(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	n := r.nodes(2)
	c := r.camera(newKey(), n[0].at)
	await(t, c.events, yes[camera.Registered])
	await(t, n[0].events, yes[rendezvous.Online])
	eventually(t, "the camera is in the directory", func() bool { return n[0].Stats().Cluster.Claims >= 1 })
	for strategy, want := range map[string]punch.Route{"direct": punch.Direct, "relay": punch.Relay} {
		v := r.viewer(n[1].at)
		connect(t, v, c, strategy)
		if last := frames(t, v, 5); last.Path.Route != want {
			t.Errorf("%s: frames come by %v", strategy, last.Path)
		}
		v.node.Do(v.core.Close)
		await(t, c.events, yes[camera.StreamStopped])
	}
	a, b := n[0].Stats(), n[1].Stats()
	if a.Core.RelayedBytes == 0 || b.Core.RelayedBytes == 0 || b.Cluster.FramesIn == 0 || a.Cluster.FramesIn == 0 || a.Cluster.Bad+b.Cluster.Bad > 0 {
		t.Errorf("relayed %d and %d bytes, %+v %+v", a.Core.RelayedBytes, b.Core.RelayedBytes, a.Cluster, b.Cluster)
	}
}

// A camera that no node serves is refused, whether it was there once or never.
func TestUnknownAndOfflineAlike(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	n := r.nodes(2)
	c := r.camera(newKey(), n[0].at)
	await(t, c.events, yes[camera.Registered])
	eventually(t, "the camera is in the directory", func() bool { return n[0].Stats().Cluster.Claims >= 1 })
	c.node.Do(c.core.Close)
	await(t, n[0].events, yes[rendezvous.Offline])
	eventually(t, "the directory says so", func() bool { return n[0].Stats().Cluster.Held == 0 })
	v := r.viewer(n[1].at)
	for _, label := range []identity.Label{c.core.Label("127.0.0.1:1"), {Key: newKey().Public(), RendezvousKey: r.key.Public()}} {
		v.do(t, func(now time.Time) error { return v.core.Connect(now, label, "relay") })
		if e := await(t, v.events, yes[viewer.Failed]); e.Code != wire.CodeUnavailable {
			t.Errorf("a camera that nobody serves: %+v", e)
		}
	}
}

// When the camera's node dies the camera registers at another one, and a relayed stream comes back by it.
func TestCamerasNodeDies(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	n := r.nodes(3)
	c := r.camera(newKey(), n[0].at, n[1].at)
	await(t, n[0].events, yes[rendezvous.Online])
	eventually(t, "the camera is in the directory", func() bool { return n[0].Stats().Cluster.Claims >= 1 })
	v := r.viewer(n[2].at)
	connect(t, v, c, "relay")
	kept(t, n[0])
	n[0].Kill()
	died := time.Now()
	await(t, n[1].events, yes[rendezvous.Online])
	if away := time.Since(died); away > 8*keepalive { // one, and what a busy machine adds
		t.Errorf("the camera was away for %v", away)
	}
	drain(v.events)
	frames(t, v, 5)
	t.Logf("frames again after %v", time.Since(died))
	if n[1].Stats().Core.RelayedBytes == 0 || n[2].Stats().Cluster.Asked == 0 {
		t.Error("the frames came by another way")
	}
	again := r.viewer(n[2].at)
	connect(t, again, c, "relay")
}

// When the viewer's node dies a relayed stream comes back by another one.
func TestViewersNodeDies(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	n := r.nodes(3)
	c := r.camera(newKey(), n[0].at)
	await(t, n[0].events, yes[rendezvous.Online])
	eventually(t, "the camera is in the directory", func() bool { return n[0].Stats().Cluster.Claims >= 1 })
	v := r.viewer(n[1].at, n[2].at)
	connect(t, v, c, "relay")
	kept(t, n[0])
	n[1].Kill()
	died := time.Now()
	drain(v.events)
	frames(t, v, 5)
	t.Logf("frames again after %v", time.Since(died))
}

// kept waits until another node could go on with a connection whose home this one is: frames come before.
func kept(t *testing.T, home *server) {
	t.Helper()
	eventually(t, "the connection is kept", func() bool { return home.Stats().Cluster.Kept >= 1 })
}

// drain throws away what has been said.
func drain(events chan any) {
	for len(events) > 0 {
		<-events
	}
}

// A node that is drained sends its camera to another one at once, and a relayed stream goes on.
func TestDrain(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	n := r.nodes(3)
	c := r.camera(newKey(), n[0].at, n[1].at)
	await(t, n[0].events, yes[rendezvous.Online])
	eventually(t, "the camera is in the directory", func() bool { return n[0].Stats().Cluster.Claims >= 1 })
	v := r.viewer(n[2].at)
	connect(t, v, c, "relay")
	kept(t, n[0])
	ctx, cancel := context.WithTimeout(t.Context(), keepalive)
	defer cancel()
	began := time.Now()
	_ = n[0].Drain(ctx) // the relay may go on for longer
	await(t, n[1].events, yes[rendezvous.Online])
	if err := n[0].Close(); err != nil {
		t.Error(err)
	}
	t.Logf("the camera is at another node after %v", time.Since(began))
	drain(v.events)
	frames(t, v, 5)
	connect(t, r.viewer(n[2].at), c, "direct")
}
