package virtual_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/punchlab/punchlab/impl/punch"
	"github.com/punchlab/punchlab/impl/virtual"
)

// A viewer that asks before it has classified its NAT punches at once, which is wrong where it should have been silent: once the class is
// known the search begins again, and finds the direct path by a fresh socket. It does so again for the next connection, of which the
// camera's NAT remembers the one before.
func TestColdViewerGoesDirect(t *testing.T) {
	open := func(m virtual.Dependency) *virtual.NATConfig {
		return &virtual.NATConfig{Mapping: m, Filtering: virtual.EndpointIndependent, Reverse: true}
	}
	strict := func(m virtual.Dependency) *virtual.NATConfig {
		return &virtual.NATConfig{Mapping: m, Filtering: virtual.AddressAndPortDependent, Reverse: true}
	}
	const EI, AD, APD = virtual.EndpointIndependent, virtual.AddressDependent, virtual.AddressAndPortDependent
	play := func(t *testing.T, pair [2]*virtual.NATConfig) {
		w := newColdWorld(t, worldConfig{seed: 90, cameraNAT: pair[0], viewerNAT: pair[1]})
		w.askCold()
		for try := range 2 {
			began := w.net.Now
			if !w.net.Run(8*time.Second, func() bool { s := w.viewer.Stats(); return s.Path.Route == punch.Direct && s.Confirmed }) {
				t.Errorf("camera %s, viewer %s, connection %d: media by %v because %s; events%s", natName(pair[0]), natName(pair[1]), try+1,
					w.viewer.Stats().Path, w.viewer.Stats().NotDirect, events(w))
			}
			t.Logf("camera %s, viewer %s, connection %d: direct after %v", natName(pair[0]), natName(pair[1]), try+1, w.net.Now.Sub(began))
			w.viewerHost.Do(func(now time.Time) { w.viewer.Disconnect(now, w.label.UID()) })
			w.net.Run(time.Second, nil)
			w.connect("adaptive")
		}
	}
	for _, x := range []*virtual.NATConfig{open(AD), open(APD)} {
		for _, y := range []*virtual.NATConfig{strict(EI), strict(AD), strict(APD)} {
			for _, pair := range [][2]*virtual.NATConfig{{x, y}, {y, x}} {
				synctest.Test(t, func(t *testing.T) { play(t, pair) })
			}
		}
	}
}
