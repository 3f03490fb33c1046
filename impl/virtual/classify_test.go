package virtual_test

import (
	"testing"
	"time"

	"github.com/punchlab/punchlab/impl/camera"
	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/punch"
	"github.com/punchlab/punchlab/impl/viewer"
	"github.com/punchlab/punchlab/impl/virtual"
	"github.com/punchlab/punchlab/impl/wire"
)

// classOf is what a NAT of the virtual world should be found to be.
func classOf(n *virtual.NATConfig) (m, f wire.Dependency, open bool) {
	if n == nil {
		return wire.EndpointIndependent, wire.EndpointIndependent, true
	}
	return wire.Dependency(n.Mapping), wire.Dependency(n.Filtering), false
}

// Both sides find out what NATs they are behind before they say that they are ready, and each other's when they are introduced.
func TestNATsAreClassified(t *testing.T) {
	for _, n := range nats() {
		w := newWorld(t, worldConfig{seed: 50, cameraNAT: n, viewerNAT: n, classify: true})
		m, f, open := classOf(n)
		c, okC := first[camera.Classified](w.cameraHost)
		v, okV := first[viewer.Classified](w.viewerHost)
		for _, class := range []wire.Class{c.Class, v.Class} {
			if !okC || !okV || class.Mapping != m || class.Filtering != f || class.NoNAT != open {
				t.Errorf("%s: found %v", natName(n), class)
			}
		}
	}
}

// With the classes known, adaptive finds a direct path wherever there is one at all: at once, by one side's silence, or
// by prediction.
func TestAdaptiveGoesDirect(t *testing.T) {
	for _, c := range nats() {
		for _, v := range nats() {
			w := newWorld(t, worldConfig{seed: 51, cameraNAT: tracking(c), viewerNAT: tracking(v), classify: true})
			w.connect("adaptive")
			w.net.Run(3*time.Second, nil)
			s := w.viewer.Stats()
			if unlucky(c, v) {
				continue
			}
			if s.Path.Route != punch.Direct || !s.Confirmed {
				t.Errorf("camera %s, viewer %s: media by %v because %s; events%s", natName(c), natName(v), s.Path, s.NotDirect, events(w))
			}
			w.checkFrames(50)
		}
	}
}

// unlucky are two pairs that are left to the relay: the camera's filter, which belongs to the internal endpoint, lets
// the viewer's first punch in, and the answer makes the mapping before its place could be shown.
func unlucky(c, v *virtual.NATConfig) bool {
	return c != nil && v != nil && c.PerEndpoint && c.Mapping == virtual.AddressDependent && c.Filtering == virtual.AddressDependent &&
		v.Mapping == virtual.AddressDependent && v.Filtering == virtual.AddressAndPortDependent
}

// tracking is a NAT whose answers leave by the mapping that was addressed.
func tracking(n *virtual.NATConfig) *virtual.NATConfig {
	if n == nil {
		return nil
	}
	t := *n
	t.Reverse = true
	return &t
}

