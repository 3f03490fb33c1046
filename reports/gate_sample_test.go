package reports

import (
	"testing"

	"github.com/punchlab/punchlab/lab/gate"
	"github.com/punchlab/punchlab/lab/record"
)

// sampleOf reads a run's folder as a gate does.
func sampleOf(t testing.TB, dir string) gate.Sample {
	t.Helper()
	run, err := record.Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	s, err := gate.FromRun(run)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
