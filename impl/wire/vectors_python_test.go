package wire_test

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// The second implementation rebuilds the vectors from PROTOCOL.md alone. It needs
// Debian's python3-cryptography, which a machine may lack; PUNCHLAB_REQUIRE=python3-cryptography
// makes that fatal.
func TestVectorsBySecondImplementation(t *testing.T) {
	if out, err := exec.Command("python3", "-c", "import cryptography").CombinedOutput(); err != nil {
		stop := t.Skipf
		if slices.Contains(strings.Split(os.Getenv("PUNCHLAB_REQUIRE"), ","), "python3-cryptography") {
			stop = t.Fatalf
		}
		stop("python3 with the package cryptography is missing, so the vectors are checked by one implementation only: %v\n%s", err, out)
	}
	out, err := exec.Command("python3", "-B", "testdata/vectors/check_vectors.py").CombinedOutput()
	if err != nil {
		t.Fatalf("%v:\n%s", err, out)
	}
	t.Logf("%s", out)
}
