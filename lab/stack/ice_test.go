package stack

import (
	"fmt"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

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
			o, err := ICE{}.Try(t.Context(), l, Trial{Seed: 7, Strategy: tt.strategy, Media: tt.media, Timeout: 8 * time.Second})
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

// noPionLeft waits until no goroutine of the comparator runs any more.
func noPionLeft(t *testing.T) {
	t.Helper()
	var left string
	for range 200 {
		b := make([]byte, 1<<20)
		if left = string(b[:runtime.Stack(b, true)]); !strings.Contains(left, "pion/") && !strings.Contains(left, "peers/ice") {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Errorf("goroutines are left:\n%s", left)
}

func TestICEWithCoturn(t *testing.T) {
	path, err := exec.LookPath("turnserver")
	if err != nil {
		t.Skip("coturn is not installed")
	}
	l := newLab(t, "two-homes", "camera.nat", "symmetric", "viewer.nat", "symmetric", "link", "lan")
	o, err := ICE{Coturn: path}.Try(t.Context(), l, Trial{Seed: 7, Strategy: "ice-tuned", Media: 400 * time.Millisecond, Timeout: 8 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	check(t, o, record.Relayed, 400*time.Millisecond)
}
