package punch

import "time"

// portForward is the traditional camera: its owner has forwarded a port by hand and a name points to it (DDNS). There is no
// rendezvous; the viewer sends its initiation to the camera itself.
var portForward = Policy{
	Name:    "port-forward",
	Summary: "the traditional way: a port forwarded by hand, no rendezvous",
	Direct:  true,
	Methods: everyFamily | MethodReflexive,
	Forward: true,
	Fast:    []time.Duration{0, 250 * time.Millisecond, 750 * time.Millisecond, 1750 * time.Millisecond, 3750 * time.Millisecond},
	GiveUp:  6 * time.Second,
	Budget:  few,
	Blind:   256 << 10,
}
