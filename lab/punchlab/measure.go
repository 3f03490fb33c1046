package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"

	"github.com/punchlab/punchlab/lab"
	"github.com/punchlab/punchlab/lab/experiment"
	"github.com/punchlab/punchlab/lab/gate"
	"github.com/punchlab/punchlab/lab/live"
	"github.com/punchlab/punchlab/lab/netns"
	"github.com/punchlab/punchlab/lab/record"
	"github.com/punchlab/punchlab/lab/runner"
	"github.com/punchlab/punchlab/reports"
)

// job is one scenario, ready to run.
type job struct {
	*experiment.Experiment
	manifest   record.Manifest
	dir        string
	thresholds []gate.Threshold
	lenient    int // so many of the first thresholds may be undecided: the scenario's, where the run is a smaller one
	sequential *gate.Sequential
	recorded   []record.Trial // of a sequential run that goes on: those with a verdict
}

func (j *job) name() string { return j.Scenario.Name }

// simGC trades memory for time where trials are nothing but computing: some tens of megabytes for a fifth of the time.
const simGC = 800

func (f *runFlags) run(ctx context.Context, names []string) error {
	if err := f.validate(); err != nil {
		return err
	}
	if f.other != "" {
		if f.again != "" {
			return usagef("--ab goes without --again: name the scenario")
		}
		if len(names) != 1 {
			return usagef("--ab: give one scenario, not %d", len(names))
		}
		return f.ab(ctx, names[0])
	}
	jobs, err := f.jobsOf(names)
	if err != nil {
		return err
	}
	if f.engine == lab.EngineSim {
		debug.SetGCPercent(simGC)
	}
	var fabric *live.Fabric
	if f.engine != lab.EngineSim && !f.spread.on() {
		if fabric, err = startFabric(f.precise); err != nil {
			return err
		}
		defer fabric.Close()
	}
	var errs []error
	for _, j := range jobs {
		errs = append(errs, f.measure(ctx, fabric, j))
		if ctx.Err() != nil || errors.Is(errs[len(errs)-1], live.ErrFabricEnded) {
			break // the scenarios left leave no folder
		}
	}
	return worst(errs)
}

func (f *runFlags) jobsOf(names []string) (jobs []*job, err error) {
	if f.again != "" {
		j, err := f.prepareAgain()
		if err != nil {
			return nil, err
		}
		return []*job{j}, nil
	}
	for _, name := range names {
		j, err := f.prepare(name, len(names) > 1)
		if err != nil {
			return nil, err
		}
		jobs = append(jobs, j)
	}
	return jobs, nil
}

// startFabric brings this process into a namespace of its own, and the fabric up.
func startFabric(precise bool) (*live.Fabric, error) {
	if err := netns.Isolate(); err != nil {
		return nil, labError(fmt.Errorf("%w\n'punchlab doctor' says more, and --engine sim needs no namespace", err))
	}
	if err := preflight(); err != nil {
		return nil, labError(err)
	}
	fabric, err := live.Start(live.Options{Precise: precise})
	if err != nil {
		return nil, labError(fmt.Errorf("start fabric: %w", err))
	}
	return fabric, nil
}

// worst returns the error with the gravest exit code: a lab error before anything else.
func worst(errs []error) (w error) {
	code := 0
	for _, err := range errs {
		c := exitPass
		var e *exitError
		if errors.As(err, &e) {
			c = e.code
		}
		if c > code {
			w, code = err, c
		}
	}
	return w
}

// measure runs one scenario and writes its folder.
func (f *runFlags) measure(ctx context.Context, fabric *live.Fabric, j *job) error {
	w, err := f.open(j)
	if err != nil {
		return err
	}
	monitor, err := gate.NewMonitor(j.manifest, j.thresholds)
	if err != nil {
		return usage(err)
	}
	if j.sequential != nil {
		j.Plan.Stop = j.sequential.Stop
	}
	p := newProgress(os.Stderr, j.name())
	var got runner.Progress
	var runErr error
	if f.spread.on() {
		got, runErr = f.spread.coordinate(ctx, j, w, p, monitor)
	} else {
		got, runErr = runner.Run(ctx, j.Plan, runner.Config{
			Fabric: fabric, Jobs: f.jobs, Late: f.late, Sink: w.Add, Watch: p.show, Pcap: captures[f.pcap], Dir: w.Dir(), Abort: monitor.Add,
		})
	}
	p.end(got)
	complete := runErr == nil && ctx.Err() == nil
	if err := w.Finish(complete, time.Now().UTC()); err != nil {
		return labError(err)
	}
	return f.conclude(ctx, j, w.Dir(), runErr)
}

