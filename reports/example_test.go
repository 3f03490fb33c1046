package reports

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestExample: the README's plots are small, well-formed, on a background of their own, and of the run that their
// README names.
func TestExample(t *testing.T) {
	readme, err := os.ReadFile("example/README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"direct-rate.svg", "first-frame.svg"} {
		b, err := os.ReadFile(filepath.Join("example", name))
		if err != nil {
			t.Fatal(err)
		}
		wellFormed(t, name, b)
		if len(b) > 100_000 {
			t.Errorf("%s has %d bytes", name, len(b))
		}
		if !strings.Contains(string(b), "fill:#FFFFFF") {
			t.Errorf("%s has no background", name)
		}
		commit := regexp.MustCompile(`commit ([0-9a-f]{12})\b`).FindStringSubmatch(string(b))
		if commit == nil || !strings.Contains(string(readme), "| commit | "+commit[1]) {
			t.Errorf("%s is of commit %v, which README.md does not name", name, commit)
		}
	}
}
