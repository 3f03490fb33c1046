package source

import (
	"context"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/punchlab/punchlab/impl/media"
)

// patience is how long what must come may take on a busy machine.
const patience = time.Minute

// require skips the test where a program is missing, or fails it if PUNCHLAB_REQUIRE (comma-separated) names it.
func require(t *testing.T, program string) {
	t.Helper()
	_, err := exec.LookPath(program)
	missing(t, program, err)
}

func missing(t *testing.T, what string, err error) {
	t.Helper()
	switch {
	case err == nil:
	case slices.Contains(strings.Split(os.Getenv("PUNCHLAB_REQUIRE"), ","), what):
		t.Fatalf("PUNCHLAB_REQUIRE names %s: %v", what, err)
	default:
		t.Skipf("%s: %v", what, err)
	}
}

// log keeps what a hub tells.
type log struct {
	mu     sync.Mutex
	events []Event
	more   chan struct{}
}

func newLog() *log { return &log{more: make(chan struct{}, 1)} }

func (l *log) add(e Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = append(l.events, e)
	select {
	case l.more <- struct{}{}:
	default:
	}
}

// await waits for an event that passes.
func await[E Event](t *testing.T, l *log, passes func(E) bool) E {
	t.Helper()
	deadline := time.After(patience)
	for {
		l.mu.Lock()
		for _, e := range l.events {
			if e, ok := e.(E); ok && (passes == nil || passes(e)) {
				l.mu.Unlock()
				return e
			}
		}
		said := slices.Clone(l.events)
		l.mu.Unlock()
		select {
		case <-l.more:
		case <-deadline:
			t.Fatalf("no such event among %+v", said)
		}
	}
}

// open starts a hub that the test closes.
func open(t *testing.T, cfg Config) (*Hub, *log) {
	t.Helper()
	l := newLog()
	cfg.Observe = l.add
	h, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return h, l
}

// seen is an access unit and its picture's number.
type seen struct {
	media.AccessUnit
	number int64
}

// read reads n access units.
func read(t *testing.T, r *Reader, n int) []seen {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	units := make([]seen, 0, n)
	for range n {
		au, err := r.Read(ctx)
		if err != nil {
			t.Fatalf("after %d access units: %v", len(units), err)
		}
		units = append(units, seen{au, r.last})
	}
	return units
}

func filter(t *testing.T) Config {
	t.Helper()
	require(t, "ffmpeg")
	return Config{Input: Input{Kind: Filter, Name: "testsrc2=size=320x180:rate=25"}, Bitrate: 400_000, Floor: 50_000}
}