// conclude writes the run's summary and report, says what came out, and turns it into the exit code.
func (f *runFlags) conclude(ctx context.Context, j *job, dir string, runErr error) error {
	summary, err := summarize(dir)
	if err != nil {
		return labError(err)
	}
	files, err := reports.Write(dir, f.formats)
	if err != nil {
		return labError(fmt.Errorf("write report: %w", err))
	}
	if err := say(summary, dir, files, f.json); err != nil {
		return labError(err)
	}
	goOn := f.goOn(dir)
	switch {
	case ctx.Err() != nil:
		return &exitError{exitUndecided, fmt.Errorf("interrupted: the run is incomplete; %s", goOn)}
	case errors.Is(runErr, runner.ErrAborted):
		return &exitError{exitFail, runErr}
	case runErr != nil:
		return labError(fmt.Errorf("run %s: %w; %s", j.name(), runErr, goOn))
	case summary.Trials == 0:
		return &exitError{exitUndecided, errNothing}
	}
	return f.holding(j).hold(dir, f.json)
}

// goOn says how an incomplete run goes on: by its manifest, which holds what it was asked for.
func (f *runFlags) goOn(dir string) string {
	args := []string{"punchlab", "run", "--again", dir, "--out", dir, "--resume"}
	if f.pcap != "none" {
		args = append(args, "--pcap", f.pcap)
	}
	if f.spread.on() {
		args = append(args, "--nats", f.spread.url)
		if f.spread.listen != "" {
			args = append(args, "--nats-listen", f.spread.listen)
		}
	}
	return "go on with: " + shellWords(args)
}

// open creates the run's folder, or opens it to go on.
func (f *runFlags) open(j *job) (*record.Writer, error) {
	if !f.resume {
		w, err := record.Create(j.dir, j.manifest)
		return w, usageOrNil(err)
	}
	before, err := record.ReadManifest(j.dir)
	if err != nil {
		return nil, usage(err)
	}
	if err := before.CheckResume(j.manifest); err != nil {
		return nil, usage(err)
	}
	if j.sequential != nil {
		j.Plan.Stop = j.sequential.Stop // it wants to see the trials that there are
	}
	w, old, err := record.Reopen(j.dir, func(t record.Trial) error {
		if j.sequential != nil && t.Outcome.HasVerdict() {
			j.recorded = append(j.recorded, t)
		}
		return j.Plan.Resume(t)
	})
	if err != nil {
		return nil, usage(err)
	}
	j.manifest.Start = old.Manifest.Start
	if old.Truncated > 0 {
		fmt.Fprintf(os.Stderr, "cut off a torn last line of %s (%d bytes): that trial runs again\n", record.TrialsFile, old.Truncated)
	}
	return w, nil
}

func usageOrNil(err error) error {
	if err == nil {
		return nil
	}
	return usage(err)
}

// summarize reads the run back, as any other program would, and writes summary.json.
func summarize(dir string) (record.Summary, error) {
	s, err := record.SummarizeRun(dir)
	if err != nil {
		return s, err
	}
	return s, record.WriteSummary(dir, s)
}

// say prints the data of a run on standard output.
func say(s record.Summary, dir string, files []string, asJSON bool) error {
	if asJSON {
		enc := json.NewEncoder(os.Stdout)
		enc.SetIndent("", "  ")
		return enc.Encode(s)
	}
	printSummary(os.Stdout, s)
	for _, file := range files {
		if filepath.Ext(file) == ".html" {
			_, err := fmt.Fprintf(os.Stdout, "\nreport: %s\n", file)
			return err
		}
	}
	_, err := fmt.Fprintf(os.Stdout, "\nrecords: %s\n", dir)
	return err
}

// missing says what trials a merged run lacks.
func missing(m record.Merged) error {
	if len(m.Missing) == 0 {
		return nil
	}
	const most = 10
	var list []string
	for _, one := range m.Missing {
		if len(list) == most {
			list = append(list, fmt.Sprintf("and %d cells more", len(m.Missing)-most))
			break
		}
		list = append(list, one.String())
	}
	return &exitError{exitUndecided, fmt.Errorf("the merged run is incomplete: no shard has\n  %s", strings.Join(list, "\n  "))}
}

// counted is a number of things.
func counted(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %ss", n, one)
}

// printSummary prints outcomes per value of the strategy axis, worst cells first where something is wrong.
func printSummary(w io.Writer, s record.Summary) {
	fmt.Fprintf(w, "%s, engine %s, seed %d: %s in %s, %.1f s\n",
		s.Scenario, s.Engine, s.Seed, counted(s.Trials, "trial"), counted(len(s.Cells), "cell"), s.WallS)
	type row struct {
		outcomes map[record.Outcome]int
		trials   int
	}
	rows, order := map[string]*row{}, []string{}
	for _, c := range s.Cells {
		k := c.Params["strategy"]
		if rows[k] == nil {
			rows[k] = &row{outcomes: map[record.Outcome]int{}}
			order = append(order, k)
		}
		for o, n := range c.Outcomes {
			rows[k].outcomes[o] += n
		}
		rows[k].trials += c.Trials
	}
	for _, k := range order {
		fmt.Fprintf(w, "  %-10s", k)
		for _, o := range record.Outcomes {
			if n := rows[k].outcomes[o]; n > 0 {
				fmt.Fprintf(w, "  %s %d", o, n)
			}
		}
		fmt.Fprintln(w)
	}
}
