package runner_test

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/punchlab/punchlab/lab"
	"github.com/punchlab/punchlab/lab/live"
	"github.com/punchlab/punchlab/lab/netns/netnstest"
	"github.com/punchlab/punchlab/lab/record"
	"github.com/punchlab/punchlab/lab/runner"
	"github.com/punchlab/punchlab/lab/stack"
	"golang.org/x/sys/unix"
)

// fake is a system under test that does what a test says, on a real lab.
type fake struct {
	try func(ctx context.Context, l *lab.Lab, t stack.Trial) (stack.Observation, error)
}

func (fake) Name() string         { return "fake" }
func (fake) Strategies() []string { return []string{"direct"} }
func (fake) Programs() []string   { return []string{"rendezvous"} }
func (f fake) Try(ctx context.Context, l *lab.Lab, t stack.Trial) (stack.Observation, error) {
	return f.try(ctx, l, t)
}

var direct = stack.Observation{Outcome: record.Direct, Connect: time.Millisecond}

var errLab = errors.New("a cable came loose")

// fakePlan has a cell for each strategy name. Its sites filter nothing: proving them takes the least time.
func fakePlan(t *testing.T, trials int, f fake, strategies ...string) runner.Plan {
	t.Helper()
	p := plan(t, trials, 0, "camera.nat", "open", "viewer.nat", "open", "link", "lan")
	cell := p.Cells[0]
	cell.System = f
	p.Cells = nil
	for i, s := range strategies {
		cell.Index, cell.Strategy, cell.Params = i, s, map[string]string{"strategy": s}
		p.Cells = append(p.Cells, cell)
	}
	return p
}

func startFabric(t *testing.T) *live.Fabric {
	t.Helper()
	netnstest.Require(t, "netns", "nftables")
	f, err := live.Start(live.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// config keeps records and voids nothing for being late: tests share the machine.
func config(t *testing.T, k *tally) runner.Config {
	return runner.Config{Fabric: startFabric(t), Jobs: 4, Late: time.Hour, Sink: k.add}
}

// count counts records by cell and outcome, and checks what every record must have.
func (k *tally) count(t *testing.T, p runner.Plan) map[int]map[record.Outcome]int {
	t.Helper()
	n := map[int]map[record.Outcome]int{}
	for _, r := range k.records {
		r.Schema = record.TrialSchema // the writer's to fill in
		if err := r.Validate(); err != nil {
			t.Errorf("invalid record: %v", err)
		}
		if want := runner.Seed(p.Seed, r.Params, r.Trial); r.Seed != want {
			t.Errorf("cell %d trial %d attempt %d has seed %d, want the trial's own, %d", r.Cell, r.Trial, r.Attempt, r.Seed, want)
		}
		if r.EndedAt.IsZero() {
			t.Errorf("cell %d trial %d has no end", r.Cell, r.Trial)
		}
		if n[r.Cell] == nil {
			n[r.Cell] = map[record.Outcome]int{}
		}
		n[r.Cell][r.Outcome]++
	}
	return n
}

// attempts counts how often each trial was tried.
type attempts struct {
	mu sync.Mutex
	n  map[uint64]int
}

func (a *attempts) next(seed uint64) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.n == nil {
		a.n = map[uint64]int{}
	}
	a.n[seed]++
	return a.n[seed]
}

func TestVoidTrialsAreKeptAndRunAgain(t *testing.T) {
	var k tally
	var tried attempts
	p := fakePlan(t, 3, fake{func(_ context.Context, _ *lab.Lab, tr stack.Trial) (stack.Observation, error) {
		if tried.next(tr.Seed) <= 2 {
			return stack.Observation{}, errLab
		}
		return direct, nil
	}}, "direct")
	c := config(t, &k)
	var last runner.Progress
	c.Watch = func(_ record.Trial, g runner.Progress) { last = g }
	got, err := runner.Run(t.Context(), p, c)
	if err != nil {
		t.Fatal(err)
	}
	if got.Done != 3 || got.Total != 3 || got.Void != 6 || got.Unfilled != 0 || last.Done != 3 {
		t.Errorf("progress %+v, last shown %+v; want 3 of 3 done, 6 void", got, last)
	}
	n := k.count(t, p)[0]
	if n[record.HarnessError] != 6 || n[record.Direct] != 3 {
		t.Errorf("%v, want 3 × direct beside the 6 void trials that came first", n)
	}
	seen := map[[2]int]bool{}
	for _, r := range k.records {
		seen[[2]int{r.Trial, r.Attempt}] = true
		if void := r.Attempt < 2; void != (r.Outcome == record.HarnessError) || void != strings.Contains(r.Error, errLab.Error()) || void != (r.Cause != "") {
			t.Errorf("trial %d attempt %d: %s, cause %q, error %q", r.Trial, r.Attempt, r.Outcome, r.Cause, r.Error)
		}
	}
	if len(seen) != 9 {
		t.Errorf("%d different attempts recorded, want 9: %v", len(seen), seen)
	}
}

func TestOneCellsErrorsLoseNothingOfAnother(t *testing.T) {
	var k tally
	p := fakePlan(t, 4, fake{func(_ context.Context, _ *lab.Lab, tr stack.Trial) (stack.Observation, error) {
		if tr.Strategy == "broken" {
			return stack.Observation{}, errLab
		}
		return direct, nil
	}}, "fine", "broken", "fine too")
	p.Mine = func(cell, trial int) bool { return cell != 1 || trial == 0 } // one broken trial is enough
	got, err := runner.Run(t.Context(), p, config(t, &k))
	if !errors.Is(err, runner.ErrUnfilled) {
		t.Errorf("error %v, want %v", err, runner.ErrUnfilled)
	}
	if got.Done != 8 || got.Total != 9 || got.Unfilled != 1 {
		t.Errorf("progress %+v, want 8 of 9 done and 1 unfilled", got)
	}
	n := k.count(t, p)
	if n[0][record.Direct] != 4 || n[2][record.Direct] != 4 {
		t.Errorf("cells 0 and 2: %v and %v, want 4 × direct each", n[0], n[2])
	}
	const most = 6
	if n[1][record.HarnessError] != most || len(n[1]) != 1 {
		t.Errorf("the broken cell: %v, want each of %d attempts as a harness error", n[1], most)
	}
}

func TestInterruptedTrialsLeaveNoRecord(t *testing.T) {
	var k tally
	ctx, cancel := context.WithCancel(t.Context())
	p := fakePlan(t, 50, fake{func(ctx context.Context, _ *lab.Lab, tr stack.Trial) (stack.Observation, error) {
		if tr.Strategy == "quick" {
			return direct, nil
		}
		cancel()
		<-ctx.Done()
		return direct, ctx.Err()
	}}, "quick", "slow")
	_, err := runner.Run(ctx, p, config(t, &k))
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want %v", err, context.Canceled)
	}
	n := k.count(t, p)
	if len(n[1]) != 0 || n[0][record.HarnessError] != 0 {
		t.Errorf("trials that were cut short are recorded: %v", n)
	}
}

