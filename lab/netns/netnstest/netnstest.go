// Package netnstest lets tests run inside namespaces of their own, as root and as an ordinary user, and
// keeps their skips honest.
//
//	func TestMain(m *testing.M) { netnstest.Main(m) }
//	func TestX(t *testing.T)    { netnstest.Require(t, "netns", "nftables"); … }
//
// A feature that is missing skips the test with the reason; if PUNCHLAB_REQUIRE (comma-separated) names the feature,
// it fails it instead.
package netnstest

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/nftables"
	"github.com/punchlab/punchlab/lab/netns"
)

var isolateErr error

// Main isolates the test binary and runs its tests. Where isolation is refused the tests run all the same,
// and those that require a namespace skip.
func Main(m *testing.M) {
	isolateErr = netns.Isolate()
	os.Exit(m.Run())
}

// Require skips the test unless the machine has each feature: "netns", "nftables", or the name of a program.
func Require(t testing.TB, features ...string) {
	t.Helper()
	for _, f := range features {
		err := have(f)
		switch {
		case err == nil:
		case slices.Contains(strings.Split(os.Getenv("PUNCHLAB_REQUIRE"), ","), f):
			t.Fatalf("%s is required here and missing: %v", f, err)
		default:
			t.Skipf("%s is missing: %v", f, err)
		}
	}
}

func have(feature string) error {
	switch feature {
	case "netns":
		return haveNetns()
	case "nftables":
		return haveNftables()
	default:
		_, err := exec.LookPath(feature)
		return err
	}
}

var haveNetns = sync.OnceValue(func() error {
	if isolateErr != nil {
		return isolateErr
	}
	if !netns.Isolated() {
		return fmt.Errorf("this test binary has no TestMain that calls netnstest.Main")
	}
	n, err := netns.New()
	if err != nil {
		return err
	}
	return n.Close()
})

var haveNftables = sync.OnceValue(func() error {
	if err := haveNetns(); err != nil {
		return err
	}
	n, err := netns.New()
	if err != nil {
		return err
	}
	defer n.Close()
	return n.Do(func() error { // inside: a connection by descriptor panics where the kernel refuses it
		c, err := nftables.New()
		if err != nil {
			return err
		}
		c.AddTable(&nftables.Table{Name: "probe", Family: nftables.TableFamilyIPv4})
		return c.Flush()
	})
})
