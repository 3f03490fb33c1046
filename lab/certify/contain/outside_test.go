package contain

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/punchlab/punchlab/lab/netns/netnstest"
)

func TestWritesOutside(t *testing.T) {
	s := shell(t, "")
	beside := filepath.Dir(s.Folder)
	if err := os.WriteFile(filepath.Join(beside, "theirs"), []byte("before\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(beside, "precious"), []byte("before\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	s.Args = []string{"-c", `cd ..; echo new > mine; echo more >> theirs; rm precious; mkdir dir; cat theirs
		echo x > /punchlab-top; echo ok > camera/in; exit 0`}
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

func TestReachesNoDaemon(t *testing.T) {
	s := act(t, "dial")
	paths := []string{filepath.Join(filepath.Dir(s.Folder), "daemon")}
	if dir, err := os.MkdirTemp("/run", "contain-test-"); err == nil { // as root
		defer os.RemoveAll(dir)
		paths = append(paths, filepath.Join(dir, "daemon"))
	}
	for _, path := range paths {
		l, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
	}
	s.Env = append(s.Env, "TO="+strings.Join(paths, " "))
	if r := run(t, t.Context(), s); r.Output.Bytes > 0 || r.Ending != Exited {
		t.Errorf("ended %s; it %s", r.Ending, r.Output.Head)
	}
}

// TestWithLess has the kernel refuse what it may refuse somewhere: the rest still holds, and the report says what is missing.
func TestWithLess(t *testing.T) {
	netnstest.Require(t, "setsid")
	s := shell(t, "echo x > ../outside; setsid sleep 1000 >/dev/null 2>&1 & setsid sleep 1000 >/dev/null 2>&1 & : > ready; wait $!; exit 1")
	s.noProc, s.noOverlay = true, true
	ctx, cancel := context.WithCancel(t.Context())
	_, over := started(t, ctx, s)
	time.Sleep(time.Second) // the warden looks every 10 ms
	cancel()
	r := <-over
	if r.Ending != Stopped || offspring(t) != "" || r.Usage.Processes < 3 || r.Usage.Processes > 10 {
		t.Errorf("ended %s with %d processes", r.Ending, r.Usage.Processes)
	}
	if !strings.Contains(string(r.Output.Head), "Read-only file system") || len(r.Outside) > 0 || !slices.Contains(r.Means.ReadOnly, "/usr") {
		t.Errorf("it said %q, wrote %v; read-only were %q", r.Output.Head, r.Outside, r.Means.ReadOnly)
	}
	if lacks := strings.Join(r.Means.Lacks, " "); !strings.Contains(lacks, "No overlay") || !strings.Contains(lacks, "A /proc of its own") {
		t.Errorf("it lacked %q", lacks)
	}
	if _, err := os.Stat(filepath.Join(filepath.Dir(s.Folder), "outside")); err == nil {
		t.Error("it wrote outside its folder")
	}
}

// TestFindsTheLabsNames in /etc/hosts, which it cannot change, and whose change is not its own.
func TestFindsTheLabsNames(t *testing.T) {
	s := shell(t, "cat /etc/hosts; echo 1.2.3.4 mine >> /etc/hosts || echo refused; cat /etc/hosts")
	s.Hosts = "198.51.100.1 p2p.acme.example\n"
	r := run(t, t.Context(), s)
	out := string(r.Output.Head)
	if strings.Count(out, s.Hosts) != 2 || !strings.Contains(out, "refused") || len(r.Outside) > 0 {
		t.Errorf("it said %q and changed %v", out, r.Outside)
	}
	if b, err := os.ReadFile("/etc/hosts"); err != nil || strings.Contains(string(b), "acme") {
		t.Errorf("the machine's own: %q, %v", b, err)
	}
}

func TestHides(t *testing.T) {
	s := shell(t, "")
	beside := filepath.Dir(s.Folder)
	other := filepath.Join(beside, "viewer")
	for _, err := range []error{
		os.Mkdir(other, 0o755), os.WriteFile(filepath.Join(other, "key"), []byte("secret\n"), 0o644),
		os.WriteFile(filepath.Join(beside, "source"), []byte("given\n"), 0o644), os.WriteFile(filepath.Join(beside, "not"), nil, 0o644),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	s.Hide, s.Show = []string{beside, filepath.Join(beside, "gone")}, []string{filepath.Join(beside, "source")}
	s.Args = []string{"-c", `echo ok > in; cd ..; ls; cat source; cat viewer/key && echo seen; echo x > mine && echo made; echo x > source && echo made`}
	r := run(t, t.Context(), s)
	out := string(r.Output.Head)
	if !strings.HasPrefix(out, "camera\nsource\ngiven\n") || strings.Contains(out, "seen") || strings.Contains(out, "made") || len(r.Outside) > 0 {
		t.Errorf("it saw\n%s\nand wrote %v", out, r.Outside)
	}
	if _, err := os.Stat(filepath.Join(s.Folder, "in")); err != nil {
		t.Error(err)
	}
}
