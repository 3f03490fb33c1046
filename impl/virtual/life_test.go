package virtual_test

import (
	"testing"
	"time"

	"github.com/punchlab/punchlab/impl/camera"
	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/media"
	"github.com/punchlab/punchlab/impl/punch"
	"github.com/punchlab/punchlab/impl/viewer"
	"github.com/punchlab/punchlab/impl/virtual"
	"github.com/punchlab/punchlab/impl/wire"
)

// standstill is the longest time without a frame from a moment on, and how long ago the last one came.
func (w *world) standstill(since time.Time) (longest, atEnd time.Duration) {
	last := since
	for _, f := range all[viewer.FrameReceived](w.viewerHost) {
		if f.Frame.Complete.After(last) {
			longest, last = max(longest, f.Frame.Complete.Sub(last)), f.Frame.Complete
		}
	}
	return longest, w.net.Now.Sub(last)
}

// mediaThrough is how many media packets a host has sent to the rendezvous, for its relay.
func (w *world) mediaThrough() *int {
	n, before := new(int), w.net.Filter
	w.net.Filter = func(from *virtual.Host, p core.Packet) bool {
		if from.Name == "camera" && wire.Classify(p.B) == wire.ChannelData {
			if _, b, err := wire.ParseChannelData(p.B); err == nil && wire.Classify(b) == wire.RTP {
				*n++
			}
		}
		return before == nil || before(from, p)
	}
	return n
}

// A source that has nothing to send for a while is no dead path: the path in use stays, and the relay carries nothing.
func TestSilentSourceIsNoDeadPath(t *testing.T) {
	w := newWorld(t, worldConfig{seed: 40, cameraNAT: restricted, viewerNAT: restricted, camera: func(c *camera.Config) {
		source := c.Source
		c.Source = func() media.Source { return &pausing{source(), 0} }
	}})
	w.connect("adaptive")
	w.net.Run(1900*time.Millisecond, nil)
	relayed := w.mediaThrough()
	w.net.Run(10*time.Second, nil)
	s := w.viewer.Stats()
	if s.Path.Route != punch.Direct || !s.Confirmed || s.PathChanges != 0 || *relayed != 0 {
		t.Errorf("path %v, %d changes, %d packets relayed; events%s", s.Path, s.PathChanges, *relayed, events(w))
	}
	if s.Uses > 20 {
		t.Errorf("%d uses in 12 s", s.Uses)
	}
	frames := all[viewer.FrameReceived](w.viewerHost)
	if len(frames) < 190 {
		t.Errorf("%d frames", len(frames))
	}
	for i, f := range frames {
		if f.Frame.Hash() != w.sent[i] {
			t.Fatalf("frame %d is another than was sent", i)
		}
	}
}

// pausing has nothing for 4 s after its 50th access unit.
type pausing struct {
	media.Source
	n int
}

func (p *pausing) Next() (media.AccessUnit, error) {
	au, err := p.Source.Next()
	if p.n++; p.n > 50 {
		au.PTS += 4 * time.Second
	}
	return au, err
}

// The rendezvous dies: running streams go on, for as long as they like.
func TestRendezvousGone(t *testing.T) {
	w := newWorld(t, worldConfig{seed: 42, cameraNAT: restricted, viewerNAT: restricted})
	w.connect("adaptive")
	w.net.Run(2*time.Second, nil)
	at := w.net.Now
	w.serverHost.Down(true)
	w.net.Run(5*time.Minute, nil)
	longest, atEnd := w.standstill(at)
	if s := w.viewer.Stats(); longest > 50*time.Millisecond || atEnd > 50*time.Millisecond || s.Path.Route != punch.Direct || s.LoggedIn {
		t.Errorf("stood still for %v and %v; %+v", longest, atEnd, s)
	}
	w.checkFrames(7000)
}

// A host that sleeps for a few seconds goes on where it stopped, by whatever path there is then, within a second of its waking.
func TestSleepAndWake(t *testing.T) {
	for _, who := range []string{"camera", "viewer"} {
		for _, strategy := range []string{"adaptive", "relay", "direct"} {
			w := newWorld(t, worldConfig{seed: 43, cameraNAT: restricted, viewerNAT: restricted})
			host := map[string]*virtual.Host{"camera": w.cameraHost, "viewer": w.viewerHost}[who]
			w.connect(strategy)
			w.net.Run(2*time.Second, nil)
			host.Down(true)
			w.net.Run(7*time.Second, nil)
			host.Down(false)
			woke := w.net.Now
			w.net.Run(5*time.Second, nil)
			longest, atEnd := w.standstill(woke)
			want := punch.Direct
			if strategy == "relay" {
				want = punch.Relay
			}
			if s := w.viewer.Stats(); longest > time.Second || atEnd > 100*time.Millisecond || s.Path.Route != want {
				t.Errorf("%s, %s: stood still for %v, and %v at the end; path %v; events%s", who, strategy, longest, atEnd, s.Path, events(w))
			}
			if who == "camera" {
				w.checkFrames(150)
			} else {
				w.checkIntact()
			}
		}
	}
}

