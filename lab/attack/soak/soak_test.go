package soak

import (
	"math"
	"os"
	"strconv"
	"testing"

	"github.com/punchlab/punchlab/lab/live"
	"github.com/punchlab/punchlab/lab/netns/netnstest"
)

func TestMain(m *testing.M) {
	live.Main()
	runProgram()
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

// witnesses are what has to be seen beside, or else nothing was tried.
var witnesses = map[Attack][]string{
	Hijack: {
		"cameras that were found where they are", "cameras that were offline, as they are",
		"datagrams that came to an impostor and that he could not open",
	},
	Capture: {
		"handshakes of the attacker's make that were taken with the right key and terms", "visits that were handed to the impostor",
		"forged answers that an owner's viewer dropped", "cameras that answered the owner's own initiation, at the impostor's address",
		"owners who watch in the end, and are alone on their camera's list",
	},
	Downgrade: {
		"handshakes of the attacker's make that were taken with the right key and terms", "answers that the owner took as they were, after a false one",
		"refused by the camera: profile", "refused by the camera: version", "refused by the camera: not-paired",
		"handshakes that the rendezvous took, with the right terms, behind others",
		"owners who watch in the end, and are alone on their camera's list",
	},
	Enumeration: {"known cameras that are found by their UIDs"},
}

// No attack succeeds, in any of its shapes, and each was really tried.
func TestNothingSucceeds(t *testing.T) {
	for _, a := range Attacks() {
		t.Run(string(a), func(t *testing.T) {
			t.Parallel()
			r, err := Run(t.Context(), a, Setup{Fabric: fabric(t), Seed: 1, Tries: tries(t), Say: t.Logf})
			t.Log("\n" + r.String())
			soaked.keep(t, func(m *Record) { m.add(r) })
			if err != nil {
				t.Fatal(err)
			}
			for _, what := range witnesses[a] {
				if r.Seen[what] == 0 {
					t.Errorf("nobody saw %q, so that the tries show nothing", what)
				}
			}
			// By chance that happens once in a million runs.
			if x := r.Timing; x != nil && x.P < 1e-6 && math.Abs(x.Chance-0.5) > 0.05 {
				t.Errorf("times tell a camera that is offline from one that never was: %+v", *x)
			}
			if r.Claim.Failures != 0 || r.Claim.Tries != tries(t) {
				t.Errorf("%d of %d tries succeeded: %v", r.Claim.Failures, r.Claim.Tries, r.Gained)
			}
		})
	}
}
