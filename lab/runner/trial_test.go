package runner

import (
	"strings"
	"testing"
	"time"

	"github.com/punchlab/punchlab/lab/fabric"
	"github.com/punchlab/punchlab/lab/live"
	"github.com/punchlab/punchlab/topologies"
)

func TestOverloadIsNamed(t *testing.T) {
	drops := func(n uint64) live.Stats {
		return live.Stats{Uplinks: []live.UplinkStats{{}, {DeviceDrops: n}}}
	}
	late := func(p99 time.Duration) live.Stats {
		return live.Stats{Lateness: fabric.Lateness{P50: p99 / 2, P99: p99, Max: 100 * p99, N: 10}}
	}
	for _, tt := range []struct {
		name  string
		stats live.Stats
		want  string // part of the cause; empty: none
	}{
		{"nothing sent", live.Stats{}, ""},
		{"punctual", late(LateLimit), ""},
		{"late", late(LateLimit + time.Microsecond), "late"},
		{"one dropped", drops(1), "dropped 1 packet"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := overload(tt.stats, LateLimit)
			if (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) {
				t.Errorf("cause %q, want one with %q", got, tt.want)
			}
		})
	}
}

func TestBoundIsTheTriangleAndTheSlowestLink(t *testing.T) {
	topo, _, err := topologies.Load("two-homes")
	if err != nil {
		t.Fatal(err)
	}
	// One way: 26 ms, 300 ms and 12 ms. The camera's uplink carries 13.6 Mbit/s, the viewer's downlink 20 Mbit/s.
	for key, link := range map[string]string{"camera.link": "lte", "viewer.link": "satellite", "rendezvous.link": "broadband"} {
		if err := topo.Set(key, link); err != nil {
			t.Fatal(err)
		}
	}
	if err := topo.Resolve(); err != nil {
		t.Fatal(err)
	}
	const want = (300 + 12 + 12 + 26 + 26 + 300) * time.Millisecond
	if got := triangle(topo); got != want {
		t.Errorf("triangle %v, want viewer → rendezvous → camera → viewer, %v", got, want)
	}
	const wire = 1700 // bytes: 1 ms at 13.6 Mbit/s
	if got := bound(topo, wire); got != want+time.Millisecond {
		t.Errorf("bound %v for %d bytes, want %v", got, wire, want+time.Millisecond)
	}
}

func TestOnlyTheFirstTrialLeavesTheCameraAlone(t *testing.T) {
	p := Plan{Idle: time.Second}
	if p.idle(0) != time.Second || p.idle(1) != 0 {
		t.Errorf("idle for %v and %v, want a second in each cell's first trial alone", p.idle(0), p.idle(1))
	}
}
