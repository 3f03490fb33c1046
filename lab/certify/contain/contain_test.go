package contain

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/punchlab/punchlab/lab"
	"github.com/punchlab/punchlab/lab/live"
	"github.com/punchlab/punchlab/lab/netns/netnstest"
)

func TestMain(m *testing.M) {
	Main()
	live.Main()
	if act := os.Getenv("CONTAIN_TEST_ACT"); act != "" {
		misbehave(act)
	}
	netnstest.Main(m)
}

// misbehave is what a program does that a shell can't.
func misbehave(act string) {
	switch act {
	case "memory":
		var all [][]byte
		for range 4096 {
			b := make([]byte, 1<<20)
			for i := range b {
				b[i] = byte(i)
			}
			all = append(all, b)
		}
		fmt.Println("had", len(all), "MiB")
	case "send": // when this life of its began
		born := time.Now().UnixNano()
		c, err := net.Dial("udp", os.Getenv("TO"))
		for err == nil {
			_, _ = fmt.Fprint(c, born) // refused while nobody listens
			time.Sleep(5 * time.Millisecond)
		}
		fmt.Println(err)
	case "dial": // sockets of the machine's daemons
		for _, path := range strings.Fields(os.Getenv("TO")) {
			if _, err := net.Dial("unix", path); err == nil {
				fmt.Println("reached", path)
			}
		}
	case "victim": // a lab that is killed
		s := Spec{Host: bare{}, Program: "sh", Folder: os.Getenv("FOLDER"), Wall: time.Minute}
		s.Args = []string{"-c", "trap '' TERM HUP; sleep 1001 & : > ready; sleep 1001"}
		_, err := Run(context.Background(), s)
		fmt.Println(err)
	case "threads":
		for range 200 {
			go func() { runtime.LockOSThread(); syscall.Pause() }()
		}
		select {}
	}
	os.Exit(0)
}

// bare is a host that is this process's own network.
type bare struct {
	programs chan lab.Program // announced
}

func (bare) Start(cmd *exec.Cmd) error { return cmd.Start() }
func (b bare) Run(p lab.Program) func() {
	if b.programs != nil {
		b.programs <- p
	}
	return func() {}
}

// shell is a Spec of a script.
func shell(t *testing.T, script string) Spec {
	t.Helper()
	netnstest.Require(t, "netns")
	return Spec{
		Host: bare{}, Program: "sh", Args: []string{"-c", script}, Folder: filepath.Join(t.TempDir(), "camera"),
		Wall: 2 * patienceOfTests, Grace: patienceOfTests,
	}
}

func act(t *testing.T, what string) Spec {
	t.Helper()
	s := shell(t, "")
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	s.Program, s.Args, s.Env = exe, nil, []string{"CONTAIN_TEST_ACT=" + what}
	return s
}

// patienceOfTests is how long what must come may take on a busy machine.
const patienceOfTests = 30 * time.Second

// run runs it and checks what holds for every program: nothing is left, and it took no longer than it may.
func run(t *testing.T, ctx context.Context, s Spec) *Report {
	t.Helper()
	began := time.Now()
	r, err := Run(ctx, s)
	if err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > s.Wall+s.Grace+patienceOfTests {
		t.Errorf("it took %v", took)
	}
	if n := strings.Count(offspring(t), "\n"); n > 0 {
		t.Errorf("processes are left:\n%s", offspring(t))
	}
	t.Log(r)
	return r
}

// offspring lists this process's children, a line each.
func offspring(t *testing.T) string {
	var b strings.Builder
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range stats {
		line, _ := os.ReadFile(f)
		rest := string(line[strings.LastIndexByte(string(line), ')')+1:])
		if f := strings.Fields(rest); len(f) > 1 && f[1] == fmt.Sprint(os.Getpid()) {
			b.Write(line)
		}
	}
	return b.String()
}

