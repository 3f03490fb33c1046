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
	"github.com/punchlab/punchlab/impl/viewer"
	"github.com/punchlab/punchlab/impl/virtual"
)

// another is a further camera at a site of its own.
type another struct {
	*camera.Camera
	host  *virtual.Host
	label identity.Label
	sent  []media.Hash
}

// Next notes what the source gives.
func (a *another) from(s media.Source) media.Source { return &noting{a, s} }

type noting struct {
	a *another
	s media.Source
}

func (n *noting) Next() (media.AccessUnit, error) {
	au, err := n.s.Next()
	if au.Index == 0 {
		n.a.sent = nil
	}
	n.a.sent = append(n.a.sent, au.Hash)
	return au, err
}

// another starts a further camera.
func (w *world) another(n byte, nat *virtual.NATConfig) *another {
	w.t.Helper()
	a := &another{}
	host := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 9, n, 2}), 5000)
	wan := netip.AddrFrom4([4]byte{198, 51, 100, 10 + n})
	if nat == nil {
		host = netip.AddrPortFrom(wan, 5000)
	}
	var err error
	a.Camera, err = camera.New(camera.Config{
		Static: mustKey(randomness(w.cfg.seed, 100+n)), Rendezvous: []netip.AddrPort{serverAddr, serverAlt}, RendezvousKey: w.label.RendezvousKey,
		Secret: identity.Secret{n}, Rand: randomness(w.cfg.seed, 150+n), Source: func() media.Source { return a.from(&synthetic{}) },
	})
	w.check(err)
	a.label = a.Label(serverAddr.String())
	site := w.net.Site(virtual.SiteConfig{Addr: wan, NAT: nat, Delay: time.Duration(n) * 7 * time.Millisecond})
	a.host = site.Host("camera-"+string('0'+rune(n)), a.Camera, host)
	a.host.Do(func(now time.Time) { w.check(a.Start(now)) })
	return a
}

// of lists the frames that came of a camera.
func (w *world) of(u identity.UID) (frames []media.Frame) {
	for _, f := range all[viewer.FrameReceived](w.viewerHost) {
		if f.Camera == u {
			frames = append(frames, f.Frame)
		}
	}
	return frames
}

func (w *world) checkOf(a *another, atLeast int) {
	w.t.Helper()
	frames := w.of(a.label.UID())
	if len(frames) < atLeast {
		w.t.Errorf("%s: %d frames, want %d", a.host.Name, len(frames), atLeast)
	}
	for i, f := range frames {
		if f.Index != i || f.Hash() != a.sent[i] {
			w.t.Fatalf("%s: frame %d is %d, or differs", a.host.Name, i, f.Index)
		}
	}
}

// One viewer watches several cameras at once, by the relay, directly and behind endpoint-dependent NATs, each with its own
// frames. What becomes of one does not touch the others.
func TestSeveralCamerasAtOnce(t *testing.T) {
	port := &virtual.NATConfig{Mapping: virtual.EndpointIndependent, Filtering: virtual.AddressAndPortDependent}
	w := newWorld(t, worldConfig{seed: 81, cameraNAT: port, viewerNAT: port})
	more := []*another{w.another(1, nil), w.another(2, symmetric), w.another(3, port), w.another(4, port)}
	w.net.Run(2*time.Second, nil)
	w.viewerHost.Do(func(now time.Time) { // all in one batch: their handshakes overlap
		w.check(w.viewer.Connect(now, w.label, "adaptive"))
		for i, a := range more {
			w.check(w.viewer.Connect(now, a.label, []string{"adaptive", "adaptive", "relay", "direct"}[i]))
		}
	})
	w.net.Run(4*time.Second, nil)
	for i, want := range []punch.Route{punch.Direct, punch.Relay, punch.Relay, punch.Direct} {
		c, ok := w.viewer.Connection(more[i].label.UID())
		if !ok || c.Path.Route != want || c.Camera != more[i].label.UID() || c.Frames < 80 {
			t.Errorf("%s: path %v, %d frames, want %v", more[i].host.Name, c.Path, c.Frames, want)
		}
		w.checkOf(more[i], 80)
	}
	if n := len(w.of(w.label.UID())); n < 80 {
		t.Errorf("the first camera: %d frames", n)
	}
	more[0].host.Do(more[0].Close)                                                         // says Bye
	w.viewerHost.Do(func(now time.Time) { w.viewer.Disconnect(now, more[2].label.UID()) }) // is said Bye
	more[3].host.Down(true)                                                                // loses its power
	w.net.Run(14*time.Second, nil)
	if s := w.viewer.Stats(); s.Cameras != 2 {
		t.Errorf("%d connections are left", s.Cameras)
	}
	if more[2].Stats().Viewers != 0 {
		t.Error("a camera that was disconnected still serves")
	}
	w.checkOf(more[1], 80+14*25)
	// By the relay: this side's 15 ms, and the camera's 14 and 5, both twice.
	if c, _ := w.viewer.Connection(more[1].label.UID()); c.RTT != 68*time.Millisecond {
		t.Errorf("round trip %v by %v", c.RTT, c.Path)
	}
	if c, _ := w.viewer.Connection(w.label.UID()); c.RTT != 40*time.Millisecond {
		t.Errorf("round trip %v by %v", c.RTT, c.Path)
	}
	if n := len(w.of(w.label.UID())); n < 80+14*25 {
		t.Errorf("the first camera: %d frames", n)
	}
	for _, e := range all[viewer.Failed](w.viewerHost) {
		if e.Camera != more[3].label.UID() {
			t.Errorf("failed: %+v", e)
		}
	}
	w.viewerHost.Do(func(now time.Time) {
		if err := w.viewer.Connect(now, w.label, "direct"); err == nil {
			t.Error("connected twice with one camera")
		}
	})
}

// A session without video carries nothing but consent, and stays.
func TestQuiet(t *testing.T) {
	w := newWorld(t, worldConfig{seed: 82})
	w.viewerHost.Do(func(now time.Time) {
		w.check(w.viewer.Ask(now, viewer.Request{Label: w.label, Strategy: "adaptive", Quiet: true}))
	})
	w.net.Run(2*time.Second, nil)
	before := w.viewer.Stats().Traffic.Total()
	w.net.Run(60*time.Second, nil)
	c, ok := w.viewer.Connection(w.label.UID())
	if !ok || !c.Confirmed || c.Path.Route != punch.Direct {
		t.Errorf("connection %+v; events%s", c, events(w))
	}
	if s := w.camera.Stats(); s.Viewers != 1 || s.Traffic.Of(core.Media).Packets != 0 || s.Streams != 0 {
		t.Errorf("camera %+v", s)
	}
	if after := w.viewer.Stats().Traffic.Total(); after.Packets-before.Packets > 40 {
		t.Errorf("%d packets in a minute", after.Packets-before.Packets)
	}
}

// A key frame comes soon where one is asked for, and the request is not repeated at will.
func TestKeyFrameOnRequest(t *testing.T) {
	w := newWorld(t, worldConfig{seed: 83})
	w.connect("direct")
	w.net.Run(1500*time.Millisecond, nil)
	asked := w.camera.Stats().KeyFrames
	w.viewerHost.Do(func(now time.Time) {
		for range 5 {
			w.viewer.RequestKeyFrame(now, w.label.UID())
		}
	})
	w.net.Run(200*time.Millisecond, nil)
	if n := w.camera.Stats().KeyFrames - asked; n != 1 {
		t.Errorf("asked %d times", n)
	}
}
