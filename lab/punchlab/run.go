package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/punchlab/punchlab/lab"
	"github.com/punchlab/punchlab/lab/live"
	"github.com/punchlab/punchlab/lab/netns"
	"github.com/punchlab/punchlab/lab/record"
	"github.com/punchlab/punchlab/lab/runner"
	"github.com/punchlab/punchlab/reports"
	"github.com/punchlab/punchlab/scenarios"
	"github.com/spf13/cobra"
)

type runFlags struct {
	engine  string
	set     []string
	trials  int
	seed    uint64
	jobs    int
	late    time.Duration
	shard   string
	out     string
	resume  bool
	precise bool
	pcap    string
	json    bool
	formats []string
}

func runCommand() *cobra.Command {
	var f runFlags
	c := &cobra.Command{
		Use:   "run SCENARIO…",
		Short: "Run scenarios, write their records and a report",
		Long: `Run every trial of every cell of the scenarios, and write a folder for each: run.json, trials.jsonl, summary.json,
report.html and plots. A scenario is a name ('punchlab list scenarios') or a YAML file. Interrupted, a run stays
valid, is marked incomplete, and goes on with --resume.`,
		Example: `  punchlab run nat-matrix
  punchlab run nat-matrix --set strategy=direct --set camera.nat=full-cone,symmetric --trials 50
  punchlab run nat-matrix --out out/mine --resume
  punchlab run nat-matrix --json | jq '.cells[] | select(.direct_rate.value < 1) | .params'`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if cmd.Flags().Changed("trials") && f.trials < 1 {
				return usagef("--trials %d: give at least 1", f.trials)
			}
			return f.run(cmd.Context(), args)
		},
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return scenarios.Names(), cobra.ShellCompDirectiveDefault
		},
	}
	fl := c.Flags()
	fl.StringVar(&f.engine, "engine", lab.EngineNetfilter, "what the routers are that name no engine: netfilter (kernel nftables) or table (seeded, replayable tables in the fabric)")
	fl.StringArrayVar(&f.set, "set", nil, "narrow or add an `axis=v1,v2`; repeat for more")
	fl.IntVar(&f.trials, "trials", 0, "trials a cell (default: the scenario's)")
	fl.Uint64Var(&f.seed, "seed", 0, "seed of everything random (default: the scenario's)")
	fl.IntVar(&f.jobs, "jobs", 0, fmt.Sprintf("most trials at once; how many is governed by the fabric's lateness (default %d)", runner.DefaultJobs))
	fl.DurationVar(&f.late, "late", runner.LateLimit, "void a trial, and run it again, when the fabric delivered later than this (p99)")
	fl.StringVar(&f.shard, "shard", "", "run only part `i/n` of the trials, i from 1")
	fl.StringVar(&f.out, "out", "", "folder for the run; with several scenarios, for one folder each (default runs/SCENARIO-TIME)")
	fl.BoolVar(&f.resume, "resume", false, "go on with the incomplete run in --out")
	fl.BoolVar(&f.precise, "precise", false, "let the fabric spin before packets are due: truer delays for more CPU")
	fl.StringVar(&f.pcap, "pcap", "none", "captures to keep in the run's pcap folder: none, failed (also relayed although a direct path existed) or all; 'punchlab replay' explains them")
	fl.BoolVar(&f.json, "json", false, "print summary.json on standard output")
	fl.StringSliceVar(&f.formats, "format", []string{"html", "svg", "png"}, "reports to write")
	_ = c.RegisterFlagCompletionFunc("engine", cobra.FixedCompletions(lab.RouterEngines(), cobra.ShellCompDirectiveNoFileComp))
	_ = c.RegisterFlagCompletionFunc("pcap", cobra.FixedCompletions(slices.Sorted(maps.Keys(captures)), cobra.ShellCompDirectiveNoFileComp))
	return c
}

// captures are the values of --pcap.
var captures = map[string]runner.Keep{"none": runner.KeepNone, "failed": runner.KeepFailed, "all": runner.KeepAll}

// job is one scenario, ready to run.
type job struct {
	scenario *scenarios.Scenario
	plan     runner.Plan
	manifest record.Manifest
	dir      string
}

