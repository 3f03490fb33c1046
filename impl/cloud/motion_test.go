package cloud

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/punchlab/punchlab/impl/media"
)

// Recorded is what was seen from PreRoll before a motion, rounded to a key frame, until PostRoll after the last one.
func TestMotion(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		r := newRig(t, m, func(c *Config) { c.OnMotion, c.PreRoll, c.PostRoll = true, 3*time.Second, 4*time.Second })
		r.feed(12200 * time.Millisecond)
		if len(m.objects) > 0 || r.Stats().Segments > 0 {
			t.Fatalf("recorded without a motion: %d objects", len(m.objects))
		}
		r.Motion(time.Now())
		r.feed(2 * time.Second)
		r.Motion(time.Now()) // it goes on
		r.feed(10 * time.Second)
		if s := r.Stats(); s.Recording || s.Waiting > 0 {
			t.Errorf("10s after the motion: %+v", s)
		}
		r.Motion(time.Now())
		r.feed(2 * time.Second)
		r.close()
		ts, reports := archived(t, m)
		// 12.20 s: from the key frame at 9 s, to 14.20 s + 4 s; then 24.20 s: from the one at 21 s to the end.
		wantPictures(t, ts, append(units(9*25, 455), units(21*25, r.next)...))
		if len(reports) != 2 || !reports[0].Ended || !reports[1].Ended {
			t.Errorf("parts %+v, want one for each motion", reports)
		}
	})
}

// A motion that is told before the source has begun to deliver is recorded from its first key frame.
func TestMotionBeforeThePicture(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		r := newRig(t, m, func(c *Config) { c.OnMotion = true })
		r.Motion(time.Now())
		r.next = 10
		r.feed(2 * time.Second)
		r.close()
		ts, _ := archived(t, m)
		wantPictures(t, ts, units(25, r.next))
	})
}

// A source that stops ends the part, and one that begins anew a segment that says so.
func TestSourceStopsAndBeginsAnew(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		r := newRig(t, m, nil)
		r.feed(6 * time.Second)
		r.next = 10 // its clock is back
		r.feed(6 * time.Second)
		time.Sleep(idleAfter + time.Second)
		synctest.Wait()
		if s := r.Stats(); s.Waiting > 0 || len(told[Ended](r)) != 1 {
			t.Errorf("the source has stopped and the part has not ended: %+v", s)
		}
		r.next = 5000
		r.feed(2 * time.Second)
		r.close()
		ts, reports := archived(t, m)
		wantPictures(t, ts, append(append(units(0, 150), units(25, 160)...), units(5000, 5050)...))
		if len(reports) != 2 {
			t.Errorf("%d parts, want 2", len(reports))
		}
		list := string(m.objects[m.find(t, "-00000000/"+playlistName)])
		for _, want := range []string{
			"#EXTINF:2.000,\n00000001-",
			"#EXT-X-DISCONTINUITY\n#EXT-X-PROGRAM-DATE-TIME:2000-01-01T00:00:06.600Z\n#EXTINF:4.000,\n00000002-",
		} {
			if !strings.Contains(list, want) {
				t.Errorf("the playlist lacks %q:\n%s", want, list)
			}
		}
	})
}

// Pictures that come faster than the disk takes them are left out up to a key frame, counted and told.
func TestOverrun(t *testing.T) {
	t.Parallel()
	m := newMemory()
	r := newRig(t, m, nil)
	r.sp.mu.Lock() // the disk hangs
	const given = 4 * inputs
	for i := range given {
		if err := r.Write(media.EmbeddedClip().At(i)); err != nil {
			t.Fatal(err)
		}
	}
	r.sp.mu.Unlock()
	r.close()
	ts, _ := archived(t, m)
	got := len(demux(t, ts))
	s := r.Stats()
	if int(s.Overrun)+got != given || got < inputs || s.Overrun < inputs {
		t.Errorf("of %d pictures %d are recorded and %d counted as left out", given, got, s.Overrun)
	}
	var n int
	for _, e := range told[Overrun](r) {
		n += e.AccessUnits
	}
	if n != int(s.Overrun) {
		t.Errorf("%d pictures are told as left out, want %d", n, s.Overrun)
	}
	if err := r.Write(media.EmbeddedClip().At(0)); err != ErrClosed {
		t.Errorf("writing to a closed recorder: %v", err)
	}
}

// A source that sends key frames rarely, or never again, is cut all the same.
func TestRareKeyFrames(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		r := newRig(t, m, func(c *Config) { c.Segment = time.Second })
		clip := media.EmbeddedClip()
		for i := range 20 * 25 {
			au := clip.At(i)
			au.Key = i == 0 || i == 75
			if err := r.Write(au); err != nil {
				t.Fatal(err)
			}
			time.Sleep(40 * time.Millisecond)
			synctest.Wait()
		}
		r.close()
		ts, _ := archived(t, m)
		wantPictures(t, ts, units(0, 500))
		var at []string
		for _, o := range m.order {
			at = append(at, strings.Split(o, "-")[4])
		}
		if got := strings.Join(at, " "); got != "3000 8000 8000 1000" {
			t.Errorf("segments of %s ms, want a key frame's and then one each 8 s", got)
		}
	})
}

// A clock that is set while recording begins a part, so that its name tells the time.
func TestClockIsSet(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		start := time.Now()
		r := newRig(t, m, func(c *Config) {
			c.Now = func() time.Time {
				if d := time.Since(start); d < 6*time.Second {
					return time.Unix(0, 0).Add(d)
				}
				return time.Now()
			}
		})
		r.feed(12 * time.Second)
		r.close()
		ts, reports := archived(t, m)
		wantPictures(t, ts, units(0, r.next))
		if len(reports) != 2 || reports[0].Start.Year() != 1970 || reports[1].Start.Year() != 2000 {
			t.Errorf("parts %+v, want one of the unset clock and one of the set one", reports)
		}
		wantNothingMissing(t, m)
	})
}
