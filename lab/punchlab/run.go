package main

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/punchlab/punchlab/lab"
	"github.com/punchlab/punchlab/lab/runner"
	"github.com/punchlab/punchlab/scenarios"
	"github.com/spf13/cobra"
)

type runFlags struct {
	engine  string
	set     []string
	trials  int
	seed    uint64
	seeded  bool // --seed was given
	chosen  struct{ engine, late bool }
	jobs    int
	late    time.Duration
	shard   string
	out     string
	resume  bool
	precise bool
	pcap    string
	json    bool
	formats []string

	thresholds []string // besides the scenario's
	sequential bool
	other      string // of an A/B run
	blocks     int
	again      string
	spread     spreadFlags
}

func runCommand() *cobra.Command {
	var f runFlags
	c := &cobra.Command{
		Use:   "run SCENARIO…",
		Short: "Run scenarios, write their records and a report",
		Long: `Run every trial of every cell of the scenarios, and write a folder for each: run.json, trials.jsonl, summary.json,
report.html and plots. A scenario is a name ('punchlab list scenarios') or a YAML file. Interrupted, a run stays
valid, is marked incomplete, and goes on with --resume.

A run is held to its scenario's thresholds and those of --threshold: exit code 1 where one is missed, 2 where one is
undecided. Those of the scenario may be undecided where --set, --trials or --shard make the run a smaller one: shards are
held to them by 'punchlab merge'. Interrupted, or without any trial that has a verdict, the exit code is 2. With
--sequential a cell ends as soon as its trials decide the thresholds (Wald's test).

--ab runs another command on the same trials, interleaved, and compares the two pair by pair: this command is the
baseline, OUT/a, and the other one the candidate, OUT/b, that may be found worse. --nats spreads the trials over
'punchlab worker's on other machines. --again repeats a run from its manifest.`,
		Example: `  punchlab run nat-matrix
  punchlab run nat-matrix --set strategy=direct --set camera.nat=full-cone,symmetric --trials 50
  punchlab run nat-matrix --out out/mine --resume
  punchlab run nat-matrix --json | jq '.cells[] | select(.direct_rate.value < 1) | .params'
  punchlab run nat-matrix --engine sim --trials 1000
  punchlab run nat-pairs --threshold 'direct_rate >= 0.99 where oracle == direct by strategy' --sequential
  ../before/bin/punchlab run nat-matrix --ab bin/punchlab --out out/ab
  punchlab run nat-matrix --set strategy=adaptive --ab 'bin/punchlab --set strategy=direct' --out out/ab
  punchlab run --again out/nat-matrix
  punchlab run nat-matrix --shard 2/8           # or auto/8: JOB_COMPLETION_INDEX of a Kubernetes Indexed Job
  punchlab run nat-matrix --nats tls://nats.example.net:4222`,
		Args: func(cmd *cobra.Command, args []string) error {
			if f.again != "" {
				return cobra.NoArgs(cmd, args)
			}
			return cobra.MinimumNArgs(1)(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if cmd.Flags().Changed("trials") && f.trials < 1 {
				return usagef("--trials %d: give at least 1", f.trials)
			}
			if err := filled(cmd.Flags(), "ab", "again", "shard", "nats", "out"); err != nil {
				return err
			}
			if cmd.Flags().Changed("ab-blocks") && f.other == "" {
				return usagef("--ab-blocks goes with --ab")
			}
			f.seeded = cmd.Flags().Changed("seed")
			f.chosen.engine, f.chosen.late = cmd.Flags().Changed("engine"), cmd.Flags().Changed("late")
			return f.run(cmd.Context(), args)
		},
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return scenarios.Names(), cobra.ShellCompDirectiveDefault
		},
	}
	fl := c.Flags()
	fl.StringVar(&f.engine, "engine", lab.EngineNetfilter, "what the routers are that name no engine: netfilter (kernel nftables), table (seeded, replayable tables in the fabric) or sim (the same tables, and the programs too, in virtual time)")
	fl.StringArrayVar(&f.set, "set", nil, "narrow or add an `axis=v1,v2`; repeat for more")
	fl.IntVar(&f.trials, "trials", 0, "trials a cell (default: the scenario's)")
	fl.Uint64Var(&f.seed, "seed", 0, "seed of everything random (default: the scenario's)")
	fl.IntVar(&f.jobs, "jobs", 0, fmt.Sprintf("most trials at once; how many is governed by the fabric's lateness (default %d)", runner.DefaultJobs))
	fl.DurationVar(&f.late, "late", runner.LateLimit, "void a trial, and run it again, when the fabric delivered later than this (p99)")
	fl.StringVar(&f.shard, "shard", "", "run only part `i/n` of the trials, i from 1, or auto: JOB_COMPLETION_INDEX + 1; 'punchlab merge' makes one run of the parts")
	fl.StringArrayVar(&f.thresholds, "threshold", nil, "hold the run to an `expression`, as 'direct_rate >= 0.99 where oracle == direct'; 'abort: …' ends the run once it is sure to be missed; repeat for more")
	fl.BoolVar(&f.sequential, "sequential", false, "end each cell as soon as its trials decide the thresholds")
	fl.StringVar(&f.other, "ab", "", "run another `command` on the same trials, interleaved, and say whether it is worse than this one: a punchlab, and what arguments it has besides")
	fl.IntVar(&f.blocks, "ab-blocks", 4, "with --ab: in how many parts the trials are interleaved")
	fl.StringVar(&f.again, "again", "", "run what made this `run`'s folder again, from its manifest alone")
	f.spread.add(fl)
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
