package stack

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/punchlab/punchlab/lab"
	"golang.org/x/sys/unix"
)

const (
	externalGrace = time.Second // from SIGTERM to SIGKILL
	maxLine       = 64 << 10    // bytes of a line that are looked at
	maxTail       = 300         // bytes of a command's last line, for when it fails
)

// process is a command on a host: a process group of its own. It is a lab.Program: an event may kill it, start it again with
// the same arguments and files, or let it sleep.
type process struct {
	name    string
	machine *lab.Machine
	path    string
	args    []string
	env     []string
	dir     string
	input   bool // it has a stdin that is written to
	line    func(process, line string, at time.Time)
	exited  func(process string, code int) // by itself: not killed
	forget  func()

	mu     sync.Mutex
	run    *running // nil: it is dead
	ended  bool     // for good
	tail   string   // the last line
	groups []int    // process groups of its lives

	lives sync.WaitGroup // that are followed
}

// running is one life of a process.
type running struct {
	cmd    *exec.Cmd
	stdin  *os.File // nil: none
	killed bool
	over   chan struct{} // it has ended, and its lines are read
}

// Start starts the command, unless it runs.
func (p *process) Start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.run != nil || p.ended {
		return nil
	}
	cmd := exec.Command(p.path, p.args...)
	cmd.Env, cmd.Dir = p.env, p.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	r := &running{cmd: cmd, over: make(chan struct{})}
	var ours, theirs []*os.File // ends of pipes
	defer func() {
		for _, f := range theirs {
			f.Close()
		}
	}()
	for _, set := range []func(*os.File){func(f *os.File) { cmd.Stdout = f }, func(f *os.File) { cmd.Stderr = f }} {
		read, write, err := os.Pipe()
		if err != nil {
			return errors.Join(fmt.Errorf("make pipe: %w", err), closeFiles(ours))
		}
		set(write)
		ours, theirs = append(ours, read), append(theirs, write)
	}
	if p.input {
		read, write, err := os.Pipe()
		if err != nil {
			return errors.Join(fmt.Errorf("make pipe: %w", err), closeFiles(ours))
		}
		cmd.Stdin, r.stdin = read, write
		theirs = append(theirs, read)
	}
	if err := p.machine.Start(cmd); err != nil {
		if r.stdin != nil {
			ours = append(ours, r.stdin)
		}
		return errors.Join(err, closeFiles(ours))
	}
	p.run = r
	p.groups = append(p.groups, cmd.Process.Pid)
	p.lives.Go(func() { p.follow(r, ours) })
	return nil
}

func closeFiles(files []*os.File) error {
	for _, f := range files {
		f.Close()
	}
	return nil
}

// follow reads what the process says until it has ended.
func (p *process) follow(r *running, outputs []*os.File) {
	var readers sync.WaitGroup
	for _, f := range outputs {
		readers.Go(func() { p.read(&output{f, pipeHolds}) })
	}
	err := r.cmd.Wait()
	// What it has left behind may hold its stdout: its own last lines are there now.
	for _, f := range outputs {
		_ = f.SetReadDeadline(time.Now().Add(leftoverPatience))
	}
	readers.Wait()
	_ = closeFiles(outputs)
	if r.stdin != nil {
		r.stdin.Close()
	}
	p.mu.Lock()
	killed := r.killed
	if p.run == r {
		p.run = nil
	}
	p.mu.Unlock()
	if !killed {
		p.exited(p.name, exitCode(err))
	}
	close(r.over)
}

// leftoverPatience is how long lines are read after a process has ended, while another one holds its outputs.
const leftoverPatience = 50 * time.Millisecond

// pipeHolds is what a pipe holds, in bytes (pipe(7)).
const pipeHolds = 64 << 10

// output is where a process writes. What is in the pipe when the time for it is over is read all the same: on a busy machine its
// reader may not have had its turn before.
type output struct {
	*os.File
	left int // to be read after that time
}

