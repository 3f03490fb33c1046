package punch

import "time"

// patient are the punches to a TCP candidate: each begins a connection where the one before has failed. A SYN that meets a closed
// filter is repeated by the host after 1 s; where a NAT answers it by RST (against RFC 5382 REQ-4) the next punch dials again.
var patient = []time.Duration{
	0, 100 * time.Millisecond, 300 * time.Millisecond, 700 * time.Millisecond, 1500 * time.Millisecond, 3 * time.Second,
}

// tcp opens connections from both sides simultaneously (RFC 5382 REQ-2), by the endpoints from which both reach the rendezvous
// by TCP.
var tcp = Policy{
	Name:    "tcp",
	Summary: "TCP simultaneous open; no UDP",
	Direct:  true,
	Methods: everyFamily | MethodTCP,
	Uplink:  UplinkTCP,
	Stream:  patient,
	GiveUp:  6 * time.Second,
	Budget:  few,
	Blind:   256 << 10,
}
