package live

import (
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// fabricEnv marks the re-executed process and carries its options: "1" or "1,precise".
const fabricEnv = "PUNCHLAB_FABRIC"

// controlFD is the control socket's number in the fabric process: the first of exec.Cmd.ExtraFiles.
const controlFD = 3

// What the fabric process asks of the kernel and of Go's runtime.
const (
	fifoPriority = 10                     // as root
	niceness     = -10                    // where that is refused
	slice        = 100 * time.Microsecond // the shortest that the kernel grants
	memoryLimit  = 1 << 30
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
	schedule()
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0) // of nanosleep; 50 µs otherwise
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

// schedule has the kernel prefer this process's threads as far as this user may; where it can't, the lateness tells.
//
// Root gets SCHED_FIFO: at 32 trials at once the p99 of lateness was 0.09 ms with it, 0.2 ms with a short slice and 0.7 ms
// with a negative nice value alone (Linux 6.18, PREEMPT_NONE, two cores). A short slice makes a thread that wakes up
// preempt those that run (EEVDF, Linux 6.12), and needs no privilege.
//
// All threads, not the loop's alone: Go's scheduler takes the processor from a goroutine every 10 ms, and gives it back to
// one that is locked to its thread by way of another thread. While that one waited for a CPU, packets were up to 0.1 s late.
// Threads to come inherit from the one that makes them.
func schedule() {
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		prefer(thisThread)
	}
	for _, t := range tasks {
		if tid, err := strconv.Atoi(t.Name()); err == nil {
			prefer(tid)
		}
	}
}

const thisThread = 0

func prefer(tid int) {
	fifo := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: fifoPriority}
	if unix.SchedSetAttr(tid, &fifo, 0) == nil {
		return
	}
	fair := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_NORMAL, Nice: niceness, Runtime: uint64(slice)}
	if unix.SchedSetAttr(tid, &fair, 0) == nil {
		return
	}
	fair.Nice = 0
	_ = unix.SchedSetAttr(tid, &fair, 0)
}

// modest undoes schedule for the calling thread, which must stay locked: it is in no hurry.
func modest() {
	_ = unix.SchedSetAttr(thisThread, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_NORMAL}, 0)
}
