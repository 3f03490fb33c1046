package virtual_test

import (
	"testing"
	"time"

	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/punch"
	"github.com/punchlab/punchlab/impl/viewer"
	"github.com/punchlab/punchlab/impl/virtual"
	"github.com/punchlab/punchlab/impl/wire"
)

// A viewer on the relay looks for a direct path again, where both NATs would allow one: what was sent may have been lost. That there was none
// at first is said once.
func TestDirectPathIsLookedForAgain(t *testing.T) {
	for _, classify := range []bool{false, true} {
		w := newWorld(t, worldConfig{seed: 91, cameraNAT: restricted, viewerNAT: restricted, classify: classify})
		opens := w.net.Now.Add(7 * time.Second)
		w.net.Filter = func(from *virtual.Host, p core.Packet) bool { return !betweenPeers(from, p) || w.net.Now.After(opens) }
		w.connect("adaptive")
		w.net.Run(16*time.Second, nil)
		if s := w.viewer.Stats(); s.Path.Route != punch.Direct || !s.Confirmed || s.NotDirect != "" {
			t.Errorf("classified %v: media by %v because %s", classify, s.Path, s.NotDirect)
		}
		if n := len(all[viewer.DirectFailed](w.viewerHost)); n != 1 {
			t.Errorf("classified %v: said %d times that no direct path was found", classify, n)
		}
		w.checkFrames(350)
	}
}

// Two symmetric NATs are not tried again, and a search that led nowhere leaves nothing behind that is sent.
func TestHopelessIsNotLookedForAgain(t *testing.T) {
	w := newWorld(t, worldConfig{seed: 92, cameraNAT: tracking(symmetric), viewerNAT: tracking(symmetric), classify: true})
	between := 0
	w.net.Filter = func(from *virtual.Host, p core.Packet) bool {
		if betweenPeers(from, p) {
			between++
		}
		return !betweenPeers(from, p)
	}
	w.connect("adaptive")
	w.net.Run(6*time.Second, nil)
	between = 0
	w.net.Run(30*time.Second, nil)
	if between > 0 {
		t.Errorf("%d packets to the other side's NAT after the search was over", between)
	}
}

// A camera whose search is over answers the punches of a viewer that began later: its request was known to the camera long before the
// rendezvous' answer came to the viewer.
func TestCameraAnswersLatePunches(t *testing.T) {
	w := newWorld(t, worldConfig{seed: 93, cameraNAT: fullCone, viewerNAT: restricted})
	start := w.net.Now
	w.net.Filter = func(from *virtual.Host, p core.Packet) bool {
		since := w.net.Now.Sub(start)
		if from.Name == "rendezvous" && wire.Classify(p.B) == wire.Transport && p.To.Addr() == viewerWAN {
			return since > 2500*time.Millisecond
		}
		return !betweenPeers(from, p) || since > 3500*time.Millisecond
	}
	w.connect("adaptive")
	if !w.net.Run(4500*time.Millisecond, func() bool { s := w.viewer.Stats(); return s.Path.Route == punch.Direct && s.Confirmed }) {
		t.Errorf("media by %v; events%s", w.viewer.Stats().Path, events(w))
	}
}

// What names a direct path is repeated often enough within its two seconds, also where nothing more is heard of the camera: where half of the
// packets are lost, one of ten arrives.
func TestUseIsRepeatedUntilAnswered(t *testing.T) {
	w := newWorld(t, worldConfig{seed: 94, cameraNAT: restricted, viewerNAT: fullCone})
	named, start := 0, w.net.Now
	w.net.Filter = func(from *virtual.Host, p core.Packet) bool {
		switch {
		case !betweenPeers(from, p):
			return true
		case from.Name == "camera":
			return w.net.Now.Sub(start) < 100*time.Millisecond
		case wire.Classify(p.B) == wire.Transport:
			named++
		}
		return false
	}
	w.connect("adaptive")
	w.net.Run(2200*time.Millisecond, nil)
	if named < 2*9 || named > 2*14 {
		t.Errorf("use and consent were sent %d times in two seconds", named)
	}
}
