package rendezvous

import (
	"context"
	"runtime/debug"
	"testing"
)

// While Run serves, garbage has as much room as it says, unless GOGC says how much; afterwards as much as before.
func TestRunCollectsGarbage(t *testing.T) {
	const before = 123
	defer debug.SetGCPercent(debug.SetGCPercent(before))
	for env, want := range map[string]int{"": garbage, "200": before} {
		t.Setenv("GOGC", env)
		ctx, cancel := context.WithCancel(t.Context())
		got := 0
		err := Run(ctx, Options{Key: newKey(t), Addrs: loopback(1), Port: freePorts(t), Drain: -1, Ready: func(*Handle) {
			got = debug.SetGCPercent(before)
			debug.SetGCPercent(got)
			cancel()
		}})
		if err != nil {
			t.Fatal(err)
		}
		if got != want {
			t.Errorf("GOGC=%q: garbage of %d %% while it serves, want %d", env, got, want)
		}
		if after := debug.SetGCPercent(before); after != before {
			t.Errorf("GOGC=%q: garbage of %d %% afterwards, want %d", env, after, before)
		}
	}
}
