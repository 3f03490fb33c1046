package punch

import "time"

// turn punches from allocations of a TURN server (RFC 8656) to where the rendezvous saw the peer, and from the main socket to those of
// the peer: one server on the way is enough.
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
