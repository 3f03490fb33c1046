package work_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/punchlab/punchlab/lab/record"
	"github.com/punchlab/punchlab/lab/work"
)

// A worker in a network namespace without a network works, and ends by itself with its run.
func TestIsolatedWorker(t *testing.T) {
	r := rig{Trials: 4}
	o := spread(t, r.manifest())
	s := server(t)
	o.URL = s.URL()
	w := start(t, isolatedEnv+"="+s.URL())
	var got []record.Trial
	o.Sink = func(rec record.Trial) error { got = append(got, rec); return nil }
	done := make(chan error, 1)
	go func() {
		_, err := work.Coordinate(t.Context(), o)
		done <- err
	}()
	<-w.ended
	if w.ProcessState.ExitCode() == exitNoNamespaces {
		if slices.Contains(strings.Split(os.Getenv("PUNCHLAB_REQUIRE"), ","), "netns") {
			t.Fatalf("namespaces are required here and missing: %s", w.stderr.String())
		}
		t.Skip("no namespaces: " + w.stderr.String())
	}
	if code := w.ProcessState.ExitCode(); code != 0 {
		t.Fatalf("the worker ended with %d: %s", code, w.stderr.String())
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	r.same(t, got)
}
