package contain

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	lookEvery   = 10 * time.Millisecond  // at processes
	weighEvery  = 250 * time.Millisecond // the folder
	sparePIDs   = 64                     // for the warden's threads, and for what exceeds a cgroup's limit, which the kernel counts
	manyPIDs    = 2048                   // for what exceeds the limit until the warden sees it
	reserved    = 300                    // PIDs that the kernel gives out only once (RESERVED_PIDS)
	maxLeft     = 20                     // processes that are listed
	blockSize   = 512                    // of st_blocks
	statThreads = 17                     // fields of /proc/PID/stat after the state
)

// task is a process that the warden sees.
type task struct {
	pid     int
	name    string
	threads int
	memory  int64 // bytes that are its own
	zombie  bool
	stopped bool // or a zombie
}

// tasks lists the processes in the warden's PID namespace but for the warden.
func (w *warden) tasks() (list []task) {
	d, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer d.Close()
	names, _ := d.Readdirnames(-1)
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil || name == w.self {
			continue
		}
		if w.space != "" { // everybody's /proc
			if space, err := os.Readlink("/proc/" + name + "/ns/pid"); err != nil || space != w.space {
				continue
			}
		}
		if t, ok := readTask(pid); ok {
			list = append(list, t)
		}
	}
	return list
}

// readTask reads /proc/PID/stat and statm, proc(5).
func readTask(pid int) (t task, ok bool) {
	t.pid = pid
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	open, end := bytes.IndexByte(b, '('), bytes.LastIndexByte(b, ')')
	if err != nil || open < 0 || end < open {
		return t, false
	}
	t.name = string(b[open+1 : end]) // may have anything in it
	f := strings.Fields(string(b[end+1:]))
	if len(f) <= statThreads {
		return t, false
	}
	t.zombie = f[0] == "Z" || f[0] == "X"
	t.stopped = t.zombie || f[0] == "T" || f[0] == "t"
	t.threads, _ = strconv.Atoi(f[statThreads])
	var size, resident, shared int64
	if b, err = os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid)); err == nil {
		_, _ = fmt.Sscan(string(b), &size, &resident, &shared)
		t.memory = max(resident-shared, 0) * int64(os.Getpagesize())
	}
	return t, true
}

// look notes what the processes use, and reports the limit that they exceed.
func (w *warden) look() Ending {
	count, memory := 0, int64(0)
	for _, t := range w.tasks() {
		count += max(t.threads, 1)
		memory += t.memory
	}
	w.answer.Processes = max(w.answer.Processes, count)
	w.answer.Memory = max(w.answer.Memory, memory)
	switch {
	case count > w.order.Limits.Processes:
		return TooMany
	case memory > w.order.Limits.Memory:
		return OutOfMemory
	}
	return ""
}

// left lists what runs, at most maxLeft.
func (w *warden) left() (list []Process) {
	for _, t := range w.tasks() {
		if !t.zombie && len(list) < maxLeft {
			list = append(list, Process{t.pid, t.name})
		}
	}
	return list
}

// weigh reports whether the program's folder has more in it than it may.
func weigh(folder string, l Limits) bool {
	var size int64
	files := 0
	err := filepath.WalkDir(folder, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d == nil {
			return nil // gone meanwhile
		}
		files++
		if info, err := d.Info(); err == nil {
			if st, ok := info.Sys().(*syscall.Stat_t); ok {
				size += st.Blocks * blockSize
			}
		}
		if size > l.Folder || files > l.Files+1 { // it counts itself
			return fs.SkipAll
		}
		return nil
	})
	return err == nil && (size > l.Folder || files > l.Files+1)
}

// mostPIDs is how many processes and threads the kernel lets a program have at a time.
func mostPIDs(l Limits) int { return reserved + manyPIDs + 2*l.Processes }

// fewerPIDs has the kernel refuse many more processes than there may be: a PID namespace has a pid_max of its own since Linux
// 6.14. In an older kernel the file is the whole machine's, and stays as it is.
func (t *tree) fewerPIDs(proc string) {
	var u unix.Utsname
	var major, minor int
	if err := unix.Uname(&u); err == nil {
		_, _ = fmt.Sscanf(unix.ByteSliceToString(u.Release[:]), "%d.%d", &major, &minor)
	}
	if slices.Compare([]int{major, minor}, []int{6, 14}) < 0 {
		return
	}
	most := strconv.Itoa(mostPIDs(t.order.Limits))
	t.fewer = os.WriteFile(filepath.Join(proc, "sys/kernel/pid_max"), []byte(most), 0) == nil
}
