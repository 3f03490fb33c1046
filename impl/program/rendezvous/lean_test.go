package rendezvous

import (
	"runtime"
	"runtime/debug"
	runtimemetrics "runtime/metrics"
	"testing"
	"time"
)

func percent() int {
	s := []runtimemetrics.Sample{{Name: "/gc/gogc:percent"}}
	runtimemetrics.Read(s)
	return int(s[0].Value.Uint64())
}

// Garbage has less room once much lives, and afterwards as much as before.
func TestLean(t *testing.T) {
	const before = 123
	t.Setenv("GOGC", "")
	defer debug.SetGCPercent(debug.SetGCPercent(before))
	lives := make([]byte, leanFrom)
	runtime.GC()
	stop := lean(time.Millisecond)
	for end := time.Now().Add(time.Minute); percent() == before && time.Now().Before(end); {
		runtime.Gosched()
	}
	if got := percent(); got != leanPercent {
		t.Errorf("%d %%, want %d", got, leanPercent)
	}
	runtime.KeepAlive(lives)
	stop()
	if got := percent(); got != before {
		t.Errorf("%d %% afterwards, want %d", got, before)
	}
	if got := room(leanFrom-1, before); got != before {
		t.Errorf("%d %% where little lives, want %d", got, before)
	}
}

// What GOGC says stands.
func TestLeanObeys(t *testing.T) {
	const asked = 321
	t.Setenv("GOGC", "321")
	defer debug.SetGCPercent(debug.SetGCPercent(asked))
	stop := lean(time.Nanosecond)
	debug.SetGCPercent(asked + 1) // whoever watches would set it back
	stop()
	if got := percent(); got != asked+1 {
		t.Errorf("%d %%, want %d", got, asked+1)
	}
}
