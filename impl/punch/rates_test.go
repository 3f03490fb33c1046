package punch

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/punchlab/punchlab/impl/wire"
)

var (
	cone       = wire.Class{Mapping: wire.EndpointIndependent, Filtering: wire.AddressAndPortDependent, Ports: wire.PortsPreserved}
	symmetric  = wire.Class{Mapping: wire.AddressAndPortDependent, Filtering: wire.AddressAndPortDependent, Ports: wire.PortsRandom}
	sequential = wire.Class{
		Mapping: wire.AddressAndPortDependent, Filtering: wire.AddressAndPortDependent, Ports: wire.PortsSequential, Step: 1,
	}
	carrier = wire.Class{
		Mapping: wire.AddressAndPortDependent, Filtering: wire.AddressAndPortDependent,
		Ports: wire.PortsBlock, BlockStart: 8192, BlockSize: 1024,
	}
)

// successes counts the pairs that meet.
func successes(n int, c world, limit time.Duration) (met int) {
	for seed := range n {
		c.seed = uint64(seed)
		if newSimulation(c).run(limit) {
			met++
		}
	}
	return met
}

// atLeast fails unless a rate is reached.
func atLeast(t *testing.T, name string, rate float64, n int, c world, limit time.Duration) {
	t.Helper()
	met := successes(n, c, limit)
	t.Logf("%s: %d of %d", name, met, n)
	if float64(met) < rate*float64(n) {
		t.Errorf("%s: %d of %d, want at least %v", name, met, n, rate)
	}
}

func mustLookup(name string) Policy {
	p, err := Lookup(name)
	if err != nil {
		panic(err)
	}
	return p
}

// The measured success of N sockets and M probes is 1−(1−N/P)^M, or what probes that never repeat make of it, within three and a
// half standard deviations.
func TestBirthdayCurve(t *testing.T) {
	const n = 160
	ports := float64(lastPort - firstPort + 1)
	for _, c := range []struct{ sockets, probes int }{{256, 64}, {256, 174}, {256, 256}, {128, 512}, {256, 1024}} {
		for _, camera := range []bool{false, true} {
			viewer, k := symmetric, cone
			if camera {
				viewer, k = k, viewer
			}
			name := fmt.Sprintf("birthday:%dx%d", c.sockets, c.probes)
			met := successes(n, world{policy: mustLookup(name), viewer: viewer, camera: k}, 8*time.Second)
			want := 1 - math.Pow(1-float64(c.sockets)/ports, float64(c.probes))
			if d := 3.5 * math.Sqrt(want*(1-want)/n); math.Abs(float64(met)/n-want) > d+1./n {
				t.Errorf("%s, camera's port sought %v: %v of %d, theory %.4f ± %.4f", name, camera, met, n, want, d)
			}
		}
	}
}

// The figures that others publish and the documentation cites.
func TestBirthdayFigures(t *testing.T) {
	hit := func(sockets, probes, ports int) float64 {
		return math.Round(1e4*(1-math.Pow(1-float64(sockets)/float64(ports), float64(probes)))) / 1e2
	}
	for _, f := range []struct {
		sockets, probes, ports int
		percent                float64
	}{{256, 174, 64511, 49.94}, {256, 256, 64511, 63.87}, {256, 1024, 64511, 98.3}, {256, 2048, 64511, 99.97}, {64, 69, 1024, 98.84}} {
		if got := hit(f.sockets, f.probes, f.ports); got != f.percent {
			t.Errorf("%d sockets, %d probes, %d ports: %v %%, want %v %%", f.sockets, f.probes, f.ports, got, f.percent)
		}
	}
}

func TestAdaptiveRates(t *testing.T) {
	busy := func(flows float64) func(v, k *router) {
		return func(v, k *router) { v.cross, k.cross = flows, flows }
	}
	block := func(v, k *router) {
		for _, r := range []*router{v, k} {
			if r.class.Ports == wire.PortsBlock {
				r.lo, r.hi = r.class.BlockStart, r.class.BlockStart+r.class.BlockSize-1
			}
		}
	}
	addressed := sequential
	addressed.Mapping = wire.AddressDependent
	by4 := sequential
	by4.Step = -4
	for _, c := range []struct {
		name           string
		viewer, camera wire.Class
		edit           func(v, k *router)
		rate           float64
		within         time.Duration
	}{
		{"cones", cone, cone, nil, 1, time.Second},
		{"a random port", symmetric, cone, nil, 0.99, 5 * time.Second},
		{"a random port of the camera's", cone, symmetric, nil, 0.99, 5 * time.Second},
		{"a carrier's block", carrier, cone, block, 1, 2 * time.Second},
		{"a carrier's block at the camera", cone, carrier, block, 1, 2 * time.Second},
		{"a sequential port", sequential, cone, nil, 1, time.Second},
		{"a sequential port, 50 foreign flows/s", cone, sequential, busy(50), 1, 3 * time.Second},
		{"a sequential port, four down", by4, cone, nil, 1, time.Second},
		{"both sequential", sequential, sequential, nil, 1, time.Second},
		{"both sequential, one by address", addressed, sequential, busy(10), 1, 3 * time.Second},
		{"both sequential, the other by address", sequential, addressed, busy(10), 1, 3 * time.Second},
		{"both sequential by address", addressed, addressed, busy(35), 0.99, 3 * time.Second},
		{"both sequential, 10 foreign flows/s each", sequential, sequential, busy(10), 1, 3 * time.Second},
		{"both sequential, 35 foreign flows/s each", sequential, sequential, busy(35), 0.97, 4 * time.Second},
	} {
		for _, loss := range []float64{0, 0.02, 0.1, 0.3} {
			rate, within := c.rate, c.within
			if loss > 0.02 { // at 30 % of loss the five packets that an unconfirmed address may have do not always do
				rate, within = rate-loss/2, 5*time.Second
			}
			what := world{policy: adaptive, viewer: c.viewer, camera: c.camera, edit: c.edit, loss: loss}
			atLeast(t, fmt.Sprintf("%s, loss %v", c.name, loss), rate, 60, what, within)
		}
	}
}

