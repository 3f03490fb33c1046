package cloud

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// inMountNamespace runs the test again in a mount namespace of its own, and there, in it, returns a tmpfs of so many bytes.
func inMountNamespace(t *testing.T, size string) (disk string) {
	t.Helper()
	const inside = "PUNCHLAB_CLOUD_TEST_DISK"
	if disk := os.Getenv(inside); disk != "" {
		for _, err := range []error{
			syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""),
			syscall.Mount("tmpfs", disk, "tmpfs", 0, "size="+size),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
		return disk
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(self, "-test.run", "^"+t.Name()+"$")
	c.Env = append(os.Environ(), inside+"="+t.TempDir())
	c.SysProcAttr = &syscall.SysProcAttr{
		Pdeathsig: syscall.SIGKILL, Cloneflags: syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}, GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	err = c.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
	case errors.As(err, &exit):
		t.Fatalf("in the namespace:\n%s", out.String())
	case slices.Contains(strings.Split(os.Getenv("PUNCHLAB_REQUIRE"), ","), "netns"):
		t.Fatal(err)
	default:
		t.Skipf("no namespace here: %v", err)
	}
	return ""
}

// fillDisk leaves less room than a segment needs, and returns how to give it back.
func fillDisk(t *testing.T, disk string) (free func()) {
	t.Helper()
	f, err := os.Create(filepath.Join(disk, "somebody-else's"))
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return func() { remove(t, f.Name()) }
}

// readOnly lays a read-only mount over a folder, and returns how to take it away.
func readOnly(t *testing.T, dir string) (undo func()) {
	t.Helper()
	if err := errors.Join(syscall.Mount(dir, dir, "", syscall.MS_BIND, ""),
		syscall.Mount("", dir, "", syscall.MS_BIND|syscall.MS_REMOUNT|syscall.MS_RDONLY, "")); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Fatal(err)
		}
	}
}

// With a full disk what is recorded goes to the store all the same; with an outage too, it waits in memory.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	disk := inMountNamespace(t, "16m")
	if disk == "" {
		return
	}
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		r := newRig(t, m, func(c *Config) { c.Spool, c.Part = filepath.Join(disk, "spool"), 20*time.Second })
		r.feed(5 * time.Second)
		free := fillDisk(t, disk)
		r.feed(21 * time.Second)
		if e := told[SpoolFailed](r); len(e) != 1 || !strings.Contains(e[0].Err.Error(), "free space there") {
			t.Errorf("told %+v, want once that the disk is full, and what to do", e)
		}
		m.setFail(errDown)
		r.feed(12 * time.Second)
		if s := r.Stats(); s.InMemory < 2<<20 || s.Lost != 0 {
			t.Errorf("with both gone: %+v, want segments in memory", s)
		}
		free()
		r.feed(5 * time.Second)
		if s := r.Stats(); s.InMemory != 0 || s.WaitBytes < 3<<20 || len(told[SpoolBack](r)) != 1 {
			t.Errorf("with the disk back: %+v, want all on it and this told", s)
		}
		m.setFail(nil)
		r.feed(10 * time.Second)
		r.close()
		ts, reports := archived(t, m)
		wantPictures(t, ts, units(0, r.next))
		wantOrder(t, m)
		wantNothingMissing(t, m)
		if len(reports) != 3 {
			t.Errorf("%d parts, want 3", len(reports))
		}
		wantEmpty(t, r.cfg.Spool)
	})
}

// On a disk that is smaller than the bound the oldest make room for the newest.
func TestDiskSmallerThanTheBound(t *testing.T) {
	t.Parallel()
	disk := inMountNamespace(t, "6m")
	if disk == "" {
		return
	}
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		r := newRig(t, m, func(c *Config) { c.Spool, c.Memory = filepath.Join(disk, "spool"), 2<<20 })
		m.setFail(errDown)
		r.feed(60 * time.Second)
		m.setFail(nil)
		r.feed(20 * time.Second)
		r.close()
		s := r.Stats()
		ts, reports := archived(t, m)
		if s.Lost < 5 || s.Lost > 12 || len(reports) != 1 || reports[0].Dropped != int(s.Lost) {
			t.Errorf("lost %d, reports %+v, want 5 to 12 and the archive to know", s.Lost, reports)
		}
		wantPictures(t, ts, units(100*int(s.Lost), r.next))
	})
}

// A disk that fails otherwise keeps what it has; what is newer waits in memory, and its oldest go.
func TestReadOnlyDisk(t *testing.T) {
	t.Parallel()
	disk := inMountNamespace(t, "16m")
	if disk == "" {
		return
	}
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		m.setFail(errDown)
		r := newRig(t, m, func(c *Config) { c.Spool, c.Memory, c.Part = filepath.Join(disk, "spool"), 2<<20, 16*time.Second })
		r.feed(8100 * time.Millisecond)
		writable := readOnly(t, r.cfg.Spool)
		r.feed(24 * time.Second)
		if s := r.Stats(); s.InMemory > 2<<20 || s.Lost == 0 || s.WaitBytes-s.InMemory < 1<<20 {
			t.Errorf("on a read-only disk: %+v", s)
		}
		writable()
		m.setFail(nil)
		r.feed(20 * time.Second)
		r.close()
		_, reports := archived(t, m)
		dropped := wantNothingMissing(t, m)
		for _, rep := range reports {
			dropped += rep.Dropped
		}
		if s := r.Stats(); dropped != int(s.Lost) {
			t.Errorf("the archive tells of %d dropped segments, the recorder of %d", dropped, s.Lost)
		}
	})
}
