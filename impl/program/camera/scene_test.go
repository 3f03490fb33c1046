package camera

import (
	"context"
	"crypto/rand"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	core "github.com/punchlab/punchlab/impl/camera"
	"github.com/punchlab/punchlab/impl/device"
	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/node"
	"github.com/punchlab/punchlab/impl/program/viewer"
	"github.com/punchlab/punchlab/impl/rendezvous"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// scene is a rendezvous on the loopback interface, and folders of cameras that it serves.
type scene struct {
	t    *testing.T
	key  identity.Key
	addr netip.AddrPort
	node *node.Node
}

func newScene(t *testing.T) *scene {
	t.Helper()
	s := &scene{t: t, key: must(identity.NewKey(rand.Reader))}
	s.start(netip.MustParseAddrPort("127.0.0.1:0"))
	return s
}

// start starts the rendezvous at an address.
func (s *scene) start(at netip.AddrPort) {
	s.t.Helper()
	conn, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(at))
	if err != nil {
		s.t.Fatal(err)
	}
	s.addr = conn.LocalAddr().(*net.UDPAddr).AddrPort()
	server := must(rendezvous.New(rendezvous.Config{Static: s.key, Rand: rand.Reader}))
	s.node = must(node.New(server, []*net.UDPConn{conn}, node.Options{}))
	s.t.Cleanup(func() { s.node.Close() })
}

// folder makes a camera's folder.
func (s *scene) folder() string {
	s.t.Helper()
	dir := filepath.Join(s.t.TempDir(), "camera")
	if err := New(dir, s.key.Public(), []string{s.addr.String()}, rand.Reader); err != nil {
		s.t.Fatal(err)
	}
	return dir
}

// network is the loopback interface: no other address is told to anybody, and no router asked.
func network() device.Network {
	n := device.Host()
	n.Addrs, n.Gateway = nil, netip.Addr{}
	return n
}

// paired waits until a camera has written down that somebody may watch.
func paired(t *testing.T, h *Handle) {
	t.Helper()
	for ctx := within(t); ; {
		var claimed bool
		h.Do(func(time.Time, *core.Camera) { claimed = h.state.book.Claimed() })
		switch {
		case claimed:
			return
		case ctx.Err() != nil:
			t.Fatal("nobody is paired")
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// camera starts one.
func (s *scene) camera(o Options) *Handle {
	s.t.Helper()
	o.Network, o.NoLAN = network(), true
	h, err := Start(s.t.Context(), o)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { h.Close() })
	return h
}

func (s *scene) viewer() *viewer.Viewer {
	s.t.Helper()
	v, err := viewer.Open(viewer.Options{
		Key: must(identity.NewKey(rand.Reader)), Book: filepath.Join(s.t.TempDir(), "book.json"), Network: network(), NoLAN: true,
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { v.Close() })
	return v
}

func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// await waits until a viewer's camera is as ok says.
func await(t *testing.T, v *viewer.Viewer, name string, ok func(viewer.Camera) bool) viewer.Camera {
	t.Helper()
	ctx := within(t)
	changed, cancel := v.Changed()
	defer cancel()
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
			t.Fatalf("the camera stays %+v", c)
		}
	}
}

// watch reads frames.
func watch(t *testing.T, v *viewer.Viewer, name string, n int) []viewer.Frame {
	t.Helper()
	f := feed(t, v, name)
	defer f.Close()
	return take(t, f, n)
}

// feed begins to watch.
func feed(t *testing.T, v *viewer.Viewer, name string) *viewer.Feed {
	t.Helper()
	f, err := v.Feed(name, viewer.WatchOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	return f
}

// take reads frames of a feed.
func take(t *testing.T, f *viewer.Feed, n int) []viewer.Frame {
	t.Helper()
	ctx := within(t)
	var frames []viewer.Frame
	for len(frames) < n {
		x, err := f.Next(ctx)
		if err != nil {
			t.Fatalf("after %d frames: %v", len(frames), err)
		}
		frames = append(frames, x)
	}
	return frames
}

// require skips the test where a program is missing, or fails it if PUNCHLAB_REQUIRE (comma-separated) names it.
func require(t *testing.T, program string) {
	t.Helper()
	_, err := exec.LookPath(program)
	switch {
	case err == nil:
	case slices.Contains(strings.Split(os.Getenv("PUNCHLAB_REQUIRE"), ","), program):
		t.Fatalf("PUNCHLAB_REQUIRE names %s: %v", program, err)
	default:
		t.Skipf("%s: %v", program, err)
	}
}

// registered waits until the rendezvous knows the camera.
func registered(t *testing.T, h *Handle) {
	t.Helper()
	for ctx := within(t); !h.Stats().Core.Registered; time.Sleep(5 * time.Millisecond) {
		if ctx.Err() != nil {
			t.Fatal("the camera is not registered")
		}
	}
}
