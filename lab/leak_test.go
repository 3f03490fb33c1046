package lab_test

import (
	"errors"
	"os"
	"testing"

	"github.com/punchlab/punchlab/lab"
	"golang.org/x/sys/unix"
)

func TestClosedPoolClosesWhatComesBack(t *testing.T) {
	f := startFabric(t)
	topo := topology(t, "two-homes")
	before := 0
	for i := range 3 {
		p := &lab.Pool{Fabric: f}
		l, err := p.Get(t.Context(), topo, 1)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(p.Close(), p.Put(l)); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			before = descriptors(t) // what opens once stays open
		}
	}
	if after := descriptors(t); after > before {
		t.Errorf("%d descriptors before, %d after two pools were closed with a lab out", before, after)
	}
}

func TestFailedUpLeavesNothing(t *testing.T) {
	f := startFabric(t)
	topo := topology(t, "cgn")
	topo.Sites[len(topo.Sites)-1].Behavior.PortParity = true // no engine of this build can do it
	before := 0
	for i := range 4 {
		if l, err := lab.Up(f, topo, 1); err == nil {
			l.Close()
			t.Fatal("a behavior came up that nftables can't express")
		}
		if i == 0 {
			before = descriptors(t) // what opens once stays open
		}
	}
	if after := descriptors(t); after > before {
		t.Errorf("%d descriptors before, %d after three topologies failed to come up", before, after)
	}
}

func descriptors(t *testing.T) int {
	t.Helper()
	d, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(d)
}

// leavesNothing repeats what opens and closes things.
func leavesNothing(t *testing.T, cycle func()) {
	t.Helper()
	cycle() // what opens once stays open
	before := descriptors(t)
	for range 5 {
		cycle()
	}
	if after := descriptors(t); after > before {
		t.Errorf("%d descriptors before, %d after five more labs", before, after)
	}
}

func TestNoDescriptorIsLeft(t *testing.T) {
	f := startFabric(t)
	topo := topology(t, "cgn")
	cycle := func() {
		l, err := lab.Up(f, topo, 1)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(l.Prove(t.Context()), l.Close()); err != nil {
			t.Fatal(err)
		}
	}
	leavesNothing(t, cycle)
}

// TestUpFailsCleanlyAtEveryStep brings a lab up with ever more free descriptors, so that each of its steps fails once.
func TestUpFailsCleanlyAtEveryStep(t *testing.T) {
	f := startFabric(t)
	topo := topology(t, "two-homes")
	var lim unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
		t.Fatal(err)
	}
	full := lim.Cur
	restore := func() {
		lim.Cur = full
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
			t.Fatal(err)
		}
	}
	defer restore()
	l := up(t, f, topo)
	if err := errors.Join(l.Prove(t.Context()), l.Close()); err != nil { // what opens once stays open
		t.Fatal(err)
	}
	before, failures := descriptors(t), 0
	for free := 0; ; free++ {
		lim.Cur = uint64(before + free)
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
			t.Fatal(err)
		}
		l, err := lab.Up(f, topo, 1)
		if err == nil {
			err = errors.Join(l.Prove(t.Context()), l.Close())
		}
		restore()
		if after := descriptors(t); after != before {
			t.Fatalf("%d descriptors before, %d after a lab failed to come up with %d free: %v", before, after, free, err)
		}
		if err == nil {
			break
		}
		if !errors.Is(err, unix.EMFILE) {
			t.Errorf("with %d descriptors free: %v", free, err)
		}
		failures++
	}
	if most := 48; failures > most { // runner.descriptorsEach
		t.Errorf("a lab and its probe hold up to %d descriptors at once, which the runner takes to be at most %d", failures, most)
	}
	if failures < 20 {
		t.Errorf("only %d steps failed: a lab holds more descriptors than that", failures)
	}
}

func TestPoolGivesUpIdleLabsForWantOfDescriptors(t *testing.T) {
	f := startFabric(t)
	p := &lab.Pool{Fabric: f}
	defer p.Close()
	get := func(camera string) (*lab.Lab, error) {
		return p.Get(t.Context(), topology(t, "two-homes", "camera.nat", camera), 1)
	}
	l, err := get("full-cone")
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Put(l); err != nil {
		t.Fatal(err)
	}
	var lim unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
		t.Fatal(err)
	}
	less := lim
	less.Cur = uint64(descriptors(t) + 15) // a lab takes more
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &less); err != nil {
		t.Fatal(err)
	}
	defer unix.Setrlimit(unix.RLIMIT_NOFILE, &lim)
	other, err := get("open") // of another shape: the idle lab is of no use to it but for its descriptors
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Close(); err != nil {
		t.Error(err)
	}
}
