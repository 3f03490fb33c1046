package contain

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// life is one life of a program: a warden and what it guards.
type life struct {
	spec   *Spec
	output *output
	cmd    *exec.Cmd
	group  *group // nil: none
	lack   string // why there is none

	orders  *os.File
	answers *os.File
	streams []*os.File

	mu   sync.Mutex
	why  Ending // it was told to end; empty: it was not
	over chan struct{}

	slept chan struct{} // it says that it sleeps
	ready chan struct{} // closed: it runs, or is over

	// Once over:
	answer answer
	ending Ending
	err    error
}

// begin starts a life.
func begin(s *Spec, out *output) (*life, error) {
	if err := nested(); err != nil {
		return nil, err
	}
	l := &life{spec: s, output: out, over: make(chan struct{}), slept: make(chan struct{}, 1), ready: make(chan struct{})}
	var err error
	if l.group, err = newGroup(s.Limits); err != nil {
		l.lack = fmt.Sprintf("No cgroup: %v.", err)
	}
	if err := l.spawn(); err != nil {
		if l.group != nil {
			err = errors.Join(err, l.group.Close())
		}
		return nil, err
	}
	go l.follow()
	return l, nil
}

// spawn starts the warden and gives it its orders.
func (l *life) spawn() (err error) {
	var ours, theirs []*os.File // ends of pipes
	defer func() {
		for _, f := range theirs {
			f.Close()
		}
		for _, f := range ours {
			if err != nil {
				f.Close()
			}
		}
	}()
	for range 4 {
		r, w, err := os.Pipe()
		if err != nil {
			return fmt.Errorf("contain: make pipe: %w", err)
		}
		ours, theirs = append(ours, r), append(theirs, w)
	}
	ours[0], theirs[0] = theirs[0], ours[0] // orders go the other way
	l.orders, l.answers, l.streams = ours[0], ours[1], ours[2:]
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = []string{"punchlab-contain"}
	cmd.Env = []string{stageEnv + "=" + stageWarden}
	cmd.ExtraFiles = theirs[:2]
	cmd.Stdout, cmd.Stderr = theirs[2], theirs[3]
	if l.group != nil {
		cmd.ExtraFiles = append(cmd.ExtraFiles, l.group.procs)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS,
		Setsid:     true, // an interrupt from the terminal is not for it
	}
	l.cmd = cmd
	if err := l.spec.Host.Start(cmd); err != nil {
		return fmt.Errorf("contain: start the warden: %w", err)
	}
	// Longer than a pipe, maybe; a warden that is gone is found out by its answer.
	first := encode(order{
		Program: l.spec.Program, Args: l.spec.Args, Env: l.spec.environment(), Folder: l.spec.Folder, Limits: l.spec.Limits, Hosts: l.spec.Hosts,
		Hide: l.spec.Hide, Show: l.spec.Show,
		Grace: int64(l.spec.Grace), Group: l.group != nil, NoProc: l.spec.noProc, NoOverlay: l.spec.noOverlay,
	})
	_ = l.orders.SetWriteDeadline(time.Now().Add(patience))
	_, _ = l.orders.Write(first)
	return nil
}

// patience is how long the warden may take to read an order, and to answer after its program has been killed.
const patience = 10 * time.Second

// tell gives the warden an order.
func (l *life) tell(b byte) {
	_ = l.orders.SetWriteDeadline(time.Now().Add(patience))
	_, _ = l.orders.Write([]byte{b})
}

// sleep suspends it, and returns when nothing of it runs.
func (l *life) sleep() {
	l.tell(orderSleep)
	t := time.NewTimer(patience)
	defer t.Stop()
	select {
	case <-l.slept:
	case <-l.over:
	case <-t.C:
	}
}

// end has it end, for a reason: the first one counts. It does not wait.
func (l *life) end(why Ending) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.why == "" {
		l.why = why
	}
	due := patience
	switch why {
	case Stopped, TimedOut:
		l.tell(orderEnd)
		due += l.spec.Grace
	default:
		l.tell(orderKill)
	}
	// One that does not answer takes all that it guards with it.
	t := time.AfterFunc(due, func() { _ = l.cmd.Process.Kill() })
	go func() { <-l.over; t.Stop() }()
}

