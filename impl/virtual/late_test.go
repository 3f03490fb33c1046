package virtual_test

import (
	"testing"
	"time"

	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/viewer"
	"github.com/punchlab/punchlab/impl/virtual"
	"github.com/punchlab/punchlab/impl/wire"
)

// lateWorld has the direct path closed for what a host sends for some time after connect, which loses the first flight of media: the
// real clip's, with more packets than a viewer asks for by NACK.
func lateWorld(t *testing.T, seed uint64, loss float64, host string, late time.Duration) *world {
	w := newWorld(t, worldConfig{seed: seed, cameraNAT: restricted, viewerNAT: restricted, clip: true, loss: loss})
	opens := w.net.Now.Add(late)
	w.net.Filter = func(from *virtual.Host, p core.Packet) bool {
		return from.Name != host || !betweenPeers(from, p) || !w.net.Now.Before(opens)
	}
	return w
}

// firstFrame is how long after the camera's answer the first frame was whole.
func (w *world) firstFrame() time.Duration {
	w.t.Helper()
	connected, ok := first[viewer.Connected](w.viewerHost)
	frame, shown := first[viewer.FrameReceived](w.viewerHost)
	if !ok || !shown {
		w.t.Errorf("connected %v, a frame %v; viewer %+v\ncamera %+v%s", ok, shown, w.viewer.Stats(), w.camera.Stats(), events(w))
		return 0
	}
	return frame.Frame.Complete.Sub(connected.At)
}

// A filter that opens late, the viewer's or the camera's, loses the first flight and lets later media through before the camera's answer,
// or behind it. Whenever that is, the whole video begins two round trips after the answer.
func TestFilterOpensLate(t *testing.T) {
	const early = 128 // packets before the answer at most: they come twice
	for _, host := range []string{"camera", "viewer"} {
		for late := time.Duration(0); late < 800*time.Millisecond; late += 20 * time.Millisecond {
			w := lateWorld(t, 1, 0, host, late)
			w.connect("direct")
			w.net.Run(2*time.Second, nil)
			if took := w.firstFrame(); took > 80*time.Millisecond {
				t.Errorf("%s's packets pass after %v: the first frame is whole %v after the answer", host, late, took)
			}
			w.checkFrames(20)
			if q := w.viewer.Stats().Quality; q.Duplicate > early || q.PLIs > 0 {
				t.Errorf("%s's packets pass after %v: %d packets came twice, %d key frames were asked for", host, late, q.Duplicate, q.PLIs)
			}
		}
	}
}

// What is lost of the viewer's request, or of what is sent again, costs no more than a repetition.
func TestFilterOpensLateOnALossyPath(t *testing.T) {
	const late = 300 * time.Millisecond
	for k := range 8 {
		w := lateWorld(t, 1, 0, "camera", late)
		closed, n := w.net.Filter, 0
		w.net.Filter = func(from *virtual.Host, p core.Packet) bool {
			if from.Name == "viewer" && betweenPeers(from, p) && wire.Classify(p.B) != wire.PunchPacket {
				n++
				return n != k+1
			}
			return closed(from, p)
		}
		w.connect("direct")
		w.net.Run(2*time.Second, nil)
		if took := w.firstFrame(); took > 200*time.Millisecond {
			t.Errorf("without packet %d of the viewer's the first frame is whole %v after the answer", k+1, took)
		}
		w.checkFrames(20)
	}
	slow := 0
	const runs = 40
	for seed := range uint64(runs) {
		w := lateWorld(t, seed, 0.02, "camera", late)
		w.connect("direct")
		w.net.Run(3*time.Second, nil)
		if w.firstFrame() > 400*time.Millisecond {
			slow++
		}
		w.checkIntact()
	}
	if slow > runs/8 {
		t.Errorf("%d of %d times the first frame takes longer than 400 ms, although a packet in 25 is lost", slow, runs)
	}
}
