package virtual_test

import (
	"testing"
	"time"

	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/punch"
	"github.com/punchlab/punchlab/impl/viewer"
	"github.com/punchlab/punchlab/impl/virtual"
)

var restricted = &virtual.NATConfig{Mapping: virtual.EndpointIndependent, Filtering: virtual.AddressAndPortDependent}

// The goal of the protocol, exactly: the first encrypted frame comes after three one-way delays.
func TestFirstFlightIsTheTriangle(t *testing.T) {
	for _, strategy := range []string{"direct", "adaptive"} {
		w := newWorld(t, worldConfig{seed: 1, cameraNAT: restricted, viewerNAT: restricted})
		start := w.net.Now
		w.connect(strategy)
		w.net.Run(5*time.Second, nil)
		p, ok := first[viewer.FirstPacket](w.viewerHost)
		if !ok {
			t.Fatalf("%s: no media; viewer %+v\ncamera %+v\nrendezvous %+v", strategy, w.viewer.Stats(), w.camera.Stats(), w.server.Stats())
		}
		d := w.cfg
		triangle := (d.viewerDelay + d.rendezvousDelay) + (d.rendezvousDelay + d.cameraDelay) + (d.cameraDelay + d.viewerDelay)
		if got := p.At.Sub(start); got != triangle || p.Path.Route != punch.Direct {
			t.Errorf("%s: first packet after %v by %v, want %v directly", strategy, got, p.Path, triangle)
		}
		f, _ := first[viewer.FrameReceived](w.viewerHost)
		if got := f.Frame.Complete.Sub(start); got != triangle {
			t.Errorf("%s: first frame after %v, want %v", strategy, got, triangle)
		}
		w.checkFrames(100)
	}
}

// On a slow access the two copies of the first flight do not stand in each other's way: the first packet comes through the
// relay when it could, and the first frame directly a packet later than without a relay.
func TestFirstFlightOnASlowAccess(t *testing.T) {
	const up = 14_000_000
	packet := time.Duration(1228) * 8 * time.Second / up // the largest, with its headers
	run := func(strategy string, blocked bool) (packet, frame time.Duration) {
		w := newWorld(t, worldConfig{seed: 1, cameraNAT: restricted, viewerNAT: restricted, clip: true, cameraUp: up})
		w.net.Filter = func(from *virtual.Host, p core.Packet) bool {
			return !blocked || from.Name != "viewer" || !betweenPeers(from, p) // the viewer's own filter stays closed
		}
		start := w.net.Now
		w.connect(strategy)
		w.net.Run(2*time.Second, nil)
		p, _ := first[viewer.FirstPacket](w.viewerHost)
		f, _ := first[viewer.FrameReceived](w.viewerHost)
		if want := blocked || strategy == "relay"; (p.Path.Route == punch.Relay) != want {
			t.Fatalf("%s: first packet by %v", strategy, p.Path)
		}
		w.checkFrames(20)
		return p.At.Sub(start), f.Frame.Complete.Sub(start)
	}
	alone, _ := run("relay", false)
	raced, _ := run("adaptive", true)
	if late := raced - alone; late > 2*packet {
		t.Errorf("through the relay the first packet comes %v later than without a direct copy; a packet takes %v", late, packet)
	}
	_, alone = run("direct", false)
	_, raced = run("adaptive", false)
	if late := raced - alone; late > 2*packet {
		t.Errorf("directly the first frame comes %v later than without a relayed copy; a packet takes %v", late, packet)
	}
}

// Every pair of RFC 4787 behaviors, each strategy: direct exactly where it is possible, relayed elsewhere; every frame once.
func TestEveryPairOfNATs(t *testing.T) {
	for _, strategy := range []string{"adaptive", "direct", "relay"} {
		for _, c := range nats() {
			for _, v := range nats() {
				w := newWorld(t, worldConfig{seed: 1, cameraNAT: c, viewerNAT: v})
				w.connect(strategy)
				w.net.Run(4*time.Second, nil)
				name := strategy + " camera " + natName(c) + " viewer " + natName(v)
				failed, bad := first[viewer.Failed](w.viewerHost)
				want := punch.Relay
				switch {
				case strategy == "direct" && !possible(c, v):
					if !bad || failed.Cause == "" {
						t.Errorf("%s: did not fail: %+v", name, w.viewer.Stats())
					}
					continue
				case strategy != "relay" && possible(c, v):
					want = punch.Direct
				}
				if bad {
					t.Errorf("%s: failed: %s", name, failed.Cause)
					continue
				}
				s := w.viewer.Stats()
				if s.Path.Route != want || !s.Confirmed {
					t.Errorf("%s: media by %v, want %v; %+v", name, s.Path, want, s)
				}
				if f, ok := first[viewer.DirectFailed](w.viewerHost); ok != (strategy == "adaptive" && want == punch.Relay) {
					t.Errorf("%s: direct failed: %v %q", name, ok, f.Cause)
				}
				w.checkFrames(75)
				if t.Failed() {
					t.Fatalf("camera %+v, events %s", w.camera.Stats(), events(w))
				}
			}
		}
	}
}
