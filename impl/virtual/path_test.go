package virtual_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/punchlab/punchlab/impl/camera"
	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/media"
	"github.com/punchlab/punchlab/impl/punch"
	"github.com/punchlab/punchlab/impl/rendezvous"
	"github.com/punchlab/punchlab/impl/viewer"
	"github.com/punchlab/punchlab/impl/virtual"
	"github.com/punchlab/punchlab/impl/wire"
)

// betweenPeers says whether a packet goes directly between camera and viewer.
func betweenPeers(from *virtual.Host, p core.Packet) bool {
	return from.Name != "rendezvous" && p.To != serverAddr && p.To != serverAlt
}

// Media starts on the relay and moves to a direct path that opens later; no frame is lost or repeated.
func TestMediaMovesToTheDirectPath(t *testing.T) {
	for _, clip := range []bool{false, true} {
		w := newWorld(t, worldConfig{seed: 3, cameraNAT: restricted, viewerNAT: restricted, clip: clip})
		opens := w.net.Now.Add(800 * time.Millisecond)
		w.net.Filter = func(from *virtual.Host, p core.Packet) bool {
			return !betweenPeers(from, p) || w.net.Now.After(opens)
		}
		w.connect("adaptive")
		w.net.Run(6*time.Second, nil)
		s, changes := w.viewer.Stats(), all[viewer.PathChanged](w.viewerHost)
		if s.Path.Route != punch.Direct || s.PathChanges != 1 || len(changes) != 1 || changes[0].To.Route != punch.Direct || w.camera.Stats().PathChanges != 1 {
			t.Errorf("path %v, changes %v; events%s", s.Path, changes, events(w))
		}
		if c, ok := first[viewer.Connected](w.viewerHost); !ok || c.Path != punch.ViaRelay {
			t.Errorf("connected %+v", c)
		}
		if s.Quality.Lost != 0 || s.Quality.FramesSkipped != 0 || s.Quality.FramesIncomplete != 0 {
			t.Errorf("quality %+v", s.Quality)
		}
		w.checkFrames(145)
	}
}

// A direct path that dies is replaced by the relay; the frames it swallowed are sent again as far as the history goes.
func TestMediaReturnsToTheRelay(t *testing.T) {
	w := newWorld(t, worldConfig{seed: 3, cameraNAT: restricted, viewerNAT: restricted})
	dies := w.net.Now.Add(2 * time.Second)
	w.net.Filter = func(from *virtual.Host, p core.Packet) bool {
		return !betweenPeers(from, p) || w.net.Now.Before(dies)
	}
	w.connect("adaptive")
	w.net.Run(10*time.Second, nil)
	s := w.viewer.Stats()
	if s.Path != punch.ViaRelay || s.PathChanges != 1 {
		t.Errorf("path %v, %d changes; events%s", s.Path, s.PathChanges, events(w))
	}
	w.checkFrames(200)
}

// With direct alone, a dead path ends the connection with its cause.
func TestDeadPathEndsDirect(t *testing.T) {
	w := newWorld(t, worldConfig{seed: 3, cameraNAT: restricted, viewerNAT: restricted})
	dies := w.net.Now.Add(2 * time.Second)
	w.net.Filter = func(from *virtual.Host, p core.Packet) bool {
		return !betweenPeers(from, p) || w.net.Now.Before(dies)
	}
	w.connect("direct")
	w.net.Run(15*time.Second, nil)
	if f, ok := first[viewer.Failed](w.viewerHost); !ok || f.Code != wire.CodePathLost {
		t.Errorf("failed %+v", f)
	}
}

// Two hosts behind one NAT without hairpinning meet by their host candidates.
func TestSameNetwork(t *testing.T) {
	for _, nat := range nats()[1:] {
		for _, strategy := range []string{"direct", "adaptive"} {
			w := newWorld(t, worldConfig{seed: 4, cameraNAT: nat, viewerNAT: nat, sameLAN: true})
			w.connect(strategy)
			w.net.Run(2*time.Second, nil)
			s := w.viewer.Stats()
			if s.Path != punch.To(netip.MustParseAddrPort("10.0.0.2:5000")) {
				t.Errorf("%s, %s: path %v; events%s", strategy, natName(nat), s.Path, events(w))
			}
			w.checkFrames(40)
		}
	}
}

