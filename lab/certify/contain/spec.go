package contain

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/punchlab/punchlab/lab"
)

// Host is where a program runs: a *lab.Machine.
type Host interface {
	Start(cmd *exec.Cmd) error         // inside its network namespace
	Run(p lab.Program) (forget func()) // announces what its events may kill, start again and suspend
}

var _ Host = (*lab.Machine)(nil)

// Spec is a program and what it may do.
type Spec struct {
	Host    Host
	Program string   // a path, or a name on PATH
	Args    []string // without the program's name
	Env     []string // NAME=value; PATH, HOME, TMPDIR (both the folder) and LANG are added where they are missing, nothing else is
	Folder  string   // its working folder, the only place where what it writes stays; made if it is missing
	Hide    []string // folders that it finds empty and read-only, but for its own folder and what Show names; those that are not there are passed over
	Show    []string // files below Hide that it may read
	Hosts   string   // hosts(5) that it finds as /etc/hosts, read-only; empty: the machine's
	Again   func()   // nil, or called before each further life, when the one before is over: an event started it again

	Wall    time.Duration // how long it may run before it is told to end; 0: a minute
	Grace   time.Duration // from SIGTERM to SIGKILL; 0: a second
	AtLeast time.Duration // one that exits with code 0 sooner has exited at once; 0: it may
	Limits  Limits

	noProc, noOverlay bool // tests: as where the kernel refuses to mount one
}

// Limits bound what a program uses. Zero means the default.
type Limits struct {
	Keep      int   // bytes of stdout and stderr that are kept, half of them the first and half the last; 64 KiB
	Output    int64 // bytes of stdout and stderr; more end it; 1 MiB
	Memory    int64 // bytes of memory, of all its processes; 512 MiB, at least 32 MiB
	Processes int   // processes and threads at a time; 256
	Folder    int64 // bytes on disk in its folder; 256 MiB
	Files     int   // files in its folder; 10,000
	Outside   int64 // bytes written outside its folder, which are kept in memory; 16 MiB
}

// leastMemory is what any program gets: below it the kernel could not even start it.
const leastMemory = 32 << 20

func or[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}

// complete is the Spec with its defaults, its folder made and its program found.
func (s Spec) complete() (Spec, error) {
	l := &s.Limits
	s.Wall, s.Grace = or(s.Wall, time.Minute), or(s.Grace, time.Second)
	l.Keep, l.Output = or(l.Keep, 64<<10), or(l.Output, 1<<20)
	l.Memory, l.Processes = or(l.Memory, 512<<20), or(l.Processes, 256)
	l.Folder, l.Files, l.Outside = or(l.Folder, 256<<20), or(l.Files, 10_000), or(l.Outside, 16<<20)
	switch {
	case s.Host == nil:
		return s, errors.New("contain: no host: give a lab.Machine")
	case s.Wall < 0 || s.Grace < 0 || s.AtLeast < 0:
		return s, errors.New("contain: a time below zero")
	case l.Keep < 0 || l.Output < 0 || l.Processes < 0 || l.Folder < 0 || l.Files < 0 || l.Outside < 0:
		return s, errors.New("contain: a limit below zero")
	case l.Memory < leastMemory:
		return s, fmt.Errorf("contain: %d bytes of memory are too few for any program: give it %d or more", l.Memory, leastMemory)
	case s.Folder == "":
		return s, errors.New("contain: no folder: name one that is the program's own")
	}
	for _, kv := range s.Env {
		if name, _, ok := strings.Cut(kv, "="); !ok || name == "" || strings.ContainsRune(kv, 0) {
			return s, fmt.Errorf("contain: environment %q is not NAME=value", kv)
		}
	}
	return s, s.find()
}

// find makes the folder and finds the program, both by absolute paths without symbolic links.
func (s *Spec) find() error {
	if err := os.MkdirAll(s.Folder, 0o755); err != nil {
		return fmt.Errorf("contain: make the program's folder: %w", err)
	}
	var err error
	if s.Folder, err = absolute(s.Folder); err != nil {
		return fmt.Errorf("contain: find the program's folder: %w", err)
	}
	if len(strings.Split(s.Folder, "/")) < 3 {
		return fmt.Errorf("contain: folder %s: the program's folder can't be at the top of the file system", s.Folder)
	}
	var hide []string
	for _, dir := range s.Hide {
		switch dir, err := absolute(dir); {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return fmt.Errorf("contain: find a folder to hide: %w", err)
		default:
			hide = append(hide, dir)
		}
	}
	s.Hide = hide
	show := make([]string, len(s.Show))
	for i, name := range s.Show {
		if show[i], err = absolute(name); err != nil {
			return fmt.Errorf("contain: find a file to show: %w", err)
		}
	}
	s.Show = show
	path, err := exec.LookPath(s.Program)
	if err != nil {
		return fmt.Errorf("contain: find the program: %w", err)
	}
	if s.Program, err = filepath.Abs(path); err != nil {
		return fmt.Errorf("contain: find the program: %w", err)
	}
	return nil
}

func absolute(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(path)
}

// environment is what the program finds.
func (s *Spec) environment() []string {
	env := []string{}
	for _, kv := range []string{"PATH=" + os.Getenv("PATH"), "HOME=" + s.Folder, "TMPDIR=" + s.Folder, "LANG=C.UTF-8"} {
		name, _, _ := strings.Cut(kv, "=")
		missing := true
		for _, given := range s.Env {
			missing = missing && !strings.HasPrefix(given, name+"=")
		}
		if missing {
			env = append(env, kv)
		}
	}
	return append(env, s.Env...)
}
