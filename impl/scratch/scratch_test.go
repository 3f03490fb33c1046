package scratch

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Folders of processes that have ended are removed, and no others.
func TestFolders(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	live, err := New("kind", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	dead, err := New("kind", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	dead.lock.Close() // as the kernel does when the process is killed
	bare, err := os.MkdirTemp("", pattern("kind"))
	if err != nil {
		t.Fatal(err)
	}
	other, err := os.MkdirTemp("", pattern("other"))
	if err != nil {
		t.Fatal(err)
	}
	exists := func(dir string) bool { _, err := os.Stat(dir); return err == nil }
	sweep("kind", time.Now())
	if !exists(live.Path) || !exists(dead.Path) || !exists(bare) {
		t.Error("a folder that may not be locked yet is gone")
	}
	sweep("kind", time.Now().Add(2*fresh))
	if !exists(live.Path) || exists(dead.Path) || exists(bare) {
		t.Errorf("live %v, dead %v, never locked %v", exists(live.Path), exists(dead.Path), exists(bare))
	}
	if err := live.Remove(); err != nil || exists(live.Path) {
		t.Errorf("removed: %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(os.TempDir(), "*")); len(left) != 1 || left[0] != other {
		t.Errorf("left: %v", left)
	}
}