// A carrier's NAT takes its ports at random from a block: many sockets on its side and many probes on the other find
// one, and the media leaves by the socket that was hit. The others are given back.
func TestBirthday(t *testing.T) {
	cgn := &virtual.NATConfig{Mapping: virtual.AddressAndPortDependent, Filtering: virtual.AddressAndPortDependent, Block: 512, Reverse: true}
	for _, who := range []string{"viewer", "camera"} {
		cfg := worldConfig{seed: 52, cameraNAT: restricted, viewerNAT: cgn, classify: true}
		if who == "camera" {
			cfg.cameraNAT, cfg.viewerNAT = cgn, restricted
		}
		w := newWorld(t, cfg)
		w.connect("adaptive")
		w.net.Run(8*time.Second, nil)
		s, c := w.viewer.Stats(), w.camera.Stats()
		if s.Path.Route != punch.Direct || !s.Confirmed {
			t.Errorf("%s: media by %v because %s; %v, %v", who, s.Path, s.NotDirect, s.Class, c.Class)
		}
		opened, local := s.Opened, s.Path.Local
		if who == "camera" {
			opened = c.Opened
		}
		if opened < 16 {
			t.Errorf("%s: %d sockets opened", who, opened)
		}
		if who == "viewer" && !local.IsValid() {
			t.Errorf("the path %v is the main socket's", s.Path)
		}
		if probes := s.Probes.Packets + c.Probes.Packets; probes == 0 || probes > 4096 || s.ProbesBy["adaptive"] != s.Probes || s.Before.Packets == 0 {
			t.Errorf("%s: %d probes; viewer %v of them %v before", who, probes, s.ProbesBy, s.Before)
		}
		host := map[string]*virtual.Host{"viewer": w.viewerHost, "camera": w.cameraHost}[who]
		if n := len(host.Addrs); n > 2 {
			t.Errorf("%s: %d sockets left", who, n)
		}
		w.checkFrames(150)
	}
}

// A port that the camera's router maps on its request is told to viewers, and makes direct what was not.
func TestMappedPort(t *testing.T) {
	for _, strategy := range []string{"portmap", "adaptive"} {
		w := newWorld(t, worldConfig{seed: 53, cameraNAT: symmetric, viewerNAT: symmetric})
		mapped := w.cameraSite.Forward(40000, w.cameraHost.Addrs[0])
		w.cameraHost.Do(func(now time.Time) { w.camera.HandleMapped(now, mapped) })
		w.net.Run(time.Second, nil)
		w.connect(strategy)
		w.net.Run(3*time.Second, nil)
		if s := w.viewer.Stats(); s.Path != punch.To(mapped) || !s.Confirmed {
			t.Errorf("%s: media by %v because %s; events%s", strategy, s.Path, s.NotDirect, events(w))
		}
		w.checkFrames(50)
	}
}

// What is known of the NATs costs the first flight nothing: it is the triangle on every pair of endpoint-independent mappings.
func TestFirstFlightWithClasses(t *testing.T) {
	for _, c := range nats() {
		for _, v := range nats() {
			if c != nil && c.Mapping != virtual.EndpointIndependent || v != nil && v.Mapping != virtual.EndpointIndependent {
				continue
			}
			w := newWorld(t, worldConfig{seed: 54, cameraNAT: c, viewerNAT: v, classify: true})
			start := w.net.Now
			w.connect("adaptive")
			w.net.Run(500*time.Millisecond, nil)
			d := w.cfg
			triangle := 2 * (d.viewerDelay + d.rendezvousDelay + d.cameraDelay)
			p, ok := first[viewer.FirstPacket](w.viewerHost)
			if got := p.At.Sub(start); !ok || got != triangle || p.Path.Route != punch.Direct {
				t.Errorf("camera %s, viewer %s: first packet after %v by %v, want %v directly", natName(c), natName(v), got, p.Path, triangle)
			}
		}
	}
}

// Behind one NAT without hairpinning the first packet takes a round trip in the LAN more than Noise-1 does to the camera
// and back.
func TestFirstFlightInOneNetwork(t *testing.T) {
	for _, classify := range []bool{false, true} {
		for _, strategy := range []string{"direct", "adaptive"} {
			w := newWorld(t, worldConfig{seed: 55, cameraNAT: restricted, viewerNAT: restricted, sameLAN: true, classify: classify})
			start := w.net.Now
			w.connect(strategy)
			w.net.Run(time.Second, nil)
			d := w.cfg
			const lan = time.Millisecond
			want := 2*(d.cameraDelay+d.rendezvousDelay) + 3*lan
			p, ok := first[viewer.FirstPacket](w.viewerHost)
			if got := p.At.Sub(start); !ok || got > want {
				t.Errorf("%s, classify %v: first packet after %v by %v, want %v; events%s", strategy, classify, got, p.Path, want, events(w))
			}
			w.checkFrames(20)
		}
	}
}