func TestExits(t *testing.T) {
	s := shell(t, `echo "$NAME in $PWD, $HOME"; echo trouble >&2; echo kept > file; cat /proc/self/status | grep ^NSpid; exit 127`)
	s.Env = []string{"NAME=camera"}
	r := run(t, t.Context(), s)
	if r.Ending != Exited || r.Code != 127 || len(r.Faults()) > 0 {
		t.Errorf("ended %s with %d and faults %q", r.Ending, r.Code, r.Faults())
	}
	out := string(r.Output.Head)
	if folder, _ := filepath.EvalSymlinks(s.Folder); !strings.Contains(out, fmt.Sprintf("camera in %s, %[1]s\n", folder)) {
		t.Errorf("it said %q", out)
	}
	if !strings.Contains(out, "trouble\n") || int64(len(out)) != r.Output.Bytes {
		t.Errorf("it said %q, %d bytes", out, r.Output.Bytes)
	}
	if b, err := os.ReadFile(filepath.Join(s.Folder, "file")); err != nil || string(b) != "kept\n" {
		t.Errorf("its folder has %q, %v", b, err)
	}
}

func TestExitsAtOnce(t *testing.T) {
	s := shell(t, "exit 0")
	s.AtLeast = time.Minute
	if r := run(t, t.Context(), s); r.Ending != ExitedAtOnce || len(r.Faults()) != 1 {
		t.Errorf("ended %s, faults %q", r.Ending, r.Faults())
	}
	s.Args = []string{"-c", "exit 1"}
	if r := run(t, t.Context(), s); r.Ending != Exited || r.Code != 1 {
		t.Errorf("ended %s with %d: it said that something is wrong", r.Ending, r.Code)
	}
}

func TestCrashes(t *testing.T) {
	if r := run(t, t.Context(), shell(t, "kill -SEGV $$")); r.Ending != Crashed || r.Signal != "segmentation fault" || r.Code != -1 {
		t.Errorf("ended %s by %q", r.Ending, r.Signal)
	}
}

func TestIsStopped(t *testing.T) {
	s := shell(t, `trap "echo bye; exit 3" TERM; : > ready; while :; do sleep 0.01; done`)
	ctx, cancel := context.WithCancel(t.Context())
	_, over := started(t, ctx, s)
	cancel()
	r := <-over
	if r.Ending != Stopped || r.Code != 3 || r.Ignored || len(r.Faults()) > 0 || !strings.Contains(string(r.Output.Head), "bye\n") {
		t.Errorf("ended %s with %d, faults %q; it said %q", r.Ending, r.Code, r.Faults(), r.Output.Head)
	}
}

func TestRefusesSpecs(t *testing.T) {
	good := shell(t, "exit 0")
	for want, change := range map[string]func(*Spec){
		"no host":               func(s *Spec) { s.Host = nil },
		"no folder":             func(s *Spec) { s.Folder = "" },
		"at the top":            func(s *Spec) { s.Folder = "/tmp" },
		"below zero":            func(s *Spec) { s.Wall = -1 },
		"a limit below zero":    func(s *Spec) { s.Limits.Files = -1 },
		"are too few":           func(s *Spec) { s.Limits.Memory = 1 << 20 },
		"is not NAME=value":     func(s *Spec) { s.Env = []string{"NAME"} },
		"executable file not":   func(s *Spec) { s.Program = "punchlab-no-such-program" },
		"can't be below /proc,": func(s *Spec) { s.Folder = "/dev/shm/punchlab-contain-test"; t.Cleanup(func() { os.Remove(s.Folder) }) },
	} {
		s := good
		change(&s)
		if _, err := Run(t.Context(), s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
}

func TestCanNotBeExecuted(t *testing.T) {
	s := shell(t, "")
	path := filepath.Join(t.TempDir(), "firmware")
	if err := os.WriteFile(path, []byte("\x7fELF, but not really"), 0o755); err != nil {
		t.Fatal(err)
	}
	s.Program = path
	if r := run(t, t.Context(), s); r.Ending != NotStarted || !strings.Contains(r.Refused, "exec format") || r.Code != -1 {
		t.Errorf("ended %s: %q", r.Ending, r.Refused)
	}
	s.Program = "/nowhere/firmware"
	if r, err := Run(t.Context(), s); err == nil {
		t.Errorf("a program that is not there: %v", r)
	}
}
