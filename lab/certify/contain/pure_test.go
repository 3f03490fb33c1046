package contain

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestOutputKeepsBothEnds writes pieces of any size, and compares with the whole.
func TestOutputKeepsBothEnds(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 500 {
		told := 0
		o := newOutput(Limits{Keep: rng.IntN(40), Output: 60})
		o.full = func() { told++ }
		var all []byte
		for range rng.IntN(8) {
			b := make([]byte, rng.IntN(30))
			for i := range b {
				b[i] = byte('a' + rng.IntN(26))
			}
			all = append(all, b...)
			_, _ = o.Write(b)
		}
		k := o.kept()
		head := min(o.half, len(all))
		tail := min(o.half, len(all)-head)
		if k.Bytes != int64(len(all)) || string(k.Head) != string(all[:head]) || string(k.Tail) != string(all[len(all)-tail:]) {
			t.Fatalf("of %q it kept %q and %q, %d each", all, k.Head, k.Tail, o.half)
		}
		if over := len(all) > 60; over != (told == 1) || over != o.exceeded() || told > 1 {
			t.Fatalf("%d bytes of 60: told %d times, exceeded %v", len(all), told, o.exceeded())
		}
	}
}

func write(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// TestGroup has an ordinary folder in a cgroup's place: what is written, and what is read.
func TestGroup(t *testing.T) {
	g := &group{dir: t.TempDir()}
	if err := g.limit(Limits{Memory: 64 << 20, Processes: 50}); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"memory.max": "67108864", "memory.oom.group": "1", "memory.swap.max": "0", "pids.max": "114"} {
		if b, err := os.ReadFile(filepath.Join(g.dir, name)); err != nil || string(b) != want {
			t.Errorf("%s is %q, %v; want %q", name, b, err, want)
		}
	}
	write(t, g.dir, map[string]string{
		"memory.peak": "1234567\n", "pids.peak": "17\n",
		"memory.events": "low 0\nhigh 0\nmax 5\noom 1\noom_kill 1\noom_group_kill 1\n", "pids.events": "max 0\n",
	})
	if memory, tasks, oom, crowded := g.usage(); memory != 1234567 || tasks != 17 || !oom || crowded {
		t.Errorf("used %d bytes, %d tasks, out of memory %v, crowded %v", memory, tasks, oom, crowded)
	}
	write(t, g.dir, map[string]string{"memory.events": "oom 1\noom_kill 0\n", "pids.events": "max 3\n"})
	if _, _, oom, crowded := g.usage(); oom || !crowded {
		t.Errorf("out of memory %v, crowded %v", oom, crowded)
	}
}

func TestGroupIsNotForced(t *testing.T) {
	parent := t.TempDir()
	write(t, parent, map[string]string{"cgroup.subtree_control": "cpu pids\n"})
	if _, err := makeGroup(parent, Limits{}); err == nil || !strings.Contains(err.Error(), "controller memory") {
		t.Errorf("error %v, want one that names memory", err)
	}
	if entries, _ := os.ReadDir(parent); len(entries) != 1 {
		t.Errorf("it left %v", entries)
	}
}

func TestFindsGroups(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{
		"hybrid": "30 25 0:26 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n31 25 0:27 / /sys/fs/my\\040cgroup rw shared:9 - cgroup2 cgroup2 rw\n",
		"old":    "30 25 0:26 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n",
		"own":    "4:memory:/x\n0::/user.slice/lab.scope\n",
		"none":   "4:memory:/x\n",
	})
	in := func(name string) string { return filepath.Join(dir, name) }
	if root, err := groupRoot(in("hybrid")); root != "/sys/fs/my cgroup" {
		t.Errorf("root %q, %v", root, err)
	}
	if root, err := groupRoot(in("old")); err == nil {
		t.Errorf("root %q of a machine without cgroup v2", root)
	}
	if own, err := ownGroup(in("own")); own != "/user.slice/lab.scope" {
		t.Errorf("own %q, %v", own, err)
	}
	if own, err := ownGroup(in("none")); err == nil {
		t.Errorf("own %q of a process in none", own)
	}
}
