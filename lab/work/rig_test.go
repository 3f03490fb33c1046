package work_test

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/punchlab/punchlab/lab"
	"github.com/punchlab/punchlab/lab/netns"
	"github.com/punchlab/punchlab/lab/record"
	"github.com/punchlab/punchlab/lab/runner"
	"github.com/punchlab/punchlab/lab/stack"
	"github.com/punchlab/punchlab/lab/work"
	"github.com/punchlab/punchlab/topologies"
)

// rig is an experiment of the tests', as text of its manifest's scenario, from which every process builds the same plan.
type rig struct {
	Takes  time.Duration // by a trial, at most
	Trials int
	Poison []uint64 // seeds of the trials that kill their process
	Flaky  bool
	Stop   int // trials with a verdict after which a cell ends; 0: none does
}

// trials counts those of this process.
var trials atomic.Int64

// company is which trials of this process had others beside them.
type company struct {
	mu  sync.Mutex
	now map[tried]bool
	met map[tried]bool
}

// tried names a trial of the tests' experiment.
type tried struct {
	seed     uint64
	strategy string
}

func (c *company) come(t tried) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for o := range c.now {
		c.met[o], c.met[t] = true, true
	}
	c.now[t] = true
}

func (c *company) leave(t tried) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.now, t)
}

// seen is set by a test that wants to know.
var seen atomic.Pointer[company]

// dice is a system under test whose trials are a function of their seed and strategy, as those of engine sim are.
type dice struct{ rig }

func (dice) Name() string         { return "dice" }
func (dice) Strategies() []string { return []string{"direct", "relay"} }
func (dice) Programs() []string   { return nil }
func (dice) Try(context.Context, *lab.Lab, stack.Trial) (stack.Observation, error) {
	return stack.Observation{}, errors.ErrUnsupported
}

func (d dice) Simulate(ctx context.Context, _ *lab.Topology, tr stack.Trial, _ []lab.Event) (o stack.Observation, _ []record.Event, err error) {
	trials.Add(1)
	if c := seen.Load(); c != nil {
		me := tried{tr.Seed, tr.Strategy}
		c.come(me)
		defer c.leave(me)
	}
	r := rand.New(rand.NewPCG(tr.Seed, uint64(len(tr.Strategy))))
	if slices.Contains(d.Poison, tr.Seed) {
		os.Exit(3)
	}
	if takes := time.Duration(r.Float64() * float64(d.Takes)); takes > 0 {
		t := time.NewTimer(takes)
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
			return o, nil, ctx.Err()
		}
	}
	if d.Flaky && rand.IntN(5) == 0 {
		return o, nil, errors.New("the lab stumbled")
	}
	o = stack.Observation{Outcome: record.Direct, Connect: time.Duration(1 + r.IntN(1e9)), FirstFrameWire: 1000}
	if r.Float64() < 0.2 {
		o.Outcome, o.Cause = record.Failed, "bad luck"
	}
	return o, nil, nil
}

// manifest describes the experiment; each has its own start, and so is a run of its own.
func (r rig) manifest() record.Manifest {
	b, err := json.Marshal(r)
	if err != nil {
		panic(err)
	}
	return record.Manifest{
		Schema: record.ManifestSchema, Scenario: record.Document{Name: "dice", Digest: "sha256:d1ce", Text: string(b)},
		Topology: record.Document{Name: "two-homes", Digest: "sha256:0"}, Seed: 7, Engine: lab.EngineSim, TrialsPerCell: r.Trials, Cells: 6,
		Versions: versions, Start: time.Now().UTC(),
	}
}

var versions = record.Versions{Commit: "3ef995d", Go: "go1.26", Modules: map[string]string{"example.org/m": "v1.0.0"}}

