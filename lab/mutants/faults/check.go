package faults

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"sync"
	"time"

	"github.com/punchlab/punchlab/lab/certify"
	"github.com/punchlab/punchlab/lab/certify/suite"
)

// Trial is one run of a case, brief.
type Trial struct {
	Case        certify.Case
	Declaration *certify.Declaration // its own copy
	Program     string               // all roles of it
	Env         []string             // that the program has beside the contract's: its fault
	Seed        uint64
	Folder      string // for what it leaves; "": nowhere
}

// Runner runs a case's procedure. What it cannot do is a result too: harness-error.
type Runner func(context.Context, Trial) certify.Result

// Options of Check and CheckAll.
type Options struct {
	Program     string                               // that Build made
	Declaration func() (*certify.Declaration, error) // the bundled camera's, anew each time
	Run         Runner
	Seed        uint64
	Folder      string        // for evidence, a folder below it for each run; "": nowhere
	Timeout     time.Duration // of a run; 0: DefaultTimeout
	Jobs        int           // faults at once; 0: DefaultJobs
	Again       bool          // what is not OK is checked once more, alone: a machine that is busy is late, and a case may be by that
	Told        func(Row)     // after each check of a fault, in any order, one at a time; may be nil
}

// Defaults of Options. A brief case takes 15 s at most by itself, and up to a minute where it waits out a camera's own clock.
const (
	DefaultTimeout = 2 * time.Minute
	DefaultJobs    = 6
)

// CheckAll checks faults, several at once. Cases' controls are run once each, unless a fault has one of its own.
func CheckAll(ctx context.Context, faults []Fault, o Options) Table {
	t := Table{Schema: TableSchema, Rows: make([]Row, len(faults))}
	if o.Jobs == 0 {
		o.Jobs = DefaultJobs
	}
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex
		next = make(chan int)
		k    = &kit{Options: o, controls: map[string]*control{}}
	)
	for range min(o.Jobs, len(faults)) {
		wg.Go(func() {
			for i := range next {
				t.Rows[i] = k.check(ctx, faults[i])
				if o.Told != nil {
					mu.Lock()
					o.Told(t.Rows[i])
					mu.Unlock()
				}
			}
		})
	}
	for i := range faults {
		next <- i
	}
	close(next)
	wg.Wait()
	if o.Again {
		k.again(ctx, faults, t.Rows)
	}
	return t
}

// again checks what is not OK a second time, one after another. The row says what the first time came to.
func (k *kit) again(ctx context.Context, faults []Fault, rows []Row) {
	alone := &kit{Options: k.Options, controls: map[string]*control{}}
	if alone.Folder != "" {
		alone.Folder += "/again"
	}
	for i, first := range rows {
		if first.OK || ctx.Err() != nil {
			continue
		}
		rows[i] = alone.check(ctx, faults[i])
		rows[i].First = first.Said()
		if k.Told != nil {
			k.Told(rows[i])
		}
	}
}

// Check runs one fault's case on the right program and on the faulty one.
func Check(ctx context.Context, f Fault, o Options) Row {
	return (&kit{Options: o, controls: map[string]*control{}}).check(ctx, f)
}

// kit is one CheckAll.
type kit struct {
	Options
	mu       sync.Mutex
	controls map[string]*control // by case
}

// control is the right program's run of a case, made once.
type control struct {
	once   sync.Once
	result certify.Result
}

func (k *kit) check(ctx context.Context, f Fault) Row {
	start := time.Now()
	c, ok := certify.Lookup(f.Case)
	if !ok {
		return judge(f, certify.Result{}, certify.Result{Reason: "there is no such case"}, 0)
	}
	right := k.control(ctx, c, f)
	wrong := right
	if right.Verdict.Passed() { // what does not know right from wrong says nothing of the wrong
		wrong = k.run(ctx, c, f, f.Name, f.Env())
	} else {
		wrong = certify.Result{Case: c.ID, Reason: "not run: the control does not pass"}
	}
	return judge(f, right, wrong, time.Since(start))
}

// control runs the right program: once for all faults of a case, and anew for a fault that has a control of its own.
func (k *kit) control(ctx context.Context, c certify.Case, f Fault) certify.Result {
	if f.Control != "" || f.Declare != nil {
		return k.run(ctx, c, f, c.ID+"-of-"+f.Name+"-control", f.ControlEnv())
	}
	k.mu.Lock()
	r := k.controls[c.ID]
	if r == nil {
		r = &control{}
		k.controls[c.ID] = r
	}
	k.mu.Unlock()
	r.once.Do(func() { r.result = k.run(ctx, c, f, c.ID+"-control", nil) })
	return r.result
}

// run runs a case once, and holds what it came to to the case as a brief certification does: a pass that has not seen all that the case has to
// see, or a fail that has seen nothing, is inconclusive. A case that does not apply to what is declared is not run.
func (k *kit) run(ctx context.Context, c certify.Case, f Fault, name string, env []string) certify.Result {
	d, err := k.Declaration()
	if err != nil {
		return certify.Result{Case: c.ID, Verdict: certify.HarnessError, Reason: "read the bundled camera's declaration: " + err.Error()}
	}
	if f.Declare != nil {
		f.Declare(d)
	}
	for _, need := range c.Needs {
		if !d.Has(need) {
			return certify.Result{Case: c.ID, Verdict: certify.NotApplicable, Reason: "the bundled camera's declaration lacks " + string(need)}
		}
	}
	limit := k.Timeout
	if limit == 0 {
		limit = DefaultTimeout
	}
	ctx, end := context.WithTimeoutCause(ctx, limit, fmt.Errorf("the case has not ended within %v", limit))
	defer end()
	trial := Trial{Case: c, Declaration: d, Program: k.Program, Env: env, Seed: k.Seed}
	if k.Folder != "" {
		trial.Folder = k.Folder + "/" + name
	}
	r := k.Run(ctx, trial)
	if err := context.Cause(ctx); err != nil && !r.Verdict.Passed() {
		r.Verdict, r.Reason = certify.HarnessError, errors.Join(err, errors.New(r.Reason)).Error()
	}
	return certify.Settle(suite.Brief(c), r)
}

// judge says whether a fault was told from the right program, and for its own reason.
func judge(f Fault, right, wrong certify.Result, took time.Duration) Row {
	r := Row{
		Case: f.Case, Fault: f.Name, Role: f.Role, Summary: f.Summary,
		Control: right.Verdict, Faulty: wrong.Verdict, Reason: wrong.Reason, Seconds: took.Seconds(),
	}
	switch {
	case !right.Verdict.Passed():
		r.Why = fmt.Sprintf("the control does not pass: %s %s", right.Verdict, right.Reason)
	case wrong.Verdict != certify.Fail:
		r.Why = "the fault was not found"
	case !regexp.MustCompile(f.Reason).MatchString(wrong.Reason):
		r.Why = fmt.Sprintf("it fails for another reason than /%s/", f.Reason)
	case f.Device == "" && wrong.Device != "":
		r.Why = "it fails because the program " + wrong.Device
	case f.Device != "" && !regexp.MustCompile(f.Device).MatchString(wrong.Device):
		r.Why = fmt.Sprintf("what became of the program is %q, not /%s/", wrong.Device, f.Device)
	default:
		r.OK = true
	}
	return r
}