func TestFullDiskEndsTheRun(t *testing.T) {
	var k tally
	full := errors.New("no space left on device")
	p := fakePlan(t, 500, fake{func(context.Context, *lab.Lab, stack.Trial) (stack.Observation, error) { return direct, nil }}, "direct")
	c := config(t, &k)
	c.Sink = func(r record.Trial) error {
		if err := k.add(r); err != nil {
			return err
		}
		return full
	}
	got, err := runner.Run(t.Context(), p, c)
	if !errors.Is(err, full) {
		t.Errorf("error %v, want %v", err, full)
	}
	if len(k.records) > c.Jobs || got.Done != 0 {
		t.Errorf("%d more records were offered to a full disk, %d counted as done", len(k.records), got.Done)
	}
}

// ask sends a datagram across the fabric and waits for it.
func ask(l *lab.Lab) error {
	at := netip.AddrPortFrom(l.Host(runner.Rendezvous).Addr(), 9)
	server, err := l.Host(runner.Rendezvous).ListenUDP(at)
	if err != nil {
		return err
	}
	defer server.Close()
	client, err := l.Host(runner.Camera).ListenUDP(netip.AddrPort{})
	if err != nil {
		return err
	}
	defer client.Close()
	if _, err := client.WriteToUDPAddrPort([]byte("hello"), at); err != nil {
		return err
	}
	_ = server.SetReadDeadline(time.Now().Add(30 * time.Second))
	_, _, err = server.ReadFromUDPAddrPort(make([]byte, 10))
	return err
}

func TestLateTrialsAreHarnessErrors(t *testing.T) {
	var k tally
	p := fakePlan(t, 1, fake{func(_ context.Context, l *lab.Lab, _ stack.Trial) (stack.Observation, error) {
		return direct, ask(l)
	}}, "direct")
	c := config(t, &k)
	c.Late = time.Nanosecond // no packet is that punctual
	if _, err := runner.Run(t.Context(), p, c); !errors.Is(err, runner.ErrUnfilled) {
		t.Errorf("error %v, want %v", err, runner.ErrUnfilled)
	}
	for _, r := range k.records {
		if r.Outcome != record.HarnessError || !strings.Contains(r.Cause, "late") || r.Lateness == nil || r.Lateness.P99 <= 0 {
			t.Errorf("%s, cause %q, lateness %+v; want a harness error that names its lateness", r.Outcome, r.Cause, r.Lateness)
		}
	}
}

