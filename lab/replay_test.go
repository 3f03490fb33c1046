package lab_test

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/punchlab/punchlab/lab"
	"github.com/punchlab/punchlab/lab/capture"
)

// A capture of real sockets over a lossy, jittery link is played again in virtual time: every translation, drop and delay is
// the same.
func TestCaptureOfEngineTableReplaysExactly(t *testing.T) {
	t.Parallel()
	f := startFabric(t)
	for _, set := range [][]string{
		{"two-homes", "camera.nat", "symmetric", "link", "lte"},
		{"cgn", "carrier.nat", "cgn-port-block", "camera.nat", "symmetric-sequential"},
		{"dual-stack", "link", "satellite"},
	} {
		t.Run(set[0], func(t *testing.T) {
			topo := on(t, lab.EngineTable, set[0], set[1:]...)
			l := up(t, f, topo)
			const seed = 77
			if err := l.Reset(seed); err != nil {
				t.Fatal(err)
			}
			path := captured(t, l, func() { chat(t, l) })
			trace, err := capture.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			v, err := capture.Verify(trace, func() (*capture.Replay, error) { return topo.Replay(seed) })
			if err != nil {
				t.Fatal(err)
			}
			if v.Mismatch != "" || v.Inputs < 100 {
				t.Errorf("%d packets were sent, seen %d times; first difference: %s", v.Inputs, v.Sightings, v.Mismatch)
			}
			if v, err = capture.Verify(trace, func() (*capture.Replay, error) { return topo.Replay(seed + 1) }); err != nil || v.Mismatch == "" {
				t.Errorf("another seed gives the same: %+v, %v", v, err)
			}
		})
	}
}

// Standby interfaces and the routers' own servers are a part of what is replayed.
func TestReplayHasStandbyAndServers(t *testing.T) {
	f := startFabric(t)
	topo := twoWays(t, lab.EngineTable)
	topo.Site("wifi").PortMap = "all"
	topo.Site("lte").Hosts = append(topo.Site("lte").Hosts, lab.Host{Name: "camera"})
	if err := topo.Resolve(); err != nil {
		t.Fatal(err)
	}
	l := up(t, f, topo)
	if err := l.Reset(5); err != nil {
		t.Fatal(err)
	}
	trace, err := capture.Open(captured(t, l, func() {
		externalAddress(t, l, "viewer", topo.Site("wifi").Gateway(), patience)
		chat(t, l)
	}))
	if err != nil {
		t.Fatal(err)
	}
	v, err := capture.Verify(trace, func() (*capture.Replay, error) { return topo.Replay(5) })
	if err != nil || v.Mismatch != "" || v.Inputs < 100 {
		t.Errorf("%+v, %v", v, err)
	}
}

func TestKernelRoutersCanNotBeReplayed(t *testing.T) {
	if _, err := topology(t, "two-homes").Replay(1); err == nil || !strings.Contains(err.Error(), "site camera: its router is of engine netfilter") {
		t.Errorf("error %v", err)
	}
}

// captured returns the capture of what happens during f.
func captured(t *testing.T, l *lab.Lab, f func()) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "trial.pcapng")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := l.Capture(file); err != nil {
		t.Fatal(err)
	}
	f()
	if err := l.StopCapture(); err != nil {
		t.Fatal(err)
	}
	return path
}

// chat has camera and viewer send packets to the rendezvous and to where it saw the other.
func chat(t *testing.T, l *lab.Lab) {
	t.Helper()
	server, err := l.Host("rendezvous").ListenUDP(netip.AddrPortFrom(l.Host("rendezvous").Addr(), 7))
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	for _, name := range []string{"camera", "viewer"} {
		c, err := l.Host(name).ListenUDP(netip.AddrPort{})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		var seen netip.AddrPort
		for i := 0; i < 60; i++ {
			if _, err := c.WriteToUDPAddrPort(fmt.Appendf(nil, "packet %d of %s", i, name), netip.AddrPortFrom(l.Host("rendezvous").Addr(), 7)); err != nil {
				t.Fatal(err)
			}
			if i%20 != 19 {
				continue
			}
			server.SetReadDeadline(time.Now().Add(patience))
			if _, seen, err = server.ReadFromUDPAddrPort(make([]byte, 100)); err != nil {
				t.Fatal(err)
			}
			if _, err := server.WriteToUDPAddrPort([]byte("answer"), seen); err != nil {
				t.Fatal(err)
			}
			c.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
			c.ReadFromUDPAddrPort(make([]byte, 100)) // or it was lost
		}
	}
}

// A net's time never goes back, not even where packets are read while others fall due: otherwise nothing could be played again.
func TestTimeNeverGoesBack(t *testing.T) {
	l := up(t, startFabric(t), on(t, lab.EngineTable, "two-homes", "camera.nat", "full-cone", "viewer.nat", "full-cone", "link", "lan"))
	path := captured(t, l, func() {
		var floods sync.WaitGroup
		for _, name := range []string{"camera", "viewer"} {
			c, err := l.Host(name).ListenUDP(netip.AddrPort{})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			floods.Go(func() {
				for range 4000 {
					c.WriteToUDPAddrPort([]byte("packet"), netip.AddrPortFrom(l.Host("rendezvous").Addr(), 7))
				}
			})
		}
		floods.Wait()
	})
	trace, err := capture.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(trace.Packets) < 8000 {
		t.Errorf("%d packets were seen", len(trace.Packets))
	}
	for i, p := range trace.Packets[1:] {
		if before := trace.Packets[i]; p.T < before.T {
			t.Fatalf("packet %d, at %v, was seen after one at %v", i+2, p.T, before.T)
		}
	}
}
