package netns_test

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/punchlab/punchlab/lab/netns"
	"github.com/punchlab/punchlab/lab/netns/netnstest"
)

func TestMain(m *testing.M) {
	if os.Getenv("NETNS_TEST_VICTIM") != "" {
		victim()
	}
	if kind := os.Getenv("NETNS_TEST_HOME"); kind != "" {
		homeVictim(kind)
	}
	netnstest.Main(m)
}

func TestNamespacesAreApart(t *testing.T) {
	netnstest.Require(t, "netns")
	var conns []*net.UDPConn
	for range 2 { // the same address twice: only possible in two namespaces
		ns, err := netns.New()
		if err != nil {
			t.Fatal(err)
		}
		defer ns.Close()
		err = ns.Do(func() error {
			c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 4321})
			conns = append(conns, c)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range conns {
		c.Close()
	}
}

func TestDoRestoresTheThread(t *testing.T) {
	netnstest.Require(t, "netns")
	before, err := os.Readlink("/proc/thread-self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	ns, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	var inside string
	if err := ns.Do(func() (err error) { inside, err = os.Readlink("/proc/thread-self/ns/net"); return }); err != nil {
		t.Fatal(err)
	}
	if inside == before {
		t.Errorf("Do ran in %s, the caller's own namespace", inside)
	}
	for range 100 { // whichever threads these goroutines get
		done := make(chan string)
		go func() { l, _ := os.Readlink("/proc/thread-self/ns/net"); done <- l }()
		if got := <-done; got != before {
			t.Fatalf("a thread was left in %s, want %s", got, before)
		}
	}
}

func TestClosed(t *testing.T) {
	netnstest.Require(t, "netns")
	ns, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	ns.Close()
	if err := ns.Do(func() error { return nil }); !errors.Is(err, netns.ErrClosed) {
		t.Errorf("Do after Close: %v, want %v", err, netns.ErrClosed)
	}
	if err := ns.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
}

func TestNoDescriptorLeak(t *testing.T) {
	netnstest.Require(t, "netns")
	count := func() int {
		d, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(d)
	}
	before := count()
	for range 20 {
		ns, err := netns.New()
		if err != nil {
			t.Fatal(err)
		}
		_ = ns.Do(func() error { return nil })
		_ = ns.Sysctl("net/ipv4/ip_forward", "1")
		ns.Close()
	}
	if after := count(); after > before {
		t.Errorf("%d descriptors before, %d after 20 namespaces", before, after)
	}
}

// victim is the program that TestKillLeavesNoProcess kills: isolated, with a namespace and a child of its own.
func victim() {
	if err := netns.Isolate(); err != nil {
		println(err.Error())
		os.Exit(1)
	}
	if os.Getenv("NETNS_TEST_VICTIM") == "pid" {
		fmt.Println(os.Getpid())
		os.Exit(0)
	}
	ns, err := netns.New()
	if err != nil {
		println(err.Error())
		os.Exit(1)
	}
	if err := ns.Do(exec.Command("sleep", "1000").Start); err != nil {
		println(err.Error())
		os.Exit(1)
	}
	os.Stdout.WriteString("ready\n")
	select {}
}

func TestKillLeavesNoProcess(t *testing.T) {
	netnstest.Require(t, "netns")
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), "NETNS_TEST_VICTIM=1", "PUNCHLAB_ISOLATED=")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || line != "ready\n" {
		t.Fatalf("victim said %q, %v", line, err)
	}
	// A command has started when the kernel closes its descriptors, which is before it has arguments that anybody could read.
	awaitSleepers(t, 1)
	cmd.Process.Signal(syscall.SIGKILL)
	cmd.Wait()
	awaitSleepers(t, 0)
}

// awaitSleepers waits until so many children of the victim are there.
func awaitSleepers(t *testing.T, want int) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; runtime.Gosched() {
		n := sleepers(t)
		if n == want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d processes of the victim, want %d", n, want)
		}
	}
}

func TestIsolationIsNotInherited(t *testing.T) {
	netnstest.Require(t, "netns")
	if os.Getpid() != 1 {
		t.Skip("no PID namespace here: only its first process can be told apart")
	}
	cmd := exec.Command("/proc/self/exe") // finds PUNCHLAB_ISOLATED=pid in its environment, from this process
	cmd.Env = append(os.Environ(), "NETNS_TEST_VICTIM=pid")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil || string(out) != "1\n" {
		t.Errorf("a child that inherited the mark is process %q (%v), want 1, in namespaces of its own", out, err)
	}
}

func sleepers(t *testing.T) (n int) {
	dirs, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range dirs {
		b, _ := os.ReadFile("/proc/" + d.Name() + "/cmdline")
		if strings.HasPrefix(string(b), "sleep\x001000") {
			n++
		}
	}
	return n
}
