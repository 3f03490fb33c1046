package virtual_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/punchlab/punchlab/impl/camera"
	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/pairing"
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

// lanWorld has a camera that is looked for by multicast, with a book of who may watch.
func lanWorld(t *testing.T, seed uint64, nat *virtual.NATConfig) *world {
	w := newWorld(t, worldConfig{seed: seed, cameraNAT: nat, sameLAN: true, camera: func(c *camera.Config) {
		c.LAN = true
		c.Book = pairing.New(pairing.Config{Camera: c.Static.Public(), Secret: c.Secret})
	}})
	w.cameraHost.Join(group, w.camera.HandleLAN)
	return w
}

// A camera that has another address than the last time is found by multicast, by who is paired with it.
func TestNearByMulticast(t *testing.T) {
	t.Run("behind a NAT", func(t *testing.T) { nearByMulticast(t, symmetric, cameraLAN) })
	t.Run("with public addresses", func(t *testing.T) { nearByMulticast(t, nil, netip.AddrPortFrom(cameraWAN, 5000)) })
}

func nearByMulticast(t *testing.T, nat *virtual.NATConfig, at netip.AddrPort) {
	w := lanWorld(t, 76, nat)
	w.serverHost.Down(true)
	w.ask(group)
	w.net.Run(6*time.Second, nil)
	if f, ok := first[viewer.Failed](w.viewerHost); !ok || f.Code != wire.CodeRendezvousSilent {
		t.Errorf("a stranger in the house is answered: %+v; events%s", f, events(w))
	}
	w.serverHost.Down(false)
	w.net.Run(40*time.Second, nil) // the links are back
	w.connect("adaptive")
	w.net.Run(2*time.Second, nil)
	if c, ok := w.viewer.Connection(w.label.UID()); !ok || c.Role != wire.RoleOwner {
		t.Fatalf("paired as %v", c.Role)
	}
	w.viewerHost.Do(func(now time.Time) { w.viewer.Disconnect(now, w.label.UID()) })
	w.net.Run(time.Second, nil)
	w.serverHost.Down(true)
	start := w.net.Now
	w.ask(nobodyLAN, group)
	w.net.Run(3*time.Second, nil)
	c, ok := w.viewer.Connection(w.label.UID())
	if !ok || c.Path != punch.To(at) || c.Connected.Sub(start) > 5*time.Millisecond || c.Frames < 60 || !slices.Contains(c.Near, at) {
		t.Errorf("path %v after %v, %d frames; remembers %v", c.Path, c.Connected.Sub(start), c.Frames, c.Near)
	}
}

// A connection that began nearby, of which the rendezvous knows nothing, is made anew with its help when the local network fails.
func TestNearIsStranded(t *testing.T) {
	w := nearWorld(t, 77)
	cut := func(from *virtual.Host, p core.Packet) bool { return from.Name != "camera" || betweenPeers(from, p) }
	w.net.Filter = cut
	w.serverHost.Do(func(time.Time) {})
	w.net.Run(2*time.Minute, func() bool { return w.server.Stats().Online == 0 })
	w.ask(cameraLAN)
	w.net.Run(5*time.Second, nil)
	if c, _ := w.viewer.Connection(w.label.UID()); c.Path != punch.To(cameraLAN) || !c.PeerKnown.IsZero() {
		t.Fatalf("path %v, peer known %v", c.Path, c.PeerKnown)
	}
	w.net.Filter = nil
	w.net.Run(2*time.Minute, func() bool { return w.server.Stats().Online == 1 })
	if c, _ := w.viewer.Connection(w.label.UID()); !c.PeerKnown.IsZero() {
		t.Skip("the rendezvous has learnt of it")
	}
	w.net.Filter = func(from *virtual.Host, p core.Packet) bool { return !betweenPeers(from, p) }
	at := w.net.Now
	w.net.Run(8*time.Second, nil)
	if _, ok := first[viewer.Reconnecting](w.viewerHost); !ok {
		t.Errorf("events%s", events(w))
	}
	if s := w.viewer.Stats(); s.Path != punch.ViaRelay || s.Frames == 0 {
		t.Errorf("path %v", s.Path)
	}
	if longest, _ := w.standstill(at); longest > 5*time.Second {
		t.Errorf("stood still for %v", longest)
	}
}
