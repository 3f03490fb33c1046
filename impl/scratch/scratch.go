// Package scratch gives a process a folder below the temporary one that lasts as long as the process: what one that was killed has left is
// removed by the next that asks for a folder of the same kind.
//
//	TMPDIR/punchlab-KIND-…/lock    locked by the process that has the folder
package scratch

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// Folder is a folder of this process's own.
type Folder struct {
	Path string
	lock *os.File
}

// fresh is how old a folder may be whose owner has not locked it yet.
const fresh = 10 * time.Second

func pattern(kind string) string { return "punchlab-" + kind + "-*" }

// New makes a folder of a kind, and removes those of processes that have ended by now. Remove it.
func New(kind string, now time.Time) (*Folder, error) {
	sweep(kind, now)
	dir, err := os.MkdirTemp("", pattern(kind))
	if err != nil {
		return nil, fmt.Errorf("make a temporary folder: %w", err)
	}
	lock, err := locked(dir)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", dir, err), os.RemoveAll(dir))
	}
	return &Folder{dir, lock}, nil
}

// locked takes a folder's lock, if nobody has it.
func locked(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// sweep removes the folders of processes that have ended. Those of other users are left.
func sweep(kind string, now time.Time) {
	all, _ := filepath.Glob(filepath.Join(os.TempDir(), pattern(kind))) // the pattern is right
	for _, dir := range all {
		info, err := os.Lstat(dir)
		if err != nil || !info.IsDir() || now.Sub(info.ModTime()) < fresh {
			continue
		}
		if lock, err := locked(dir); err == nil {
			_ = os.RemoveAll(dir) // the next one tries again
			lock.Close()
		}
	}
}

// Remove removes the folder and all that is in it; of nil, nothing.
func (f *Folder) Remove() error {
	if f == nil {
		return nil
	}
	err := os.RemoveAll(f.Path)
	f.lock.Close()
	return err
}