// prepare builds the plan of a manifest: six cells, three pairs of NATs with two strategies each.
func prepare(m record.Manifest) (p runner.Plan, err error) {
	var r rig
	if err := json.Unmarshal([]byte(m.Scenario.Text), &r); err != nil {
		return p, err
	}
	p = runner.Plan{Trials: m.TrialsPerCell, Seed: m.Seed, Timeout: time.Second}
	if r.Stop > 0 {
		p.Stop = func(_ int, prefix []record.Trial) bool {
			n := 0
			for _, t := range prefix {
				if t.Outcome == record.Failed {
					n++
				}
			}
			return n >= r.Stop
		}
	}
	for _, nat := range []string{"open", "full-cone", "symmetric"} {
		t, _, err := topologies.Load("two-homes")
		if err == nil {
			err = errors.Join(t.Set("camera.nat", nat), t.Resolve())
		}
		if err != nil {
			return p, err
		}
		for _, s := range []string{"direct", "relay"} {
			p.Cells = append(p.Cells, runner.Cell{
				Index: len(p.Cells), Params: map[string]string{"camera.nat": nat, "strategy": s}, System: dice{r}, Strategy: s, Topology: t,
			})
		}
	}
	return p, nil
}

func (r rig) plan(t testing.TB) runner.Plan {
	t.Helper()
	p, err := prepare(r.manifest())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// The test binary is also the worker and the coordinator that the tests kill.
const (
	workerEnv      = "PUNCHLAB_TEST_WORKER"      // URL
	coordinatorEnv = "PUNCHLAB_TEST_COORDINATOR" // URL and folder
	isolatedEnv    = "PUNCHLAB_TEST_ISOLATED"    // URL, for a worker in namespaces of its own
)

func TestMain(m *testing.M) {
	if url := os.Getenv(workerEnv); url != "" {
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		defer stop()
		exitOn(work.Serve(ctx, serving(url)))
	}
	if at := os.Getenv(coordinatorEnv); at != "" {
		url, dir, _ := strings.Cut(at, " ")
		exitOn(coordinateIn(context.Background(), url, dir))
	}
	if url := os.Getenv(isolatedEnv); url != "" {
		exitOn(serveIsolated(url))
	}
	os.Exit(m.Run())
}

// exitNoNamespaces says that this machine lets nobody make any.
const exitNoNamespaces = 77

// serveIsolated works on one job as the command line does on engine netfilter: cut off from every network.
func serveIsolated(url string) error {
	if err := work.Outside(); err != nil {
		return err
	}
	if err := netns.Isolate(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(exitNoNamespaces)
	}
	if c, err := net.Dial("tcp", url[strings.LastIndex(url, "@")+1:]); err == nil {
		c.Close()
		return errors.New("the network of the test is there")
	}
	o := serving(url)
	o.Once = true
	return work.Serve(context.Background(), o)
}

func exitOn(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// serving is a worker of the tests'.
func serving(url string) work.ServeOptions {
	return work.ServeOptions{
		Connection: work.Connection{URL: url}, Versions: versions, Kernel: "Linux", CPU: record.CPU{Model: "test", Cores: 2},
		Config: runner.Config{Jobs: 2}, Prepare: prepare, Log: testLog(),
	}
}

// testLog writes to standard error when PUNCHLAB_TEST_LOG is set.
func testLog() *slog.Logger {
	if os.Getenv("PUNCHLAB_TEST_LOG") == "" {
		return nil
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// spread are options of the tests' coordinators: quick to miss a worker.
func spread(t testing.TB, m record.Manifest) work.Options {
	t.Helper()
	p, err := prepare(m)
	if err != nil {
		t.Fatal(err)
	}
	return work.Options{
		Store: filepath.Join(t.TempDir(), "nats"), Manifest: m, Plan: p, UnitTrials: 4, AckWait: 400 * time.Millisecond, MaxDeliver: 100,
		Log: testLog(),
	}
}

// coordinateIn coordinates the run in a folder, begun or not, as the command line does.
func coordinateIn(ctx context.Context, url, dir string) error {
	m := record.Manifest{}
	b, err := os.ReadFile(filepath.Join(dir, record.ManifestFile))
	if err == nil {
		err = json.Unmarshal(b, &m)
	}
	if err != nil {
		return err
	}
	p, err := prepare(m)
	if err != nil {
		return err
	}
	var recorded []record.Trial
	w, _, err := record.Reopen(dir, func(t record.Trial) error {
		recorded = append(recorded, t)
		return p.Resume(t)
	})
	if err != nil {
		return err
	}
	_, err = work.Coordinate(ctx, work.Options{
		Connection: work.Connection{URL: url}, Manifest: m, Plan: p, Recorded: recorded, UnitTrials: 4, AckWait: 400 * time.Millisecond, MaxDeliver: 100,
		Sink: w.Add, Log: testLog(),
	})
	return errors.Join(err, w.Finish(err == nil, time.Now()))
}

// process is a worker or coordinator of its own process.
type process struct {
	*exec.Cmd
	ended  chan struct{}
	stderr strings.Builder
}

func start(t testing.TB, env string) *process {
	t.Helper()
	p := &process{Cmd: exec.Command(os.Args[0]), ended: make(chan struct{})}
	p.Env = append(os.Environ(), env)
	p.Stderr = &p.stderr
	if os.Getenv("PUNCHLAB_TEST_LOG") != "" {
		p.Stderr = os.Stderr
	}
	p.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = p.Wait()
		close(p.ended)
	}()
	t.Cleanup(p.kill)
	return p
}

func (p *process) signal(s os.Signal) { _ = p.Process.Signal(s) }

func (p *process) kill() {
	p.signal(syscall.SIGKILL)
	<-p.ended
}

// server is a NATS server of the test's, apart from any coordinator.
func server(t testing.TB) *work.Server {
	t.Helper()
	s, err := work.Embed(filepath.Join(t.TempDir(), "nats"), "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// helpers are so many workers in this process, until the test ends.
func helpers(t testing.TB, url string, n int) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for i := range n {
		o := serving(url)
		o.Name = fmt.Sprintf("helper-%d", i)
		wg.Go(func() {
			if err := work.Serve(ctx, o); err != nil {
				t.Errorf("%s: %v", o.Name, err)
			}
		})
	}
	t.Cleanup(func() { cancel(); wg.Wait() })
}

// takers waits until so many workers have taken a run. A sink that does so holds its end up.
func takers(t testing.TB, url string, n int) {
	t.Helper()
	js := talk(t, url)
	await(t, fmt.Sprintf("%d workers", n), func() bool {
		took := 0
		for _, name := range streams(t, url) {
			if !strings.HasSuffix(name, "-records") {
				continue
			}
			log, err := js.Stream(t.Context(), name)
			if err != nil {
				continue
			}
			if info, err := log.Info(t.Context(), jetstream.WithSubjectFilter("punchlab.*.*.log.worker.*")); err == nil {
				took += len(info.State.Subjects)
			}
		}
		return took >= n
	})
}

// alone are the records of the run in one process.
func (r rig) alone(t testing.TB) []record.Trial {
	t.Helper()
	r.Takes = 0
	var mu sync.Mutex
	var all []record.Trial
	_, err := runner.Run(t.Context(), r.plan(t), runner.Config{Sink: func(rec record.Trial) error {
		mu.Lock()
		defer mu.Unlock()
		all = append(all, rec)
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// texts are records sorted, without what no two runs share: when they were made.
func texts(t testing.TB, records []record.Trial) (all []string) {
	t.Helper()
	records = slices.Clone(records)
	slices.SortFunc(records, func(a, b record.Trial) int {
		return cmp.Or(cmp.Compare(a.Cell, b.Cell), cmp.Compare(a.Trial, b.Trial), cmp.Compare(a.Attempt, b.Attempt))
	})
	for _, r := range records {
		r.Schema, r.StartedAt, r.EndedAt = "", time.Time{}, time.Time{}
		b, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, string(b))
	}
	return all
}

// same holds records to be those of the run in one process.
func (r rig) same(t testing.TB, got []record.Trial) {
	t.Helper()
	want, have := texts(t, r.alone(t)), texts(t, got)
	if len(want) != len(have) {
		t.Errorf("%d records, %d of a run in one process", len(have), len(want))
	}
	for i := range min(len(want), len(have)) {
		if want[i] != have[i] {
			t.Fatalf("record %d is another than that of a run in one process:\n%s\n%s", i, have[i], want[i])
		}
	}
}

// lines counts a file's whole lines.
func lines(file string) (n int) {
	f, err := os.Open(file)
	if err != nil {
		return 0
	}
	defer f.Close()
	for in := bufio.NewReader(f); ; n++ {
		if _, err := in.ReadString('\n'); err != nil {
			return n
		}
	}
}

// await waits for a condition.
func await(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}