func TestEveryTrialFindsAFreshLab(t *testing.T) {
	var k tally
	p := fakePlan(t, 5, fake{func(_ context.Context, l *lab.Lab, _ stack.Trial) (stack.Observation, error) {
		s, err := l.Stats()
		if err != nil {
			return stack.Observation{}, err
		}
		if s.Lateness.N != 0 {
			return stack.Observation{Outcome: record.Failed, Cause: "packets of an earlier trial are counted"}, nil
		}
		return direct, ask(l)
	}}, "direct")
	c := config(t, &k)
	c.Jobs = 1 // on one lab
	if _, err := runner.Run(t.Context(), p, c); err != nil {
		t.Fatal(err)
	}
	if n := k.count(t, p)[0]; n[record.Direct] != 5 {
		t.Errorf("%v, want 5 × direct: a lab was not reset between trials", n)
	}
}

func TestFabricsDeathEndsTheRunAtOnce(t *testing.T) {
	var k tally
	c := config(t, &k)
	p := fakePlan(t, 1, fake{func(ctx context.Context, l *lab.Lab, _ stack.Trial) (stack.Observation, error) {
		if err := unix.Kill(c.Fabric.PID(), unix.SIGKILL); err != nil {
			return stack.Observation{}, err
		}
		select {
		case <-ctx.Done():
		case <-time.After(30 * time.Second): // as a trial whose packets never come, with all the time in the world
			t.Error("a trial was left to wait for a fabric that is dead")
		}
		return stack.Observation{Outcome: record.Failed}, nil
	}}, "slow")
	_, err := runner.Run(t.Context(), p, c)
	if !errors.Is(err, live.ErrFabricEnded) || !strings.Contains(err.Error(), "killed") {
		t.Errorf("error %v, want %v and how", err, live.ErrFabricEnded)
	}
	if len(k.records) != 0 {
		t.Errorf("a trial without a fabric is recorded: %+v", k.records)
	}
}

// TestWhoRestsHoldsNobodyUp: while one trial leaves its camera alone, as many others run as there are jobs.
func TestWhoRestsHoldsNobodyUp(t *testing.T) {
	var k tally
	var busy sync.WaitGroup
	busy.Add(6)
	pair := make(chan struct{})
	p := fakePlan(t, 3, fake{func(ctx context.Context, _ *lab.Lab, tr stack.Trial) (stack.Observation, error) {
		late := time.After(20 * time.Second)
		if tr.Idle > 0 {
			all := make(chan struct{})
			go func() { busy.Wait(); close(all) }()
			select {
			case <-all:
			case <-late:
				t.Error("a trial that rests keeps others from running")
			}
			return direct, nil
		}
		select { // with another one, at the same time
		case pair <- struct{}{}:
		case <-pair:
		case <-late:
			t.Error("a trial that rests takes the room of one that would not")
		}
		busy.Done()
		return direct, nil
	}}, "one", "two", "three")
	p.Idle = time.Hour
	c := config(t, &k)
	c.Jobs = 2
	got, err := runner.Run(t.Context(), p, c)
	if err != nil || got.Done != 9 {
		t.Errorf("%v, %+v", err, got)
	}
	for _, r := range k.records {
		if (r.IdleS != nil) != (r.Trial == 0) {
			t.Errorf("trial %d left the camera alone for %v", r.Trial, r.IdleS)
		}
	}
}

func TestNothingIsLeftOfARun(t *testing.T) {
	var k tally
	var tried attempts
	p := fakePlan(t, 3, fake{func(_ context.Context, _ *lab.Lab, tr stack.Trial) (stack.Observation, error) {
		if tried.next(tr.Seed)%2 == 1 {
			return stack.Observation{}, errLab
		}
		return direct, nil
	}}, "direct")
	c := config(t, &k)
	run := func() {
		if _, err := runner.Run(t.Context(), p, c); err != nil {
			t.Fatal(err)
		}
	}
	left := func() (descriptors, goroutines int) {
		d, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(d), runtime.NumGoroutine()
	}
	run() // what opens once stays open
	descriptors, goroutines := left()
	for range 2 {
		run()
		d, g := left()
		for end := time.Now().Add(20 * time.Second); (d > descriptors || g > goroutines) && time.Now().Before(end); d, g = left() {
			time.Sleep(5 * time.Millisecond) // a goroutine that has done all it had to may not have had its turn to end
		}
		if d > descriptors || g > goroutines {
			t.Fatalf("%d descriptors and %d goroutines after a run, then %d and %d", descriptors, goroutines, d, g)
		}
	}
}
