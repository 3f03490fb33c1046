package virtual_test

import (
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/viewer"
)

// BenchmarkMedia is the camera's and the viewer's cores on the media path, from access unit to frame, without drivers: one
// operation is one packet from the camera to the viewer, with what the viewer answers. Drivers add none of their own to its
// allocations (BenchmarkRelayAllocations of impl/node).
func BenchmarkMedia(b *testing.B) {
	w := newWorld(b, worldConfig{seed: 1, clip: true})
	w.connect("direct")
	confirmed := func() bool { _, ok := first[viewer.PathConfirmed](w.viewerHost); return ok }
	if !w.net.Run(5*time.Second, confirmed) {
		b.Fatal("no direct path")
	}
	now := w.net.Now.Add(time.Second)
	at := map[core.Core]netip.AddrPort{w.camera: w.cameraHost.Addrs[0], w.viewer: w.viewerHost.Addrs[0]}
	packets := 0
	// hand gives what one core says to the other. The rendezvous is gone: running streams live on.
	hand := func(from, to core.Core) {
		for _, p := range from.Ready().Packets {
			if p.To == at[to] {
				to.HandlePacket(now, at[from], at[to], p.B)
				if from == core.Core(w.camera) {
					packets++
				}
			}
		}
	}
	step := func() {
		now = now.Add(time.Millisecond)
		for _, c := range []core.Core{w.camera, w.viewer} {
			if core.Due(now, c.Deadline()) {
				c.HandleTimeout(now)
			}
		}
		hand(w.camera, w.viewer)
		hand(w.viewer, w.camera)
		hand(w.camera, w.viewer)
	}
	for range 2000 {
		step()
	}
	packets = 0
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	b.ResetTimer()
	for packets < b.N {
		step()
	}
	b.StopTimer()
	runtime.ReadMemStats(&after)
	b.ReportMetric(float64(after.Mallocs-before.Mallocs)/float64(packets), "allocs/packet")
	b.ReportMetric(float64(after.TotalAlloc-before.TotalAlloc)/float64(packets), "B/packet")
}
