package cloud

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/punchlab/punchlab/impl/media"
)

// Who follows begins with the newest segment, gets each one that is recorded from then on once, over parts, pauses and new
// spools, and sees the pictures as the source gave them.
func TestFollow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		r := newRig(t, m, func(c *Config) { c.Part = 12 * time.Second })
		r.feed(9 * time.Second) // two segments are stored
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var got []Live
		over := make(chan error, 1)
		go func() {
			over <- Archive{Store: m, UID: testUID, Key: testKey}.Follow(ctx, 500*time.Millisecond, func(l Live) error {
				got = append(got, l)
				return nil
			})
		}()
		r.feed(21 * time.Second)
		r.close()
		time.Sleep(time.Second) // in the bubble: it has looked once more
		synctest.Wait()
		at, parts := 100, map[string]bool{} // the first of the second segment
		for _, l := range got {
			parts[l.Part] = true
			all, err := l.Units()
			if err != nil {
				t.Fatal(err)
			}
			for i, u := range all {
				want := media.EmbeddedClip().At(at)
				if !bytes.Equal(u.Data, want.Data) || (u.PTS-time.Duration(i)*40*time.Millisecond).Abs() > 20*time.Microsecond {
					t.Fatalf("picture %d: %d bytes at %v, want %d", at, len(u.Data), u.PTS, len(want.Data))
				}
				at++
			}
		}
		if at != r.next || len(parts) < 2 {
			t.Errorf("up to picture %d in %d parts, of %d", at, len(parts), r.next)
		}
		before := len(got)
		again := newRig(t, m, nil)
		again.feed(5 * time.Second)
		again.close()
		time.Sleep(time.Second)
		synctest.Wait()
		if len(got) <= before {
			t.Error("a new spool's segments do not follow")
		}
		cancel()
		if err := <-over; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		stop := errors.New("enough")
		if err := (Archive{Store: m, UID: testUID, Key: testKey}).Follow(t.Context(), time.Second, func(Live) error { return stop }); !errors.Is(err, stop) {
			t.Error(err)
		}
		if err := (Archive{Store: m, UID: testUID, Key: Key{9}}).Follow(t.Context(), time.Second, func(Live) error { return nil }); err == nil {
			t.Error("it is followed with another key")
		}
	})
}
