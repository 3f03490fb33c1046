package viewer

import (
	"math/rand/v2"
	"testing"
	"time"
)

// Silence is four frames and four deviations of what came before; a burst of packets is one frame.
func TestRhythm(t *testing.T) {
	for _, tt := range []struct {
		name        string
		gap, jitter time.Duration
		frames      int
		least, most time.Duration
	}{
		{"nothing learnt", 33 * time.Millisecond, 0, 5, maxSilence, maxSilence},
		{"30 frames a second", 33 * time.Millisecond, 0, 100, minSilence, minSilence},
		{"10 frames a second", 100 * time.Millisecond, 0, 100, 400 * time.Millisecond, 405 * time.Millisecond},
		{"jitter", 40 * time.Millisecond, 60 * time.Millisecond, 300, 250 * time.Millisecond, 500 * time.Millisecond},
		{"a frame in two seconds", 2 * time.Second, 0, 100, maxSilence, maxSilence},
	} {
		var r rhythm
		rng := rand.New(rand.NewPCG(1, 2))
		now := epoch
		for range tt.frames {
			for range 4 { // packets
				r.beat(now)
				now = now.Add(100 * time.Microsecond)
			}
			now = now.Add(tt.gap + time.Duration(rng.Int64N(int64(tt.jitter)+1)))
		}
		if s := r.silence(); s < tt.least || s > tt.most {
			t.Errorf("%s: silence %v, want %v to %v", tt.name, s, tt.least, tt.most)
		}
	}
}

// False alarms make the next doubt come later, up to eight times; calm makes good for them, one after the other.
func TestFalseAlarms(t *testing.T) {
	var r rhythm
	now := epoch
	for range 100 {
		r.beat(now)
		now = now.Add(40 * time.Millisecond)
	}
	usual := r.silence()
	for i, want := range []time.Duration{2, 4, 8, 8, 8} {
		if r.falseAlarm(now); r.silence() != want*usual {
			t.Errorf("after %d false alarms: %v, want %v", i+1, r.silence(), want*usual)
		}
	}
	for i, want := range []time.Duration{4, 2, 1, 1} {
		r.calm(now.Add(calmAfter - 1))
		now = now.Add(calmAfter)
		if r.calm(now); r.silence() != want*usual {
			t.Errorf("after %d calms: %v, want %v", i+1, r.silence(), want*usual)
		}
	}
}
