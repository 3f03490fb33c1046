package mutants

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/punchlab/punchlab/lab/gate"
)

// Options of Check.
type Options struct {
	Root    string // the module's; "": above the working directory
	Dir     string // for programs and runs, which stay there
	Trials  int    // of a cell, in every job; 0: as the jobs say
	Workers int    // mutants at once; 0: a processor each
	Gate    gate.Options
	// Timeout ends a job's run, in real time, and with it its mutant as an error: a fault may have a core ask for the same moment
	// for ever. 0: DefaultTimeout.
	Timeout time.Duration
	Told    func(Row) // after each mutant, in any order; may be nil; called by one goroutine at a time
}

// DefaultTimeout is many times what any job takes.
const DefaultTimeout = 5 * time.Minute

// Check builds each mutant, runs its job and compares it with the same job of the product as it is, by gate.Compare. An error
// means that the kit could not be run at all; what is wrong with one mutant is in its row.
func Check(ctx context.Context, ms []Mutant, o Options) (Table, error) {
	t := Table{Schema: TableSchema, Rows: make([]Row, len(ms))}
	if o.Root == "" {
		root, err := Root(".")
		if err != nil {
			return t, err
		}
		o.Root = root
	}
	if o.Timeout == 0 {
		o.Timeout = DefaultTimeout
	}
	if o.Workers == 0 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
	k := &kit{Options: o, runs: map[string]*run{}}
	var err error
	if k.product, err = BuildPackage(ctx, o.Root, TrialPackage, filepath.Join(o.Dir, "product")); err != nil {
		return t, fmt.Errorf("build the product as it is: %w", err)
	}
	var wg sync.WaitGroup
	next := make(chan int)
	for range o.Workers {
		wg.Go(func() {
			for i := range next {
				t.Rows[i] = k.check(ctx, ms[i])
				k.tell(t.Rows[i])
			}
		})
	}
	for i := range ms {
		next <- i
	}
	close(next)
	wg.Wait()
	return t, ctx.Err()
}

// kit is one Check.
type kit struct {
	Options
	product string // the program
	mu      sync.Mutex
	runs    map[string]*run // of the product, by job
}

// run is the product's run of a job, made once.
type run struct {
	once   sync.Once
	sample gate.Sample
	err    error
}

func (k *kit) tell(r Row) {
	if k.Told == nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.Told(r)
}

func (k *kit) check(ctx context.Context, m Mutant) Row {
	r := Row{Mutant: m}
	before, after, err := k.samples(ctx, m)
	for _, paired := range []bool{false, true} { // the second is asked where the first does not fail: it tells smaller effects
		if err != nil || r.Decision == gate.Fail || paired && before.Manifest.Seed != after.Manifest.Seed {
			break
		}
		o := k.Gate
		o.Paired = paired
		var v *gate.Verdict
		if v, err = gate.Compare(before, after, o); err == nil {
			r.judge(v)
		}
	}
	if err != nil {
		r.Error = err.Error()
	}
	return r
}

// samples are of the mutant's job, by the product as it is and by the mutant.
func (k *kit) samples(ctx context.Context, m Mutant) (before, after gate.Sample, err error) {
	j, err := JobOf(m)
	if err != nil {
		return before, after, err
	}
	if k.Trials > 0 {
		j.Trials = k.Trials
	}
	dir, program := filepath.Join(k.Dir, m.Name), k.product
	if m.File != "" {
		if program, err = Build(ctx, k.Root, m, dir); err != nil {
			return before, after, err
		}
	}
	if before, err = k.baseline(ctx, j); err != nil {
		return before, after, fmt.Errorf("job %s of the product as it is: %w", j.Name, err)
	}
	if m.File == "" {
		j.Seed++
	}
	after, err = k.run(ctx, program, j, filepath.Join(dir, "run"))
	return before, after, err
}

// baseline is the product's sample of a job.
func (k *kit) baseline(ctx context.Context, j Job) (gate.Sample, error) {
	k.mu.Lock()
	r := k.runs[j.Name]
	if r == nil {
		r = &run{}
		k.runs[j.Name] = r
	}
	k.mu.Unlock()
	r.once.Do(func() { r.sample, r.err = k.run(ctx, k.product, j, filepath.Join(k.Dir, "product", j.Name)) })
	return r.sample, r.err
}

func (k *kit) run(ctx context.Context, program string, j Job, dir string) (gate.Sample, error) {
	ctx, end := context.WithTimeoutCause(ctx, k.Timeout, fmt.Errorf("it has not ended within %v", k.Timeout))
	defer end()
	return Run(ctx, program, j, dir)
}

// Run has a trial program run a job and reads what it recorded.
func Run(ctx context.Context, program string, j Job, dir string) (gate.Sample, error) {
	in, err := json.Marshal(j)
	if err != nil {
		return gate.Sample{}, err
	}
	if err := os.RemoveAll(dir); err != nil {
		return gate.Sample{}, err
	}
	c := exec.CommandContext(ctx, program, dir)
	c.Stdin = bytes.NewReader(in)
	if out, err := c.CombinedOutput(); err != nil {
		return gate.Sample{}, errors.Join(fmt.Errorf("run job %s: %w: %s", j.Name, err, lastLines(string(out), 12)), context.Cause(ctx))
	}
	return gate.Read(dir)
}

// lastLines shortens what a program said before it failed.
func lastLines(s string, n int) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// finding is a failed one, with where.
type finding struct {
	gate.Finding
	where string
}

// judge takes over what the gate says: the strongest finding of the mutant's metric, and of all where that is not among them.
func (r *Row) judge(v *gate.Verdict) {
	*r = Row{Mutant: r.Mutant, Decision: v.Decision, Why: v.Why, Paired: v.Paired}
	var failed []finding
	for _, f := range v.Overall {
		failed = append(failed, finding{f, f.Group})
	}
	for _, c := range v.Cells {
		for _, f := range c.Findings {
			failed = append(failed, finding{f, params(c.Params)})
		}
	}
	failed = slices.DeleteFunc(failed, func(f finding) bool { return f.Decision != gate.Fail })
	slices.SortStableFunc(failed, func(a, b finding) int { return stronger(a.Finding, b.Finding) })
	for _, f := range failed {
		if !slices.Contains(r.By, f.Metric) {
			r.By = append(r.By, f.Metric)
		}
	}
	r.Found = slices.Contains(r.By, r.Metric)
	best := slices.IndexFunc(failed, func(f finding) bool { return f.Metric == r.Metric || !r.Found })
	if best < 0 {
		return
	}
	f := failed[best]
	r.Shown, r.Where, r.Before, r.After, r.Effect, r.P = f.Metric, f.where, f.A.Value, f.B.Value, f.Effect, f.AdjustedP
}

// stronger orders failed findings: the smaller p first, then the greater effect.
func stronger(a, b gate.Finding) int {
	p := func(f gate.Finding) float64 {
		if f.AdjustedP == nil {
			return 1
		}
		return *f.AdjustedP
	}
	worse := func(f gate.Finding) float64 {
		if f.Worse == nil {
			return 0
		}
		return *f.Worse
	}
	switch {
	case p(a) != p(b):
		if p(a) < p(b) {
			return -1
		}
		return 1
	case worse(a) > worse(b):
		return -1
	case worse(a) < worse(b):
		return 1
	}
	return 0
}
