package mutants

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// TrialPackage is the program that runs a job, below the module's root.
const TrialPackage = "./lab/mutants/trial"

// Build builds the trial program of the module at root with a mutant in it, into a folder of its own, and returns the program's path.
func Build(ctx context.Context, root string, m Mutant, dir string) (string, error) {
	return BuildPackage(ctx, root, TrialPackage, dir, m.edit())
}

// BuildPackage builds any program of the module with edits in it; with none, as it is.
func BuildPackage(ctx context.Context, root, pkg, dir string, edits ...Edit) (string, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	program := filepath.Join(dir, filepath.Base(pkg))
	args := []string{"build", "-ldflags", "-s -w", "-buildvcs=false", "-o", program}
	if len(edits) > 0 {
		file, err := overlay(root, dir, edits...)
		if err != nil {
			return "", err
		}
		args = append(args, "-overlay", file)
	}
	return program, goCommand(ctx, root, append(args, pkg)...)
}

// goCommand runs the Go command in a folder.
func goCommand(ctx context.Context, dir string, args ...string) error {
	c := exec.CommandContext(ctx, "go", args...)
	c.Dir = dir
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return nil
}
