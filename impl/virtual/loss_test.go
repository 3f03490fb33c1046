package virtual_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/punch"
	"github.com/punchlab/punchlab/impl/viewer"
	"github.com/punchlab/punchlab/impl/virtual"
)

var (
	fullCone  = &virtual.NATConfig{Mapping: virtual.EndpointIndependent, Filtering: virtual.EndpointIndependent}
	symmetric = &virtual.NATConfig{Mapping: virtual.AddressAndPortDependent, Filtering: virtual.AddressAndPortDependent}
)

// Pairs with a direct path: blind, by a peer-reflexive viewer, by a peer-reflexive camera, and by both at once.
var directPairs = []struct{ camera, viewer *virtual.NATConfig }{
	{restricted, restricted},
	{fullCone, symmetric},
	{symmetric, fullCone},
	{&virtual.NATConfig{Mapping: virtual.AddressAndPortDependent, Filtering: virtual.EndpointIndependent}, &virtual.NATConfig{Mapping: virtual.AddressDependent, Filtering: virtual.AddressDependent}},
}

// Any single packet of the set-up may be lost: everything is retransmitted, and the video is whole.
func TestAnyOnePacketMayBeLost(t *testing.T) {
	for _, strategy := range []string{"adaptive", "direct", "relay"} {
		for _, pair := range directPairs {
			for k := range 45 {
				w := newWorld(t, worldConfig{seed: uint64(k), cameraNAT: pair.camera, viewerNAT: pair.viewer})
				n, lost := 0, ""
				w.net.Filter = func(from *virtual.Host, p core.Packet) bool {
					n++
					if n == k+1 {
						lost = fmt.Sprintf("%s → %v, type %d, %d bytes", from.Name, p.To, p.B[0], len(p.B))
					}
					return n != k+1
				}
				w.connect(strategy)
				w.net.Run(2500*time.Millisecond, nil)
				want := punch.Direct
				if strategy == "relay" {
					want = punch.Relay
				}
				if s := w.viewer.Stats(); s.Path.Route != want || !s.Confirmed {
					t.Errorf("path %v", s.Path)
				}
				w.checkFrames(20)
				if t.Failed() {
					t.Fatalf("%s, camera %v, viewer %v, lost packet %d: %s\nviewer %+v\ncamera %+v\nevents %+v", strategy, natName(pair.camera), natName(pair.viewer), k+1, lost, w.viewer.Stats(), w.camera.Stats(), events(w))
				}
			}
		}
	}
}

func events(w *world) (s string) {
	for _, e := range w.viewerHost.Events {
		if _, ok := e.E.(viewer.FrameReceived); !ok {
			s += fmt.Sprintf("\n%v %T%+v", e.At.Sub(virtual.Start), e.E, e.E)
		}
	}
	return s
}

// Random loss of 2 and 10 % of the packets on a path.
func TestRandomLoss(t *testing.T) {
	for _, loss := range []float64{0.01, 0.0513} { // of each of a path's two accesses
		for _, strategy := range []string{"adaptive", "direct", "relay"} {
			for _, pair := range directPairs {
				for seed := range uint64(8) {
					w := newWorld(t, worldConfig{seed: seed, cameraNAT: pair.camera, viewerNAT: pair.viewer, loss: loss})
					w.connect(strategy)
					w.net.Run(5*time.Second, nil)
					want := punch.Direct
					if strategy == "relay" {
						want = punch.Relay
					}
					if s := w.viewer.Stats(); s.Path.Route != want || s.Frames < 100 {
						t.Errorf("path %v, %d frames", s.Path, s.Frames)
					}
					w.checkIntact()
					if t.Failed() {
						t.Fatalf("%s, camera %v, viewer %v, loss %v, seed %d\nviewer %+v\ncamera %+v\nevents %+v", strategy, natName(pair.camera), natName(pair.viewer), loss, seed, w.viewer.Stats(), w.camera.Stats(), events(w))
					}
				}
			}
		}
	}
}

// checkIntact demands that each frame is one that was sent, to the byte, and none comes twice or out of order.
func (w *world) checkIntact() {
	w.t.Helper()
	last := -1
	for _, f := range all[viewer.FrameReceived](w.viewerHost) {
		if f.Frame.Index <= last || f.Frame.Index >= len(w.sent) || f.Frame.Hash() != w.sent[f.Frame.Index] {
			w.t.Fatalf("frame %d after %d, or changed on the way", f.Frame.Index, last)
		}
		last = f.Frame.Index
	}
}
