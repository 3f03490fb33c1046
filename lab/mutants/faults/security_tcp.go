package faults

import "github.com/punchlab/punchlab/lab/mutants"

// securityTCP are faults of what takes TCP connections, which no datagram finds.
var securityTCP = []Fault{{
	Case: "SEC-11", Name: "believes-a-length", Role: "camera",
	Summary: "a frame on a connection is copied to a buffer of the size of a datagram, whatever length it says: whoever knows the port switches the camera off",
	Reason:  `(?i)crash|ended|end|panic`,
	Device:  `(?i)crash`,
	Edits: []mutants.Edit{in("node/stream.go",
		"	if _, whole := cut(b); !whole {\n",
		`	if faulty("believes-a-length") && len(b) >= lengthSize {
		var frame [maxFrame]byte
		clear(frame[:binary.BigEndian.Uint16(b)])
	}
	if _, whole := cut(b); !whole {
`)},
}}