func (o *output) Read(b []byte) (int, error) {
	n, err := o.File.Read(b)
	if !errors.Is(err, os.ErrDeadlineExceeded) || o.left <= 0 {
		return n, err
	}
	raw, rawErr := o.SyscallConn()
	if rawErr == nil {
		rawErr = raw.Control(func(fd uintptr) { n, _ = unix.Read(int(fd), b[:min(len(b), o.left)]) })
	}
	if rawErr != nil || n <= 0 {
		return 0, err
	}
	o.left -= n
	return n, nil
}

// exitCode is what a shell would say: 128 and more for a signal.
func exitCode(err error) int {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case !errors.As(err, &exit):
		return 126
	}
	if ws, ok := exit.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return exit.ExitCode()
}

// read passes each line on. Of one that is too long the beginning counts.
func (p *process) read(f io.Reader) {
	r := bufio.NewReaderSize(f, maxLine)
	for {
		b, more, err := r.ReadLine()
		if err != nil {
			return
		}
		at := time.Now()
		s := string(b)
		for more && err == nil {
			_, more, err = r.ReadLine()
		}
		p.mu.Lock()
		p.tail = s[:min(len(s), maxTail)]
		p.mu.Unlock()
		p.line(p.name, s, at)
	}
}

// write sends a line to the process's stdin, which it has to read soon where the line is longer than a pipe.
func (p *process) write(line string) error {
	p.mu.Lock()
	r := p.run
	p.mu.Unlock()
	if r == nil || r.stdin == nil {
		return fmt.Errorf("%s does not run", p.name)
	}
	_ = r.stdin.SetWriteDeadline(time.Now().Add(stdinPatience))
	if _, err := r.stdin.WriteString(line + "\n"); err != nil {
		return fmt.Errorf("%s does not read its request: %w", p.name, err)
	}
	return nil
}

// stdinPatience is how long a process may take to read a line.
const stdinPatience = time.Second

// Kill ends the process group at once.
func (p *process) Kill() { p.signal(unix.SIGKILL, true) }

// Sleep suspends the process group and waits until each of its processes has stopped: what is in the midst of a call of the kernel's
// ends that before.
func (p *process) Sleep() {
	r := p.signal(unix.SIGSTOP, false)
	for deadline := time.Now().Add(stopPatience); r != nil && time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if stopped(r.cmd.Process.Pid) {
			return
		}
	}
}

// stopPatience is how long a process may take to stop.
const stopPatience = 10 * time.Second

// stopped reports whether no process of a group does anything.
func stopped(group int) bool {
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if _, of, state := status(pid); of == group && !strings.Contains("TtZX", state) {
			return false
		}
	}
	return true
}

// Wake lets it go on.
func (p *process) Wake() { p.signal(unix.SIGCONT, false) }

// signal signals the process group and returns the life that it was, or nil. To be killed is no exit of its own.
func (p *process) signal(s unix.Signal, kill bool) *running {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.run
	if r == nil {
		return nil
	}
	r.killed = r.killed || kill
	if kill && s == unix.SIGKILL {
		p.run = nil
	}
	_ = unix.Kill(-r.cmd.Process.Pid, s)
	return r
}

// end ends it for good: no event knows it any more. It is asked first, by SIGTERM.
func (p *process) end() {
	if p.forget != nil {
		p.forget()
	}
	p.mu.Lock()
	p.ended = true
	p.mu.Unlock()
	defer p.lives.Wait()
	p.Wake()
	r := p.signal(unix.SIGTERM, true)
	if r == nil {
		return
	}
	t := time.NewTimer(externalGrace)
	defer t.Stop()
	select {
	case <-r.over:
	case <-t.C:
	}
	_ = unix.Kill(-r.cmd.Process.Pid, unix.SIGKILL) // its children, too
	<-r.over
}

// said is its last line.
func (p *process) said() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.tail
}
