package runner_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/punchlab/punchlab/lab"
	"github.com/punchlab/punchlab/lab/record"
	"github.com/punchlab/punchlab/lab/runner"
	"github.com/punchlab/punchlab/lab/stack"
	"github.com/punchlab/punchlab/topologies"
)

// dice is a system under test whose trials are a function of their seed and strategy: as those of engine sim are.
type dice struct {
	fake
	trials *atomic.Int64
	each   func(stack.Trial) error // before each trial; nil: nothing
}

func (d dice) Simulate(ctx context.Context, _ *lab.Topology, tr stack.Trial, events []lab.Event) (
	o stack.Observation, done []record.Event, err error,
) {
	if d.trials != nil {
		d.trials.Add(1)
	}
	if d.each != nil {
		if err := d.each(tr); err != nil {
			return o, nil, err
		}
	}
	if err := ctx.Err(); err != nil {
		return o, nil, err
	}
	r := rand.New(rand.NewPCG(tr.Seed, uint64(len(tr.Strategy))))
	o = stack.Observation{Outcome: record.Direct, Connect: time.Duration(1 + r.IntN(1e9)), FirstFrameWire: 1000}
	if r.Float64() < 0.2 {
		o.Outcome, o.Cause = record.Failed, "bad luck"
	}
	for _, e := range events {
		done = append(done, record.Event{AtS: e.At.Seconds(), What: e.String()})
	}
	return o, done, nil
}

// dicePlan has six cells: three pairs of NATs, two strategies each.
func dicePlan(t testing.TB, trials int, d dice) runner.Plan {
	t.Helper()
	p := runner.Plan{Trials: trials, Seed: 7, Timeout: time.Second}
	for _, nat := range []string{"open", "full-cone", "symmetric"} {
		topo, _, err := topologies.Load("two-homes")
		if err != nil {
			t.Fatal(err)
		}
		if err := topo.Set("camera.nat", nat); err != nil {
			t.Fatal(err)
		}
		if err := topo.Resolve(); err != nil {
			t.Fatal(err)
		}
		for _, s := range []string{"direct", "relay"} {
			p.Cells = append(p.Cells, runner.Cell{
				Index: len(p.Cells), Params: map[string]string{"camera.nat": nat, "strategy": s}, System: d, Strategy: s, Topology: topo,
			})
		}
	}
	return p
}

// texts are the records, sorted, without what no two runs share: when they were made.
func texts(t testing.TB, records []record.Trial) (all []string) {
	t.Helper()
	for _, r := range records {
		r.StartedAt, r.EndedAt = time.Time{}, time.Time{}
		b, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, string(b))
	}
	slices.Sort(all)
	return all
}

func simulate(t testing.TB, p runner.Plan, jobs int) []record.Trial {
	t.Helper()
	var k tally
	got, err := runner.Run(t.Context(), p, runner.Config{Jobs: jobs, Sink: k.add})
	if err != nil {
		t.Fatal(err)
	}
	if got.Done != got.Total {
		t.Errorf("%d of %d done", got.Done, got.Total)
	}
	return k.records
}

// third ends a cell with the third failure in a row of trials.
func third(_ int, prefix []record.Trial) bool {
	failed := 0
	for _, r := range prefix {
		if r.Outcome == record.Failed {
			failed++
		}
	}
	return failed >= 3
}

// TestRecordsAreTheSame whatever the number of jobs, shards and workers, and after an interruption: with a stop rule and without.
func TestRecordsAreTheSame(t *testing.T) {
	for name, stop := range map[string]func(int, []record.Trial) bool{"every trial": nil, "stopped": third} {
		t.Run(name, func(t *testing.T) {
			plan := func() runner.Plan {
				p := dicePlan(t, 60, dice{})
				p.Stop = stop
				return p
			}
			want := texts(t, simulate(t, plan(), 1))
			check := func(what string, records []record.Trial) {
				t.Helper()
				if diff := cmp.Diff(want, texts(t, records)); diff != "" {
					t.Errorf("%s: %s", what, diff)
				}
			}
			if (stop == nil) != (len(want) == 360) {
				t.Fatalf("%d records", len(want))
			}
			for _, jobs := range []int{0, 2, 8} {
				check(fmt.Sprint(jobs, " jobs"), simulate(t, plan(), jobs))
			}
			var sharded []record.Trial
			for i := range 3 {
				p := plan()
				s := record.Shard{I: i + 1, N: 3}
				p.Mine = func(cell, trial int) bool { return s.Has(cell, trial, p.Trials, stop != nil) }
				sharded = append(sharded, simulate(t, p, 2)...)
			}
			check("3 shards", sharded)
			check("interrupted and resumed", interrupted(t, plan))
			if stop == nil {
				p := plan()
				p.Stop = third // the coordinator's to ask
				check("units", executed(t, p))
			}
		})
	}
}

