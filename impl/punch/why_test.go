package punch

import (
	"strings"
	"testing"

	"github.com/punchlab/punchlab/impl/wire"
)

// What is said of a search in vain follows from the classes.
func TestObstacle(t *testing.T) {
	const I, A, P = wire.EndpointIndependent, wire.AddressDependent, wire.AddressAndPortDependent
	class := func(m, f wire.Dependency, ports wire.PortModel) wire.Class {
		c := wire.Class{Mapping: m, Filtering: f, Ports: ports}
		if ports == wire.PortsSequential {
			c.Step = 1
		}
		return c
	}
	block := class(P, P, wire.PortsBlock)
	block.BlockStart, block.BlockSize = 2048, 512
	random, ordered, steady := class(P, P, wire.PortsRandom), class(P, P, wire.PortsSequential), class(I, P, wire.PortsPreserved)
	for _, tt := range []struct {
		strategy     string
		mine, theirs wire.Class
		want         string
	}{
		{"adaptive", random, random, "random port: a direct path would take about 140,000 probes a side"},
		{"adaptive", block, block, "about 1,100 probes a side"},
		{"adaptive", random, ordered, "one of them at random"},
		{"adaptive", ordered, ordered, "than its order let expect"},
		{"adaptive", random, steady, "at random (64511) none was met"},
		{"adaptive", steady, block, "at random (512) none was met"},
		{"adaptive", steady, steady, "behaves otherwise towards the peer"},
		{"direct", random, steady, "lets in only ports that it knows"},
		{"direct", wire.Class{}, steady, "filters by port or maps by destination"},
		{"ipv6", random, random, "strategy ipv6 knows no address"},
	} {
		policy, err := Lookup(tt.strategy)
		if err != nil {
			t.Fatal(err)
		}
		a := NewAgent(Config{Policy: policy, Peer: peerAddr, Mine: tt.mine, Theirs: tt.theirs}, epoch)
		a.Add(epoch, To(peerAddr), Reflexive)
		if got := a.Obstacle(); !strings.Contains(got, tt.want) {
			t.Errorf("%s, %v and %v: %q, not %q", tt.strategy, tt.mine, tt.theirs, got, tt.want)
		}
	}
}
