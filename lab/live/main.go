package live

import (
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strings"

	"golang.org/x/sys/unix"
)

// fabricEnv marks the re-executed process and carries its options: "1" or "1,precise".
const fabricEnv = "PUNCHLAB_FABRIC"

// controlFD is the control socket's number in the fabric process: the first of exec.Cmd.ExtraFiles.
const controlFD = 3

// What the fabric process asks of the kernel and of Go's runtime.
const (
	niceness     = -10 // as root
	fifoPriority = 10  // when precise, as root
	memoryLimit  = 256 << 20
)

// Main runs the fabric and exits if this process was started as one. Otherwise it returns. Call it first in main and
// in TestMain.
func Main() {
	options, ok := os.LookupEnv(fabricEnv)
	if !ok {
		return
	}
	if err := runFabric(strings.Contains(options, "precise")); err != nil {
		fmt.Fprintf(os.Stderr, "fabric: %v\n", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func runFabric(precise bool) error {
	// An interrupt from the terminal reaches the whole process group; the parent decides when the fabric ends.
	signal.Ignore(unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT)
	// Nothing is allocated for a packet. What control messages leave is collected when there is a lot of it.
	debug.SetGCPercent(-1)
	debug.SetMemoryLimit(memoryLimit)
	runtime.LockOSThread()
	schedule(precise)
	if err := unix.SetNonblock(controlFD, true); err != nil {
		return fmt.Errorf("take over the control socket: %w", err)
	}
	unix.CloseOnExec(controlFD)
	l, err := newLoop(controlFD, precise)
	if err != nil {
		return err
	}
	return l.run()
}

// schedule raises this thread's priority as far as this user may; an ordinary user may not, and the lateness tells.
func schedule(precise bool) {
	const thisThread = 0
	if precise {
		attr := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: fifoPriority}
		if unix.SchedSetAttr(thisThread, &attr, 0) == nil {
			return
		}
	}
	_ = unix.Setpriority(unix.PRIO_PROCESS, thisThread, niceness)
}
