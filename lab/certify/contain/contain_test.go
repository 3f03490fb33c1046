package contain

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
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
	case "send": // what number of its life it is
		c, err := net.Dial("udp", os.Getenv("TO"))
		for i := 1; err == nil; i++ {
			_, _ = fmt.Fprint(c, i) // refused while nobody listens
			time.Sleep(5 * time.Millisecond)
		}
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
		Wall: 10 * time.Second, Grace: 300 * time.Millisecond,
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

// run runs it and checks what holds for every program: nothing is left, and it took no longer than it may.
func run(t *testing.T, ctx context.Context, s Spec) *Report {
	t.Helper()
	began := time.Now()
	r, err := Run(ctx, s)
	if err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > s.Wall+s.Grace+2*time.Second {
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
	s.AtLeast = 5 * time.Second
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

func TestIgnoresSignals(t *testing.T) {
	s := shell(t, `trap "" TERM INT HUP QUIT; while :; do sleep 0.01; done`)
	s.Wall = 400 * time.Millisecond
	if r := run(t, t.Context(), s); r.Ending != TimedOut || !r.Ignored || r.Code != -1 {
		t.Errorf("ended %s with %d, ignored: %v", r.Ending, r.Code, r.Ignored)
	}
}

func TestHangs(t *testing.T) {
	s := shell(t, "sleep 1000")
	s.Wall = 200 * time.Millisecond
	if r := run(t, t.Context(), s); r.Ending != TimedOut || r.Ignored {
		t.Errorf("ended %s, ignored: %v", r.Ending, r.Ignored)
	}
}

func TestFloodsItsLog(t *testing.T) {
	s := shell(t, "echo first; exec yes")
	s.Limits.Keep, s.Limits.Output = 1000, 100_000
	r := run(t, t.Context(), s)
	if r.Ending != TooMuchLog || r.Output.Bytes <= 100_000 {
		t.Errorf("ended %s after %d bytes", r.Ending, r.Output.Bytes)
	}
	if len(r.Output.Head) != 500 || len(r.Output.Tail) != 500 || !strings.HasPrefix(string(r.Output.Head), "first\n") {
		t.Errorf("kept %d and %d bytes: %q", len(r.Output.Head), len(r.Output.Tail), r.Output.Head)
	}
}

func TestForks(t *testing.T) {
	s := shell(t, `f() { f | f & f; }; f`)
	s.Limits.Processes = 50
	r := run(t, t.Context(), s)
	if r.Ending != TooMany || r.Usage.Processes <= 50 {
		t.Errorf("ended %s with %d processes", r.Ending, r.Usage.Processes)
	}
	if most := mostPIDs(s.Limits); r.Usage.Processes > most {
		t.Errorf("it had %d processes, more than the kernel was to give it: %d", r.Usage.Processes, most)
	}
}

func TestThreadsCount(t *testing.T) {
	s := act(t, "threads")
	s.Limits.Processes = 100
	if r := run(t, t.Context(), s); r.Ending != TooMany {
		t.Errorf("ended %s with %d threads", r.Ending, r.Usage.Processes)
	}
}

func TestUsesMuchMemory(t *testing.T) {
	s := act(t, "memory")
	s.Limits.Memory = 64 << 20
	r := run(t, t.Context(), s)
	if r.Ending != OutOfMemory || r.Usage.Memory < 64<<20 || r.Usage.Memory > int64(data(s.Limits)) {
		t.Errorf("ended %s with %d MiB", r.Ending, r.Usage.Memory>>20)
	}
}

func TestFillsItsFolder(t *testing.T) {
	s := shell(t, "head -c 20000000 /dev/zero > big; sleep 100")
	s.Limits.Folder = 10 << 20
	if r := run(t, t.Context(), s); r.Ending != Exited && r.Ending != TooMuchDisk { // no file may be as large alone
		t.Errorf("ended %s", r.Ending)
	}
	if st, err := os.Stat(filepath.Join(s.Folder, "big")); err != nil || st.Size() > 10<<20 {
		t.Errorf("a file is larger than the folder may be: %v, %v", st, err)
	}
	s.Args = []string{"-c", "for i in 1 2 3; do head -c 5000000 /dev/zero > part$i; done; sleep 100"}
	if r := run(t, t.Context(), s); r.Ending != TooMuchDisk {
		t.Errorf("ended %s", r.Ending)
	}
	s = shell(t, "i=0; while [ $i -lt 200 ]; do : > file$i; i=$((i+1)); done")
	s.Limits.Files = 100
	if r := run(t, t.Context(), s); r.Ending != TooMuchDisk {
		t.Errorf("ended %s with too many files", r.Ending)
	}
}

func TestDaemonises(t *testing.T) {
	netnstest.Require(t, "setsid")
	s := shell(t, "setsid sh -c 'trap \"\" TERM HUP; while :; do sleep 0.01; done' >/dev/null 2>&1 & exit 0")
	r := run(t, t.Context(), s)
	if r.Ending != Exited || r.Code != 0 || !slices.ContainsFunc(r.Left, func(p Process) bool { return p.Name == "sh" }) {
		t.Errorf("ended %s with %d, left %v", r.Ending, r.Code, r.Left)
	}
}

func TestWritesOutside(t *testing.T) {
	s := shell(t, "")
	beside := filepath.Dir(s.Folder)
	if err := os.WriteFile(filepath.Join(beside, "theirs"), []byte("before\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(beside, "precious"), []byte("before\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	s.Args = []string{"-c", `cd ..; echo new > mine; echo more >> theirs; rm precious; mkdir dir; cat theirs; echo x > /punchlab-top; echo ok > camera/in; exit 0`}
	r := run(t, t.Context(), s)
	real, err := filepath.EvalSymlinks(beside)
	if err != nil {
		t.Fatal(err)
	}
	want := []Change{
		{real + "/dir", "created", 0}, {real + "/mine", "created", 4}, {real + "/precious", "removed", 0},
		{real + "/theirs", "changed", 12}, {"/punchlab-top", "created", 0},
	}
	slices.SortFunc(want, func(a, b Change) int { return strings.Compare(a.Path, b.Path) })
	if !slices.Equal(r.Outside, want) {
		t.Errorf("it wrote\n%v, want\n%v", r.Outside, want)
	}
	for _, name := range []string{"theirs", "precious"} {
		if b, err := os.ReadFile(filepath.Join(beside, name)); err != nil || string(b) != "before\n" {
			t.Errorf("%s is %q, %v", name, b, err)
		}
	}
	for _, name := range []string{"/punchlab-top", filepath.Join(beside, "mine"), filepath.Join(beside, "dir")} {
		if _, err := os.Lstat(name); err == nil {
			t.Errorf("%s is there", name)
		}
	}
	if _, err := os.Stat(filepath.Join(s.Folder, "in")); err != nil {
		t.Error(err)
	}
}

func TestWritesOutsideWithoutBound(t *testing.T) {
	s := shell(t, "head -c 30000000 /dev/zero > ../big; echo $?")
	s.Limits.Outside = 1 << 20
	r := run(t, t.Context(), s)
	if len(r.Outside) != 1 || r.Outside[0].Size > 1<<20 || !strings.Contains(string(r.Output.Head), "No space") {
		t.Errorf("it wrote %v and said %q", r.Outside, r.Output.Head)
	}
}

// TestMayNot has a program try what would reach the machine: each line is to fail.
func TestMayNot(t *testing.T) {
	netnstest.Require(t, "mount", "unshare", "mknod", "ip")
	tries := []string{
		"kill -KILL 1; kill -TERM 1; kill -SEGV 1; kill -QUIT 1; sleep 0.05; ! kill -0 1",
		"echo 1 > /proc/sys/kernel/pid_max", "echo x > /proc/sys/kernel/core_pattern", "echo 1 > /proc/sysrq-trigger",
		"mount -o remount,rw /proc/sys", "mount -t tmpfs none /mnt", "umount /proc", "unshare -n true", "mknod disk b 254 0",
		"cat /proc/1/environ", "ls /proc/1/root/", "ip link set lo down", "hostname other", "echo > /dev/new", "ls /dev/vda /dev/sda",
		"echo 1 > /sys/class/net/lo/mtu",
	}
	s := shell(t, "")
	var b strings.Builder
	for i, try := range tries {
		fmt.Fprintf(&b, "(%s) >/dev/null 2>&1 && echo 'done: %d'\n", try, i)
	}
	s.Args = []string{"-c", b.String() + "echo end"}
	r := run(t, t.Context(), s)
	for i, try := range tries {
		if strings.Contains(string(r.Output.Head), fmt.Sprintf("done: %d\n", i)) {
			t.Errorf("it could: %s", try)
		}
	}
	if !strings.HasSuffix(string(r.Output.Head), "end\n") || r.Ending != Exited {
		t.Errorf("ended %s; it said %q", r.Ending, r.Output.Head)
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