// A viewer that vanishes is served for 30 s at most (RFC 7675 §5.1); one that says Bye, no longer.
func TestConsent(t *testing.T) {
	for _, strategy := range []string{"adaptive", "direct", "relay"} {
		w := newWorld(t, worldConfig{seed: 5, cameraNAT: restricted, viewerNAT: restricted})
		w.connect(strategy)
		w.net.Run(12*time.Second, nil)
		if w.camera.Stats().Viewers != 1 {
			t.Fatalf("%s: no viewer", strategy)
		}
		w.viewerHost.Down(true)
		gone := w.net.Now
		w.net.Run(40*time.Second, func() bool { return w.camera.Stats().Viewers == 0 })
		if d := w.net.Now.Sub(gone); d > 30*time.Second || d < 23*time.Second {
			t.Errorf("%s: stopped after %v", strategy, d)
		}
		stop, _ := first[camera.StreamStopped](w.cameraHost)
		if stop.Code != wire.CodeExpired {
			t.Errorf("%s: stopped with %v", strategy, stop.Code)
		}
		idle := w.camera.Stats().Traffic.Total()
		w.net.Run(10*time.Second, nil)
		if n := w.camera.Stats().Traffic.Total().Packets - idle.Packets; n > 1 {
			t.Errorf("%s: %d packets in 10 s after the end", strategy, n)
		}
		w.viewerHost.Down(false)
	}
	w := newWorld(t, worldConfig{seed: 5})
	w.connect("adaptive")
	w.net.Run(time.Second, nil)
	w.viewerHost.Do(func(now time.Time) { w.viewer.Disconnect(now, w.label.UID()) })
	w.net.Run(25*time.Millisecond, nil)
	if w.camera.Stats().Viewers != 0 {
		t.Error("served on after Bye")
	}
	w.connect("direct") // and again, with the same viewer
	w.net.Run(time.Second, nil)
	if s := w.viewer.Stats(); s.Path.Route != punch.Direct {
		t.Errorf("second connection: %+v", s)
	}
}

// Without a viewer the camera sends keepalives and nothing else.
func TestIdleCameraSendsKeepalivesOnly(t *testing.T) {
	w := newWorld(t, worldConfig{seed: 6, cameraNAT: restricted})
	before := w.camera.Stats()
	w.net.Run(10*time.Minute, nil)
	s := w.camera.Stats()
	sent := s.Traffic.Total()
	pings := s.Traffic.Of(core.Keepalive).Packets - before.Traffic.Of(core.Keepalive).Packets
	if pings < 40 || pings > 55 || sent.Packets-before.Traffic.Total().Packets != pings || s.Idle != sent {
		t.Errorf("%d pings in 10 min; stats %+v", pings, s)
	}
	if w.server.Stats().Online != 1 {
		t.Error("offline")
	}
}

// The rendezvous' restart and a reboot of the camera's NAT are survived.
func TestCameraIsFoundAgain(t *testing.T) {
	w := newWorld(t, worldConfig{seed: 7, cameraNAT: restricted, viewerNAT: restricted})
	old := w.camera.Stats().Reflexive
	w.cameraSite.Rebind()
	w.net.Run(time.Minute, nil)
	if s := w.camera.Stats(); s.Reflexive == old || len(all[rendezvous.Moved](w.serverHost)) != 1 {
		t.Errorf("after the NAT's reboot: %+v, events %+v", s, w.serverHost.Events)
	}
	w.connect("direct")
	w.net.Run(2*time.Second, nil)
	w.checkFrames(40)
	w.viewerHost.Do(func(now time.Time) { w.viewer.Disconnect(now, w.label.UID()) })

	fresh, err := rendezvous.New(rendezvous.Config{Static: mustKey(randomness(7, 1)), Rand: randomness(7, 99)})
	w.check(err)
	w.server, w.serverHost.Core = fresh, fresh
	w.net.Run(2*time.Minute, nil)
	if w.server.Stats().Online != 1 {
		t.Fatalf("not registered again: %+v", w.camera.Stats())
	}
	w.viewerHost.Events = nil
	w.connect("adaptive")
	w.net.Run(2*time.Second, nil)
	w.checkFrames(40)
}

