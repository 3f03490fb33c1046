package punch

import "time"

// turn punches from allocations of a TURN server (RFC 8656), and to those of the peer.
var turn = Policy{
	Name:    "turn",
	Summary: "everything through a TURN server of the operator's choice",
	Direct:  true,
	Methods: everyFamily | MethodTURN,
	Fast:    quick,
	Slow:    400 * time.Millisecond,
	GiveUp:  4 * time.Second,
	Budget:  few,
	Blind:   256 << 10,
}
