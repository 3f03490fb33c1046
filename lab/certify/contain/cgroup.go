package contain

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// group is a cgroup (v2: Documentation/admin-guide/cgroup-v2.rst) for one life of a program. Its files are plain text; nothing
// in the host's own cgroups is changed, so that what their owner has not enabled for children is not used.
type group struct {
	dir   string
	procs *os.File // cgroup.procs: who writes 0 joins
}

const (
	groupPrefix = "punchlab-contain-"
	staleAfter  = time.Minute // an empty group so old was left by a lab that was killed
)

// controllers that a group must have.
var controllers = []string{"memory", "pids"}

// newGroup makes a group below this process's own cgroup or, as root may, below the topmost. The error says why there is none.
func newGroup(l Limits) (*group, error) {
	root, err := groupRoot("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	own, err := ownGroup("/proc/self/cgroup")
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, parent := range slices.Compact([]string{filepath.Join(root, own), root}) {
		g, err := makeGroup(parent, l)
		if err == nil {
			return g, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

// groupRoot is where cgroup v2 is mounted.
func groupRoot(mountinfo string) (string, error) {
	b, err := os.ReadFile(mountinfo)
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(b)) {
		before, after, ok := strings.Cut(line, " - ")
		if f := strings.Fields(before); ok && strings.HasPrefix(after, "cgroup2 ") && len(f) > 4 {
			return unescape(f[4]), nil
		}
	}
	return "", errors.New("cgroup v2 is not mounted")
}

// ownGroup is this process's cgroup, as a path below the root.
func ownGroup(file string) (string, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(b)) {
		if p, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok {
			return p, nil
		}
	}
	return "", errors.New("this process is in no cgroup of v2")
}

// makeGroup makes a group with its limits below a parent.
func makeGroup(parent string, l Limits) (*group, error) {
	b, err := os.ReadFile(filepath.Join(parent, "cgroup.subtree_control"))
	if err != nil {
		return nil, err
	}
	for _, c := range controllers {
		if !slices.Contains(strings.Fields(string(b)), c) {
			return nil, fmt.Errorf("%s does not have controller %s enabled for its children (cgroup.subtree_control)", parent, c)
		}
	}
	sweepGroups(parent)
	dir, err := os.MkdirTemp(parent, groupPrefix)
	if err != nil {
		return nil, err
	}
	g := &group{dir: dir}
	if err := g.limit(l); err != nil {
		return nil, errors.Join(err, g.Close())
	}
	if g.procs, err = os.OpenFile(filepath.Join(dir, "cgroup.procs"), os.O_WRONLY, 0); err != nil {
		return nil, errors.Join(err, g.Close())
	}
	return g, nil
}

// limit sets the group's limits.
func (g *group) limit(l Limits) error {
	for _, f := range []struct {
		name, value string
		optional    bool
	}{
		{"memory.max", strconv.FormatInt(l.Memory, 10), false},
		{"memory.swap.max", "0", true}, // without swap accounting there is no such file
		{"memory.oom.group", "1", false},
		{"pids.max", strconv.Itoa(l.Processes + sparePIDs), false}, // the warden sees who exceeds the limit
	} {
		err := os.WriteFile(filepath.Join(g.dir, f.name), []byte(f.value), 0o644)
		if err != nil && !(f.optional && errors.Is(err, fs.ErrNotExist)) {
			return err
		}
	}
	return nil
}

// sweepGroups removes what labs that were killed have left. A group with processes in it can't be removed.
func sweepGroups(parent string) {
	old, _ := filepath.Glob(filepath.Join(parent, groupPrefix+"*"))
	for _, dir := range old {
		if st, err := os.Stat(dir); err == nil && time.Since(st.ModTime()) > staleAfter {
			_ = os.Remove(dir)
		}
	}
}

// usage reads what the group's processes have used: bytes of memory and tasks at most, and whether the kernel killed them for
// memory, or refused one for their number. Old kernels lack the peaks: zero.
func (g *group) usage() (memory int64, tasks int, oom, crowded bool) {
	memory, _ = strconv.ParseInt(g.read("memory.peak"), 10, 64)
	tasks, _ = strconv.Atoi(g.read("pids.peak"))
	return memory, tasks, field(g.read("memory.events"), "oom_kill") > 0, field(g.read("pids.events"), "max") > 0
}

func (g *group) read(name string) string {
	b, _ := os.ReadFile(filepath.Join(g.dir, name))
	return strings.TrimSpace(string(b))
}

// field is a number in a file of lines NAME NUMBER.
func field(text, name string) (n int64) {
	s := bufio.NewScanner(strings.NewReader(text))
	for s.Scan() {
		if v, ok := strings.CutPrefix(s.Text(), name+" "); ok {
			n, _ = strconv.ParseInt(v, 10, 64)
		}
	}
	return n
}

// Close removes the group, in which no process may be any more.
func (g *group) Close() error {
	if g.procs != nil {
		g.procs.Close()
	}
	// A process that has ended leaves its cgroup a little later.
	for deadline := time.Now().Add(time.Second); ; time.Sleep(time.Millisecond) {
		err := os.Remove(g.dir)
		if err == nil || errors.Is(err, fs.ErrNotExist) || time.Now().After(deadline) {
			return err
		}
	}
}
