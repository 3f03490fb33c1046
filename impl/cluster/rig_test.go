package cluster_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/punchlab/punchlab/impl/camera"
	"github.com/punchlab/punchlab/impl/cluster"
	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/media"
	"github.com/punchlab/punchlab/impl/node"
	program "github.com/punchlab/punchlab/impl/program/rendezvous"
	"github.com/punchlab/punchlab/impl/rendezvous"
	"github.com/punchlab/punchlab/impl/viewer"
)

const (
	port      = 4479
	keepalive = time.Second
	patience  = 30 * time.Second // of a test, for what should come at once
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func newKey() identity.Key { return must(identity.NewKey(rand.Reader)) }

// rig is a cluster on loopback: one address for each node, no other test process'.
type rig struct {
	t    *testing.T
	key  identity.Key
	nats *cluster.Server
	url  string

	number uint32
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{t: t, key: newKey(), number: rigs.Add(1)}
	r.startNATS(netip.AddrPortFrom(r.at(0), 4222).String()) // where nobody listens while it is away
	r.url = "nats://" + r.nats.Addr()
	t.Cleanup(func() { r.nats.Close() })
	return r
}

func (r *rig) startNATS(at string) {
	r.t.Helper()
	s, err := cluster.Embed(cluster.ServerConfig{Key: r.key, Name: "nats", Listen: at})
	if err != nil {
		r.t.Fatal(err)
	}
	r.nats = s
}

// rigs counts those of this process.
var rigs atomic.Uint32

// at is a node's address.
func (r *rig) at(i int) netip.Addr {
	pid := os.Getpid()
	return netip.AddrFrom4([4]byte{127, byte(30 + pid%200), byte(pid / 200), byte(r.number*8) + byte(i)})
}

// server is one node.
type server struct {
	*program.Handle
	at     netip.AddrPort
	events chan any
}

// serve starts a node, and waits until it has joined.
func (r *rig) serve(i int, change func(*program.Options)) *server {
	r.t.Helper()
	s := &server{at: netip.AddrPortFrom(r.at(i), port), events: make(chan any, 10_000)}
	o := program.Options{
		Key: r.key, Addrs: []netip.Addr{r.at(i)}, Port: port, NATS: r.url, Log: logger(r.t, fmt.Sprintf("node-%d", i)),
		Cluster: program.ClusterOptions{Name: fmt.Sprintf("node-%d", i)},
		Limits:  rendezvous.Config{Keepalive: keepalive, Expiry: 2 * keepalive},
		Observe: func(e any) { s.events <- e },
	}
	if change != nil {
		change(&o)
	}
	h, err := program.Start(o)
	if err != nil {
		r.t.Fatal(err)
	}
	s.Handle = h
	r.t.Cleanup(func() { h.Close() })
	return s
}

func (s *server) join(t *testing.T) *server {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
	defer cancel()
	if err := s.Joined(ctx); err != nil {
		t.Fatal(err)
	}
	return s
}

// nodes starts some, which know of each other when it returns.
func (r *rig) nodes(n int) []*server { return r.changed(n, nil) }

// changed starts nodes with other options.
func (r *rig) changed(n int, change func(*program.Options)) (all []*server) {
	r.t.Helper()
	for i := range n {
		all = append(all, r.serve(i+1, change).join(r.t))
	}
	for _, s := range all {
		eventually(r.t, "the nodes know each other", func() bool { return s.Stats().Cluster.Nodes == n-1 })
	}
	return all
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not in %v: %s", patience, what)
		}
	}
}

// logger writes to the test's log, as long as the test runs.
func logger(t *testing.T, name string) *slog.Logger {
	return slog.New(slog.NewTextHandler(&testLog{t: t, over: t.Context()}, nil)).With("on", name)
}

type testLog struct {
	t    *testing.T
	over context.Context
}

func (l *testLog) Write(b []byte) (int, error) {
	if l.over.Err() == nil {
		l.t.Logf("%s", b)
	}
	return len(b), nil
}

// role is a camera or a viewer with its node.
type role[C core.Core] struct {
	core   C
	node   *node.Node
	events chan any
}

func run[C core.Core](t *testing.T, make func(own netip.AddrPort) C) *role[C] {
	t.Helper()
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	r := &role[C]{core: make(conn.LocalAddr().(*net.UDPAddr).AddrPort()), events: newEvents()}
	r.node = must(node.New(r.core, []*net.UDPConn{conn}, node.Options{Observe: func(e any) { r.events <- e }}))
	t.Cleanup(func() { r.node.Close() })
	return r
}

func newEvents() chan any { return make(chan any, 100_000) }

func (r *rig) camera(key identity.Key, at ...netip.AddrPort) *role[*camera.Camera] {
	r.t.Helper()
	c := run(r.t, func(netip.AddrPort) *camera.Camera {
		return must(camera.New(camera.Config{
			Static: key, Rand: rand.Reader, Rendezvous: at, RendezvousKey: r.key.Public(), Secret: identity.Secret{7}, Keepalive: keepalive,
			Source: func() media.Source { return media.EmbeddedClip().Loop() },
		}))
	})
	c.do(r.t, c.core.Start)
	return c
}

func (r *rig) viewer(at ...netip.AddrPort) *role[*viewer.Viewer] {
	r.t.Helper()
	v := run(r.t, func(own netip.AddrPort) *viewer.Viewer {
		return must(viewer.New(viewer.Config{
			Static: newKey(), Rand: rand.Reader, Rendezvous: at, RendezvousKey: r.key.Public(), Host: []netip.AddrPort{own}, Keepalive: keepalive,
			SilentTimeout: 30 * time.Second,
		}))
	})
	v.do(r.t, v.core.Start)
	await(r.t, v.events, yes[viewer.LoggedIn])
	return v
}

func (r *role[C]) do(t *testing.T, f func(time.Time) error) {
	t.Helper()
	var err error
	r.node.Do(func(now time.Time) { err = f(now) })
	if err != nil {
		t.Fatal(err)
	}
}

func await[E any](t testing.TB, events chan any, ok func(E) bool) E {
	t.Helper()
	for timeout := time.After(patience); ; {
		select {
		case e := <-events:
			if e, is := e.(E); is && ok(e) {
				return e
			}
		case <-timeout:
			var e E
			t.Fatalf("no %T in %v", e, patience)
		}
	}
}

func yes[E any](E) bool { return true }

// connect asks for a camera, and waits for frames by the route.
func connect(t *testing.T, v *role[*viewer.Viewer], c *role[*camera.Camera], strategy string) {
	t.Helper()
	label := c.core.Label("127.0.0.1:1")
	v.do(t, func(now time.Time) error { return v.core.Connect(now, label, strategy) })
	frames(t, v, 5)
}

// frames waits for n more.
func frames(t *testing.T, v *role[*viewer.Viewer], n int) (last viewer.FrameReceived) {
	t.Helper()
	for range n {
		last = await(t, v.events, yes[viewer.FrameReceived])
	}
	return last
}
