package rendezvous

import (
	"os"
	"runtime/debug"
	runtimemetrics "runtime/metrics"
	"time"
)

// What lives on a server's heap is mostly cameras, which stay, and each of their keepalives leaves little: memory, not time, bounds
// how many it can carry. So garbage may not have as much room as what lives, as Go has it by itself, once that is much.
const (
	leanFrom    = 32 << 20 // bytes that live: less is not worth the time
	leanPercent = 50       // of them for garbage
	leanEvery   = 5 * time.Second
)

// lean has the process collect garbage so, unless GOGC says how, until it is told to stop, which leaves all as it was.
func lean(every time.Duration) (stop func()) {
	if os.Getenv("GOGC") != "" {
		return func() {}
	}
	usual := debug.SetGCPercent(leanPercent)
	debug.SetGCPercent(usual)
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		defer debug.SetGCPercent(usual)
		tick := time.NewTicker(every)
		defer tick.Stop()
		for now := usual; ; {
			select {
			case <-end:
				return
			case <-tick.C:
			}
			if want := room(living(), usual); want != now {
				now = want
				debug.SetGCPercent(want)
			}
		}
	}()
	return func() {
		close(end)
		<-ended
	}
}

// room is how many percent garbage may have.
func room(living uint64, usual int) int {
	if living >= leanFrom {
		return leanPercent
	}
	return usual
}

// living is how many bytes lived on the heap when garbage was last collected.
func living() uint64 {
	s := []runtimemetrics.Sample{{Name: "/gc/heap/live:bytes"}}
	runtimemetrics.Read(s)
	return s[0].Value.Uint64()
}
