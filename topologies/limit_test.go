package topologies

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The traces of one document have so many bytes, and no more; each is read once.
func TestTracesAreBounded(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a", "b"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("1\n2\n3\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r := newLinkReader(dir)
	r.left = 11
	first, err := r.trace("a")
	if err != nil {
		t.Fatal(err)
	}
	if again, err := r.trace("a"); err != nil || again != first {
		t.Errorf("the second time: %v", err)
	}
	if _, err := r.trace("b"); err == nil || !strings.Contains(err.Error(), `read trace "b": the document's traces have more than 256 MiB`) {
		t.Errorf("a byte too many: %v", err)
	}
	if r.left != 0 {
		t.Errorf("%d bytes are left", r.left)
	}
	r = newLinkReader(dir)
	r.left = 12
	for _, name := range []string{"a", "b"} {
		if _, err := r.trace(name); err != nil {
			t.Errorf("within the limit: %v", err)
		}
	}
	if _, err := newLinkReader("").trace("a"); err == nil || !strings.Contains(err.Error(), "unknown trace") {
		t.Errorf("beside a document of the program: %v", err)
	}
}