// A camera that falls silent is offline after the expiry; one that says goodbye, at once.
func TestOffline(t *testing.T) {
	w := newWorld(t, worldConfig{seed: 8})
	w.cameraHost.Down(true)
	at := w.net.Now
	w.net.Run(2*time.Minute, func() bool { return w.server.Stats().Online == 0 })
	if d := w.net.Now.Sub(at); d > 45*time.Second || d < 20*time.Second {
		t.Errorf("offline after %v", d)
	}
	w = newWorld(t, worldConfig{seed: 8})
	w.cameraHost.Do(w.camera.Close)
	w.net.Run(15*time.Millisecond, nil)
	if off, ok := first[rendezvous.Offline](w.serverHost); !ok || w.server.Stats().Online != 0 {
		t.Errorf("still online after Goodbye: %+v", off)
	}
	w.connect("direct")
	w.net.Run(time.Second, nil)
	if f, ok := first[viewer.Failed](w.viewerHost); !ok || f.Code != wire.CodeUnavailable {
		t.Errorf("connect to a camera that is offline: %+v", f)
	}
}

// Several viewers at once, each with its own stream; one too many is refused.
func TestSeveralViewers(t *testing.T) {
	w := newWorld(t, worldConfig{seed: 9, cameraNAT: restricted, camera: func(c *camera.Config) { c.MaxViewers = 3 }})
	clip := media.EmbeddedClip()
	_ = clip
	var hosts []*virtual.Host
	for i := range 4 {
		site := w.net.Site(virtual.SiteConfig{Addr: netip.AddrFrom4([4]byte{192, 0, 2, byte(10 + i)}), NAT: restricted, Delay: 10 * time.Millisecond})
		v, err := viewer.New(viewer.Config{
			Static: mustKey(randomness(9, byte(20+i))), Rand: randomness(9, byte(30+i)),
			Rendezvous: []netip.AddrPort{serverAlt}, RendezvousKey: w.label.RendezvousKey,
		})
		w.check(err)
		h := site.Host("viewer", v, netip.MustParseAddrPort("10.9.0.2:7000"))
		hosts = append(hosts, h)
		h.Do(func(now time.Time) {
			w.check(v.Start(now))
			w.check(v.Connect(now, w.label, []string{"adaptive", "direct", "relay"}[i%3])) // waits for the login
		})
		w.net.Run(200*time.Millisecond, nil)
	}
	w.net.Run(3*time.Second, nil)
	for i, h := range hosts {
		frames := all[viewer.FrameReceived](h)
		failed, refused := first[viewer.Failed](h)
		if refused != (i == 3) || refused && failed.Code != wire.CodeBusy || !refused && len(frames) < 70 {
			t.Errorf("viewer %d: %d frames, failed %v %+v", i, len(frames), refused, failed)
		}
	}
	if s := w.camera.Stats(); s.Viewers != 3 || s.Streams != 3 {
		t.Errorf("camera %+v", s)
	}
}

// The same seed gives the same bytes at the same times; another one does not.
func TestSameInputsSameOutputs(t *testing.T) {
	run := func(seed uint64) uint64 {
		w := newWorld(t, worldConfig{seed: seed, cameraNAT: fullCone, viewerNAT: symmetric, loss: 0.03})
		w.connect("adaptive")
		w.net.Run(20*time.Second, nil)
		return w.net.Digest()
	}
	if a, b, c := run(1), run(1), run(2); a != b || a == c {
		t.Errorf("digests %x, %x, %x", a, b, c)
	}
}

// Under load, handshakes need a cookie and work all the same.
func TestCookies(t *testing.T) {
	w := newWorld(t, worldConfig{seed: 10, rendezvous: func(c *rendezvous.Config) { c.HandshakesPerSecond = -1 }})
	if s := w.server.Stats(); s.Cookies != 2 || s.Handshakes != 2 {
		t.Errorf("stats %+v", s)
	}
}

// The label must be for this rendezvous, and the strategy one that exists.
func TestConnectRefusesMistakes(t *testing.T) {
	w := newWorld(t, worldConfig{seed: 11})
	other := w.label
	other.RendezvousKey = identity.PublicKey{1}
	for _, err := range []error{
		w.viewer.Connect(w.net.Now, other, "direct"),
		w.viewer.Connect(w.net.Now, w.label, "teleport"),
	} {
		if err == nil {
			t.Error("no error")
		}
	}
	w.connect("direct")
	if w.viewer.Connect(w.net.Now, w.label, "direct") == nil {
		t.Error("two connections at once")
	}
}

