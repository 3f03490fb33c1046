// Package cases are the procedures: what is done in the lab to find out whether a camera keeps a case.
//
//	certify.Catalogue   what is asked, in words           cases.All   how it is found out
//	     NAT-1  ──────────────────────────────────────────►  "NAT-1": nat1(ctx, *stage.Stage) certify.Result
//
// A procedure brings labs up by its stage, starts the cast, does what the case says, counts what it saw under the names of the case's
// Observed, and ends with one of the stage's verdicts. It asks s.N and s.For how much of it is wanted: in brief it takes seconds, and
// a camera that is right passes all the same. Whatever it does not know about the camera it reads from packets.
//
// A group of the catalogue is a file, and its list a part of All.
package cases

import (
	"context"
	"maps"

	"github.com/punchlab/punchlab/lab/certify"
	"github.com/punchlab/punchlab/lab/certify/stage"
)

// Procedure runs a case and says what it came to.
type Procedure = func(ctx context.Context, s *stage.Stage) certify.Result

// groups are the parts of All: one of each file.
var groups = []func() map[string]Procedure{
	identity,
	registration,
	traversal,
	media,
	pull,
	security,
	resilience,
	standards,
}

// All are the procedures that there are, by case ID. It panics if a case has two.
func All() map[string]Procedure {
	all := map[string]Procedure{}
	for _, group := range groups {
		part := group()
		for id := range part {
			if all[id] != nil {
				panic("cases: " + id + " has two procedures")
			}
		}
		maps.Copy(all, part)
	}
	return all
}
