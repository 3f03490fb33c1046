package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// process is an ffmpeg that runs, the leader of a process group of its own.
//
//	start ──► runs ──end (SIGTERM)──► grace ──► SIGKILL to the group ──► gone
//	            └── by itself ─────────────────────────▲
type process struct {
	cmd    *exec.Cmd
	stdin  *os.File // nil: none
	stdout *os.File
	tail   *tail
	done   chan struct{} // closed when it is gone, with all of its group
	err    error         // of Wait; after done

	mu   sync.Mutex
	gone bool
}

// How long a process has to end by itself: a network camera is told that its session is over.
const (
	endGrace  = 500 * time.Millisecond
	pipeGrace = time.Second // for who has inherited stderr
)

// ErrNoFFmpeg says that ffmpeg is missing (errors.Is).
var ErrNoFFmpeg = errors.New("ffmpeg is not installed")

// program finds ffmpeg.
func (c Config) program() (string, error) {
	path, err := exec.LookPath(c.FFmpeg)
	if err != nil {
		return "", fmt.Errorf("%w: %q is not in PATH: install it (Debian: apt install ffmpeg), or give an H.264 file or stream, which needs none",
			ErrNoFFmpeg, c.FFmpeg)
	}
	return path, nil
}

// spawn starts ffmpeg.
func (c Config) spawn(args []string, stdin bool) (p *process, err error) {
	path, err := c.program()
	if err != nil {
		return nil, err
	}
	p = &process{cmd: exec.Command(path, args...), tail: &tail{secrets: c.Input.secrets()}, done: make(chan struct{})}
	p.cmd.Stderr, p.cmd.WaitDelay = p.tail, pipeGrace
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var theirs []*os.File
	defer func() { closeAll(theirs) }()
	read, write, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("start ffmpeg: %w", err)
	}
	p.stdout, p.cmd.Stdout = read, write
	theirs = append(theirs, write)
	if stdin {
		if read, write, err = os.Pipe(); err != nil {
			return nil, fmt.Errorf("start ffmpeg: %w", errors.Join(err, p.stdout.Close()))
		}
		p.stdin, p.cmd.Stdin = write, read
		theirs = append(theirs, read)
	}
	if err := p.start(c.Start); err != nil {
		closeAll([]*os.File{p.stdout, p.stdin})
		return nil, fmt.Errorf("start ffmpeg: %w", err)
	}
	return p, nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		if f != nil {
			_ = f.Close()
		}
	}
}

// start starts the command, and a goroutine that waits for it.
func (p *process) start(start func(*exec.Cmd) error) error {
	started := make(chan error)
	go func() {
		if start == nil {
			// The kernel sends this signal when the thread ends that has started the process, not the program.
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			p.cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
			start = (*exec.Cmd).Start
		}
		err := start(p.cmd)
		started <- err
		if err == nil {
			p.wait()
		}
	}()
	return <-started
}

// wait waits until the process ends, and ends what it has left behind.
func (p *process) wait() {
	defer close(p.done)
	for unix.Waitid(unix.P_PID, p.cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil) == unix.EINTR {
	}
	p.signal(unix.SIGKILL)
	p.mu.Lock()
	p.gone = true // its number may be another's from now on
	p.mu.Unlock()
	p.err = p.cmd.Wait()
}

// signal signals the group.
func (p *process) signal(s unix.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.gone {
		_ = unix.Kill(-p.cmd.Process.Pid, s)
	}
}

// follow ends the process when the context does.
func (p *process) follow(ctx context.Context, grace time.Duration) {
	select {
	case <-ctx.Done():
		p.end(grace)
	case <-p.done:
	}
}

// end asks the process to end, and ends it after a while. It waits until it is gone.
func (p *process) end(grace time.Duration) {
	if grace > 0 {
		p.signal(unix.SIGTERM)
		t := time.NewTimer(grace)
		defer t.Stop()
		select {
		case <-p.done:
		case <-t.C:
		}
	}
	p.signal(unix.SIGKILL)
	<-p.done
}

// close gives back its files.
func (p *process) close() { closeAll([]*os.File{p.stdin, p.stdout}) }

// reason says why a process that is gone has ended, with its last lines and what to do.
func (p *process) reason(what string, err error) error {
	said := p.tail.String()
	switch {
	case err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, os.ErrClosed):
	case p.err != nil:
		err = p.err
	default:
		err = errors.New("it has ended")
	}
	if advice := advise(said); advice != "" {
		return fmt.Errorf("%s: %s (%w; %s)", what, advice, err, said)
	}
	if said != "" {
		return fmt.Errorf("%s: %w; ffmpeg says: %s", what, err, said)
	}
	return fmt.Errorf("%s: %w", what, err)
}

// advice is what to do about what ffmpeg says.
var advice = []struct{ said, do string }{
	{"401 Unauthorized", "the camera wants a name and password, or others: write them into the URL, rtsp://NAME:PASSWORD@HOST/PATH"},
	{"403 Forbidden", "the camera refuses this user: give another's name and password"},
	{"404 ", "the camera has no stream of that name: look up its path"},
	{"Connection refused", "nothing listens there: is the camera on, and the port right?"},
	{"Connection timed out", "nobody answers there: is the camera on, and the address right?"},
	{"No route to host", "nobody has that address on this network"},
	{"Network is unreachable", "this host has no network"},
	{"Name or service not known", "no host has that name"},
	{"Failed to resolve", "no host has that name"},
	{"Unknown encoder", "this ffmpeg has no H.264 encoder: install one with libx264 (Debian: apt install ffmpeg)"},
	{"Unknown input format: 'lavfi'", "this ffmpeg makes no pictures itself: install one with lavfi"},
	{"Device or resource busy", "another program uses the camera: end that"},
	{"Permission denied", "this user may not open it: add him to the group video (usermod -aG video NAME), or change the file's mode"},
	{"No such file or directory", "there is no such file or device"},
	{"No such device", "there is no such device"},
	{"Invalid data found", "that is no video which ffmpeg knows"},
	{"No space left", "the disk is full"},
}

func advise(said string) string {
	for _, a := range advice {
		if strings.Contains(said, a.said) {
			return a.do
		}
	}
	return ""
}

// tail keeps the last lines of what is written, without secrets.
type tail struct {
	secrets []string

	mu    sync.Mutex
	lines []string
	open  []byte // the line that is not ended
}

const (
	tailLines = 4
	tailLine  = 200 // bytes of a line
)

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, c := range b {
		switch {
		case c == '\n' || c == '\r':
			t.endLine()
		case len(t.open) < tailLine*4: // a secret must be found whole
			t.open = append(t.open, c)
		}
	}
	return len(b), nil
}

func (t *tail) endLine() {
	line := strings.TrimSpace(strings.ToValidUTF8(string(t.open), "?"))
	t.open = t.open[:0]
	if line == "" {
		return
	}
	for _, s := range t.secrets {
		if s != "" {
			line = strings.ReplaceAll(line, s, "…")
		}
	}
	if len(line) > tailLine {
		line = strings.ToValidUTF8(line[:tailLine], "") + "…"
	}
	if len(t.lines) == tailLines {
		t.lines = t.lines[1:]
	}
	t.lines = append(t.lines, line)
}

// String is the lines in one.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.endLine()
	return strings.Join(t.lines, "; ")
}
