package faults

import (
	"context"
	"fmt"
	"os"

	"github.com/punchlab/punchlab/lab/certify"
	"github.com/punchlab/punchlab/lab/certify/stage"
	"github.com/punchlab/punchlab/lab/live"
)

// Procedure is how a case is found out: an entry of cases.All.
type Procedure = func(context.Context, *stage.Stage) certify.Result

// OnStage runs cases by their procedures, brief, on stages of a fabric that the caller closes; the program plays all roles.
func OnStage(fabric *live.Fabric, procedures map[string]Procedure) Runner {
	return func(ctx context.Context, t Trial) (result certify.Result) {
		harness := func(format string, args ...any) certify.Result {
			return certify.Result{Case: t.Case.ID, Verdict: certify.HarnessError, Reason: fmt.Sprintf(format, args...)}
		}
		procedure := procedures[t.Case.ID]
		if procedure == nil {
			return certify.Result{Case: t.Case.ID, Verdict: certify.Inconclusive, Reason: "no procedure in this build"}
		}
		if t.Folder == "" {
			dir, err := os.MkdirTemp("", "faults")
			if err != nil {
				return harness("make a folder for the evidence: %v", err)
			}
			defer os.RemoveAll(dir)
			t.Folder = dir
		}
		s, err := stage.Open(stage.Options{
			Case: t.Case, Declaration: t.Declaration, Seed: t.Seed, Brief: true, Folder: t.Folder, Fabric: fabric,
			Device: stage.Device{
				Way: stage.Executable, Program: []string{t.Program}, Bundled: []string{t.Program}, Env: t.Env,
			},
		})
		if err != nil {
			return harness("open the stage: %v", err)
		}
		defer func() {
			if p := recover(); p != nil {
				_ = s.Close() // it is a harness-error as it is
				result = harness("the procedure panicked: %v", p)
			}
		}()
		return s.Finish(procedure(ctx, s))
	}
}
