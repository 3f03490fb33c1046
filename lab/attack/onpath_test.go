package attack

import (
	"testing"
	"time"

	"github.com/punchlab/punchlab/impl/camera"
	"github.com/punchlab/punchlab/impl/session"
	"github.com/punchlab/punchlab/impl/wire"
	"github.com/punchlab/punchlab/lab"
)

// Who stands before the camera's router, and reads, alters, replays and reorders everything, gains nothing and changes nothing:
// the video comes whole, once, and one viewer is paired.
func TestMiddleGainsNothing(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		rule Rule
		acts string
	}{
		{"looks on", nil, "seen up"},
		{"alters", Rules(Altering(Every(9, Up), 1), Altering(Every(7, Down), 2)), "altered up"},
		{"replays", Rules(Replaying(First(session.TypeInitiation, session.TypeResponse, session.TypeTransport, wire.TypePunch), 0, 50*time.Millisecond),
			Replaying(Every(5, Up), 10*time.Millisecond)), "replayed down"},
		{"reorders", Delaying(Every(6, Up), 15*time.Millisecond), "delayed up"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := newCast(t, newLab(t, lab.EngineTable))
			ready := make(chan struct{})
			m := &Middle{Rule: tt.rule, Secrets: c.secrets(), Ready: func() { close(ready) }}
			end := inBackground(t, m, c.l.Host("camera"), Budget{5000, enough})
			<-ready
			c.serve()
			cam, owner := c.camera("direct"), c.owner("direct")
			c.watch(cam, owner, "direct")
			r := end()
			nothing(t, r)
			if r.Counts[tt.acts] == 0 || r.Counts["seen up"] < frames {
				t.Errorf("it was not in the path: %v", r.Counts)
			}
			if n := len(all[camera.PairingsChanged](cam)); n != 1 {
				t.Errorf("%d viewers were paired", n)
			}
		})
	}
}

// A relay that reads and alters what it carries gains nothing, and cannot have a wrong picture shown.
func TestRogueRelayGainsNothing(t *testing.T) {
	t.Parallel()
	c := newCast(t, newLab(t, lab.EngineTable))
	ready := make(chan struct{})
	a := &RogueRelay{Key: c.serverKey, Secrets: c.secrets(), Ready: func() { close(ready) }}
	var before []byte
	a.Alter = func(n int, _ uint16, d []byte) [][]byte {
		bad := append([]byte(nil), d...)
		bad[n%len(bad)] ^= 0x10
		again := before
		before = append([]byte(nil), d...)
		switch {
		case n%4 == 0 && again != nil: // a broken copy, the whole, and an older one
			return [][]byte{bad, d, again}
		case n%4 == 1:
			return [][]byte{bad, d}
		}
		return [][]byte{d, d}
	}
	end := inBackground(t, a, c.l.Host("rendezvous"), Budget{20000, enough})
	<-ready
	cam, owner := c.camera("relay"), c.owner("relay")
	c.watch(cam, owner, "relay")
	r := end()
	nothing(t, r)
	if r.Counts["frames of rtp"] < frames {
		t.Errorf("nothing was relayed: %v", r.Counts)
	}
}
