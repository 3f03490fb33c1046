package tape

import (
	"github.com/punchlab/punchlab/lab"
	"github.com/punchlab/punchlab/lab/capture"
)

// Read reads a capture that the lab wrote: the packets of its hosts as a Tape would have recorded them. host says which host is at an
// interface, and false where it is none; Hosts makes one.
func Read(path string, host func(capture.Interface) (string, bool), match ...Match) ([]Packet, error) {
	return nil, nil
}

// Hosts says which host of a topology is at an interface of a capture. boxes gives the names under which outlets were watched, by
// Outlet.Name.
func Hosts(t *lab.Topology, boxes map[string]string) func(capture.Interface) (string, bool) {
	return nil
}
