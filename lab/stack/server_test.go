package stack

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/punchlab/punchlab/lab"
	"github.com/punchlab/punchlab/lab/record"
)

// A rendezvous is needed to meet, and to relay, but not for what flows directly.
func TestKilledRendezvous(t *testing.T) {
	t.Parallel()
	l := newLab(t, "two-homes", "link", "lan")
	for _, tt := range []struct {
		strategy      string
		want          record.Outcome
		whole         bool
		media, within time.Duration // where all is not to come there is much left when it is killed, however late that is
	}{{"direct", record.Direct, true, 800 * time.Millisecond, 20 * time.Second}, {"relay", record.Relayed, false, 4 * time.Second, 8 * time.Second}} {
		t.Run(tt.strategy, func(t *testing.T) {
			if err := l.Reset(1); err != nil {
				t.Fatal(err)
			}
			killed := make(chan error, 1)
			o, err := Bundled{}.Try(t.Context(), l, Trial{
				Seed: 7, Strategy: tt.strategy, Media: tt.media, Timeout: tt.within,
				Reached: func(m Moment) {
					if m == FirstFrame {
						go func() {
							_, err := l.Do(lab.Event{Do: lab.DoKill, Host: "rendezvous"})
							killed <- err
						}()
					}
				},
			})
			if err != nil {
				t.Fatal(err)
			}
			if err := <-killed; err != nil {
				t.Fatal(err)
			}
			frames := int(tt.media / (40 * time.Millisecond))
			if whole := o.Media.FramesIntact == frames; whole != tt.whole {
				t.Errorf("%d of %d frames came although the rendezvous was killed at the first; all: want %v", o.Media.FramesIntact, frames, tt.whole)
			}
			if tt.whole && o.Outcome != tt.want {
				t.Errorf("outcome %s (%s)", o.Outcome, o.Cause)
			}
		})
	}
	m := l.Host("rendezvous")
	c, err := m.ListenUDP(netip.AddrPortFrom(m.Addr(), bundledPort))
	if err != nil {
		t.Fatalf("after the trials a rendezvous is left: %v", err)
	}
	c.Close()
}

// A rendezvous that is killed and started again while a trial ends does not outlive it.
func TestNoRendezvousIsLeft(t *testing.T) {
	l := newLab(t, "two-homes", "link", "lan")
	for seed := range uint64(5) {
		if err := l.Reset(seed); err != nil {
			t.Fatal(err)
		}
		over, hammered := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(hammered)
			for open := true; open; {
				select {
				case <-over: // and once more
					open = false
				default:
				}
				undo, err := l.Do(lab.Event{Do: lab.DoKill, Host: "rendezvous"})
				if err == nil {
					err = undo()
				}
				if err != nil {
					t.Error(err)
				}
			}
		}()
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond) // the camera can hardly register
		if _, err := (Bundled{}).Try(ctx, l, Trial{Seed: seed, Strategy: "direct", Timeout: time.Second}); err != nil && !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		cancel()
		close(over)
		<-hammered
		m := l.Host("rendezvous")
		c, err := m.ListenUDP(netip.AddrPortFrom(m.Addr(), bundledPort))
		if err != nil {
			t.Fatalf("a rendezvous is left: %v", err)
		}
		c.Close()
	}
}
