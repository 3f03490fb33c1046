package main

import (
	"strings"
	"testing"

	"github.com/punchlab/punchlab/lab/internal/workflow"
)

// The GitHub action, its example and the Makefile call nothing that is not there.
func TestWorkflowsCallWhatThereIs(t *testing.T) {
	n := 0
	for _, file := range []string{"../../.ci/action/action.yml", "../../.ci/action/example.yml"} {
		w, err := workflow.Read(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range w.Commands("punchlab") {
			n++
			checkCall(t, file, c)
		}
	}
	if n < 5 {
		t.Errorf("only %d calls of punchlab were found", n)
	}
}

func checkCall(t *testing.T, file string, c workflow.Command) {
	t.Helper()
	cmd, _, err := root().Find(c.Words)
	if err != nil || cmd == root() || !cmd.HasParent() {
		t.Errorf("%s: punchlab %v: %v", file, c.Words, err)
		return
	}
	for _, flag := range c.Flags {
		name := strings.TrimLeft(strings.SplitN(flag, "=", 2)[0], "-")
		if cmd.Flags().Lookup(name) == nil && root().PersistentFlags().Lookup(name) == nil && name != "help" && name != "version" {
			t.Errorf("%s: punchlab %s has no flag --%s", file, strings.Join(c.Words, " "), name)
		}
	}
}
