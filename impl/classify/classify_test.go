package classify

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/punchlab/punchlab/impl/wire"
)

var dependencies = []wire.Dependency{wire.EndpointIndependent, wire.AddressDependent, wire.AddressAndPortDependent}

// models are the port models that every mapping and filtering is tried with.
var models = []struct {
	name string
	natConfig
}{
	{"preserved", natConfig{ports: wire.PortsPreserved}},
	{"sequential", natConfig{ports: wire.PortsSequential, step: 1}},
	{"sequential, by 2 down, wraps", natConfig{ports: wire.PortsSequential, step: -2, low: 20000, high: 20099}},
	{"sequential, cross traffic", natConfig{ports: wire.PortsSequential, step: 1, cross: 3}},
	{"random", natConfig{ports: wire.PortsRandom}},
	{"block", natConfig{ports: wire.PortsBlock, low: 30720, high: 31743}},
	{"block, not aligned", natConfig{ports: wire.PortsBlock, low: 20500, high: 21499}},
}

// check compares what was found out with the NAT.
func check(n natConfig, r wire.Class) error {
	want := wire.Class{Mapping: n.mapping, Filtering: n.filtering, Ports: n.ports, Hairpin: n.hairpin && r.Hairpin, Step: r.Step, BlockStart: r.BlockStart, BlockSize: r.BlockSize}
	if n.mapping == 0 {
		want.Mapping, want.NoNAT, want.Ports, want.Hairpin = wire.EndpointIndependent, true, wire.PortsPreserved, true
	}
	if n.filtering == 0 {
		want.Filtering = wire.EndpointIndependent
	}
	if n.ports == wire.PortsSequential && (r.Step == 0 || int(r.Step)%n.step != 0 || (r.Step > 0) != (n.step > 0)) {
		return fmt.Errorf("step %d, want %d", r.Step, n.step)
	}
	if n.ports == wire.PortsSequential && n.cross == 0 && int(r.Step) != n.step {
		return fmt.Errorf("step %d, want %d", r.Step, n.step)
	}
	if r != want {
		return fmt.Errorf("got %v, want %v", r, want)
	}
	return nil
}

// Every mapping, filtering and port model, with and without loss and jitter: what is found out, how often, and how long
// it takes.
func TestEveryNAT(t *testing.T) {
	for _, link := range []struct {
		name   string
		loss   float64
		jitter time.Duration
		most   time.Duration // of a classification, p99
		wrong  int           // of 1000
	}{
		{"clean", 0, 0, 250 * time.Millisecond, 0},
		{"jitter of 15 ms", 0, 15 * time.Millisecond, 300 * time.Millisecond, 2},
		{"10 % loss", 0.1, 0, 1200 * time.Millisecond, 10},
		{"10 % loss, jitter of 15 ms", 0.1, 15 * time.Millisecond, 1200 * time.Millisecond, 10},
	} {
		t.Run(link.name, func(t *testing.T) {
			var all []time.Duration
			wrong := map[string]int{}
			examples := map[string]error{}
			runs := 0
			for _, m := range dependencies {
				for _, f := range dependencies {
					for _, ports := range models {
						n := ports.natConfig
						n.mapping, n.filtering, n.hairpin = m, f, f == wire.EndpointIndependent
						for seed := range uint64(20) {
							w := newWorld(t, n, seed*31+uint64(m)*7+uint64(f))
							w.loss, w.jitter = link.loss, link.jitter
							r, took := w.run()
							runs++
							all = append(all, took)
							if n.ports != wire.PortsBlock && n.ports != wire.PortsSequential || m != wire.EndpointIndependent {
								if err := check(n, r); err != nil {
									wrong[ports.name]++
									examples[ports.name] = fmt.Errorf("mapping %v, filtering %v: %w", m, f, err)
								}
							}
						}
					}
				}
			}
			total := 0
			for name, n := range wrong {
				total += n
				t.Logf("%s: %d wrong, such as %v", name, n, examples[name])
			}
			slices.Sort(all)
			p99 := all[len(all)*99/100]
			t.Logf("%d classifications, %d wrong; median %v, p99 %v, longest %v", runs, total, all[len(all)/2], p99, all[len(all)-1])
			if total*1000 > link.wrong*runs {
				t.Errorf("%d of %d wrong", total, runs)
			}
			if p99 > link.most {
				t.Errorf("p99 %v, want at most %v", p99, link.most)
			}
		})
	}
}
