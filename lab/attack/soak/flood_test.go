package soak

import (
	"bufio"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/program/camera"
	program "github.com/punchlab/punchlab/impl/program/rendezvous"
	"github.com/punchlab/punchlab/impl/viewer"
	"github.com/punchlab/punchlab/impl/wire"
	"github.com/punchlab/punchlab/lab/attack"
	"github.com/punchlab/punchlab/lab/certify"
	"github.com/punchlab/punchlab/lab/stats"
)

// order is what a program in a process of its own is told, by its standard input.
type order struct {
	Rendezvous string // its key, hexadecimal; "": this is a camera
	Dir        string // the camera's folder
}

const programEnv = "PUNCHLAB_SOAK_PROGRAM"

// runProgram is the bundled rendezvous or camera, if this process was started as one. It ends with its input.
func runProgram() {
	if os.Getenv(programEnv) == "" {
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	in := bufio.NewReader(os.Stdin)
	line, err := in.ReadBytes('\n')
	var o order
	if err = errors.Join(err, json.Unmarshal(line, &o)); err == nil {
		ctx, cancel := context.WithCancel(ctx)
		go func() { _, _ = io.Copy(io.Discard, in); cancel() }()
		err = o.run(ctx)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func (o order) run(ctx context.Context) error {
	if o.Rendezvous == "" {
		return camera.Run(ctx, camera.Options{Dir: o.Dir, OpenLabel: true, NoMap: true, MaxViewers: 32, UDPPort: cameraPort,
			Ready: func(*camera.Handle) { fmt.Println("ready") }})
	}
	b, err := hex.DecodeString(o.Rendezvous)
	if err != nil || len(b) != 32 {
		return fmt.Errorf("rendezvous' key: %w", err)
	}
	key, err := identity.KeyFromPrivate([32]byte(b))
	if err != nil {
		return err
	}
	return program.Run(ctx, program.Options{Key: key, Ready: func(*program.Handle) { fmt.Println("ready") }})
}

const cameraPort = 4500

// process is one of the programs that are flooded.
type process struct {
	cmd  *exec.Cmd
	most int64 // bytes of memory that it has had, resident
}

// start starts a program on a host and waits until it says that it is ready.
func (c *scene) start(host string, o order) (*process, error) {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), programEnv+"=1")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.lab.Host(host).Start(cmd); err != nil {
		return nil, err
	}
	c.atEnd(func() { in.Close(); _ = cmd.Process.Kill(); _ = cmd.Wait() })
	b, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	if _, err := in.Write(append(b, '\n')); err != nil {
		return nil, err
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "ready\n" {
		return nil, fmt.Errorf("program on host %s says %q: %w", host, line, err)
	}
	go func() { _, _ = io.Copy(io.Discard, out) }()
	return &process{cmd: cmd}, nil
}

// sample notes what memory the process has.
func (p *process) sample() error {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			n, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			p.most = max(p.most, n<<10)
			return err
		}
	}
	return errors.New("the kernel does not say how much memory a process has")
}

// besieged is a scene whose programs are processes of their own, and how it is flooded.
type besieged struct {
	*scene
	name     string
	flooder  *attack.Flooder // nil: it is not
	label    identity.Label
	programs [2]*process // rendezvous, camera
	took     []float64   // s, of the connects that succeeded
	failed   []string
	flooded  attack.Count
}

// floods are those that are measured; the first is none.
var floods = []struct {
	name, to string
	whole    bool
	rate     int
}{
	{"idle", "", false, 0},
	{"rendezvous-forged", attack.ToRendezvous, false, 2000},
	{"rendezvous-whole", attack.ToRendezvous, true, 2000},
	{"camera-forged", attack.ToCamera, false, 1000},
	{"camera-whole", attack.ToCamera, true, 1000},
}

