package rendezvous

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/punchlab/punchlab/impl/identity"
)

// benchEnv makes a run of the test binary a server as its JSON says: what is measured is a process of its own.
const benchEnv = "PUNCHLAB_RENDEZVOUS_BENCH"

// profileEnv names a folder that profiles of the measured server are written to: of its processor time while a benchmark runs, and
// of its heap with the cameras online.
const profileEnv = "PUNCHLAB_RENDEZVOUS_PROFILE"

func TestMain(m *testing.M) {
	if text := os.Getenv(benchEnv); text != "" {
		if err := serveBench(text); err != nil {
			fmt.Fprintln(os.Stderr, "serve:", err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// benchOptions are what a measured server is told.
type benchOptions struct {
	Key, Database string
	Port          uint16
	// Unbounded has it take all that comes, and lets nobody go for being silent while others are measured.
	Unbounded bool
}

// serveBench runs a server as the command does, its log being written but kept by nobody, and answers what is asked on standard
// input, until that ends.
func serveBench(text string) error {
	var o benchOptions
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		return err
	}
	key, err := identity.LoadKey(o.Key)
	if err != nil {
		return err
	}
	nowhere, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	opt := Options{
		Key: key, Addrs: loopback(1), Port: o.Port, Database: o.Database, Log: slog.New(slog.NewTextHandler(nowhere, nil)), Drain: -1,
		Ready: func(h *Handle) {
			fmt.Println("{}")
			go func() {
				defer cancel()
				h.answer(os.Stdin)
			}()
		},
	}
	if o.Unbounded {
		opt.Limits.HandshakesPerSecond, opt.Limits.HandshakesAtMost = 1<<30, 1<<30
		opt.Limits.ConnectsPerSecond, opt.Limits.MaxIntroductions = 1e9, 1<<20
		opt.Limits.Expiry = 10 * time.Minute
	}
	return Run(ctx, opt)
}

// answer does what each line asks, and answers by a line of JSON.
func (h *Handle) answer(r io.Reader) {
	for in := bufio.NewScanner(r); in.Scan(); {
		what, path, _ := strings.Cut(in.Text(), " ")
		var v any = struct{}{}
		switch what {
		case "stats":
			v = h.Stats()
		case "records":
			v = h.store.Count()
		case "profile":
			if f, err := os.Create(path); err == nil {
				v = pprof.StartCPUProfile(f)
			}
		case "stop":
			pprof.StopCPUProfile()
		case "heap":
			if f, err := os.Create(path); err == nil {
				runtime.GC()
				v = pprof.WriteHeapProfile(f)
				f.Close()
			}
		}
		if err := json.NewEncoder(os.Stdout).Encode(v); err != nil {
			return
		}
	}
}

// process is a server that is measured.
type process struct {
	tb  testing.TB
	key identity.PublicKey
	at  netip.AddrPort
	o   benchOptions

	cmd *exec.Cmd
	in  io.WriteCloser
	out *json.Decoder
}

// newProcess prepares one with a new key and an empty database in dir.
func newProcess(tb testing.TB, dir string, unbounded bool) *process {
	tb.Helper()
	key := newKey(tb)
	p := &process{tb: tb, key: key.Public(), o: benchOptions{Key: filepath.Join(dir, "key"), Database: filepath.Join(dir, "db"),
		Port: freePorts(tb), Unbounded: unbounded}}
	p.at = netip.AddrPortFrom(loopback(1)[0], p.o.Port)
	if err := identity.SaveKey(p.o.Key, key); err != nil {
		tb.Fatal(err)
	}
	p.start()
	return p
}

// start returns when the server serves.
func (p *process) start() {
	p.tb.Helper()
	text, err := json.Marshal(p.o)
	if err != nil {
		p.tb.Fatal(err)
	}
	p.cmd = exec.Command("/proc/self/exe")
	p.cmd.Env = append(os.Environ(), benchEnv+"="+string(text))
	p.cmd.Stderr = os.Stderr
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		p.tb.Fatal(err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		p.tb.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		p.tb.Fatal(err)
	}
	p.out = json.NewDecoder(out)
	p.read(&struct{}{})
}

// kill ends it as a power cut does.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	p.in.Close()
	_ = p.cmd.Wait()
}

func (p *process) ask(v any, what ...any) {
	p.tb.Helper()
	if _, err := fmt.Fprintln(p.in, what...); err != nil {
		p.tb.Fatal(err)
	}
	p.read(v)
}

func (p *process) read(v any) {
	p.tb.Helper()
	if err := p.out.Decode(v); err != nil {
		p.tb.Fatalf("the server does not answer: %v", err)
	}
}

func (p *process) stats() (s Stats) {
	p.tb.Helper()
	p.ask(&s, "stats")
	return s
}

// written waits until so many records are in the database.
func (p *process) written(n int) {
	p.tb.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for end, have := time.Now().Add(time.Minute), 0; ; <-tick.C {
		if p.ask(&have, "records"); have >= n {
			return
		}
		if time.Now().After(end) {
			p.tb.Fatalf("%d of %d records are in the database after a minute", have, n)
		}
	}
}

// used is the processor time that it has used on all processors, the kernel's work for it included.
func (p *process) used() time.Duration {
	p.tb.Helper()
	const sched = 2 // CPUCLOCK_SCHED of <linux/posix-timers.h>; see clock_getcpuclockid(3)
	var t unix.Timespec
	if err := unix.ClockGettime(int32(^p.cmd.Process.Pid<<3|sched), &t); err != nil {
		p.tb.Fatalf("read processor time: %v", err)
	}
	return time.Duration(t.Nano())
}

// resident is its memory in bytes, and the part of it that no file backs.
func (p *process) resident() (all, anonymous int64) {
	p.tb.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		p.tb.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		var kib int64
		if _, err := fmt.Sscanf(line, "VmRSS: %d kB", &kib); err == nil {
			all = kib << 10
		}
		if _, err := fmt.Sscanf(line, "RssAnon: %d kB", &kib); err == nil {
			anonymous = kib << 10
		}
	}
	return all, anonymous
}

// profiled runs f, and writes a profile of the server's processor time meanwhile if one is wanted.
func (p *process) profiled(name string, f func()) {
	p.tb.Helper()
	dir := os.Getenv(profileEnv)
	if dir == "" {
		f()
		return
	}
	p.ask(&struct{}{}, "profile", filepath.Join(dir, name+".cpu"))
	f()
	p.ask(&struct{}{}, "stop")
}
