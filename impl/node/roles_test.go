package node_test

import (
	"crypto/rand"
	"net"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/punchlab/punchlab/impl/camera"
	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/media"
	"github.com/punchlab/punchlab/impl/node"
	"github.com/punchlab/punchlab/impl/punch"
	"github.com/punchlab/punchlab/impl/rendezvous"
	"github.com/punchlab/punchlab/impl/viewer"
)

func bind(t *testing.T) (*net.UDPConn, netip.AddrPort) {
	t.Helper()
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	return c, c.LocalAddr().(*net.UDPAddr).AddrPort()
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// run starts a node whose events end up in a channel.
func run(t *testing.T, c core.Core, conns ...*net.UDPConn) (*node.Node, chan any) {
	t.Helper()
	events := make(chan any, 10_000)
	n := must(node.New(c, conns, node.Options{Observe: func(e any) { events <- e }}))
	t.Cleanup(func() { n.Close() })
	return n, events
}

// await waits for an event of a type for which ok says yes.
func await[E any](t testing.TB, events chan any, ok func(E) bool) E {
	t.Helper()
	for timeout := time.After(20 * time.Second); ; {
		select {
		case e := <-events:
			if e, is := e.(E); is && ok(e) {
				return e
			}
			if f, is := e.(viewer.Failed); is {
				t.Fatalf("failed: %s", f.Cause)
			}
		case <-timeout:
			var e E
			t.Fatalf("no %T", e)
		}
	}
}

func yes[E any](E) bool { return true }

// The three roles over loopback, as the lab and the commands construct them.
func TestRolesOverRealSockets(t *testing.T) {
	goroutines := runtime.NumGoroutine()
	rkey, ckey, vkey := must(identity.NewKey(rand.Reader)), must(identity.NewKey(rand.Reader)), must(identity.NewKey(rand.Reader))

	r1, a1 := bind(t)
	r2, a2 := bind(t)
	server := must(rendezvous.New(rendezvous.Config{Static: rkey, Rand: rand.Reader}))
	serverNode, serverEvents := run(t, server, r1, r2)

	clip := media.EmbeddedClip()
	cconn, _ := bind(t)
	cam := must(camera.New(camera.Config{
		Static: ckey, Rand: rand.Reader, Rendezvous: []netip.AddrPort{a2, a1}, RendezvousKey: rkey.Public(),
		Secret: identity.Secret{7}, Source: func() media.Source { return clip.Loop() },
	}))
	camNode, camEvents := run(t, cam, cconn)
	camNode.Do(func(now time.Time) {
		if err := cam.Start(now); err != nil {
			t.Error(err)
		}
	})
	await(t, camEvents, yes[camera.Registered])
	await(t, serverEvents, yes[rendezvous.Online]) // the camera's confirmation came by another socket than the viewer's questions will

	for _, strategy := range []string{"adaptive", "direct", "relay"} {
		t.Run(strategy, func(t *testing.T) {
			vconn, vaddr := bind(t)
			v := must(viewer.New(viewer.Config{
				Static: vkey, Rand: rand.Reader, Rendezvous: []netip.AddrPort{a1, a2}, RendezvousKey: rkey.Public(),
				Host: []netip.AddrPort{vaddr},
			}))
			vnode, events := run(t, v, vconn)
			vnode.Do(func(now time.Time) {
				if err := v.Start(now); err != nil {
					t.Error(err)
				}
			})
			await(t, events, yes[viewer.LoggedIn])
			watch(t, v, vnode, events, cam.Label(a1.String()), strategy)
			await(t, camEvents, yes[camera.StreamStopped])
			vnode.Close()
		})
	}
	camNode.Close()
	serverNode.Close()
	for deadline := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > goroutines; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines, were %d", runtime.NumGoroutine(), goroutines)
		}
	}
}

// watch connects, takes some frames by the path that the strategy should find, and says goodbye.
func watch(t *testing.T, v *viewer.Viewer, n *node.Node, events chan any, label identity.Label, strategy string) {
	t.Helper()
	n.Do(func(now time.Time) {
		if err := v.Connect(now, label, strategy); err != nil {
			t.Error(err)
		}
	})
	want := punch.Direct
	if strategy == "relay" {
		want = punch.Relay
	}
	await(t, events, func(e viewer.PathConfirmed) bool { return e.Path.Route == want })
	last := await(t, events, func(e viewer.FrameReceived) bool {
		if au := media.EmbeddedClip().At(e.Frame.Index); au.Hash != e.Frame.Hash() {
			t.Fatalf("frame %d differs", e.Frame.Index)
		}
		return e.Frame.Index >= 10
	})
	if last.Path.Route != want {
		t.Errorf("frame %d came by %v, want %v", last.Frame.Index, last.Path, want)
	}
	n.Do(func(now time.Time) {
		s := v.Stats()
		t.Logf("connect %v, first packet %v, probes %d, lost %d, rtt %v, dropped %v", s.Connected.Sub(s.Asked), s.FirstPacket.Sub(s.Asked), s.Probes.Packets, s.Quality.Lost, s.RTT, s.Dropped)
		v.Close(now)
	})
}
