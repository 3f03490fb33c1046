package faults

// missing are the cases that have no fault, and why.
var missing = map[string]string{
	"ID-3":   "the bundled camera has no password: the fault needs one put in (Fault.Control, Fault.Declare) in the way that the procedure asks for it",
	"STD-2":  "the bundled camera's consent is not STUN's: likewise",
	"STD-3":  "the bundled camera finds its path without ICE: likewise",
}
