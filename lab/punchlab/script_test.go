package main

import (
	"os"
	"strings"
	"testing"

	"github.com/punchlab/punchlab/lab/live"
	"github.com/punchlab/punchlab/lab/stack"
	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	live.Main()
	stack.Main()
	testscript.Main(m, map[string]func(){"punchlab": main})
}

// have tells scripts what this machine can do. A feature that PUNCHLAB_REQUIRE names must be there.
func have(t *testing.T) map[string]bool {
	t.Helper()
	h := map[string]bool{"lab": true}
	if out, err := command(t, t.TempDir(), "doctor").CombinedOutput(); err != nil {
		h["lab"] = false
		t.Logf("punchlab doctor: %v\n%s", err, out)
		if strings.Contains(","+os.Getenv("PUNCHLAB_REQUIRE")+",", ",netns,") {
			t.Fatal("PUNCHLAB_REQUIRE names netns, and doctor says that the lab can't run here")
		}
	}
	return h
}

func TestScripts(t *testing.T) {
	can := have(t)
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			e.Setenv("HOME", e.WorkDir)
			e.Setenv("NO_COLOR", "1")
			return nil
		},
		Condition: func(cond string) (bool, error) { return can[cond], nil },
	})
}
