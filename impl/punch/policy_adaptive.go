package punch

import "time"

// adaptive races both from the first moment: media flows through the relay until the viewer nominates a direct path.
// Only the first access unit goes to the viewer's endpoint before the viewer is heard, because the relay carries the rest.
var adaptive = Policy{
	Name:    "adaptive",
	Summary: "direct raced with the relay; media moves to the direct path without losing a frame",
	Direct:  true,
	Relay:   true,
	Fast:    quick,
	Slow:    400 * time.Millisecond,
	GiveUp:  3 * time.Second,
	Blind:   256 << 10,
}
