package live_test

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/punchlab/punchlab/lab/live"
	"github.com/punchlab/punchlab/lab/netns"
	"github.com/punchlab/punchlab/lab/netns/netnstest"
)

const victimEnv = "LIVE_TEST_VICTIM"

// victim is the program that TestKillLeavesNoFabric kills.
func victim() {
	f, err := live.Start(live.Options{})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println(f.PID())
	select {}
}

func TestKillLeavesNoFabric(t *testing.T) {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), victimEnv+"=1")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var pid int
	if _, err := fmt.Fscan(bufio.NewReader(out), &pid); err != nil {
		t.Fatalf("victim did not start its fabric: %v", err)
	}
	if !running(pid) {
		t.Fatalf("fabric process %d is not running", pid)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	await(t, "the fabric process to end after its parent was killed", func() bool { return !running(pid) })
}

// running tells whether the process is there and no zombie.
func running(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, after, _ := strings.Cut(string(b), ") ")
	return !strings.HasPrefix(after, "Z") && !strings.HasPrefix(after, "X")
}

func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

func TestFabricDies(t *testing.T) {
	netnstest.Require(t, "netns")
	f := start(t, live.Options{})
	n := newNet(t, f)
	newSite(t, n, "a", addrA, delay(0))
	if err := syscall.Kill(f.PID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-f.Done()
	_, statsErr := n.Stats()
	_, netErr := f.NewNet(1)
	for what, err := range map[string]error{"Stats": statsErr, "Reset": n.Reset(1), "NewNet": netErr} {
		if !errors.Is(err, live.ErrFabricEnded) || !strings.Contains(err.Error(), "killed") {
			t.Errorf("%s after the fabric was killed: %v, want %v and how it ended", what, err, live.ErrFabricEnded)
		}
	}
	if err := n.Close(); err != nil {
		t.Errorf("close net: %v", err)
	}
}

func TestFabricDiesDuringCalls(t *testing.T) {
	netnstest.Require(t, "netns")
	f := start(t, live.Options{})
	n := newNet(t, f)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for n.Reset(1) == nil {
			}
		})
	}
	if err := syscall.Kill(f.PID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	wg.Wait() // every call returns
}

func TestInterruptLeavesFabric(t *testing.T) {
	f := start(t, live.Options{})
	for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		if err := syscall.Kill(f.PID(), s); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := f.Lateness(); err != nil {
		t.Errorf("after SIGINT, SIGTERM and SIGHUP: %v", err)
	}
}

func TestStartInsideFabric(t *testing.T) {
	t.Setenv("PUNCHLAB_FABRIC", "1")
	if f, err := live.Start(live.Options{}); err == nil {
		f.Close()
		t.Fatal("Start in a process that is marked as the fabric: no error, so a program without live.Main starts itself forever")
	} else if !strings.Contains(err.Error(), "live.Main") {
		t.Errorf("error %q does not say what to do", err)
	}
}

func TestNoLeak(t *testing.T) {
	both(t, func(t *testing.T, outer *live.Fabric) {
		round := func() {
			f, err := live.Start(live.Options{NoTUN: !outer.TUN()})
			if err != nil {
				t.Fatal(err)
			}
			n := newNet(t, f)
			for _, name := range []string{"a", "b", "c"} {
				ns, err := netns.New()
				if err != nil {
					t.Fatal(err)
				}
				if _, err := n.Attach(live.UplinkConfig{Name: name, NS: ns}); err != nil {
					t.Fatal(err)
				}
				ns.Close()
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			if _, err := n.Stats(); !errors.Is(err, live.ErrFabricEnded) {
				t.Fatalf("Stats after Close: %v, want %v", err, live.ErrFabricEnded)
			}
		}
		round()
		fds, routines := descriptors(t, os.Getpid()), runtime.NumGoroutine()
		for range 5 {
			round()
		}
		if now := descriptors(t, os.Getpid()); now > fds {
			t.Errorf("%d descriptors before, %d after", fds, now)
		}
		await(t, "goroutines to end", func() bool { return runtime.NumGoroutine() <= routines })
	})
}

func TestNoLeakInFabric(t *testing.T) {
	both(t, func(t *testing.T, f *live.Fabric) {
		before := descriptors(t, f.PID())
		for range 5 {
			n := newNet(t, f)
			for _, name := range []string{"a", "b"} {
				ns, err := netns.New()
				if err != nil {
					t.Fatal(err)
				}
				u, err := n.Attach(live.UplinkConfig{Name: name, NS: ns})
				if err != nil {
					t.Fatal(err)
				}
				if _, err := n.Attach(live.UplinkConfig{Name: name, NS: ns, Device: "wan1"}); err == nil {
					t.Error("a second uplink of the same name was accepted")
				}
				if name == "b" {
					if err := u.Close(); err != nil {
						t.Errorf("close uplink: %v", err)
					}
				}
				ns.Close()
			}
			if err := n.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if after := descriptors(t, f.PID()); after != before {
			t.Errorf("fabric process has %d descriptors, had %d before the nets", after, before)
		}
	})
}
