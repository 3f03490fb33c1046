package punch

import "github.com/punchlab/punchlab/impl/wire"

// part is what one side does beside the punches that both send.
type part uint8

const (
	plain   part = iota
	silent       // speaks when it has heard the peer, or has waited in vain
	shows        // samples its allocator, then makes the mapping that comes next
	guesses      // probes the ports after the peer's sample
	mirrors      // both: each guesses the other's
	opens        // opens many sockets
	probes       // probes many ports
)

// String says it in words, for records.
func (p part) String() string {
	return [...]string{"punches", "keeps silent until it hears the peer", "shows where its next port is", "guesses the peer's next port",
		"shows where its next port is and guesses the peer's", "opens sockets for the peer's probes", "probes the peer's ports"}[p]
}

// Ports that are guessed where nothing is known of them: none below is given to mappings.
const (
	firstPort = 1025
	lastPort  = 65535
)

// dependent says whether a side's mappings depend on the destination, as far as is known.
func dependent(c wire.Class) bool { return !c.NoNAT && c.Mapping > wire.EndpointIndependent }

// byPort says whether a side's filter may depend on ports; so may an unknown one.
func byPort(c wire.Class) bool {
	return c.Filtering == 0 || c.Filtering == wire.AddressAndPortDependent
}

// open says whether a side's filter lets anybody in.
func open(c wire.Class) bool { return c.Filtering == wire.EndpointIndependent }

// told says whether a side's next port can be told from a sample.
func told(c wire.Class) bool { return dependent(c) && c.Ports == wire.PortsSequential && c.Step != 0 }

// findable says whether y's packets get in where they hit a mapping that x made towards y's known endpoint: x knows by what
// endpoint y sends, or does not care for its port.
func findable(x, y wire.Class) bool { return dependent(x) && (!dependent(y) || !byPort(x)) }

// meet says whether both punch at once and meet, by the endpoints that the rendezvous sees.
func meet(x, y wire.Class) bool {
	switch dx, dy := dependent(x), dependent(y); {
	case dx && dy:
		return answers(x, y) || answers(y, x)
	case dx:
		return !byPort(y)
	case dy:
		return !byPort(x)
	}
	return true
}

// answers says whether x, both mapping by destination, hears y where the rendezvous saw x, and y hears the answer: it leaves by the
// mapping that y knows, if what x has sent before to another port of y's has made no other for it, or y's filter does not mind.
func answers(x, y wire.Class) bool {
	return open(x) && (x.Mapping == wire.AddressAndPortDependent || !byPort(y))
}

// decide says what the viewer's and the camera's parts are, from both classes; both sides come to the same conclusion.
//
//	x maps by destination, y's filter looks at ports       │ what helps
//	───────────────────────────────────────────────────────┼──────────────────────────────────────────────────────────────
//	x's filter is open, and silence is allowed             │ x is silent: y reaches x where the rendezvous saw x, and x's
//	                                                       │ answer leaves by that mapping, if it has made none towards y
//	y's mapping is known, or x's filter ignores ports      │ y guesses x's next mapping: predicted where x's allocator is
//	                                                       │ sequential, else by many tries (birthday)
//	neither, both allocators are sequential                │ both guess
//	neither, else                                          │ nothing: the relay
//
// All other pairs meet by the endpoints that the rendezvous sees, both at once.
func decide(viewer, camera wire.Class, silence bool) (v, c part) {
	switch {
	case silence && dependent(viewer) && open(viewer) && byPort(camera):
		return silent, plain
	case silence && dependent(camera) && open(camera) && byPort(viewer):
		return plain, silent
	case meet(viewer, camera):
		return plain, plain
	}
	findV, findC := findable(viewer, camera), findable(camera, viewer)
	switch {
	case findV && told(viewer):
		return shows, guesses
	case findC && told(camera):
		return guesses, shows
	case told(viewer) && told(camera):
		return mirrors, mirrors
	case findV && (!findC || among(viewer) <= among(camera)):
		return opens, probes
	case findC:
		return probes, opens
	}
	return plain, plain
}

// among is how many ports a new mapping of this class may have.
func among(c wire.Class) int {
	first, last := ports(c)
	return int(last) - int(first) + 1
}

// ports are those that a new mapping of this class may have.
func ports(c wire.Class) (first, last uint16) {
	if c.Ports != wire.PortsBlock || c.BlockSize == 0 {
		return firstPort, lastPort
	}
	return max(c.BlockStart, 1), uint16(min(int(c.BlockStart)+int(c.BlockSize)-1, lastPort))
}
