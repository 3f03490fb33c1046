package stack

import (
	"net/netip"
	"testing"
	"time"

	"github.com/punchlab/punchlab/lab"
	"github.com/punchlab/punchlab/lab/record"
)

// A rendezvous is needed to meet, and to relay, but not for what flows directly.
func TestKilledRendezvous(t *testing.T) {
	l := newLab(t, "two-homes", "link", "lan")
	for _, tt := range []struct {
		strategy string
		want     record.Outcome
		whole    bool
	}{{"direct", record.Direct, true}, {"relay", record.Relayed, false}} {
		t.Run(tt.strategy, func(t *testing.T) {
			if err := l.Reset(1); err != nil {
				t.Fatal(err)
			}
			killed := make(chan error, 1)
			o, err := Bundled{}.Try(t.Context(), l, Trial{
				Seed: 7, Strategy: tt.strategy, Media: 800 * time.Millisecond, Timeout: 2 * time.Second,
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
			if whole := o.Media.FramesIntact == 20; whole != tt.whole {
				t.Errorf("%d of 20 frames came although the rendezvous was killed at the first; all: want %v", o.Media.FramesIntact, tt.whole)
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
