package soak

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/punchlab/punchlab/lab/live"
	"github.com/punchlab/punchlab/lab/netns/netnstest"
)

func TestMain(m *testing.M) {
	live.Main()
	netnstest.Main(m)
}

func fabric(t testing.TB) *live.Fabric {
	t.Helper()
	netnstest.Require(t, "netns", "nftables")
	f, err := live.Start(live.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// tries is how many tries an attack gets: 10,000 in a soak, else as many as show less than 1 %.
func tries(t testing.TB) int {
	t.Helper()
	if n, err := strconv.Atoi(os.Getenv("PUNCHLAB_SOAK_TRIES")); err == nil {
		return n
	}
	if os.Getenv("PUNCHLAB_SOAK") != "" {
		return 10_000
	}
	return 299
}

// No attack succeeds, in any of its shapes, and each was really tried.
func TestNothingSucceeds(t *testing.T) {
	for _, a := range Attacks() {
		t.Run(string(a), func(t *testing.T) {
			t.Parallel()
			r, err := Run(t.Context(), a, Setup{Fabric: fabric(t), Seed: 1, Tries: tries(t), Say: t.Logf})
			t.Log("\n" + r.String())
			keep(t, string(a), r)
			if err != nil {
				t.Fatal(err)
			}
			if r.Claim.Failures != 0 || r.Claim.Tries != tries(t) {
				t.Errorf("%d of %d tries succeeded: %v", r.Claim.Failures, r.Claim.Tries, r.Gained)
			}
		})
	}
}

// keep writes a result beside others, where a folder is named for them.
func keep(t testing.TB, name string, v any) {
	t.Helper()
	dir := os.Getenv("PUNCHLAB_SOAK_OUT")
	if dir == "" {
		return
	}
	b, err := json.MarshalIndent(v, "", "  ")
	if err == nil {
		err = os.MkdirAll(dir, 0o755)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, name+".json"), append(b, '\n'), 0o644)
	}
	if err != nil {
		t.Error(err)
	}
}
