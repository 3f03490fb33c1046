package live

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestRunDelay(t *testing.T) {
	for in, want := range map[string]struct {
		ns uint64
		ok bool
	}{
		"1055220 42 1\n": {42, true},
		"0 0 0\n":        {0, true},
		"17 123456789":   {123456789, true},
		"17 ":            {0, false},
		"17":             {0, false},
		"":               {0, false},
		"a b c":          {0, false},
	} {
		if ns, ok := runDelay([]byte(in)); ns != want.ns || ok != want.ok {
			t.Errorf("%q: %d, %v, want %d, %v", in, ns, ok, want.ns, want.ok)
		}
	}
}

// TestWaitedForCPU makes more threads busy than there are CPUs, so that this one must wait for its turn.
func TestWaitedForCPU(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	q := openRunQueue()
	if q.fd < 0 {
		t.Skip("this kernel has no schedstat")
	}
	defer unix.Close(q.fd)
	var stop atomic.Bool
	var wg sync.WaitGroup
	old := runtime.GOMAXPROCS(3 * runtime.NumCPU())
	defer runtime.GOMAXPROCS(old)
	for range 2 * runtime.NumCPU() {
		wg.Go(func() {
			for !stop.Load() {
			}
		})
	}
	var waited time.Duration
	for end := time.Now().Add(10 * time.Second); waited == 0 && time.Now().Before(end); {
		waited = q.waited()
	}
	stop.Store(true)
	wg.Wait()
	if waited == 0 {
		t.Error("no wait for a CPU was seen in 10s")
	}
}
