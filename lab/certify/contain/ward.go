package contain

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Orders to the warden.
const (
	orderEnd   = 'T' // SIGTERM, and after the grace SIGKILL
	orderKill  = 'K'
	orderSleep = 'S'
	orderWake  = 'W'
)

// What the warden says meanwhile.
const (
	running  = "running\n"  // the launcher has become the program
	sleeping = "sleeping\n" // nothing runs any more
)

// answer is what the warden has seen.
type answer struct {
	Error    string // of the lab's
	Refused  string // the kernel did not execute the program
	Status   syscall.WaitStatus
	Told     bool   // an order ended it, not the program itself
	Limit    Ending // that it exceeded
	Ignored  bool
	Left     []Process
	Outside  []Change
	More     int
	Took     int64 // nanoseconds
	CPU      int64 // nanoseconds
	Memory   int64
	ReadOnly []string
	Lacks    []string
	Fewer    bool // the kernel bounds the number of processes

	Processes int
}

// warden is PID 1 of a program's PID namespace.
type warden struct {
	order  order
	answer answer
	tree   *tree
	self   string // its PID as /proc has it
	space  string // the PID namespace, where /proc shows others, too

	answers *os.File
	orders  <-chan byte               // closed: the lab is gone
	main    <-chan syscall.WaitStatus // the program has ended
	empty   <-chan struct{}           // everything has
}

// ward is the warden's life.
func ward() {
	// A signal without a handler does nothing to PID 1; what Go would handle by dying is taken and thrown away.
	signal.Notify(make(chan os.Signal, 1))
	w := &warden{answers: os.NewFile(answersFD, "answers")}
	if err := w.run(); err != nil {
		w.answer.Error = err.Error()
	}
	_, _ = w.answers.Write(encode(w.answer))
	_, _, _ = unix.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0) // os.Exit takes a second under the race detector
}

func (w *warden) run() error {
	r := bufio.NewReader(os.NewFile(ordersFD, "orders"))
	line, err := r.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("read orders: %w", err)
	}
	if err := json.Unmarshal(line, &w.order); err != nil {
		return fmt.Errorf("read orders: %w", err)
	}
	if w.tree, err = newTree(&w.order); err != nil {
		return err
	}
	w.answer.ReadOnly, w.answer.Lacks, w.answer.Fewer = w.tree.readOnly, w.tree.lacks, w.tree.fewer
	if w.self, err = os.Readlink("/proc/self"); err != nil {
		return fmt.Errorf("find myself: %w", err)
	}
	if w.self != strconv.Itoa(os.Getpid()) {
		if w.space, err = os.Readlink("/proc/self/ns/pid"); err != nil {
			return fmt.Errorf("find my PID namespace: %w", err)
		}
	}
	w.orders = listen(r)
	hoard(spareThreads)
	pid, err := w.start()
	if err != nil {
		return err
	}
	if _, err := w.answers.WriteString(running); err != nil {
		return err
	}
	began := time.Now()
	w.reap(pid)
	exited := w.follow()
	w.answer.Took = time.Since(began).Nanoseconds()
	if exited {
		w.settle()
	}
	return w.clear()
}

// spareThreads is more than the warden's goroutines can be blocked in at once: Wait4, orders, the folder, /proc, and Go's own.
const spareThreads = 16

// hoard has Go's runtime own n threads more, which it keeps idle and takes before it makes one. A program that forks until its
// PIDs are used up leaves none for a thread of the warden's, and a Go program that can't make one dies.
func hoard(n int) {
	var started, over sync.WaitGroup
	done := make(chan struct{})
	started.Add(n)
	for range n {
		over.Go(func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread() // one that ends locked takes its thread with it
			started.Done()
			<-done
		})
	}
	started.Wait()
	close(done)
	over.Wait()
}

// listen passes orders on.
func listen(r io.ByteReader) <-chan byte {
	c := make(chan byte)
	go func() {
		defer close(c)
		for {
			b, err := r.ReadByte()
			if err != nil {
				return
			}
			c <- b
		}
	}()
	return c
}

// start starts the launcher and returns when it has become the program, or says why not.
func (w *warden) start() (pid int, err error) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		return 0, err
	}
	defer null.Close()
	read, send, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	defer send.Close()
	told, tell, err := os.Pipe()
	if err != nil {
		read.Close()
		return 0, err
	}
	defer told.Close()
	attr := &syscall.ProcAttr{
		Env:   []string{stageEnv + "=" + stageLauncher},
		Files: []uintptr{null.Fd(), 1, 2, read.Fd(), tell.Fd()},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	}
	if w.order.Group {
		attr.Files = append(attr.Files, groupFD)
	}
	pid, err = syscall.ForkExec("/proc/self/exe", []string{"punchlab-contain"}, attr)
	read.Close()
	tell.Close()
	if err != nil {
		return 0, fmt.Errorf("start the launcher: %w", err)
	}
	if _, err := send.Write(encode(w.order)); err != nil {
		w.answer.Refused = err.Error()
		return pid, nil
	}
	said, err := io.ReadAll(told)
	w.answer.Refused = string(said)
	return pid, err
}