func (f *runFlags) run(ctx context.Context, names []string) error {
	if err := f.validate(); err != nil {
		return err
	}
	var jobs []*job
	for _, name := range names {
		j, err := f.prepare(name, len(names) > 1)
		if err != nil {
			return err
		}
		jobs = append(jobs, j)
	}
	if err := netns.Isolate(); err != nil {
		return labError(fmt.Errorf("%w\n'punchlab doctor' says more", err))
	}
	if err := preflight(); err != nil {
		return labError(err)
	}
	fabric, err := live.Start(live.Options{Precise: f.precise})
	if err != nil {
		return labError(fmt.Errorf("start fabric: %w", err))
	}
	defer fabric.Close()
	var errs []error
	for _, j := range jobs {
		errs = append(errs, f.measure(ctx, fabric, j))
		if ctx.Err() != nil || errors.Is(errs[len(errs)-1], live.ErrFabricEnded) {
			break // the scenarios left leave no folder
		}
	}
	return worst(errs)
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
	p := newProgress(os.Stderr, j.scenario.Name)
	got, runErr := runner.Run(ctx, j.plan, runner.Config{
		Fabric: fabric, Jobs: f.jobs, Late: f.late, Sink: w.Add, Watch: p.show, Pcap: captures[f.pcap], Dir: w.Dir(),
	})
	p.end(got)
	interrupted := ctx.Err() != nil
	complete := runErr == nil && !interrupted
	if err := w.Finish(complete, time.Now().UTC()); err != nil {
		return labError(err)
	}
	summary, err := summarize(w.Dir())
	if err != nil {
		return labError(err)
	}
	files, err := reports.Write(w.Dir(), f.formats)
	if err != nil {
		return labError(fmt.Errorf("write report: %w", err))
	}
	if err := f.say(summary, w.Dir(), files); err != nil {
		return labError(err)
	}
	switch {
	case interrupted:
		return &exitError{exitUndecided, fmt.Errorf("interrupted: the run is incomplete; go on with 'punchlab run %s --out %s --resume'", j.scenario.Name, w.Dir())}
	case runErr != nil:
		return labError(fmt.Errorf("run %s: %w; go on with 'punchlab run %s --out %s --resume'", j.scenario.Name, runErr, j.scenario.Name, w.Dir()))
	case summary.Trials == 0:
		return &exitError{exitUndecided, errors.New("no trial has a verdict")}
	}
	return nil
}

// open creates the run's folder, or opens it to go on.
func (f *runFlags) open(j *job) (*record.Writer, error) {
	if !f.resume {
		w, err := record.Create(j.dir, j.manifest)
		return w, usageOrNil(err)
	}
	w, old, err := record.Open(j.dir)
	if err != nil {
		return nil, usage(err)
	}
	if err := old.Manifest.CheckResume(j.manifest); err != nil {
		return nil, usage(err)
	}
	if old.Truncated > 0 {
		fmt.Fprintf(os.Stderr, "cut off a torn last line of %s (%d bytes): that trial runs again\n", record.TrialsFile, old.Truncated)
	}
	verdicts, attempts := map[[2]int]bool{}, map[[2]int]int{}
	for _, t := range old.Trials {
		k := [2]int{t.Cell, t.Trial}
		verdicts[k] = verdicts[k] || t.Outcome.HasVerdict()
		attempts[k] = max(attempts[k], t.Attempt+1)
	}
	j.plan.Done = func(cell, trial int) (bool, int) {
		k := [2]int{cell, trial}
		return verdicts[k], attempts[k]
	}
	return w, nil
}

// usageUnless makes an error one of usage that has no exit code yet.
func usageUnless(err error) error {
	if e := (*exitError)(nil); errors.As(err, &e) {
		return err
	}
	return usage(err)
}

func usageOrNil(err error) error {
	if err == nil {
		return nil
	}
	return usage(err)
}

// summarize reads the run back, as any other program would, and writes summary.json.
func summarize(dir string) (record.Summary, error) {
	run, err := record.Read(dir)
	if err != nil {
		return record.Summary{}, err
	}
	s := record.Summarize(run.Manifest, run.Trials, run.Wall())
	return s, record.WriteSummary(dir, s)
}

// say prints the data of a run on standard output.
func (f *runFlags) say(s record.Summary, dir string, files []string) error {
	if f.json {
		enc := json.NewEncoder(os.Stdout)
		enc.SetIndent("", "  ")
		return enc.Encode(s)
	}
	printSummary(os.Stdout, s)
	for _, file := range files {
		if strings.HasSuffix(file, ".html") {
			_, err := fmt.Fprintf(os.Stdout, "\nreport: %s\n", file)
			return err
		}
	}
	_, err := fmt.Fprintf(os.Stdout, "\nrecords: %s\n", dir)
	return err
}

// printSummary prints outcomes per value of the strategy axis, worst cells first where something is wrong.
func printSummary(w io.Writer, s record.Summary) {
	fmt.Fprintf(w, "%s, engine %s, seed %d: %d trials in %d cells, %.1f s\n", s.Scenario, s.Engine, s.Seed, s.Trials, len(s.Cells), s.WallS)
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
