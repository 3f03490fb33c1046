package viewer

import (
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// Numbers grow, whatever the clock and the file say, and no two viewers have the same one.
func TestBoots(t *testing.T) {
	file := filepath.Join(t.TempDir(), "state", "viewer.boot")
	clock := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	next := Boots(file, func() time.Time { return clock })
	last := uint64(0)
	grows := func(what string) {
		t.Helper()
		n, err := next()
		if err != nil || n <= last || n > maxBoot {
			t.Errorf("%s: %d after %d, %v", what, n, last, err)
		}
		last = n
	}
	grows("first")
	grows("in the same minute")
	clock = clock.AddDate(30, 0, 0)
	grows("years ahead")
	clock = clock.AddDate(-30, 0, 0)
	grows("right again")
	if err := os.WriteFile(file, []byte("\x00\x00"), 0o600); err != nil {
		t.Fatal(err)
	}
	clock = clock.AddDate(31, 0, 0)
	grows("damaged, and later")
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	clock = clock.Add(time.Hour)
	grows("lost, and later")
	clock = time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC)
	grows("no clock at all")
	var seen sync.Map
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			n, err := next()
			if _, twice := seen.LoadOrStore(n, true); twice || err != nil {
				t.Errorf("%d twice, or %v", n, err)
			}
		})
	}
	wg.Wait()
	if _, err := Boots("/proc/none/x", time.Now)(); err == nil {
		t.Error("written where nothing can be")
	}
}

// A viewer whose clock was years ahead once is served once it is right.
func TestClockYearsOff(t *testing.T) {
	s := newScene(t)
	c := s.camera()
	o := s.options()
	file := filepath.Join(t.TempDir(), "viewer.boot")
	o.Boot = Boots(file, func() time.Time { return time.Now().AddDate(20, 0, 0) })
	ahead := s.viewer(o)
	if _, err := ahead.Add(within(t), c.label, AddOptions{Name: "door", Wait: 25 * time.Second}); err != nil {
		t.Fatal(err)
	}
	if err := ahead.Close(); err != nil {
		t.Fatal(err)
	}
	o.Boot = Boots(file, time.Now)
	f, err := s.viewer(o).Feed("door", WatchOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Next(within(t)); err != nil {
		t.Error(err)
	}
}