// interrupted runs a plan in pieces, each ended by an abort, and each told by the folder what those before it left.
func interrupted(t *testing.T, plan func() runner.Plan) []record.Trial {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "run")
	w, err := record.Create(dir, record.Manifest{Scenario: record.Document{Name: "dice"}, Engine: "sim"})
	if err != nil {
		t.Fatal(err)
	}
	for pieces := 1; ; pieces++ {
		p, n := plan(), 0
		if pieces > 1 {
			if w, _, err = record.Reopen(dir, p.Resume); err != nil {
				t.Fatal(err)
			}
		}
		_, err := runner.Run(t.Context(), p, runner.Config{Jobs: 3, Sink: w.Add, Abort: func(record.Trial) error {
			if n++; n >= 20 {
				return errors.New("that is enough for today")
			}
			return nil
		}})
		if ferr := w.Finish(err == nil, time.Now()); ferr != nil {
			t.Fatal(ferr)
		}
		switch {
		case err == nil && pieces < 3:
			t.Fatalf("%d pieces: nothing was interrupted", pieces)
		case err == nil:
			run, err := record.Read(dir)
			if err != nil {
				t.Fatal(err)
			}
			for i := range run.Trials {
				run.Trials[i].Schema = "" // the writer's
			}
			return run.Trials
		case !errors.Is(err, runner.ErrAborted) || !strings.Contains(err.Error(), "for today"):
			t.Fatal(err)
		}
	}
}

// executed runs a plan as a worker does: by units that come one by one.
func executed(t *testing.T, p runner.Plan) []record.Trial {
	t.Helper()
	units, ended := make(chan runner.Unit), atomic.Int64{}
	go func() {
		defer close(units)
		for _, c := range p.Cells {
			for n := 0; n < p.Trials; n += 7 {
				units <- runner.Unit{Cell: c.Index, From: n, To: min(n+7, p.Trials)}
			}
		}
	}()
	var k tally
	done := func(u runner.Unit) { ended.Add(int64(u.To - u.From)) }
	got, err := runner.Execute(t.Context(), p, runner.Config{Jobs: 4, Sink: k.add}, units, done)
	if err != nil || got.Done != len(p.Cells)*p.Trials || got.Total != got.Done || ended.Load() != int64(got.Done) {
		t.Fatalf("%v, %+v, %d trials of units that ended", err, got, ended.Load())
	}
	return k.records
}

// TestStopEndsCells: a cell's records end where its rule says, in order, and what is left of it does not run.
func TestStopEndsCells(t *testing.T) {
	var trials atomic.Int64
	p := dicePlan(t, 5000, dice{trials: &trials})
	p.Stop = third
	var k tally
	got, err := runner.Run(t.Context(), p, runner.Config{Jobs: 1, Sink: k.add})
	if err != nil {
		t.Fatal(err)
	}
	next := map[int]int{}
	for _, r := range k.records {
		if r.Trial != next[r.Cell] {
			t.Fatalf("cell %d: trial %d where trial %d was due", r.Cell, r.Trial, next[r.Cell])
		}
		next[r.Cell]++
	}
	if got.Stopped != len(p.Cells) || got.Done != len(k.records) || got.Total != got.Done {
		t.Errorf("%+v with %d records", got, len(k.records))
	}
	for cell := range p.Cells {
		own := slices.DeleteFunc(slices.Clone(k.records), func(r record.Trial) bool { return r.Cell != cell })
		if !third(cell, own) || third(cell, own[:len(own)-1]) {
			t.Errorf("cell %d has %d records: the rule does not end there", cell, len(own))
		}
	}
	if trials.Load() != int64(len(k.records)) { // one at a time, none is run ahead
		t.Errorf("%d trials ran for %d records: cells that have ended go on", trials.Load(), len(k.records))
	}
}

func TestStopNeedsWholeCells(t *testing.T) {
	p := dicePlan(t, 6, dice{})
	p.Stop = third
	p.Mine = func(cell, trial int) bool { return trial%2 == 0 }
	if _, err := runner.Run(t.Context(), p, runner.Config{Sink: (&tally{}).add}); err == nil || !strings.Contains(err.Error(), "deal out whole cells") {
		t.Error(err)
	}
}

