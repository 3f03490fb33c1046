package main

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// withoutNetfilter starts a command on a kernel that has, as far as it can tell, no netfilter: a seccomp filter on the
// thread that starts it refuses every socket(AF_NETLINK, …, NETLINK_NETFILTER).
func withoutNetfilter(start func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // for ever: the thread ends with this goroutine
		done <- func() error {
			const (
				load   = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
				equal  = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
				answer = unix.BPF_RET | unix.BPF_K
				number = 0  // offsets in struct seccomp_data, little-endian
				family = 16 // args[0]
				proto  = 32 // args[2]
			)
			filter := []unix.SockFilter{
				{Code: load, K: number}, {Code: equal, K: unix.SYS_SOCKET, Jf: 5},
				{Code: load, K: family}, {Code: equal, K: unix.AF_NETLINK, Jf: 3},
				{Code: load, K: proto}, {Code: equal, K: unix.NETLINK_NETFILTER, Jf: 1},
				{Code: answer, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EPROTONOSUPPORT)},
				{Code: answer, K: unix.SECCOMP_RET_ALLOW},
			}
			program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
			if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
				return err
			}
			if err := unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&program)), 0, 0); err != nil {
				return err
			}
			return start()
		}()
	}()
	return <-done
}

func TestKernelWithoutNftablesIsNamedBeforeAnythingRuns(t *testing.T) {
	needLab(t)
	for _, args := range [][]string{{"run", "nat-matrix", "--out", "out"}, {"exec", "two-homes", "camera", "--", "true"}} {
		dir := t.TempDir()
		c := command(t, dir, args...)
		var stderr bytes.Buffer
		c.Stderr = &stderr
		if err := withoutNetfilter(c.Start); err != nil {
			t.Skipf("no seccomp here: %v", err)
		}
		_ = c.Wait()
		if code := c.ProcessState.ExitCode(); code != exitLab || !strings.Contains(stderr.String(), "nftables") {
			t.Errorf("%s: exit code %d, want %d and what is missing; stderr:\n%s", args[0], code, exitLab, &stderr)
		}
		if _, err := os.Stat(filepath.Join(dir, "out")); err == nil {
			t.Errorf("%s left a folder behind", args[0])
		}
	}
}
