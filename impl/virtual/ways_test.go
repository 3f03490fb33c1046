package virtual_test

import (
	"testing"
	"time"

	"github.com/punchlab/punchlab/impl/viewer"
	"github.com/punchlab/punchlab/impl/virtual"
)

// A stream whose first flight had no path begins when the first path is used: here the rendezvous sees IPv4 addresses, and the
// strategy uses IPv6 alone.
func TestStreamBeginsWithTheFirstPath(t *testing.T) {
	w := newWorld(t, worldConfig{seed: 1, ipv6: true})
	w.connect("ipv6")
	w.net.Run(3*time.Second, nil)
	w.checkFrames(60)
	if p := w.viewer.Stats().Path; p.Addr != cameraV6 {
		t.Errorf("path %+v", p)
	}
	if n := w.camera.Stats().Streams; n != 1 {
		t.Errorf("%d streams begun", n)
	}
}

// Two symmetric NATs and a TURN server: the devices meet at an allocation, though the rendezvous does not pass the camera's on, since
// it is at the rendezvous' own address. The one relay on the way is not taken for a direct path.
func TestAllocations(t *testing.T) {
	symmetric := virtual.NATConfig{Mapping: virtual.AddressAndPortDependent, Filtering: virtual.AddressAndPortDependent}
	for _, loss := range []float64{0, 0.02} {
		for _, far := range []time.Duration{10 * time.Millisecond, 150 * time.Millisecond} {
			c, v := symmetric, symmetric
			w := newWorld(t, worldConfig{seed: 3, cameraNAT: &c, viewerNAT: &v, lent: true, loss: loss, viewerDelay: far})
			w.connect("turn")
			w.net.Run(5*time.Second, nil)
			w.checkFrames(60)
			s := w.viewer.Stats()
			if !s.Confirmed || !s.ByAllocation || !s.DirectAt.IsZero() {
				t.Errorf("loss %v, %v: confirmed %v, by allocation %v, direct at %v by %+v", loss, far, s.Confirmed, s.ByAllocation, s.DirectAt, s.Path)
			}
			if _, failed := first[viewer.Failed](w.viewerHost); failed {
				t.Errorf("loss %v, %v: failed", loss, far)
			}
		}
	}
}
