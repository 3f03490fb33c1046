package virtual_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/punchlab/punchlab/impl/camera"
	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/punch"
	"github.com/punchlab/punchlab/impl/viewer"
	"github.com/punchlab/punchlab/impl/virtual"
	"github.com/punchlab/punchlab/impl/wire"
)

var (
	cameraLAN = netip.MustParseAddrPort("10.0.0.2:5000")
	nobodyLAN = netip.MustParseAddrPort("10.0.0.9:5000")
	group     = netip.MustParseAddrPort("239.255.44.79:4478")
)

// nearWorld has camera and viewer on one network, behind one NAT. The camera takes knocks.
func nearWorld(t *testing.T, seed uint64) *world {
	return newWorld(t, worldConfig{seed: seed, cameraNAT: symmetric, sameLAN: true, camera: func(c *camera.Config) {
		c.Listen = true
		c.Host = []netip.AddrPort{cameraLAN}
	}})
}

func (w *world) ask(near ...netip.AddrPort) {
	w.t.Helper()
	w.viewerHost.Do(func(now time.Time) {
		w.check(w.viewer.Ask(now, viewer.Request{Label: w.label, Strategy: "adaptive", Near: near}))
	})
}

// Who have met find each other with no rendezvous at all.
func TestNearWithoutRendezvous(t *testing.T) {
	w := nearWorld(t, 71)
	w.serverHost.Down(true)
	start := w.net.Now
	w.ask(nobodyLAN, cameraLAN)
	w.net.Run(3*time.Second, nil)
	s := w.viewer.Stats()
	if s.Path != punch.To(cameraLAN) || !s.Confirmed || s.Connected.Sub(start) != 2*time.Millisecond {
		t.Errorf("path %v, connected after %v; events%s", s.Path, s.Connected.Sub(start), events(w))
	}
	w.checkFrames(70)
	w.net.Run(60*time.Second, nil) // the rendezvous stays away
	w.checkFrames(1500)
	if len(s.Near) == 0 || s.Near[0] != cameraLAN {
		t.Errorf("remembers %v", s.Near)
	}
}

// Where there is a rendezvous too, the ways make one session, and the first one is used.
func TestNearBesideRendezvous(t *testing.T) {
	w := nearWorld(t, 72)
	start := w.net.Now
	w.ask(cameraLAN)
	w.net.Run(5*time.Second, nil)
	s := w.viewer.Stats()
	if s.Path != punch.To(cameraLAN) || s.Connected.Sub(start) > 5*time.Millisecond || s.PeerKnown.IsZero() {
		t.Errorf("path %v, connected after %v, peer known %v", s.Path, s.Connected.Sub(start), s.PeerKnown)
	}
	if c := w.camera.Stats(); c.Streams != 1 || c.Viewers != 1 {
		t.Errorf("the camera has %d viewers and had %d streams", c.Viewers, c.Streams)
	}
	w.checkFrames(120)
}

// The local network is asked in vain: the rendezvous serves as ever, and where it says no, that is said soon.
func TestNearInVain(t *testing.T) {
	w := newWorld(t, worldConfig{seed: 73})
	w.ask(nobodyLAN, group)
	w.net.Run(3*time.Second, nil)
	if s := w.viewer.Stats(); s.Path != punch.To(w.cameraHost.Addrs[0]) || !s.Confirmed {
		t.Errorf("path %v", s.Path)
	}
	w.checkFrames(60)

	w = newWorld(t, worldConfig{seed: 74})
	w.cameraHost.Do(w.camera.Close)
	w.net.Run(time.Second, nil)
	start := w.net.Now
	w.ask(nobodyLAN)
	w.net.Run(10*time.Second, nil)
	f, ok := first[viewer.Failed](w.viewerHost)
	if !ok || f.Code != wire.CodeUnavailable || f.At.Sub(start) > 1100*time.Millisecond || !strings.Contains(f.Cause, "local network") {
		t.Errorf("after %v: %+v", f.At.Sub(start), f)
	}
	knocks := 0
	w.net.Filter = func(_ *virtual.Host, p core.Packet) bool {
		if p.To == nobodyLAN {
			knocks++
		}
		return true
	}
	w.serverHost.Down(true)
	start = w.net.Now
	w.ask(nobodyLAN)
	w.net.Run(10*time.Second, nil)
	all := all[viewer.Failed](w.viewerHost)
	if f := all[len(all)-1]; f.Code != wire.CodeRendezvousSilent || f.At.Sub(start) != 5*time.Second {
		t.Errorf("after %v: %+v", f.At.Sub(start), f)
	}
	if knocks < 4 || knocks > 9 {
		t.Errorf("%d knocks in 5 s", knocks)
	}
}

// A connection that began nearby outlives the local network.
func TestNearAndAway(t *testing.T) {
	w := nearWorld(t, 75)
	w.ask(cameraLAN)
	w.net.Run(3*time.Second, nil)
	w.net.Filter = func(from *virtual.Host, p core.Packet) bool { return !betweenPeers(from, p) }
	at := w.net.Now
	w.net.Run(6*time.Second, nil)
	if s := w.viewer.Stats(); s.Path != punch.ViaRelay {
		t.Errorf("path %v; events%s", s.Path, events(w))
	}
	longest, _ := w.standstill(at)
	t.Logf("stood still for %v", longest)
	if longest > 4*time.Second {
		t.Errorf("stood still for %v", longest)
	}
}