// An outage of what the rendezvous sends, longer than it keeps an answer, is survived.
func TestRegisteredAfterAnOutage(t *testing.T) {
	w := &world{t: t, net: virtual.New(12), cfg: worldConfig{seed: 12, cameraDelay: 10 * time.Millisecond, viewerDelay: 10 * time.Millisecond}}
	w.build()
	back := w.net.Now.Add(30 * time.Second)
	w.net.Filter = func(from *virtual.Host, _ core.Packet) bool {
		return from.Name != "rendezvous" || w.net.Now.After(back)
	}
	w.cameraHost.Do(func(now time.Time) { w.check(w.camera.Start(now)) })
	w.net.Run(time.Minute, nil)
	if s := w.server.Stats(); s.Online != 1 || !w.camera.Stats().Registered {
		t.Errorf("rendezvous %+v", s)
	}
}

// roam gives a site's NAT, which forgets everything, another external address.
func roam(s *virtual.Site, addr string) {
	s.Addr = netip.MustParseAddr(addr)
	s.Rebind()
}

// Where one side's NAT forgets everything, or gets another address, while media flows, the other cannot reach it; the
// relay takes over within a second, since both ask the rendezvous to look where they are, and a direct path is found
// anew. Nothing is lost.
func TestMediaSurvivesARebind(t *testing.T) {
	for _, tt := range []struct {
		name           string
		camera, viewer *virtual.NATConfig
		strategy       string
		rebind         func(w *world)
		most           time.Duration // of the standstill
		route          punch.Route
	}{
		{"camera, direct", restricted, restricted, "adaptive", func(w *world) { w.cameraSite.Rebind() }, 800 * time.Millisecond, punch.Direct},
		{"viewer, direct", restricted, restricted, "adaptive", func(w *world) { w.viewerSite.Rebind() }, 400 * time.Millisecond, punch.Direct},
		{"camera, moved to another address", restricted, restricted, "adaptive", func(w *world) { roam(w.cameraSite, "198.51.100.77") }, 800 * time.Millisecond, punch.Direct},
		{"viewer, moved to another address", restricted, restricted, "adaptive", func(w *world) { roam(w.viewerSite, "192.0.2.77") }, 400 * time.Millisecond, punch.Direct},
		{"camera, direct alone", restricted, restricted, "direct", func(w *world) { w.cameraSite.Rebind() }, 900 * time.Millisecond, punch.Direct},
		{"viewer, direct alone", restricted, restricted, "direct", func(w *world) { w.viewerSite.Rebind() }, 400 * time.Millisecond, punch.Direct},
		{"camera, behind nothing", nil, restricted, "adaptive", func(w *world) { w.viewerSite.Rebind() }, 400 * time.Millisecond, punch.Direct},
		{"viewer, of a camera that anybody reaches", fullCone, restricted, "adaptive", func(w *world) { w.viewerSite.Rebind() }, 400 * time.Millisecond, punch.Direct},
		{"camera, relay", symmetric, restricted, "relay", func(w *world) { w.cameraSite.Rebind() }, 800 * time.Millisecond, punch.Relay},
		{"viewer, relay", symmetric, restricted, "relay", func(w *world) { w.viewerSite.Rebind() }, 400 * time.Millisecond, punch.Relay},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, worldConfig{seed: 13, cameraNAT: tt.camera, viewerNAT: tt.viewer})
			w.connect(tt.strategy)
			w.net.Run(3*time.Second, nil)
			tt.rebind(w)
			at := w.net.Now
			w.net.Run(12*time.Second, nil)
			gap, last := time.Duration(0), at
			for _, f := range all[viewer.FrameReceived](w.viewerHost) {
				if f.Frame.Complete.After(last) {
					gap, last = max(gap, f.Frame.Complete.Sub(last)), f.Frame.Complete
				}
			}
			if s := w.viewer.Stats(); gap > tt.most || w.net.Now.Sub(last) > 100*time.Millisecond || s.Path.Route != tt.route {
				t.Errorf("stood still for %v, and for %v at the end; path %v; events%s", gap, w.net.Now.Sub(last), s.Path, events(w))
			}
			if s := w.viewer.Stats(); s.Path.Route == punch.Direct && s.NotDirect != "" {
				t.Errorf("not direct because %q", s.NotDirect)
			}
			w.checkFrames(300)
		})
	}
}
