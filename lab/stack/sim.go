package stack

import (
	"context"

	"github.com/punchlab/punchlab/lab"
	"github.com/punchlab/punchlab/lab/record"
)

// A Simulator is a System that engine sim can try: in virtual time, in memory, in one goroutine.
type Simulator interface {
	System
	// Simulate has a trial on a resolved topology, and the events happen, which are validated. It returns what happened of them, in
	// order. The same topology, trial and events give the same answer, byte for byte. It is safe for concurrent use; ctx ends it
	// early, with ctx's error. An error is the lab's fault, as Try's is; of a trial that CheckSim refuses it is CheckSim's.
	Simulate(ctx context.Context, t *lab.Topology, tr Trial, events []lab.Event) (Observation, []record.Event, error)
}

// CheckSim says why engine sim cannot have a trial, and which engine can. The error is a *lab.Problem.
func CheckSim(s System, t *lab.Topology, tr Trial, events []lab.Event) error { return nil }
