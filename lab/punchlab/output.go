package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"
)

// toFile writes to a file, whole or not at all, or to standard output.
func toFile(path string, write func(io.Writer) error) error {
	if path == "" {
		if err := write(os.Stdout); err != nil {
			return labError(err)
		}
		return nil
	}
	var b bytes.Buffer
	if err := write(&b); err != nil {
		return labError(err)
	}
	return writeWhole(path, b.Bytes())
}

// writeWhole replaces a file in one step: whoever reads it, even on a full disk, sees the old or the new, whole. A device or a pipe
// is written as it is.
func writeWhole(path string, b []byte) error {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return written(path, os.WriteFile(path, b, 0o644))
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return usagef("%w: choose a file that you can write", err)
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Chmod(0o644), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		err = errors.Join(err, os.Remove(f.Name()))
	}
	return written(path, err)
}

// written gives the error of a write its exit code: a name that cannot be one is the caller's, a disk that fails is not.
func written(path string, err error) error {
	var p *os.PathError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &p) && p.Op == "open":
		return usagef("%w: choose a file that you can write", err)
	}
	return labError(fmt.Errorf("write %s: %w", path, err))
}

// unwritten gives the error of a report its exit code: a folder that may not be written is the caller's, all else the lab's.
func unwritten(err error) error {
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, unix.EROFS) {
		return usagef("%w: choose a folder that you can write to", err)
	}
	return labError(err)
}

// interruptible has an interrupt end a command that has no trials to finish: what it writes, it writes again the next time. The
// caller calls stop in the end.
func interruptible(ctx context.Context) (stop func() bool) {
	return context.AfterFunc(ctx, func() {
		fmt.Fprintln(os.Stderr, "punchlab: interrupted")
		os.Exit(exitUndecided)
	})
}

// filled refuses flags that were given without anything, as a script does whose variable is not set.
func filled(flags *pflag.FlagSet, names ...string) error {
	for _, name := range names {
		if f := flags.Lookup(name); f.Changed && f.Value.String() == "" {
			return usagef("--%s is empty: is a variable not set?", name)
		}
	}
	return nil
}

// without refuses flags that say nothing here, and why.
func without(flags *pflag.FlagSet, why string, names ...string) error {
	for _, name := range names {
		if flags.Changed(name) {
			return usagef("--%s %s", name, why)
		}
	}
	return nil
}
