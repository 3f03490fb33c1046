package netns

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// isolatedEnv marks the re-executed child and says which namespaces it was given.
const isolatedEnv = "PUNCHLAB_ISOLATED"

// exitNoProc is how a child says that it can't mount /proc for its PID namespace; the parent then starts one without.
const exitNoProc = 113

// ErrNotPermitted means that this user may not make namespaces here.
var ErrNotPermitted = errors.New("making network namespaces is not permitted")

// Isolated reports whether this process is already inside namespaces of its own.
func Isolated() bool { return os.Getenv(isolatedEnv) != "" }

// Isolate moves the program into mount, network and PID namespaces of its own (and a user namespace, when it is
// not root) by executing it again with the same arguments. In the first process it returns only on an error and
// otherwise exits with the child's exit code; in the child it finishes the set-up and returns nil.
//
// Call it on the main goroutine before anything is opened or started.
func Isolate() error { return isolate(false) }

func isolate(keepHome bool) error {
	kind := os.Getenv(isolatedEnv)
	if kind == "pid" && os.Getpid() != 1 {
		kind = "" // inherited: another process was given namespaces, and these mounts are not ours to change
	}
	if kind != "" && keptHome() == nil {
		unix.CloseOnExec(homeFD) // it is for nobody that this process starts
	}
	switch kind {
	case "":
		return reexec(keepHome)
	case "pid":
		if err := privateMounts(true); err != nil {
			os.Exit(exitNoProc)
		}
		return raiseFileLimit()
	default:
		if err := privateMounts(false); err != nil {
			return err
		}
		return raiseFileLimit()
	}
}

func reexec(keepHome bool) error {
	// The child's parent-death signal is tied to the thread that starts it.
	runtime.LockOSThread()
	code, err := runChild("pid", unix.CLONE_NEWPID, keepHome)
	if err == nil && code == exitNoProc {
		code, err = runChild("net", 0, keepHome)
	}
	if err != nil {
		return err
	}
	os.Exit(code)
	return nil
}

func runChild(kind string, extra uintptr, keepHome bool) (code int, err error) {
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = slices.Clone(os.Args)
	cmd.Env = append(slices.DeleteFunc(os.Environ(), func(kv string) bool {
		return strings.HasPrefix(kv, isolatedEnv+"=") || strings.HasPrefix(kv, homeEnv+"=")
	}), isolatedEnv+"="+kind)
	if keepHome {
		home, env, err := openHome()
		if err != nil {
			return 0, err
		}
		defer home.Close()
		cmd.ExtraFiles, cmd.Env = []*os.File{home}, append(cmd.Env, env)
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	attr := &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWNET | extra,
		Pdeathsig:  syscall.SIGKILL,
	}
	if os.Geteuid() != 0 {
		// In one call with the network namespace: that one must belong to the new user namespace.
		attr.Cloneflags |= unix.CLONE_NEWUSER
		attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
	}
	cmd.SysProcAttr = attr
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT)
	defer signal.Stop(signals)
	if err := cmd.Start(); err != nil {
		return 0, fmt.Errorf("%w (%w): run as root, or allow user namespaces (sysctl user.max_user_namespaces, kernel.apparmor_restrict_unprivileged_userns)", ErrNotPermitted, err)
	}
	go forward(signals, cmd.Process)
	err = cmd.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		if ws, ok := exit.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
			return 128 + int(ws.Signal()), nil
		}
		return exit.ExitCode(), nil
	}
	return 0, err
}

// forward passes signals on. The child may get one twice, since it is in the same process group.
func forward(signals <-chan os.Signal, p *os.Process) {
	for s := range signals {
		_ = p.Signal(s)
	}
}

// privateMounts keeps this process's mounts to itself and gives it a /proc that shows its own PID namespace.
func privateMounts(proc bool) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if !proc {
		return nil
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	return nil
}

// raiseFileLimit lifts the soft limit of open files: a topology holds about twenty.
func raiseFileLimit() error {
	var lim unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
		return fmt.Errorf("read open-file limit: %w", err)
	}
	lim.Cur = lim.Max
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
		return fmt.Errorf("raise open-file limit: %w", err)
	}
	return nil
}
