package cluster

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// tempFolder is a folder that lasts as long as its process: what one that was killed has left is removed by the next.
//
//	punchlab-nats-…/lock    locked by the process that has the folder
type tempFolder struct {
	path string
	lock *os.File
}

const (
	tempPattern = "punchlab-nats-*"
	// tempFresh is how old a folder may be whose owner has not locked it yet.
	tempFresh = 10 * time.Second
)

func newTempFolder(now time.Time) (*tempFolder, error) {
	sweep(now)
	dir, err := os.MkdirTemp("", tempPattern)
	if err != nil {
		return nil, fmt.Errorf("embed NATS: %w", err)
	}
	lock, err := locked(dir)
	if err != nil {
		_ = os.RemoveAll(dir) // the first error counts
		return nil, fmt.Errorf("embed NATS: %w", err)
	}
	return &tempFolder{dir, lock}, nil
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
func sweep(now time.Time) {
	all, _ := filepath.Glob(filepath.Join(os.TempDir(), tempPattern)) // the pattern is right
	for _, dir := range all {
		info, err := os.Lstat(dir)
		if err != nil || !info.IsDir() || now.Sub(info.ModTime()) < tempFresh {
			continue
		}
		if lock, err := locked(dir); err == nil {
			_ = os.RemoveAll(dir) // the next one tries again
			lock.Close()
		}
	}
}

func (t *tempFolder) remove() error {
	if t == nil {
		return nil
	}
	err := os.RemoveAll(t.path)
	t.lock.Close()
	return err
}
