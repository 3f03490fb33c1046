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

// An ordinary user certifies as root does: the bundled camera's cases pass, the command says so, and of the labs nothing is left.
func TestCertifyAsOrdinaryUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("all tests are run by an ordinary user: the scripts show the same")
	}
	u := newOrdinary(t)
	if out, err := u.punchlab("doctor").CombinedOutput(); err != nil {
		t.Skipf("no ordinary user can run a lab here: %v\n%s", err, out)
	}
	var said bytes.Buffer
	c := u.punchlab("certify", "--brief", "--case", "BW-1", "--case", "SEC-9", "--seed", "3", "--out", "out")
	c.Stdout, c.Stderr = &said, &said
	if err := c.Run(); err != nil {
		t.Errorf("%v\n%s", err, &said)
	}
	out := filepath.Join(u.home, "out")
	var all struct {
		Complete bool            `json:"complete"`
		Ran      certify.Verdict `json:"ran"`
	}
	b, err := os.ReadFile(filepath.Join(out, suite.SuiteFile))
	if err != nil || json.Unmarshal(b, &all) != nil || !all.Complete || all.Ran != certify.Pass {
		t.Errorf("%v: %.200s", err, b)
	}
	for _, id := range []string{"BW-1", "SEC-9"} {
		var one struct {
			Result certify.Result `json:"result"`
		}
		b, err := os.ReadFile(filepath.Join(out, "cases", id, "result.json"))
		if err != nil || json.Unmarshal(b, &one) != nil || one.Result.Verdict != certify.Pass {
			t.Errorf("%s: %v: %s", id, err, b)
		}
	}
	for end := time.Now().Add(30 * time.Second); len(u.processes()) > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("these go on: %q", u.processes())
		}
	}
	if home, temp := u.names(u.home), u.names(u.temp); len(home) != 1 || len(temp) != 0 {
		t.Errorf("left in the home: %q, want the evidence alone; in the folder for what is temporary: %q", home, temp)
	}
}
