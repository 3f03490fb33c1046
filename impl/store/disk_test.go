package store

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// again runs this test once more in a process of its own, which finds where in the environment variable.
func again(t *testing.T, where, value string, attr *syscall.SysProcAttr) *exec.Cmd {
	t.Helper()
	c := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v")
	c.Env = append(os.Environ(), where+"="+value)
	c.SysProcAttr = attr
	return c
}

const diskVariable, victimVariable = "PUNCHLAB_TEST_DISK", "PUNCHLAB_TEST_VICTIM"

// On a full disk everything goes on from memory, and is written when there is room again. It needs a disk of its own, and so
// a process in a user and mount namespace.
func TestFullDisk(t *testing.T) {
	disk := os.Getenv(diskVariable)
	if disk == "" {
		c := again(t, diskVariable, t.TempDir(), &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER | unix.CLONE_NEWNS,
			UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}, GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}})
		out, err := c.CombinedOutput()
		var exit *exec.ExitError
		switch {
		case errors.As(err, &exit) || err == nil && !bytes.Contains(out, []byte("--- PASS")):
			t.Fatalf("%v\n%s", err, out)
		case err != nil && strings.Contains(","+os.Getenv("PUNCHLAB_REQUIRE")+",", ",netns,"):
			t.Fatalf("PUNCHLAB_REQUIRE names netns, and there is no namespace to be had: %v", err)
		case err != nil:
			t.Skipf("no user namespace: %v", err)
		}
		return
	}
	mount(t, disk, 0, "1m")
	path := filepath.Join(disk, "records.db")
	e := &events{}
	s := mustOpen(t, path, e)
	n := 0
	save := func() {
		for range 200 {
			k, r := nth(n)
			s.Save(k, r)
			n++
		}
	}
	for len(e.list()) == 0 {
		save()
		await(t, "writing", func() bool { return s.waiting() == 0 || len(e.list()) > 0 })
	}
	failing, ok := e.list()[0].(Failing)
	if !ok || !errors.Is(failing.Err, syscall.ENOSPC) || !strings.Contains(failing.Err.Error(), path) || failing.Pending == 0 {
		t.Fatalf("%+v, want a full disk", e.list())
	}
	save() // goes on
	if got := holds(t, s, n); got != n {
		t.Errorf("full: %d of %d records", got, n)
	}
	mount(t, disk, unix.MS_REMOUNT, "8m")
	await(t, "recovery", func() bool { return len(e.list()) > 1 })
	if r, ok := e.list()[1].(Recovered); !ok || r.Written == 0 || r.Dropped != 0 {
		t.Errorf("%+v, want Recovered", e.list())
	}
	mustClose(t, s)

	// Opened on a full disk it serves what it has.
	stuff(t, disk)
	e = &events{}
	s = mustOpen(t, path, e)
	if got := holds(t, s, n); got != n {
		t.Errorf("opened on a full disk: %d of %d records", got, n)
	}
	// Damaged on a full disk it serves what could be rescued.
	there := n
	for range 10 { // the first pages that have records may be old copies, which nobody reads
		scribbleUnder(t, s, path)
		if there = holds(t, s, n); there < n {
			break
		}
	}
	if there < n*6/10 || there == n {
		t.Errorf("damaged on a full disk: %d of %d records", there, n)
	}
	await(t, "failing", func() bool { return len(e.list()) > 0 })
	if err := s.Close(); !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "are lost") {
		t.Errorf("closed on a full disk: %v", err)
	}
	// The damaged file is left as it is until it can be mended.
	overwrite(t, path, 0, make([]byte, 4096)) // a first page, which is looked at when it is opened
	before := read(t, path)
	if _, err := Open(path, Options{}); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("opened on a full disk, damaged: %v", err)
	}
	if !bytes.Equal(before, read(t, path)) {
		t.Error("the damaged file was changed")
	}
	if err := os.Remove(filepath.Join(disk, "stuff")); err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, path, nil)
	if got := holds(t, s, n); got != there {
		t.Errorf("mended: %d records, want %d", got, there)
	}
	mustClose(t, s)
}

func mount(t *testing.T, at string, flags uintptr, size string) {
	t.Helper()
	if err := unix.Mount("none", at, "tmpfs", flags, "size="+size); err != nil {
		t.Fatal(err)
	}
}

// stuff fills the disk.
func stuff(t *testing.T, disk string) {
	t.Helper()
	f, err := os.Create(filepath.Join(disk, "stuff"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// A process that is killed while it writes keeps everything that was counted as written, and leaves a sound database.
func TestKilledWhileWriting(t *testing.T) {
	if path := os.Getenv(victimVariable); path != "" {
		s := mustOpen(t, path, nil)
		for n := 0; ; n++ {
			k, r := nth(n)
			s.Save(k, r)
			if n%50 == 49 {
				await(t, "writing", func() bool { return s.Count() == n+1 })
				fmt.Println("written", n+1)
			}
		}
	}
	path := filepath.Join(t.TempDir(), "records.db")
	c := again(t, victimVariable, path, &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL})
	out, err := c.StdoutPipe()
	if err != nil || c.Start() != nil {
		t.Fatal(err)
	}
	written := 0
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if text, ok := strings.CutPrefix(lines.Text(), "written "); ok {
			written, _ = strconv.Atoi(text)
		}
		if written >= 500 && c.Process != nil {
			_ = c.Process.Kill() // it writes on until it is dead; the lines go on until then
		}
	}
	_ = c.Wait() // it was killed
	e := &events{}
	s := mustOpen(t, path, e)
	defer mustClose(t, s)
	if got := holds(t, s, written); got != written || written < 500 || len(e.list()) > 0 {
		t.Errorf("%d of %d records; events %+v", got, written, e.list())
	}
}