// reap waits for every child: orphans become the warden's.
func (w *warden) reap(pid int) {
	main, empty := make(chan syscall.WaitStatus, 1), make(chan struct{})
	w.main, w.empty = main, empty
	go func() {
		defer close(empty)
		for {
			var status syscall.WaitStatus
			got, err := syscall.Wait4(-1, &status, 0, nil)
			switch {
			case errors.Is(err, syscall.EINTR):
			case err != nil: // ECHILD: nobody is left
				return
			case got == pid:
				main <- status
			}
		}
	}()
}

// settling is how long what a program has started may take to end after it.
const settling = 100 * time.Millisecond

// follow returns when the program has ended, true, or is to be killed.
func (w *warden) follow() (exited bool) {
	look, heavy := time.NewTicker(lookEvery), w.weighing()
	defer look.Stop()
	var patience <-chan time.Time
	w.answer.Limit = w.look()
	for w.answer.Limit == "" {
		select {
		case w.answer.Status = <-w.main:
			return true
		case b, ok := <-w.orders:
			if !ok {
				os.Exit(1) // and all else with it
			}
			switch b {
			case orderEnd:
				w.answer.Told = true
				_ = unix.Kill(-1, unix.SIGCONT)
				_ = unix.Kill(-1, unix.SIGTERM)
				patience = time.After(time.Duration(w.order.Grace))
			case orderKill:
				w.answer.Told = true
				return false
			case orderSleep:
				w.sleep()
			case orderWake:
				_ = unix.Kill(-1, unix.SIGCONT)
			}
		case <-patience:
			w.answer.Ignored = true
			return false
		case <-look.C:
			w.answer.Limit = w.look()
		case <-heavy:
			w.answer.Limit = TooMuchDisk
		}
	}
	return false
}

// stopping is how long processes may take to stop.
const stopping = time.Second

// sleep stops every process, and says so when they have stopped.
func (w *warden) sleep() {
	_ = unix.Kill(-1, unix.SIGSTOP)
	runs := func(t task) bool { return !t.stopped }
	for deadline := time.Now().Add(stopping); slices.ContainsFunc(w.tasks(), runs) && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	_, _ = w.answers.WriteString(sleeping)
}

// settle waits a little for what the program has started, still within the limits, and notes what stays.
func (w *warden) settle() {
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	settled := time.After(settling)
	for w.answer.Limit = w.look(); w.answer.Limit == ""; w.answer.Limit = w.look() {
		select {
		case <-w.empty:
			return
		case <-settled:
			w.answer.Left = w.left()
			return
		case <-look.C:
		}
	}
}

// weighing is closed when the folder is too heavy.
func (w *warden) weighing() <-chan struct{} {
	heavy := make(chan struct{})
	go func() {
		for range time.Tick(weighEvery) {
			if weigh(w.order.Folder, w.order.Limits) {
				close(heavy)
				return
			}
		}
	}()
	return heavy
}

// clearing is how long killed processes may take to be gone.
const clearing = 5 * time.Second

// clear kills what is left and completes the answer.
func (w *warden) clear() error {
	_ = unix.Kill(-1, unix.SIGKILL)
	select {
	case <-w.empty:
	case <-time.After(clearing):
		return fmt.Errorf("processes %v are still there %v after SIGKILL", w.left(), clearing)
	}
	select {
	case w.answer.Status = <-w.main: // it was killed
	default:
	}
	if w.answer.Limit == "" && weigh(w.order.Folder, w.order.Limits) {
		w.answer.Limit = TooMuchDisk
	}
	var ru syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_CHILDREN, &ru); err != nil {
		return err
	}
	// Between two looks a process can allocate a lot, and end. The launcher, which is counted here, needs less than the least limit.
	if most := ru.Maxrss << 10; most > leastMemory {
		w.answer.Memory = max(w.answer.Memory, most)
	}
	if w.answer.Limit == "" && w.answer.Memory > w.order.Limits.Memory {
		w.answer.Limit = OutOfMemory
	}
	w.answer.CPU = ru.Utime.Nano() + ru.Stime.Nano()
	w.answer.Outside, w.answer.More = w.tree.changes()
	return nil
}
