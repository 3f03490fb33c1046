package punch

import (
	"testing"

	"github.com/punchlab/punchlab/impl/wire"
)

// What arrives at once, from the camera's side: all but what must be found by guesses, or cannot be found.
func TestMeets(t *testing.T) {
	class := func(m, f wire.Dependency, p wire.PortModel) wire.Class {
		return wire.Class{Mapping: m, Filtering: f, Ports: p}
	}
	const ei, apd = wire.EndpointIndependent, wire.AddressAndPortDependent
	cone, full := class(ei, apd, wire.PortsPreserved), class(ei, ei, wire.PortsPreserved)
	symmetric, lenient := class(apd, apd, wire.PortsRandom), class(apd, ei, wire.PortsRandom)
	for _, tt := range []struct {
		name           string
		camera, viewer wire.Class
		want           bool
	}{
		{"cones", cone, cone, true},
		{"full cone, symmetric", full, symmetric, true},
		{"cone, symmetric: birthday", cone, symmetric, false},
		{"symmetric, cone: birthday", symmetric, cone, false},
		{"symmetric both: nothing helps", symmetric, symmetric, false},
		{"the viewer waits for the camera", cone, lenient, true},
		{"the camera waits for the viewer", lenient, cone, false},
		{"nothing known", wire.Class{}, wire.Class{}, true},
		{"one known", symmetric, wire.Class{}, true},
	} {
		a := NewAgent(Config{Policy: mustLookup("adaptive"), Role: Camera, Mine: tt.camera, Theirs: tt.viewer, Peer: peerAddr}, epoch)
		if got := a.Meets(); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}