// A direct path that comes and goes: each time the relay takes over within a few frames and the direct path is found again.
func TestFlappingPath(t *testing.T) {
	w := newWorld(t, worldConfig{seed: 41, cameraNAT: restricted, viewerNAT: restricted})
	start := w.net.Now
	w.net.Filter = func(from *virtual.Host, p core.Packet) bool {
		return !betweenPeers(from, p) || w.net.Now.Sub(start)%(6*time.Second) < 4*time.Second
	}
	w.connect("adaptive")
	w.net.Run(30*time.Second, nil)
	longest, _ := w.standstill(start)
	if s := w.viewer.Stats(); longest > 400*time.Millisecond || s.PathChanges < 5 {
		t.Errorf("stood still for %v, %d path changes; events%s", longest, s.PathChanges, events(w))
	}
	w.checkFrames(700)
}

// A viewer that sleeps for longer than the camera serves a silent one connects anew when it wakes, even though the rendezvous has
// forgotten it too.
func TestLongSleep(t *testing.T) {
	for _, sleep := range []time.Duration{20 * time.Second, 31 * time.Second, 3 * time.Minute} {
		w := newWorld(t, worldConfig{seed: 44, cameraNAT: restricted, viewerNAT: restricted})
		w.connect("adaptive")
		w.net.Run(2*time.Second, nil)
		w.viewerHost.Down(true)
		w.net.Run(sleep, nil)
		w.viewerHost.Down(false)
		woke := w.net.Now
		w.net.Run(3*time.Second, nil)
		longest, atEnd := w.standstill(woke)
		_, again := first[viewer.Reconnecting](w.viewerHost)
		if s := w.viewer.Stats(); longest > 700*time.Millisecond || atEnd > 100*time.Millisecond || s.Path.Route != punch.Direct || again != (sleep > 30*time.Second) {
			t.Errorf("%v: stood still for %v, and %v at the end; reconnected %v; path %v; events%s", sleep, longest, atEnd, again, s.Path, events(w))
		}
		if n := w.camera.Stats().Viewers; n != 1 {
			t.Errorf("%v: the camera serves %d viewers", sleep, n)
		}
	}
}

// A host that is told of its new network asks at once: without the hint, silence has to be noticed first.
func TestMovedHint(t *testing.T) {
	for _, who := range []string{"camera", "viewer"} {
		w := newWorld(t, worldConfig{seed: 45, cameraNAT: restricted, viewerNAT: restricted})
		w.connect("adaptive")
		w.net.Run(3*time.Second, nil)
		if who == "camera" {
			roam(w.cameraSite, "198.51.100.77")
			w.cameraHost.Do(w.camera.HandleMoved)
		} else {
			roam(w.viewerSite, "192.0.2.77")
			w.viewerHost.Do(w.viewer.HandleMoved)
		}
		at := w.net.Now
		w.net.Run(3*time.Second, nil)
		longest, atEnd := w.standstill(at)
		if s := w.viewer.Stats(); longest > 130*time.Millisecond || atEnd > 100*time.Millisecond || s.Path.Route != punch.Direct {
			t.Errorf("%s: stood still for %v, and %v at the end; path %v; events%s", who, longest, atEnd, s.Path, events(w))
		}
		w.checkFrames(140)
	}
}

// A viewer that moves to and fro between two networks appears where the camera has found it before. It answers there what it is asked, and
// that is no sign that the media goes there: it moves as quickly as to an address that it does not know yet.
func TestViewerComesBack(t *testing.T) {
	again := &virtual.NATConfig{Mapping: virtual.EndpointIndependent, Filtering: virtual.AddressAndPortDependent, Block: 1000} // the same port each time
	for _, nat := range []*virtual.NATConfig{fullCone, restricted} {
		w := newWorld(t, worldConfig{seed: 47, cameraNAT: nat, viewerNAT: again})
		w.connect("adaptive")
		w.net.Run(3*time.Second, nil)
		home := w.viewerSite.Addr.String()
		for i, addr := range []string{"192.0.2.77", home, "192.0.2.77", home, "192.0.2.77", home} {
			roam(w.viewerSite, addr)
			at := w.net.Now
			w.net.Run(2*time.Second, nil)
			longest, atEnd := w.standstill(at)
			if s := w.viewer.Stats(); longest > 600*time.Millisecond || atEnd > 100*time.Millisecond || s.Path.Route != punch.Direct {
				t.Errorf("%v, move %d to %s: stood still for %v, and %v at the end; path %v; events%s", *nat, i+1, addr, longest, atEnd, s.Path, events(w))
				break
			}
		}
		w.checkFrames(350)
	}
}