// A side that has to keep silent costs nothing but the way to it; if the classes are wrong it speaks after all.
func TestSilence(t *testing.T) {
	open := symmetric
	open.Filtering = wire.EndpointIndependent
	for _, loss := range []float64{0, 0.1, 0.3} {
		for _, w := range []world{{viewer: open, camera: cone}, {viewer: cone, camera: open}} {
			w.policy, w.loss = adaptive, loss
			atLeast(t, fmt.Sprintf("loss %v", loss), 1-loss/4, 100, w, 3*time.Second)
		}
	}
	policy := adaptive
	policy.Methods &^= MethodSilence | MethodBirthday
	if met := successes(15, world{policy: policy, viewer: open, camera: cone}, 3*time.Second); met > 0 {
		t.Errorf("without silence %d meet", met)
	}
	wrong := world{policy: adaptive, viewer: cone, camera: cone, believed: [2]wire.Class{open}}
	if met := successes(15, wrong, 900*time.Millisecond); met > 0 {
		t.Errorf("%d meet in spite of the silence", met)
	}
	atLeast(t, "silent by mistake", 1, 20, wrong, 1500*time.Millisecond)
}

// A NAT that is a full cone towards servers, and symmetric towards peers, is found out after a second.
func TestMisclassified(t *testing.T) {
	fullCone := cone
	fullCone.Filtering = wire.EndpointIndependent
	for _, w := range []world{
		{viewer: symmetric, camera: cone, believed: [2]wire.Class{fullCone}},
		{viewer: cone, camera: symmetric, believed: [2]wire.Class{1: fullCone}},
	} {
		w.policy = adaptive
		if met := successes(15, w, 900*time.Millisecond); met > 0 {
			t.Errorf("%d meet at once", met)
		}
		atLeast(t, "misclassified", 0.97, 50, w, 6*time.Second)
	}
	peers := NewAgent(Config{Policy: adaptive, Role: Camera, Mine: fullCone, Theirs: cone, Peer: peerAddr}, epoch)
	peers.Add(epoch, To(peerAddr), Reflexive)
	peers.Heard(epoch, To(peerAddr))
	if _, last := drain(peers, epoch); peers.part != plain || last.After(epoch.Add(adaptive.GiveUp)) {
		t.Errorf("a peer that was heard is doubted: %s", peers.Plan())
	}
}

// A NAT that preserves ports though its mappings depend on the destination gives a fresh socket the port that the peer was told.
func TestSpareSocket(t *testing.T) {
	preserved := symmetric
	preserved.Ports = wire.PortsPreserved
	policy := adaptive
	policy.Methods &^= MethodBirthday
	for name, w := range map[string]world{
		"viewer": {viewer: preserved, camera: cone}, "camera": {viewer: cone, camera: preserved},
		"both": {viewer: preserved, camera: preserved},
	} {
		w.policy = policy
		if met := successes(15, w, time.Second); met > 0 {
			t.Errorf("%s: without a spare %d meet", name, met)
		}
		w.spare = true
		atLeast(t, name, 1, 20, w, time.Second)
		w.loss = 0.1
		atLeast(t, name+", loss 0.1", 0.99, 100, w, 3*time.Second)
	}
}

// With the endpoints alone two cones meet as soon as a packet gets from one to the other and back, whatever the strategy.
func TestOneFlight(t *testing.T) {
	for _, name := range []string{"adaptive", "direct", "prediction", "birthday", "portmap"} {
		w := newSimulation(world{policy: mustLookup(name), viewer: cone, camera: cone, seed: 1})
		if !w.run(time.Second) || w.viewer.at.Sub(epoch) > 2*oneWay+10*time.Millisecond {
			t.Errorf("%s: after %v", name, w.viewer.at.Sub(epoch))
		}
		if w.viewer.most+w.camera.most > 0 || w.viewer.sent > 4 || w.camera.sent > 4 {
			t.Errorf("%s: %d and %d probes, %d sockets", name, w.viewer.sent, w.camera.sent, w.viewer.most+w.camera.most)
		}
	}
}

// The punches of low-ttl that are meant to arrive leave when both sides' filters are open, even 100 ms apart.
func TestLowTTL(t *testing.T) {
	w := newSimulation(world{policy: lowTTL, viewer: cone, camera: cone, seed: 3})
	early := 0
	for _, o := range []*owner{w.viewer, w.camera} {
		o.nat.refused = func() { early++ }
	}
	if !w.run(time.Second) || w.viewer.lowTTL != 2 || w.camera.lowTTL != 2 || early != 0 {
		t.Errorf("met %v, low TTL %d and %d, %d packets before the filter was open", w.met(), w.viewer.lowTTL, w.camera.lowTTL, early)
	}
}
