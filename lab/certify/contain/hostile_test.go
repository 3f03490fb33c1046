package contain

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/punchlab/punchlab/lab/netns/netnstest"
)

func TestIgnoresSignals(t *testing.T) {
	s := shell(t, `trap "" TERM INT HUP QUIT; : > ready; while :; do sleep 0.01; done`)
	s.Grace = 300 * time.Millisecond
	ctx, cancel := context.WithCancel(t.Context())
	_, over := started(t, ctx, s)
	cancel()
	if r := <-over; r.Ending != Stopped || !r.Ignored || r.Code != -1 || offspring(t) != "" {
		t.Errorf("ended %s with %d, ignored: %v; children: %s", r.Ending, r.Code, r.Ignored, offspring(t))
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

// TestForksBeforeTheWardenLooks: it may come to its turn only when no PID is left, for a thread of its own either.
func TestForksBeforeTheWardenLooks(t *testing.T) {
	s := shell(t, ": > ready; until [ -e go ]; do sleep 0.01; done; "+
		"mkfifo pipe; exec 3<>pipe; (i=0; while [ $i -lt 3000 ]; do (read x <&3) & i=$((i+1)); done) 2>/dev/null; : > full; kill -STOP $$")
	s.Limits.Processes = 50
	s.Wall = 5 * time.Minute
	_, over := started(t, t.Context(), s)
	var warden int
	if _, err := fmt.Sscan(offspring(t), &warden); err != nil {
		t.Fatalf("no warden: %v", err)
	}
	if err := syscall.Kill(warden, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	file, err := os.Create(filepath.Join(s.Folder, "go"))
	if err != nil {
		t.Fatal(err)
	}
	file.Close()
	appears(t, filepath.Join(s.Folder, "full"))
	if err := syscall.Kill(warden, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if r := <-over; r.Ending != TooMany || r.Usage.Processes <= 50 {
		t.Errorf("ended %s with %d processes", r.Ending, r.Usage.Processes)
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
	if r.Ending != OutOfMemory || r.Usage.Memory < 60<<20 || r.Usage.Memory > int64(data(s.Limits)) {
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
	s := shell(t, "setsid sh -c 'trap \"\" TERM HUP; : > up; while :; do sleep 0.01; done' >/dev/null 2>&1 & "+
		"until [ -e up ]; do sleep 0.01; done; exit 0")
	r := run(t, t.Context(), s)
	if r.Ending != Exited || r.Code != 0 || !slices.ContainsFunc(r.Left, func(p Process) bool { return p.Name == "sh" }) {
		t.Errorf("ended %s with %d, left %v", r.Ending, r.Code, r.Left)
	}
}

// TestLabIsKilled: the program goes with it.
func TestLabIsKilled(t *testing.T) {
	s := act(t, "victim")
	cmd := exec.Command(s.Program)
	cmd.Env = append(os.Environ(), "CONTAIN_TEST_ACT=victim", "FOLDER="+s.Folder)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	appears(t, filepath.Join(s.Folder, "ready"))
	for deadline := time.Now().Add(patienceOfTests); sleepers() == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the program does not run")
		}
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	for deadline := time.Now().Add(patienceOfTests); sleepers() > 0 || offspring(t) != ""; time.Sleep(time.Millisecond) {
		if _, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); err != nil && sleepers() == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the program outlived the lab: %s", offspring(t))
		}
	}
}

func sleepers() (n int) {
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, f := range files {
		if b, _ := os.ReadFile(f); string(b) == "sleep\x001001\x00" {
			n++
		}
	}
	return n
}