// hear returns what the warden says in the end.
func (l *life) hear() ([]byte, error) {
	r := bufio.NewReader(l.answers)
	up := sync.OnceFunc(func() { close(l.ready) })
	defer up()
	for {
		line, err := r.ReadBytes('\n')
		switch {
		case err != nil:
			return nil, err
		case string(line) == running:
			up()
		case string(line) == sleeping:
			select {
			case l.slept <- struct{}{}:
			default:
			}
		default:
			return line, nil
		}
	}
}

// follow waits for the warden and hears what it says.
func (l *life) follow() {
	defer close(l.over)
	var readers sync.WaitGroup
	for _, f := range l.streams {
		readers.Go(func() { l.output.drain(f) })
	}
	said, err := l.hear()
	waited := l.cmd.Wait()
	readers.Wait() // nobody is left who could write
	l.answers.Close()
	l.mu.Lock()
	l.orders.Close()
	l.mu.Unlock()
	switch {
	case err != nil:
		l.err = fmt.Errorf("contain: the warden ended without an answer: %w (%v)", err, waited)
	default:
		l.err = json.Unmarshal(said, &l.answer)
	}
	if l.err == nil && l.answer.Error != "" {
		l.err = fmt.Errorf("contain: %s", l.answer.Error)
	}
	if l.group != nil {
		l.count()
		l.err = errors.Join(l.err, l.group.Close())
	}
	l.ending = l.judge() // now: a next life prints to the same output
}

// count adds what the cgroup has seen.
func (l *life) count() {
	memory, tasks, oom, crowded := l.group.usage()
	l.answer.Memory, l.answer.Processes = max(l.answer.Memory, memory), max(l.answer.Processes, tasks)
	switch {
	case oom && l.answer.Limit == "":
		l.answer.Limit = OutOfMemory
	case crowded && l.answer.Limit == "":
		l.answer.Limit = TooMany
	}
}

// judge says how it ended.
func (l *life) judge() Ending {
	a := &l.answer
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case a.Refused != "":
		return NotStarted
	case a.Limit != "":
		return a.Limit
	case l.output.exceeded():
		return TooMuchLog
	case a.Told: // otherwise the order came too late
		return l.why
	case a.Status.Signaled():
		return Crashed
	case a.Status.ExitStatus() == 0 && time.Duration(a.Took) < l.spec.AtLeast:
		return ExitedAtOnce
	}
	return Exited
}

// add adds what one life has shown.
func (r *Report) add(l *life) {
	a := &l.answer
	r.Ending, r.Code, r.Signal, r.Refused = l.ending, -1, "", a.Refused
	if a.Status.Exited() && a.Refused == "" {
		r.Code = a.Status.ExitStatus()
	}
	if s := a.Status.Signal(); a.Status.Signaled() && (!a.Told && a.Limit == "" || s != unix.SIGTERM && s != unix.SIGKILL) {
		r.Signal = s.String()
	}
	if r.Ending == Cut {
		r.Cuts++
	}
	r.Took += time.Duration(a.Took)
	r.Ignored = r.Ignored || a.Ignored
	r.Left = a.Left
	r.Outside, r.More = append(r.Outside, a.Outside...), r.More+a.More
	if n := len(r.Outside); n > maxChanges {
		r.Outside, r.More = r.Outside[:maxChanges], r.More+n-maxChanges
	}
	r.Usage.CPU += time.Duration(a.CPU)
	r.Usage.Memory, r.Usage.Processes = max(r.Usage.Memory, a.Memory), max(r.Usage.Processes, a.Processes)
	r.Means = l.means()
}

// means says what held the limits.
func (l *life) means() Means {
	m := Means{Memory: "cgroup v2", Processes: "cgroup v2", ReadOnly: l.answer.ReadOnly, Lacks: l.answer.Lacks}
	if l.group != nil {
		return m
	}
	m.Memory = "RLIMIT_DATA of each process, and their sum watched"
	m.Processes = "watched"
	if l.answer.Fewer {
		m.Processes = "pid_max of the PID namespace, and watched"
	}
	m.Lacks = append([]string{l.lack}, m.Lacks...)
	return m
}