// A camera whose NAT has given it another port, without anybody missing anything, is where the rendezvous does not know it. A viewer that
// moves then reaches it all the same, by the path that it has, and is asked there whether it receives.
func TestViewerMovesAfterTheCamera(t *testing.T) {
	w := newWorld(t, worldConfig{seed: 48, cameraNAT: fullCone, viewerNAT: fullCone})
	w.connect("adaptive")
	w.net.Run(3*time.Second, nil)
	w.cameraSite.Rebind()
	w.net.Run(time.Second, nil)
	roam(w.viewerSite, "192.0.2.77")
	at := w.net.Now
	w.net.Run(3*time.Second, nil)
	longest, atEnd := w.standstill(at)
	if s := w.viewer.Stats(); longest > 600*time.Millisecond || atEnd > 100*time.Millisecond || s.Path.Route != punch.Direct {
		t.Errorf("stood still for %v, and %v at the end; path %v; events%s", longest, atEnd, s.Path, events(w))
	}
	w.checkFrames(150)
}

// With loss on top, video flows again after a reboot or a move just so, if a little later, and ends up direct.
func TestRebindUnderLoss(t *testing.T) {
	for _, loss := range []float64{0.01, 0.0513} {
		for _, who := range []string{"camera", "viewer"} {
			worst := time.Duration(0)
			for seed := range uint64(8) {
				w := newWorld(t, worldConfig{seed: 100 + seed, cameraNAT: restricted, viewerNAT: restricted, loss: loss})
				w.connect("adaptive")
				w.net.Run(4*time.Second, nil)
				if who == "camera" {
					w.cameraSite.Rebind()
				} else {
					w.viewerSite.Rebind()
				}
				at := w.net.Now
				w.net.Run(6*time.Second, nil)
				longest, atEnd := w.standstill(at)
				worst = max(worst, longest)
				if s := w.viewer.Stats(); longest > 2500*time.Millisecond || atEnd > time.Second || s.Path.Route != punch.Direct {
					t.Errorf("%s, loss %v, seed %d: stood still for %v, and %v at the end; path %v; events%s", who, loss, seed, longest, atEnd, s.Path, events(w))
				}
				w.checkIntact()
			}
			t.Logf("%s, loss %v: stood still for %v at most", who, loss, worst)
		}
	}
}

// A router that reboots is away for a while. Once it is back, video flows again within a second and a round trip, and
// what the camera remembers comes after all.
func TestRouterReboots(t *testing.T) {
	for _, tt := range []struct {
		name           string
		camera, viewer *virtual.NATConfig
		strategy       string
		away           []time.Duration
	}{
		{"port-restricted", restricted, restricted, "adaptive", []time.Duration{300 * time.Millisecond, 2 * time.Second}},
		{"full cone", fullCone, restricted, "adaptive", []time.Duration{time.Second}},
		{"port-restricted, relay", restricted, restricted, "relay", []time.Duration{time.Second, 2 * time.Second}},
		{"port-restricted, direct alone", restricted, restricted, "direct", []time.Duration{time.Second}},
	} {
		for _, who := range []string{"camera", "viewer"} {
			for _, away := range tt.away {
				for _, forgets := range []bool{true, false} {
					w := newWorld(t, worldConfig{seed: 46, cameraNAT: tt.camera, viewerNAT: tt.viewer, clip: true})
					w.connect(tt.strategy)
					w.net.Run(1500*time.Millisecond, nil)
					site, back := w.cameraSite, w.net.Now.Add(away)
					if who == "viewer" {
						site = w.viewerSite
					}
					w.net.Filter = func(from *virtual.Host, p core.Packet) bool {
						return w.net.Now.After(back) || from.Name != who && p.To.Addr() != site.Addr
					}
					w.net.Run(away, nil)
					if forgets {
						site.Rebind()
					}
					w.net.Run(3*time.Second, nil)
					longest, atEnd := w.standstill(back)
					if longest > time.Second+60*time.Millisecond || atEnd > 100*time.Millisecond {
						t.Errorf("%s: %s away for %v, forgets %v: stood still for %v, and %v at the end; events%s", tt.name, who, away, forgets, longest, atEnd, events(w))
					}
					if w.checkIntact(); len(all[viewer.FrameReceived](w.viewerHost)) < len(w.sent)-10 {
						t.Errorf("%s: %s away for %v, forgets %v: %d of %d frames", tt.name, who, away, forgets, len(all[viewer.FrameReceived](w.viewerHost)), len(w.sent))
					}
				}
			}
		}
	}
}
