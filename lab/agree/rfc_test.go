package agree_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/punchlab/punchlab/lab/live"
	"github.com/punchlab/punchlab/lab/nat"
	"github.com/punchlab/punchlab/lab/netns/netnstest"
)

func TestMain(m *testing.M) {
	live.Main()
	netnstest.Main(m)
}

func TestRFC4787(t *testing.T) { runScripts(t, "rfc4787") }
func TestRFC5382(t *testing.T) { runScripts(t, "rfc5382") }
func TestRFC5508(t *testing.T) { runScripts(t, "rfc5508") }
func TestRFC6888(t *testing.T) { runScripts(t, "rfc6888") }

// TestMore are behaviors that no requirement words.
func TestMore(t *testing.T) { runScripts(t, "more") }

// engines are those that the scripts run on, the one whose answers are written down first.
var engines = []engine{tableEngine, liveEngine, netfilterEngine}

// runScripts runs a folder's scripts, each on every engine.
func runScripts(t *testing.T, folder string) {
	files, err := os.ReadDir(filepath.Join("testdata", folder))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		t.Run(f.Name(), func(t *testing.T) {
			t.Parallel() // most of the time is spent waiting for packets that must not come
			for _, e := range engines {
				t.Run(e.name, func(t *testing.T) { runScript(t, e, filepath.Join("testdata", folder, f.Name())) })
			}
		})
	}
}

func runScript(t *testing.T, e engine, path string) {
	if !e.virtual {
		requireTUN(t)
	}
	for try := 1; ; try++ {
		s := &script{t: t, engine: e, retry: try < 8} // a wrong engine is wrong each time
		t.Cleanup(s.stop)
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			s.t = t
			return s.run(d)
		})
		if s.wrong == "" {
			t.Logf("%s took part in %d commands", e.name, s.ran)
			return
		}
		t.Log(s.wrong)
	}
}

// requireTUN skips where the kernel can't be tested.
func requireTUN(t *testing.T) {
	t.Helper()
	netnstest.Require(t, "netns", "nftables")
	f, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("no TUN device: %v", err)
	}
	f.Close()
}

// verdict names what a port mapping met with.
func verdict(err error) string {
	for _, known := range []error{nat.ErrPortTaken, nat.ErrNoPort, nat.ErrNoAddress, nat.ErrNotMapped, nat.ErrPortMap} {
		if errors.Is(err, known) {
			return known.Error()
		}
	}
	if err != nil {
		return err.Error()
	}
	return "done"
}
