package virtual_test

import (
	"testing"
	"time"

	"github.com/punchlab/punchlab/impl/viewer"
	"github.com/punchlab/punchlab/impl/virtual"
)

// BenchmarkConnect is the three cores' CPU time from nothing to the first frame.
func BenchmarkConnect(b *testing.B) {
	for _, clip := range []bool{false, true} {
		b.Run(map[bool]string{false: "synthetic", true: "clip"}[clip], func(b *testing.B) {
			b.ReportAllocs()
			for i := range b.N {
				w := newWorld(b, worldConfig{seed: uint64(i), cameraNAT: restricted, viewerNAT: restricted, clip: clip})
				got := false
				w.viewerHost.OnEvent = func(e virtual.Event) {
					if _, ok := e.E.(viewer.FrameReceived); ok {
						got = true
					}
				}
				w.connect("direct")
				if !w.net.Run(time.Second, func() bool { return got }) {
					b.Fatal("no frame")
				}
			}
		})
	}
}