// In another network there are other NATs: they are classified anew, and the class that is used is theirs.
func TestClassifiedAnewAfterAMove(t *testing.T) {
	w := newWorld(t, worldConfig{seed: 56, cameraNAT: restricted, viewerNAT: restricted, classify: true})
	roam(w.viewerSite, "192.0.2.77")
	w.viewerHost.Do(w.viewer.HandleMoved)
	w.net.Run(3*time.Second, nil)
	if n := len(all[viewer.Classified](w.viewerHost)); n != 2 {
		t.Errorf("classified %d times", n)
	}
	if n := len(all[viewer.Ready](w.viewerHost)); n != 1 {
		t.Errorf("ready %d times", n)
	}
}

// Who moves behind another kind of NAT while video flows has its direct path again as soon as that is classified: the class of the old
// network is of no use. Back in a known network, its class is known at once.
func TestMovedBehindAnotherNAT(t *testing.T) {
	cgn := &virtual.NATConfig{Mapping: virtual.AddressAndPortDependent, Filtering: virtual.AddressAndPortDependent, Block: 512, Reverse: true}
	for _, who := range []string{"viewer", "camera"} {
		w := newWorld(t, worldConfig{seed: 58, cameraNAT: restricted, viewerNAT: restricted, classify: true})
		w.connect("adaptive")
		w.net.Run(2*time.Second, nil)
		site, class := w.viewerSite, func() wire.Class { return w.viewer.Stats().Class }
		if who == "camera" {
			site, class = w.cameraSite, func() wire.Class { return w.camera.Stats().Class }
		}
		home, was := site.Addr, class()
		site.NAT = cgn
		roam(site, "192.0.2.77")
		w.net.Run(4500*time.Millisecond, nil)
		if s := w.viewer.Stats(); s.Path.Route != punch.Direct || !s.Confirmed {
			t.Errorf("%s: media by %v because %s; events%s", who, s.Path, s.NotDirect, events(w))
		}
		if c := class(); c.Mapping != wire.AddressAndPortDependent {
			t.Errorf("%s: class %v", who, c)
		}
		site.NAT = restricted
		roam(site, home.String())
		w.net.Run(1200*time.Millisecond, nil)
		if c := class(); c != was {
			t.Errorf("%s, back: class %v", who, c)
		}
		w.net.Run(1500*time.Millisecond, nil)
		if s := w.viewer.Stats(); s.Path.Route != punch.Direct || !s.Confirmed {
			t.Errorf("%s, back: media by %v because %s; events%s", who, s.Path, s.NotDirect, events(w))
		}
		w.checkFrames(200)
	}
}

// By low-ttl, first punches are sent to die on their way, and say so; the path is found by later ones.
func TestLowTTL(t *testing.T) {
	w := newWorld(t, worldConfig{seed: 57, cameraNAT: restricted, viewerNAT: restricted})
	low := map[string]int{}
	w.net.Filter = func(from *virtual.Host, p core.Packet) bool {
		if wire.Classify(p.B) != wire.PunchPacket {
			return true
		}
		m, err := wire.ParsePunch(p.B)
		if err != nil || m.LowTTL != (p.TTL != 0) {
			t.Errorf("%s: punch %+v with TTL %d, %v", from.Name, m, p.TTL, err)
		}
		if m.LowTTL {
			low[from.Name]++
		}
		return true
	}
	w.connect("low-ttl")
	w.net.Run(3*time.Second, nil)
	if s := w.viewer.Stats(); s.Path.Route != punch.Direct || !s.Confirmed || low["camera"] == 0 || low["viewer"] == 0 {
		t.Errorf("media by %v because %s; punches to die: %v; events%s", s.Path, s.NotDirect, low, events(w))
	}
	w.checkFrames(40)
}
