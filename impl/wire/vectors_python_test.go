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
	python := pythonWithCryptography()
	if python == "" {
		stop := t.Skipf
		if slices.Contains(strings.Split(os.Getenv("PUNCHLAB_REQUIRE"), ","), "python3-cryptography") {
			stop = t.Fatalf
		}
		stop("no python3 here has the package cryptography, so the vectors are checked by one implementation only: apt-get install python3-cryptography")
	}
	out, err := exec.Command(python, "-B", "testdata/vectors/check_vectors.py").CombinedOutput()
	if err != nil {
		t.Fatalf("%v:\n%s", err, out)
	}
	t.Logf("%s", out)
}

// pythonWithCryptography looks at Debian's own interpreter too, where another comes first in the path.
func pythonWithCryptography() string {
	for _, p := range []string{"python3", "/usr/bin/python3"} {
		if exec.Command(p, "-c", "import cryptography").Run() == nil {
			return p
		}
	}
	return ""
}
