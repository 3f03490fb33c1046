package cloud

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestEveryPictureIsStored(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		r := newRig(t, m, func(c *Config) { c.Part = 20 * time.Second })
		r.feed(50 * time.Second)
		r.close()
		ts, reports := archived(t, m)
		wantPictures(t, ts, units(0, r.next))
		if len(reports) != 3 {
			t.Errorf("%d parts, want 3 of up to 20s", len(reports))
		}
		for _, rep := range reports {
			if !rep.Ended || rep.Unlisted != 0 || rep.Dropped != 0 {
				t.Errorf("part %+v, want it whole", rep)
			}
		}
		for n, puts := range m.puts {
			if strings.HasSuffix(n, ".ts") && puts != 1 {
				t.Errorf("%s was stored %d times", n, puts)
			}
		}
		s := r.Stats()
		if s.Stored != 13 || s.Waiting != 0 || s.WaitBytes != 0 || s.AccessUnits != uint64(r.next) {
			t.Errorf("stats %+v, want 13 segments stored and none waiting", s)
		}
		// Each part's: after its first segment, after listEvery, and whole.
		if s.Playlists < 5 || s.Playlists > 9 {
			t.Errorf("%d playlists were put for 3 parts of 20s", s.Playlists)
		}
		wantEmpty(t, r.cfg.Spool)
	})
}
