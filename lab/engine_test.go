package lab_test

import (
	"fmt"
	"testing"

	"github.com/punchlab/punchlab/lab"
	"github.com/punchlab/punchlab/lab/nat"
	"github.com/punchlab/punchlab/lab/netfilter"
)

// on loads a topology for an engine.
func on(t testing.TB, engine, name string, settings ...string) *lab.Topology {
	t.Helper()
	topo := topology(t, name, settings...)
	topo.UseEngine(engine)
	if err := topo.Resolve(); err != nil {
		t.Fatal(err)
	}
	return topo
}

// Every preset is what it says, on every engine that can do it, as an RFC 5780 client sees it over real sockets.
func TestEveryPresetIsProvedOnEveryEngine(t *testing.T) {
	t.Parallel()
	f := startFabric(t)
	for _, engine := range lab.RouterEngines() {
		l := up(t, f, on(t, engine, "two-homes"))
		for _, p := range nat.Presets() {
			if p.Behavior.Kind == nat.NoNAT || engine == lab.EngineNetfilter && netfilter.Supports(p.Behavior) != nil {
				continue // of another shape, or refused when the topology is loaded
			}
			t.Run(engine+"/"+p.Name, func(t *testing.T) {
				if err := l.Configure(on(t, engine, "two-homes", "camera.nat", p.Name), 1); err != nil {
					t.Fatal(err)
				}
				if err := l.Prove(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		for _, name := range []string{"open", "firewall"} {
			t.Run(engine+"/"+name, func(t *testing.T) {
				if err := up(t, f, on(t, engine, "two-homes", "camera.nat", name)).Prove(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// A router of either engine stands behind one of either engine.
func TestEnginesNest(t *testing.T) {
	f := startFabric(t)
	for _, outer := range lab.RouterEngines() {
		for _, inner := range lab.RouterEngines() {
			for _, nats := range [][2]string{{"full-cone", "full-cone"}, {"port-restricted-cone", "symmetric"}, {"open", "full-cone"}, {"open", "open"}} {
				t.Run(fmt.Sprintf("%s behind %s/%s behind %s", inner, outer, nats[1], nats[0]), func(t *testing.T) {
					topo := topology(t, "cgn", "carrier.nat", nats[0], "camera.nat", nats[1])
					topo.Site("carrier").Engine, topo.Site("camera").Engine = outer, inner
					if err := topo.Resolve(); err != nil {
						t.Fatal(err)
					}
					l := up(t, f, topo)
					if err := l.Prove(t.Context()); err != nil {
						t.Error(err)
					}
					if err := l.Reset(2); err != nil {
						t.Fatal(err)
					}
					if _, err := ask(t, l, "camera", "rendezvous"); err != nil {
						t.Errorf("after a reset: %v", err)
					}
				})
			}
		}
	}
}
