package stack

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/punchlab/punchlab/lab"
	"github.com/punchlab/punchlab/lab/record"
	"github.com/punchlab/punchlab/topologies"
)

// simTopology is a shipped topology with settings, resolved.
func simTopology(t testing.TB, name string, settings ...string) *lab.Topology {
	t.Helper()
	topo, _, err := topologies.Load(name)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(settings); i += 2 {
		if err := topo.Set(settings[i], settings[i+1]); err != nil {
			t.Fatal(err)
		}
	}
	if err := topo.Resolve(); err != nil {
		t.Fatal(err)
	}
	return topo
}

func simulate(t testing.TB, topo *lab.Topology, tr Trial, events ...lab.Event) (Observation, []record.Event) {
	t.Helper()
	if tr.Timeout == 0 {
		tr.Timeout = 8 * time.Second
	}
	o, happened, err := Bundled{}.Simulate(context.Background(), topo, tr, events)
	if err != nil {
		t.Fatal(err)
	}
	return o, happened
}

// The same seed gives the same observation, another one another.
func TestSimIsDeterministic(t *testing.T) {
	topo := simTopology(t, "two-homes", "camera.nat", "symmetric", "viewer.nat", "port-restricted-cone", "link", "lte")
	tr := Trial{Seed: 5, Strategy: "adaptive", Media: time.Second}
	a, _ := simulate(t, topo, tr)
	b, _ := simulate(t, topo, tr)
	if diff := cmp.Diff(a, b); diff != "" {
		t.Errorf("the same trial again: %s", diff)
	}
	tr.Seed = 6
	if c, _ := simulate(t, topo, tr); cmp.Equal(a, c) {
		t.Error("another seed gives the same")
	}
}

func BenchmarkSim(b *testing.B) {
	for _, strategy := range []string{"direct", "adaptive"} {
		for _, media := range []time.Duration{0, time.Second} {
			b.Run(fmt.Sprintf("%s/media=%v", strategy, media), func(b *testing.B) {
				topo := simTopology(b, "two-homes", "camera.nat", "full-cone", "viewer.nat", "port-restricted-cone", "link", "broadband")
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					if o, _ := simulate(b, topo, Trial{Seed: uint64(i), Strategy: strategy, Media: media}); o.Outcome != record.Direct {
						b.Fatalf("%+v", o)
					}
				}
			})
		}
	}
}