// TestVoidSimulations: what fails in the lab is kept as a harness error, and is tried again.
func TestVoidSimulations(t *testing.T) {
	var tried attempts
	p := dicePlan(t, 4, dice{each: func(tr stack.Trial) error {
		if tried.next(tr.Seed)%3 == 1 {
			return errLab
		}
		return nil
	}})
	p.Cells = slices.DeleteFunc(p.Cells, func(c runner.Cell) bool { return c.Strategy != "direct" })
	var k tally
	got, err := runner.Run(t.Context(), p, runner.Config{Sink: k.add})
	if err != nil || got.Void != 12 || got.Done != 12 {
		t.Errorf("%v, %+v", err, got)
	}
	k.count(t, p)
	for _, r := range k.records {
		if (r.Attempt == 0) != (r.Outcome == record.HarnessError) ||
			r.Attempt == 0 && (r.Cause != "the simulation failed" || r.Error != errLab.Error()) {
			t.Errorf("%+v", r)
		}
	}
}

func TestSimulationNeedsASimulator(t *testing.T) {
	p := dicePlan(t, 1, dice{})
	p.Cells[2].System = fake{}
	_, err := runner.Run(t.Context(), p, runner.Config{Sink: (&tally{}).add})
	if err == nil || !strings.Contains(err.Error(), "cell 2: engine sim cannot run system fake") ||
		!strings.Contains(err.Error(), "use engine netfilter") {
		t.Error(err)
	}
}

// TestSimulationsEndWithTheirContext leaves no record of a trial that was cut short.
func TestSimulationsEndWithTheirContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var trials atomic.Int64
	p := dicePlan(t, 1000, dice{trials: &trials, each: func(stack.Trial) error {
		if trials.Load() >= 100 { // two count at once: neither may see 100 itself
			cancel()
		}
		return nil
	}})
	var k tally
	_, err := runner.Run(ctx, p, runner.Config{Jobs: 2, Sink: k.add})
	if !errors.Is(err, context.Canceled) || len(k.records) >= 100 || trials.Load() > 102 {
		t.Errorf("%v: %d records of %d trials", err, len(k.records), trials.Load())
	}
	if n := k.count(t, p); n[0][record.HarnessError] != 0 {
		t.Error("a trial that was cut short is recorded")
	}
}

// TestSimulatedEventsAreRecorded beside the trial they happened to.
func TestSimulatedEventsAreRecorded(t *testing.T) {
	p := dicePlan(t, 1, dice{})
	p.Events, p.Idle = []lab.Event{{At: time.Second, Do: lab.DoReboot, Site: "camera"}}, time.Hour
	for _, r := range simulate(t, p, 1) {
		if r.IdleS == nil || *r.IdleS != 3600 || len(r.Events) != 1 || r.Events[0].AtS != 1 || r.Lateness != nil || r.TriangleS == nil || r.BoundS == nil {
			t.Errorf("%+v", r)
		}
	}
}

// TestUnitsThatAreNot ends with what is wrong, and tells of no unit that was not run.
func TestUnitsThatAreNot(t *testing.T) {
	for _, u := range []runner.Unit{{Cell: 9, To: 1}, {From: -1, To: 1}, {From: 2, To: 1}} {
		units := make(chan runner.Unit, 1)
		units <- u
		_, err := runner.Execute(t.Context(), dicePlan(t, 3, dice{}), runner.Config{Sink: (&tally{}).add}, units,
			func(runner.Unit) { t.Errorf("%+v is told to be done", u) })
		if err == nil || !strings.Contains(err.Error(), "the plan has no trials") {
			t.Errorf("%+v: %v", u, err)
		}
	}
}

// TestStrategiesMeetTheSame: two strategies are compared in pairs.
func TestStrategiesMeetTheSame(t *testing.T) {
	seeds := map[string]map[string]uint64{}
	for _, r := range simulate(t, dicePlan(t, 20, dice{}), 2) {
		k := fmt.Sprint(r.Params["camera.nat"], r.Trial)
		if seeds[k] == nil {
			seeds[k] = map[string]uint64{}
		}
		seeds[k][r.Params["strategy"]] = r.Seed
	}
	all := map[uint64]bool{}
	for k, s := range seeds {
		if len(s) != 2 || s["direct"] != s["relay"] {
			t.Errorf("%s has seeds %v", k, s)
		}
		for seed := range maps.Values(s) {
			all[seed] = true
		}
	}
	if len(all) != 60 {
		t.Errorf("%d seeds for 60 pairs", len(all))
	}
}
