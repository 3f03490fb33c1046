package camera

import (
	"testing"
	"time"

	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/media"
	"github.com/punchlab/punchlab/impl/wire"
)

// While the camera is private no packet of media leaves, whatever viewers ask for: one that was there, and one that comes meanwhile.
// Afterwards both get their video; a stored one goes on with the next picture, at its pace.
func TestPrivacy(t *testing.T) {
	var sent []int
	var to []identity.UID
	c := newCamera(t, func(cfg *Config) {
		cfg.Source = media.EmbeddedClip().Loop
		cfg.Sent = func(_ time.Time, viewer identity.UID, au media.AccessUnit) {
			sent, to = append(sent, au.Index), append(to, viewer)
		}
	})
	now := epoch
	g := newGuest(t, c, 10, wire.FlagDirect)
	ps, err := g.introduce(now, g.introduction(1, 1, 0))
	if err != nil {
		t.Fatal(err)
	}
	g.finish(ps)
	g.send(now, seen, &wire.Use{Sequence: 1, Next: 1})
	if n := rtp(advance(c, &now, time.Second)); n == 0 || len(sent) < 25 {
		t.Fatalf("%d packets of %d pictures before", n, len(sent))
	}

	c.HandlePrivacy(now, true)
	before := len(sent)
	other := newGuest(t, c, 11, wire.FlagDirect)
	ps, err = other.introduce(now, other.introduction(2, 2, 0))
	if err != nil {
		t.Fatal(err)
	}
	other.finish(ps)
	ps = append(ps, other.send(now, seen, &wire.Use{Sequence: 1, Next: 1})...)
	ps = append(ps, g.send(now, seen, &wire.Use{Sequence: 2, Next: 1})...) // what it has not got, once more
	for range 5 {
		ps = append(ps, g.send(now, seen, &wire.Consent{Sequence: 1})...)
		ps = append(ps, other.send(now, seen, &wire.Consent{Sequence: 1})...)
		ps = append(ps, advance(c, &now, time.Second)...)
	}
	if n := rtp(ps); n != 0 || len(sent) != before {
		t.Errorf("%d packets, %d pictures while private", n, len(sent)-before)
	}

	c.HandlePrivacy(now, false)
	n := rtp(advance(c, &now, time.Second))
	if n == 0 || sent[before] > sent[before-1]+1 && sent[before] != 0 {
		t.Errorf("%d packets afterwards, picture %d after %d", n, sent[before], sent[before-1])
	}
	got := map[identity.UID][]int{}
	for i, u := range to {
		got[u] = append(got[u], sent[i])
	}
	if len(got) != 2 {
		t.Fatalf("%d viewers got pictures, want 2", len(got))
	}
	for u, indices := range got {
		if len(indices) > 55 {
			t.Errorf("%v got %d pictures in 2 s", u, len(indices))
		}
		for i, index := range indices {
			if index != i {
				t.Fatalf("%v got picture %d as number %d", u, index, i)
			}
		}
	}
}
