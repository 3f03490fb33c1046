package live

import (
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// runQueue tells how long a thread was ready to run and had no CPU. A packet may have waited as long in its device
// before the loop read it, and nothing else shows that: the kernel stamps no time on what a TUN device holds. Reading
// costs half a microsecond.
type runQueue struct {
	fd   int // of the thread's schedstat; -1 where the kernel has none
	last uint64
}

// openRunQueue watches the calling thread, which must stay locked.
func openRunQueue() runQueue {
	fd, err := unix.Open("/proc/thread-self/schedstat", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return runQueue{fd: -1}
	}
	q := runQueue{fd: fd}
	q.waited()
	return q
}

// waited is how long the thread waited since the last call.
func (q *runQueue) waited() time.Duration {
	if q.fd < 0 {
		return 0
	}
	var b [64]byte
	n, _, e := unix.RawSyscall6(unix.SYS_PREAD64, uintptr(q.fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), 0, 0, 0)
	if e != 0 {
		return 0
	}
	now, ok := runDelay(b[:n])
	if !ok || now < q.last {
		return 0
	}
	d := now - q.last
	q.last = now
	return time.Duration(d)
}

// runDelay is the second field of schedstat, in nanoseconds (Documentation/scheduler/sched-stats.rst).
func runDelay(b []byte) (ns uint64, ok bool) {
	i := 0
	for i < len(b) && b[i] != ' ' {
		i++
	}
	for i++; i < len(b) && '0' <= b[i] && b[i] <= '9'; i++ {
		ns, ok = ns*10+uint64(b[i]-'0'), true
	}
	return ns, ok
}
