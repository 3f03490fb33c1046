package runner

import (
	"slices"
	"testing"
	"time"

	"github.com/punchlab/punchlab/topologies"
)

// testPlan has cells on two topologies, two cells each.
func testPlan(t *testing.T, trials int) Plan {
	t.Helper()
	var p Plan
	p.Trials = trials
	for i, nat := range []string{"full-cone", "full-cone", "symmetric", "symmetric"} {
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
		p.Cells = append(p.Cells, Cell{Index: i, Params: map[string]string{"camera.nat": nat}, Topology: topo})
	}
	return p
}

func drain(q *queue) (batches [][]task) {
	for b := q.next(); b != nil; b = q.next() {
		batches = append(batches, b.tasks)
	}
	return batches
}

func TestQueueHandsOutEachTrialOnceInBatchesOfOneTopology(t *testing.T) {
	p := testPlan(t, 20)
	q := newQueue(p, 4, 0)
	if q.left != 80 {
		t.Errorf("%d trials wait, want 80", q.left)
	}
	seen := map[[2]int]int{}
	for _, b := range drain(q) {
		for _, task := range b {
			seen[[2]int{task.cell.Index, task.trial}]++
			if task.cell.Topology.Digest() != b[0].cell.Topology.Digest() {
				t.Errorf("a batch mixes topologies: its lab would be configured again")
			}
		}
	}
	if len(seen) != 80 || q.left != 0 {
		t.Errorf("%d different trials handed out, %d left; want 80 and 0", len(seen), q.left)
	}
	for k, n := range seen {
		if n != 1 {
			t.Errorf("cell %d trial %d handed out %d times", k[0], k[1], n)
		}
	}
}

// TestQueueLetsSomeRest: trials that mostly wait come first, some at a time, and hold nobody up who could do something else.
func TestQueueLetsSomeRest(t *testing.T) {
	p := testPlan(t, 5)
	p.Idle = time.Minute
	q := newQueue(p, 4, 2)
	a, b := q.next(), q.next()
	for _, one := range []*batch{a, b} {
		if len(one.tasks) != 1 || one.tasks[0].trial != 0 {
			t.Fatalf("began with %+v, want a trial 0 alone", one.tasks)
		}
	}
	if c := q.next(); slices.ContainsFunc(c.tasks, func(t task) bool { return t.trial == 0 }) {
		t.Errorf("a third rests: %+v", c.tasks)
	}
	a.done()
	if c := q.next(); len(c.tasks) != 1 || c.tasks[0].trial != 0 {
		t.Errorf("%+v, want the third trial 0 as soon as one has ended", c.tasks)
	}
	seen := 0
	for _, one := range drain(q) {
		seen += len(one)
	}
	if q.left != 0 || seen < 4*5-7 {
		t.Errorf("%d more trials handed out, %d left: the last ones that rest wait for nobody", seen, q.left)
	}
}

func TestTrialsAreTriedUntilTheLimit(t *testing.T) {
	runs, one := 1, task{trial: 3}
	for next, ok := one.again(); ok; next, ok = one.again() {
		if next.trial != one.trial || next.attempt != one.attempt+1 {
			t.Fatalf("a retry came back as %+v after %+v", next, one)
		}
		one = next
		runs++
	}
	if runs != maxAttempts {
		t.Errorf("a trial that is always void ran %d times, want %d", runs, maxAttempts)
	}
}

func TestQueueResumesWhereARunStopped(t *testing.T) {
	p := testPlan(t, 3)
	p.Done = func(cell, trial int) (bool, int) {
		switch {
		case cell == 0:
			return true, 1
		case cell == 1 && trial == 2:
			return false, 2 // void twice
		}
		return false, 0
	}
	open := map[[2]int]int{}
	for _, b := range drain(newQueue(p, 1, 0)) {
		for _, task := range b {
			open[[2]int{task.cell.Index, task.trial}] = task.attempt
		}
	}
	if len(open) != 9 {
		t.Errorf("%d trials open, want 9: cell 0 is done", len(open))
	}
	if got := open[[2]int{1, 2}]; got != 2 {
		t.Errorf("a trial void twice goes on as attempt %d, want 2", got)
	}
}

func TestShardsCoverThePlanOnce(t *testing.T) {
	const n = 3
	seen := map[[2]int]int{}
	for i := range n {
		p := testPlan(t, 5)
		p.Mine = func(cell, trial int) bool { return (cell*p.Trials+trial)%n == i }
		for _, b := range drain(newQueue(p, 2, 0)) {
			for _, task := range b {
				seen[[2]int{task.cell.Index, task.trial}]++
			}
		}
	}
	if len(seen) != 20 {
		t.Errorf("%d shards cover %d trials, want 20", n, len(seen))
	}
	for k, times := range seen {
		if times != 1 {
			t.Errorf("cell %d trial %d is in %d shards", k[0], k[1], times)
		}
	}
}

func TestSeedDependsOnTheTrialAlone(t *testing.T) {
	a := map[string]string{"camera.nat": "symmetric", "strategy": "direct"}
	if Seed(1, a, 3) != Seed(1, map[string]string{"strategy": "direct", "camera.nat": "symmetric"}, 3) {
		t.Error("the order of parameters changes the seed")
	}
	seeds := map[uint64]bool{}
	for run := range uint64(3) {
		for trial := range 50 {
			for _, s := range []string{"direct", "relay"} {
				seeds[Seed(run, map[string]string{"strategy": s}, trial)] = true
			}
		}
	}
	if len(seeds) != 150 {
		t.Errorf("%d different seeds for 3 runs of 50 trials with 2 strategies; want 150: strategies are compared on common seeds", len(seeds))
	}
	b := map[string]string{"camera.nat": "full-cone", "strategy": "direct"}
	if Seed(1, a, 3) == Seed(1, b, 3) {
		t.Error("cells of other NATs have the same seed")
	}
	for s := range seeds {
		if uint64(float64(s)) != s {
			t.Fatalf("seed %d is not exact as a JSON number", s)
		}
	}
}

// What met a late machine waits ever longer, through a minute in all; what failed otherwise is run again at once.
func TestCalm(t *testing.T) {
	var all time.Duration
	last := time.Duration(0)
	for attempt := 1; attempt < maxAttempts; attempt++ {
		if (task{attempt: attempt}).calm(LateLimit) != 0 {
			t.Errorf("attempt %d waits though no machine was late", attempt)
		}
		d := (task{attempt: attempt, late: true}).calm(LateLimit)
		if d <= last {
			t.Errorf("attempt %d waits %v, the one before %v", attempt, d, last)
		}
		last, all = d, all+d
	}
	if all < 45*time.Second || all > 2*time.Minute {
		t.Errorf("%v in all", all)
	}
}
