package viewer

import (
	"context"
	"crypto/rand"
	"net"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	cameracore "github.com/punchlab/punchlab/impl/camera"
	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/device"
	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/media"
	"github.com/punchlab/punchlab/impl/node"
	"github.com/punchlab/punchlab/impl/pairing"
	"github.com/punchlab/punchlab/impl/rendezvous"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// scene is a rendezvous on this host's loopback interface, with cameras.
type scene struct {
	t    *testing.T
	key  identity.Key
	addr netip.AddrPort
	node *node.Node
}

func bind(t *testing.T, at netip.AddrPort) *net.UDPConn {
	t.Helper()
	c, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(at))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

var loopback = netip.MustParseAddrPort("127.0.0.1:0")

func drive(t *testing.T, c core.Core, conn *net.UDPConn) *node.Node {
	t.Helper()
	n := must(node.New(c, []*net.UDPConn{conn}, node.Options{}))
	t.Cleanup(func() { n.Close() })
	return n
}

func newScene(t *testing.T) *scene {
	t.Helper()
	s := &scene{t: t, key: must(identity.NewKey(rand.Reader))}
	conn := bind(t, loopback)
	s.addr = conn.LocalAddr().(*net.UDPAddr).AddrPort()
	s.start(conn)
	return s
}

func (s *scene) start(conn *net.UDPConn) {
	server := must(rendezvous.New(rendezvous.Config{Static: s.key, Rand: rand.Reader}))
	s.node = drive(s.t, server, conn)
}

// cam is a camera that runs.
type cam struct {
	*cameracore.Camera
	label identity.Label
	node  *node.Node
	key   identity.Key
	book  *pairing.Book
}

// camera starts one, which is paired by a book of its own.
func (s *scene) camera() *cam {
	s.t.Helper()
	c := &cam{key: must(identity.NewKey(rand.Reader))}
	c.book = pairing.New(pairing.Config{Camera: c.key.Public(), Secret: identity.Secret{7}})
	s.run(c)
	return c
}

func (s *scene) run(c *cam) {
	s.t.Helper()
	clip := media.EmbeddedClip()
	c.Camera = must(cameracore.New(cameracore.Config{
		Static: c.key, Rand: rand.Reader, Rendezvous: []netip.AddrPort{s.addr}, RendezvousKey: s.key.Public(), Secret: identity.Secret{7},
		Book: c.book, Source: func() media.Source { return clip.Loop() },
	}))
	c.node = drive(s.t, c.Camera, bind(s.t, loopback))
	c.node.Do(func(now time.Time) {
		if err := c.Start(now); err != nil {
			s.t.Error(err)
		}
	})
	c.label = c.Label(s.addr.String())
}

// away has a camera leave with a goodbye.
func (c *cam) away() {
	c.node.Do(c.Camera.Close)
	c.node.Close()
}

func (s *scene) options() Options {
	n := device.Host()
	n.Addrs = nil
	return Options{
		Key: must(identity.NewKey(rand.Reader)), Book: filepath.Join(s.t.TempDir(), "state", "book.json"), Network: n, NoLAN: true, Name: "phone",
	}
}

// viewer opens one.
func (s *scene) viewer(o Options) *Viewer {
	s.t.Helper()
	v, err := Open(o)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		if err := v.Close(); err != nil {
			s.t.Error(err)
		}
	})
	return v
}

// within is a context for what should be quick, on a busy machine too.
func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// await waits until a camera's state is as ok says.
func await(t *testing.T, v *Viewer, name string, ok func(Camera) bool) Camera {
	t.Helper()
	changed, cancel := v.Changed()
	defer cancel()
	ctx := within(t)
	for {
		c, err := v.Camera(name)
		if err != nil {
			t.Fatal(err)
		}
		if ok(c) {
			return c
		}
		select {
		case <-changed:
		case <-ctx.Done():
			t.Fatalf("not so: %+v; servers %+v", c, v.Servers())
		}
	}
}
