package virtual_test

import (
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/rtcp"

	"github.com/punchlab/punchlab/impl/bandwidth"
	"github.com/punchlab/punchlab/impl/camera"
	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/media"
	"github.com/punchlab/punchlab/impl/punch"
	"github.com/punchlab/punchlab/impl/viewer"
	"github.com/punchlab/punchlab/impl/virtual"
)

// inStep is an estimator in virtual time. It reads the clock itself and thinks in goroutines of its own: the clock is that of a bubble of
// testing/synctest and goes with the world's, and the world waits for its thoughts. By the machine's clock, which stands still beside the
// world's, every packet would seem to have come late, more or less so by the machine's load.
type inStep struct {
	*bandwidth.Estimator
	began time.Time // by the bubble's clock, the world's beginning
}

func (e inStep) until(now time.Time) { time.Sleep(now.Sub(virtual.Start) - time.Since(e.began)) }

func (e inStep) Sent(now time.Time, seq uint16, size int) {
	e.until(now)
	e.Estimator.Sent(now, seq, size)
}

func (e inStep) Feedback(now time.Time, p *rtcp.TransportLayerCC) {
	e.until(now)
	e.Estimator.Feedback(now, p)
	synctest.Wait()
}

func (e inStep) Lost(now time.Time, fraction float64) {
	e.until(now)
	e.Estimator.Lost(now, fraction)
}

// newColdWorld is a world with streams, in which the camera is ready and the viewer has not started yet. It lives in a bubble of its own.
func newColdWorld(t testing.TB, cfg worldConfig) *world {
	t.Helper()
	w, began := &world{t: t, net: virtual.New(cfg.seed)}, time.Now()
	cfg.cameraDelay, cfg.viewerDelay, cfg.rendezvousDelay, cfg.classify = 10*time.Millisecond, 10*time.Millisecond, 5*time.Millisecond, true
	cfg.camera = func(c *camera.Config) {
		c.Rendezvous = withStreams(c.Rendezvous[:1])
		c.Estimator = func() media.Estimator {
			e, err := bandwidth.New(bandwidth.Config{Start: 3_000_000, Floor: 60_000})
			w.check(err)
			t.Cleanup(e.Close)
			return inStep{e, began}
		}
	}
	cfg.viewer = func(c *viewer.Config) { c.Rendezvous = withStreams(c.Rendezvous[:1]) }
	w.cfg = cfg
	w.build()
	w.acceptStreams()
	w.cameraHost.Do(func(now time.Time) { w.check(w.camera.Start(now)) })
	if !w.net.Run(20*time.Second, func() bool {
		_, ready := first[camera.Ready](w.cameraHost)
		return ready
	}) {
		t.Fatalf("the camera is not ready: %+v", w.camera.Stats())
	}
	return w
}

// askCold starts the viewer and has it ask for the video at once, and again where a connection fails.
func (w *world) askCold() {
	w.viewerHost.OnEvent = func(e virtual.Event) {
		if _, failed := e.E.(viewer.Failed); failed {
			_ = w.viewer.Connect(e.At, w.label, "adaptive")
		}
	}
	w.viewerHost.Do(func(now time.Time) {
		w.check(w.viewer.Start(now))
		w.check(w.viewer.Connect(now, w.label, "adaptive"))
	})
}

// From the viewer's start to the first frame 30 of 100 packets are lost, so that of the relay's half as many again are: the frame comes in
// time, and the direct path is found in the end, soon after the loss is over where not before.
func TestConnectUnderHeavyLoss(t *testing.T) {
	const seeds, within = 80, 15 * time.Second
	late, relayed := 0, 0
	play := func(t *testing.T, seed uint64) {
		w := newColdWorld(t, worldConfig{seed: seed, cameraNAT: restricted, viewerNAT: restricted, clip: true})
		rng := rand.New(rand.NewPCG(seed, 7))
		w.net.Filter = func(*virtual.Host, core.Packet) bool { return rng.Float64() >= 0.3 }
		w.askCold()
		if !w.net.Run(within, func() bool { _, ok := first[viewer.FrameReceived](w.viewerHost); return ok }) {
			late++
			t.Logf("seed %d: no frame in %v; events%s", seed, within, events(w))
		}
		w.net.Filter = nil
		w.net.Run(3*time.Second, nil)
		if s := w.viewer.Stats(); s.Path.Route != punch.Direct || !s.Confirmed {
			relayed++
			t.Logf("seed %d: media by %v in the end because %s", seed, s.Path, s.NotDirect)
		}
	}
	for seed := range uint64(seeds) {
		synctest.Test(t, func(t *testing.T) { play(t, seed) })
	}
	if late > 0 || relayed > 1 {
		t.Errorf("of %d connections %d had no frame within %v, and %d did not get direct", seeds, late, within, relayed)
	}
}
