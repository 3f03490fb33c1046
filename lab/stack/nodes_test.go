package stack

import (
	"testing"
	"time"

	"github.com/punchlab/punchlab/lab"
	"github.com/punchlab/punchlab/lab/record"
)

// With several rendezvous nodes a camera and a viewer meet who are registered at different ones; and when the camera's dies in
// the middle of a relayed stream, another one takes over and every frame arrives.
func TestRendezvousNodeDies(t *testing.T) {
	t.Parallel()
	l := newLab(t, "three-rendezvous", "link", "lan")
	killed := make(chan error, 1)
	o, err := Bundled{}.Try(t.Context(), l, Trial{
		Seed: 5, Strategy: "relay", Media: 5 * time.Second, Timeout: 40 * time.Second,
		Reached: func(m Moment) {
			if m == FirstFrame {
				time.AfterFunc(time.Second, func() { // what the nodes remember of it has been shared
					_, err := l.Do(lab.Event{Do: lab.DoKill, Host: "rendezvous"})
					killed <- err
				})
			}
		},
	})
	if err != nil || o.Outcome != record.Relayed {
		t.Fatalf("%+v, %v", o, err)
	}
	if err := <-killed; err != nil {
		t.Fatal(err)
	}
	// At the kill 25 had come. A slow machine finds its way over another node later than frames are kept for, and a few are lost.
	if o.Media.FramesIntact < 75 {
		t.Errorf("%d of 125 frames came", o.Media.FramesIntact)
	}
	if s := o.Probes["absent_s"]; s <= 0 || s > 15 {
		t.Errorf("the camera was away for %v s, want at most a keepalive", s)
	}
	if n := o.Bytes["relay"]; n < 600_000 {
		t.Errorf("%d bytes were relayed", n)
	}
}
