package contain

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// launch becomes the program: with its limits and few privileges, in its cgroup and its folder. What goes wrong is written to the
// warden; where nothing does, that descriptor is closed by execve.
func launch() {
	runtime.LockOSThread() // capabilities belong to a thread
	answers := os.NewFile(answersFD, "answers")
	if err := become(); err != nil {
		fmt.Fprint(answers, err)
	}
	os.Exit(1)
}

func become() error {
	var o order
	if err := json.NewDecoder(os.NewFile(ordersFD, "orders")).Decode(&o); err != nil {
		return fmt.Errorf("read orders: %w", err)
	}
	if err := limit(&o); err != nil {
		return err
	}
	if err := renounce(); err != nil {
		return err
	}
	if err := os.Chdir(o.Folder); err != nil {
		return err
	}
	if o.Group {
		// Only now: what this stage used is not the program's.
		if _, err := unix.Write(groupFD, []byte("0")); err != nil {
			return fmt.Errorf("join cgroup: %w", err)
		}
	}
	unix.Umask(0o022)
	return syscall.Exec(o.Program, append([]string{o.Program}, o.Args...), o.Env)
}

// maxOpen is how many files a process may have open.
const maxOpen = 4096

// data is how much a process may map to write into. That is much more than it may use: stacks of threads and a runtime's arenas
// count before they are touched, and the warden is to see who uses too much, before an allocation fails and the program
// ends in a way of its own.
func data(l Limits) uint64 { return uint64(4*l.Memory + 512<<20) }

// limit sets what each process may use by itself.
func limit(o *order) error {
	for _, l := range []struct {
		name     string
		resource int
		value    uint64
	}{
		{"data", unix.RLIMIT_DATA, data(o.Limits)},
		{"file size", unix.RLIMIT_FSIZE, uint64(o.Limits.Folder)},
		{"core", unix.RLIMIT_CORE, 0},
		{"open files", unix.RLIMIT_NOFILE, maxOpen},
	} {
		var have unix.Rlimit
		if err := unix.Getrlimit(l.resource, &have); err != nil {
			return fmt.Errorf("read limit of %s: %w", l.name, err)
		}
		v := min(l.value, have.Max)
		if err := unix.Setrlimit(l.resource, &unix.Rlimit{Cur: v, Max: v}); err != nil {
			return fmt.Errorf("set limit of %s: %w", l.name, err)
		}
	}
	// First to go where the whole machine is short of memory.
	_ = os.WriteFile("/proc/self/oom_score_adj", []byte("500"), 0)
	return nil
}

// kept are the capabilities that a program has: what a device's firmware needs to listen on port 80, to send ICMP, and to run
// a part of itself as another user. It has none over mounts, devices, interfaces and other processes.
var kept = []uintptr{
	unix.CAP_CHOWN, unix.CAP_DAC_OVERRIDE, unix.CAP_FOWNER, unix.CAP_FSETID, unix.CAP_KILL, unix.CAP_SETGID, unix.CAP_SETUID,
	unix.CAP_NET_BIND_SERVICE, unix.CAP_NET_RAW,
}

// renounce drops this thread's other capabilities, from the next execve on and for good.
func renounce() error {
	for c := uintptr(0); c <= unix.CAP_LAST_CAP; c++ {
		if slices.Contains(kept, c) {
			continue
		}
		err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0)
		if err == unix.EINVAL {
			continue // this kernel does not have it
		}
		if err != nil {
			return fmt.Errorf("drop capability %d: %w", c, err)
		}
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("renounce new privileges: %w", err)
	}
	return nil
}
