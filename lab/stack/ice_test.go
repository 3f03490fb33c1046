package stack

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/punchlab/punchlab/lab"
	"github.com/punchlab/punchlab/lab/record"
)

func TestICEMeasuresWhatHappened(t *testing.T) {
	for _, tt := range []struct {
		topology, camera, viewer, strategy string
		media                              time.Duration
		want                               record.Outcome
	}{
		{"two-homes", "full-cone", "port-restricted-cone", "ice", 400 * time.Millisecond, record.Direct},
		{"two-homes", "port-restricted-cone", "port-restricted-cone", "ice-tuned", 400 * time.Millisecond, record.Direct},
		{"two-homes", "port-restricted-cone", "port-restricted-cone", "ice-tuned", 0, record.Direct},
		{"two-homes", "symmetric", "symmetric", "ice", 400 * time.Millisecond, record.Relayed},
		{"two-homes", "symmetric", "symmetric", "ice-tuned", 0, record.Relayed},
		{"same-lan", "", "", "ice", 400 * time.Millisecond, record.Direct},
		{"ipv6-only", "", "", "ice-tuned", 400 * time.Millisecond, record.Direct},
	} {
		t.Run(fmt.Sprintf("%s/%s×%s/%s/%v", tt.topology, tt.camera, tt.viewer, tt.strategy, tt.media), func(t *testing.T) {
			var set []string
			if tt.camera != "" {
				set = []string{"camera.nat", tt.camera, "viewer.nat", tt.viewer}
			}
			l := newLab(t, tt.topology, append(set, "link", "lan")...)
			o, err := ICE{}.Try(t.Context(), l, Trial{Seed: 7, Strategy: tt.strategy, Media: tt.media, Timeout: 20 * time.Second})
			if err != nil {
				t.Fatal(err)
			}
			check(t, o, tt.want, tt.media)
			if o.Error != "" {
				t.Error(o.Error)
			}
			if relayed := o.Bytes["relay"] > 50e3; tt.media > 0 && relayed != (tt.want == record.Relayed) { // checks are relayed always
				t.Errorf("%d bytes relayed, although the outcome is %s", o.Bytes["relay"], o.Outcome)
			}
			noPionLeft(t)
		})
	}
}

// noPionLeft waits until no goroutine of the comparator runs any more: tests that call it run alone.
func noPionLeft(t *testing.T) {
	t.Helper()
	var left string
	for range 4000 { // 20 s
		b := make([]byte, 1<<20)
		if left = string(b[:runtime.Stack(b, true)]); !strings.Contains(left, "pion/") && !strings.Contains(left, "peers/ice") {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Errorf("goroutines are left:\n%s", left)
}

// TestICELeavesNothingBehind: many labs at once in this process, several trials each.
func TestICELeavesNothingBehind(t *testing.T) {
	var labs []*lab.Lab
	for range 3 {
		labs = append(labs, newLab(t, "two-homes", "camera.nat", "symmetric", "viewer.nat", "full-cone", "link", "lan"))
	}
	all := func() {
		var work sync.WaitGroup
		for i, l := range labs {
			work.Go(func() {
				if err := l.Reset(uint64(i)); err != nil {
					t.Error(err)
				}
				o, err := ICE{}.Try(t.Context(), l, Trial{Seed: uint64(i), Strategy: "ice-tuned", Timeout: 20 * time.Second})
				if err != nil || o.FirstFrame == 0 {
					t.Errorf("%+v %v", o, err)
				}
			})
		}
		work.Wait()
		noPionLeft(t)
	}
	all()
	goroutines, descriptors := runtime.NumGoroutine(), openDescriptors(t)
	all()
	// A goroutine that has done all it had to may not have had its turn to end.
	eventually(t, fmt.Sprintf("%d goroutines, as before", goroutines), func() bool { return runtime.NumGoroutine() <= goroutines })
	eventually(t, fmt.Sprintf("%d descriptors, as before", descriptors), func() bool { return openDescriptors(t) <= descriptors })
}

func openDescriptors(t *testing.T) int {
	d, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(d)
}

// TestICEByTCP443: where nothing else is let out, the relay on port 443 is used.
func TestICEByTCP443(t *testing.T) {
	l := newLab(t, "corporate", "link", "lan")
	trial := Trial{Seed: 7, Strategy: "ice-tuned", Media: 400 * time.Millisecond, Timeout: 20 * time.Second}
	o, err := ICE{}.Try(t.Context(), l, trial)
	if err != nil {
		t.Fatal(err)
	}
	check(t, o, record.Relayed, 400*time.Millisecond)
}

// TestICEKilledRendezvous: what flows directly lives on; what is relayed ends, and is said to have failed to come.
func TestICEKilledRendezvous(t *testing.T) {
	for _, tt := range []struct {
		nat           string
		whole         bool
		media, within time.Duration // where all is not to come there is much left when it is killed, however late that is
	}{{"full-cone", true, 800 * time.Millisecond, 20 * time.Second}, {"symmetric", false, 4 * time.Second, 8 * time.Second}} {
		t.Run(tt.nat, func(t *testing.T) {
			l := newLab(t, "two-homes", "camera.nat", tt.nat, "viewer.nat", tt.nat, "link", "lan")
			killed := make(chan error, 1)
			o, err := ICE{}.Try(t.Context(), l, Trial{
				Seed: 7, Strategy: "ice-tuned", Media: tt.media, Timeout: tt.within,
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
				t.Errorf("%d of %d frames came though the rendezvous was killed at the first; all: want %v", o.Media.FramesIntact, frames, tt.whole)
			}
			noPionLeft(t)
		})
	}
}

// TestICEWithoutRendezvous: nobody is there when the viewer asks, and the trial says so.
func TestICEWithoutRendezvous(t *testing.T) {
	l := newLab(t, "two-homes", "link", "lan")
	o, err := ICE{}.Try(t.Context(), l, Trial{
		Seed: 7, Strategy: "ice", Timeout: time.Second,
		Reached: func(m Moment) {
			if m == Requested {
				if _, err := l.Do(lab.Event{Do: lab.DoKill, Host: "rendezvous"}); err != nil {
					t.Error(err)
				}
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	check(t, o, record.Failed, 0)
	noPionLeft(t)
}

func TestICEWithCoturn(t *testing.T) {
	path, err := exec.LookPath("turnserver")
	if err != nil {
		t.Skip("coturn is not installed")
	}
	l := newLab(t, "two-homes", "camera.nat", "symmetric", "viewer.nat", "symmetric", "link", "lan")
	trial := Trial{Seed: 7, Strategy: "ice-tuned", Media: 400 * time.Millisecond, Timeout: 20 * time.Second}
	o, err := ICE{Coturn: path}.Try(t.Context(), l, trial)
	if err != nil {
		t.Fatal(err)
	}
	check(t, o, record.Relayed, 400*time.Millisecond)
}
