package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/punchlab/punchlab/lab/certify"
	"github.com/punchlab/punchlab/lab/certify/suite"
)

// ordinary is a user without privileges, whom no other program here runs as, with a home, a folder for what is temporary, and this test binary as
// punchlab.
type ordinary struct {
	t    *testing.T
	id   int
	dir  string // all that is there
	home string
	temp string
}

func newOrdinary(t *testing.T) *ordinary {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "punchlab-user-") // that of t.TempDir is open to nobody else
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	u := &ordinary{t: t, id: 20000 + os.Getpid()%20000, dir: dir, home: filepath.Join(dir, "home"), temp: filepath.Join(dir, "temp")}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, own := range []string{u.home, u.temp} {
		if err := os.Mkdir(own, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(own, u.id, u.id); err != nil {
			t.Fatal(err)
		}
	}
	// By another program: a file that this one had open for writing could be open in a child of another test, and not be run (ETXTBSY).
	if out, err := exec.Command("cp", self, filepath.Join(dir, "punchlab")).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return u
}

// punchlab is the program, run by the user.
func (u *ordinary) punchlab(args ...string) *exec.Cmd {
	c := exec.CommandContext(u.t.Context(), filepath.Join(u.dir, "punchlab"), args...)
	c.Dir, c.Env = u.home, []string{"PATH=" + os.Getenv("PATH"), "HOME=" + u.home, "TMPDIR=" + u.temp, "NO_COLOR=1"}
	c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(u.id), Gid: uint32(u.id)}}
	return c
}

// processes are the user's.
func (u *ordinary) processes() (all []string) {
	files, err := filepath.Glob("/proc/[0-9]*/status")
	if err != nil {
		u.t.Fatal(err)
	}
	for _, name := range files {
		b, _ := os.ReadFile(name) // of one that has ended by now nothing
		if strings.Contains(string(b), fmt.Sprintf("\nUid:\t%d\t", u.id)) {
			comm, _, _ := strings.Cut(string(b), "\n")
			all = append(all, filepath.Dir(name)+" "+comm)
		}
	}
	return all
}

// names are what is in a folder.
func (u *ordinary) names(dir string) (all []string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		u.t.Fatal(err)
	}
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

// left says what the user's programs have left behind, once they have ended: beside the folders of evidence nothing may be.
func (u *ordinary) left(evidence int) {
	u.t.Helper()
	for end := time.Now().Add(30 * time.Second); len(u.processes()) > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			u.t.Fatalf("these go on: %q", u.processes())
		}
	}
	if home, temp := u.names(u.home), u.names(u.temp); len(home) != evidence || len(temp) != 0 {
		u.t.Errorf("left in the home: %q, want %d folders of evidence alone; in the folder for what is temporary: %q", home, evidence, temp)
	}
}

// passed reports whether each of the cases, and with them the run, passed.
func (u *ordinary) passed(out string, ids ...string) bool {
	var all struct {
		Complete bool            `json:"complete"`
		Ran      certify.Verdict `json:"ran"`
	}
	u.read(filepath.Join(out, suite.SuiteFile), &all)
	passed := all.Complete && all.Ran == certify.Pass
	for _, id := range ids {
		if !passed {
			break // and a case may have no result
		}
		var one struct {
			Result certify.Result `json:"result"`
		}
		u.read(filepath.Join(out, "cases", id, "result.json"), &one)
		passed = one.Result.Verdict == certify.Pass
	}
	return passed
}

func (u *ordinary) read(name string, v any) {
	u.t.Helper()
	b, err := os.ReadFile(filepath.Join(u.home, name))
	if err == nil {
		err = json.Unmarshal(b, v)
	}
	if err != nil {
		u.t.Fatal(err)
	}
}

// An ordinary user certifies as root does: the bundled camera's cases pass, the command says so, and of the labs nothing is left. A lab may come too
// late on a machine that is busy, the more so without root's priority: then it is tried again, but each time the exit code is that of the verdicts.
func TestCertifyAsOrdinaryUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("all tests are run by an ordinary user: the scripts show the same")
	}
	u := newOrdinary(t)
	if out, err := u.punchlab("doctor").CombinedOutput(); err != nil {
		t.Skipf("no ordinary user can run a lab here: %v\n%s", err, out)
	}
	const tries = 3
	for n := 1; ; n++ {
		var said bytes.Buffer
		out := fmt.Sprintf("out-%d", n)
		c := u.punchlab("certify", "--brief", "--case", "ID-1", "--case", "SEC-10", "--seed", "3", "--jobs", "1", "--out", out)
		c.Stdout, c.Stderr = &said, &said
		err := c.Run()
		if c.ProcessState == nil {
			t.Fatal(err)
		}
		u.left(n)
		passed := u.passed(out, "ID-1", "SEC-10")
		if passed != (err == nil) {
			t.Fatalf("it passed: %v; the exit code is %d (%v)\n%s", passed, c.ProcessState.ExitCode(), err, &said)
		}
		if passed {
			return
		}
		if n == tries {
			t.Fatalf("%v\n%s", err, &said)
		}
		t.Logf("try %d: %v\n%s", n, err, &said)
	}
}
