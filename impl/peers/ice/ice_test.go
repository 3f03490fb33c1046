package ice

import (
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/punchlab/punchlab/impl/media"
)

// TestLoopback streams the clip within this host: no NAT, no namespace.
func TestLoopback(t *testing.T) {
	for name, settings := range map[string]Settings{"default": Default(), "tuned": Tuned()} {
		t.Run(name, func(t *testing.T) {
			addr := local(t)
			frames := make(chan media.Frame, 200)
			welcomed := make(chan string, 8)
			server, err := Serve(ServerConfig{Addrs: []netip.Addr{addr}, Welcomed: func(role string) { welcomed <- role }})
			if err != nil {
				t.Fatal(err)
			}
			signal := netip.AddrPortFrom(addr, TCPPort)
			camera, err := NewCamera(CameraConfig{
				Net: NewNet(nil), Signal: signal, Servers: []netip.Addr{addr}, Settings: settings,
				Source: func() media.Source { return media.EmbeddedClip().Loop() },
			})
			if err != nil {
				t.Fatal(err)
			}
			viewer, err := NewViewer(ViewerConfig{
				Net: NewNet(nil), Signal: signal, Servers: []netip.Addr{addr}, Settings: settings, Session: 1, FPS: 25,
				Observe: func(e any) {
					if f, ok := e.(FrameReceived); ok {
						frames <- f.Frame
					}
				},
			})
			if err != nil {
				t.Fatal(err)
			}
			<-welcomed
			<-welcomed
			if err := viewer.Ask(); err != nil {
				t.Fatal(err)
			}
			for i := range 10 {
				select {
				case f := <-frames:
					if f.Index != i || f.Hash != media.EmbeddedClip().At(i).Hash {
						t.Errorf("frame %d is not the clip's number %d", f.Index, i)
					}
				case <-time.After(10 * time.Second):
					t.Fatalf("no frame %d; %+v", i, viewer.Stats())
				}
			}
			t.Logf("%+v", viewer.Stats())
			begin := time.Now()
			for _, c := range []closer{viewer, camera, server} {
				if err := c.Close(); err != nil {
					t.Error(err)
				}
			}
			t.Log("closed in ", time.Since(begin))
			for range 100 {
				if !strings.Contains(stacks(), "pion") {
					return
				}
				time.Sleep(10 * time.Millisecond)
			}
			t.Error(stacks())
		})
	}
}

func stacks() string {
	b := make([]byte, 1<<20)
	return string(b[:runtime.Stack(b, true)])
}

func local(t *testing.T) netip.Addr {
	ifs, err := NewNet(nil).Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range ifs {
		addrs, _ := i.Addrs()
		for _, a := range addrs {
			if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is4() && !p.Addr().IsLoopback() {
				return p.Addr()
			}
		}
	}
	t.Skip("no address")
	return netip.Addr{}
}
