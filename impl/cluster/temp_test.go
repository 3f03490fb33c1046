package cluster

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Folders of processes that have ended are removed, and no others.
func TestTempFolders(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	live, err := newTempFolder(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	dead, err := newTempFolder(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	dead.lock.Close() // as the kernel does when the process is killed
	bare, err := os.MkdirTemp("", tempPattern)
	if err != nil {
		t.Fatal(err)
	}
	exists := func(dir string) bool { _, err := os.Stat(dir); return err == nil }
	sweep(time.Now())
	if !exists(live.path) || !exists(dead.path) || !exists(bare) {
		t.Error("a folder that may not be locked yet is gone")
	}
	sweep(time.Now().Add(2 * tempFresh))
	if !exists(live.path) || exists(dead.path) || exists(bare) {
		t.Errorf("live %v, dead %v, never locked %v", exists(live.path), exists(dead.path), exists(bare))
	}
	if err := live.remove(); err != nil || exists(live.path) {
		t.Errorf("removed: %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(os.TempDir(), "*")); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}
