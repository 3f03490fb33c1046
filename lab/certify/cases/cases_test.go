package cases

import (
	"testing"

	"github.com/punchlab/punchlab/lab/certify"
)

// A case without a procedure would be inconclusive for every camera, and a procedure of no case would never be run.
func TestEveryCaseHasAProcedure(t *testing.T) {
	procedures := All()
	for _, c := range certify.Catalogue() {
		if procedures[c.ID] == nil {
			t.Errorf("%s has no procedure", c.ID)
		}
		delete(procedures, c.ID)
	}
	for id := range procedures {
		t.Errorf("%q is a procedure of no case", id)
	}
}