func besiege(t testing.TB, i, warmth int) *besieged {
	t.Helper()
	f := floods[i]
	c, err := openScene(Setup{Fabric: fabric(t), Seed: uint64(100 + i), Engine: "table"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.close)
	b := &besieged{scene: c, name: f.name}
	private := c.key.Private()
	dir := t.TempDir()
	if err := camera.New(dir, c.key.Public(), []string{c.at.String()}, c.random); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(dir + "/" + camera.LabelFile)
	if err == nil {
		b.label, err = identity.ParseLabel(strings.TrimSpace(string(text)))
	}
	if err != nil {
		t.Fatal(err)
	}
	if b.programs[0], err = c.start("rendezvous", order{Rendezvous: hex.EncodeToString(private[:])}); err != nil {
		t.Fatal(err)
	}
	if b.programs[1], err = c.start("open", order{Dir: dir}); err != nil {
		t.Fatal(err)
	}
	if f.to != "" {
		b.flooder = &attack.Flooder{Target: c.at, To: f.to, Key: c.key.Public(), Rate: f.rate, Whole: f.whole}
		if f.to == attack.ToCamera {
			b.flooder.Target, b.flooder.Key = netip.AddrPortFrom(c.lab.Host("open").Addr(), cameraPort), b.label.Key
		}
	}
	if err := until("a viewer watches before the flood", func() bool { return b.connect() == nil }); err != nil {
		t.Fatal(err)
	}
	if err := b.warm(warmth); err != nil {
		t.Fatal(err)
	}
	b.took, b.failed = nil, nil
	return b
}

// warm has strangers log in and ask for the camera until both programs have the memory of programs that have run for a while: a heap
// that was never filled once would look small.
func (b *besieged) warm(viewers int) error {
	noise1, err := stranger(b.label.Key, b.random)
	if err != nil {
		return err
	}
	for i := range viewers {
		key, err := identity.NewKey(b.random2())
		if err != nil {
			return err
		}
		d, err := dial(b.seat(i), b.at, b.key.Public(), key, b.random2(), &wire.Login{Version: wire.ProtocolVersion})
		if err != nil {
			return err
		}
		for range 10 {
			if _, err := connect(d, b.label.UID(), noise1); err != nil {
				return err
			}
		}
		d.leave()
	}
	return nil
}

// connect has a viewer that nobody has seen log in and ask for the camera.
func (b *besieged) connect() error {
	key, err := identity.NewKey(b.random2())
	if err != nil {
		return err
	}
	connected := make(chan any, 1)
	begun := time.Now()
	a, err := b.act("viewer", func(a *actor) (core.Core, func(time.Time) error, error) {
		v, err := viewer.New(viewer.Config{
			Static: key, Rendezvous: []netip.AddrPort{b.at}, RendezvousKey: b.key.Public(), Rand: b.random2(),
		})
		a.viewer = v
		a.notify = func(e any) {
			switch e.(type) {
			case viewer.Connected, viewer.Failed, viewer.Denied:
				select {
				case connected <- e:
				default:
				}
			}
		}
		return v, func(now time.Time) error { return errors.Join(v.Start(now), v.Connect(now, b.label, strategy)) }, err
	})
	if err != nil {
		return err
	}
	defer a.device.Close()
	err = fmt.Errorf("not within %v", patience)
	select {
	case e := <-connected:
		if c, ok := e.(viewer.Connected); ok {
			b.took = append(b.took, c.At.Sub(begun).Seconds())
			err = nil
		} else {
			err = fmt.Errorf("%+v", e)
		}
	case <-time.After(patience):
	}
	if err != nil {
		b.failed = append(b.failed, err.Error())
	}
	a.device.Node().Do(a.viewer.Close)
	return err
}

// lead is how much of a flood a viewer of a round stands for, before it begins: 25 of them wait for a second and a half of it, in which
// the first second is over where it is measured.
const lead = 60 * time.Millisecond

// round has n viewers connect, one after the other, while it is flooded.
func (b *besieged) round(n int) error {
	end, err := b.flood(n)
	for i := 0; i < n && err == nil; i++ {
		_ = b.connect() // counted
		for _, p := range b.programs {
			err = errors.Join(err, p.sample())
		}
	}
	return errors.Join(err, end())
}

// flood begins the flood of a round with n viewers, and waits until it is on its way. end ends it; it may be called whatever the error.
func (b *besieged) flood(n int) (end func() error, err error) {
	f := b.flooder
	if f == nil {
		return func() error { return nil }, nil
	}
	ctx, cancel := context.WithCancel(context.Background())
	over := make(chan error, 1)
	end = func() error { cancel(); return <-over }
	f.Seed++
	if err := f.Prepare(n * f.Rate / 10); err != nil {
		over <- nil
		return end, err
	}
	go func() {
		r, err := f.Run(ctx, b.lab.Host("off-path"), attack.Budget{Packets: 120 * f.Rate, Duration: 2 * time.Minute})
		b.flooded.Packets += r.Sent.Packets
		b.flooded.Bytes += r.Sent.Bytes
		over <- err
	}()
	first := int64(float64(n*f.Rate) * lead.Seconds())
	return end, until(fmt.Sprintf("the first %d datagrams of the flood are on their way", first), func() bool { return f.Sent() >= first })
}

// siegeRounds measures all floods in turns: what else the machine does meets all of them alike. warmth is how many strangers come before.
func siegeRounds(t testing.TB, rounds, each, warmth int) (all []*besieged) {
	t.Helper()
	for i := range floods {
		all = append(all, besiege(t, i, warmth))
	}
	for r := range rounds {
		for i := range all {
			b := all[(r+i)%len(all)]
			if err := b.round(each); err != nil {
				t.Fatalf("%s: %v", b.name, err)
			}
		}
	}
	return all
}

// p99 is the 99th percentile, with its interval.
func p99(xs []float64) (p, low, high float64) {
	xs = slices.Sorted(slices.Values(xs))
	low, high, ok := stats.QuantileInterval(xs, 0.99, 0.95)
	if !ok {
		low, high = xs[0], xs[len(xs)-1]
	}
	return stats.Quantile(xs, 0.99), low, high
}

// Under a flood of handshakes from sources that are not there viewers connect as ever, and the programs keep to their memory.
func TestConnectsUnderFlood(t *testing.T) {
	all := siegeRounds(t, 1, 5, 0)
	for _, b := range all {
		t.Logf("%-18s %d of %d connected, median %.1f ms, memory %d and %d KiB, %d forged", b.name, len(b.took), len(b.took)+len(b.failed),
			median(b.took)*1e3, b.programs[0].most>>10, b.programs[1].most>>10, b.flooded.Packets)
		if len(b.failed) > 0 {
			t.Errorf("%s: %v", b.name, b.failed)
		}
		if b.flooder != nil && b.flooded.Packets < 300 {
			t.Errorf("%s: %d handshakes were forged: that is no flood", b.name, b.flooded.Packets)
		}
	}
}

func median(xs []float64) float64 { return stats.Quantile(slices.Sorted(slices.Values(xs)), 0.5) }

// floodRounds is how often the floods take turns in a benchmark, eachRound how many viewers connect each time: 299 and more.
const floodRounds, eachRound = 12, 25

// BenchmarkFlood measures connects under floods beside idle ones: success (and what 95 % confidence allows), p99 (and its interval),
// and the greatest memory of each program.
func BenchmarkFlood(b *testing.B) {
	rounds := floodRounds
	if n, err := strconv.Atoi(os.Getenv("PUNCHLAB_SOAK_TRIES")); err == nil {
		rounds = (n + eachRound - 1) / eachRound
	}
	var all []*besieged
	for b.Loop() {
		all = siegeRounds(b, rounds, eachRound, 300)
	}
	b.ReportMetric(0, "ns/op")
	idle := all[0]
	base, baseLow, baseHigh := p99(idle.took)
	for _, x := range all {
		n := len(x.took) + len(x.failed)
		claim := certify.Claim{Tries: n, Failures: len(x.failed)}
		p, low, high := p99(x.took)
		memory := [2]float64{}
		for i, m := range x.programs {
			memory[i] = float64(m.most) / float64(idle.programs[i].most)
		}
		fmt.Printf("flood %-18s connected %d of %d (%v), p50 %.1f ms, p99 %.1f ms (%.1f to %.1f), ÷ idle %.2f (%.2f to %.2f), "+
			"memory: rendezvous %.1f MiB (× %.3f), camera %.1f MiB (× %.3f), %d forged\n",
			x.name, len(x.took), n, claim, median(x.took)*1e3, p*1e3, low*1e3, high*1e3, p/base, low/baseHigh, high/baseLow,
			float64(x.programs[0].most)/(1<<20), memory[0], float64(x.programs[1].most)/(1<<20), memory[1], x.flooded.Packets)
		b.ReportMetric(float64(len(x.took))/float64(n), x.name+"-connected")
		b.ReportMetric(p*1e3, x.name+"-p99-ms")
		b.ReportMetric(p/base, x.name+"-p99-by-idle")
		b.ReportMetric(max(memory[0], memory[1]), x.name+"-memory-by-idle")
		for _, why := range x.failed {
			b.Logf("%s: %s", x.name, why)
		}
	}
	b.ReportMetric(float64(len(idle.took)+len(idle.failed)), "n")
}
