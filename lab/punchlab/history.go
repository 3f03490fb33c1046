package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/punchlab/punchlab/lab/gate"
	"github.com/punchlab/punchlab/lab/record"
	"github.com/punchlab/punchlab/reports"
	"github.com/spf13/cobra"
)

// baselines is where a project keeps its baselines.
const baselines = "reports/baselines"

func baselineCommand() *cobra.Command {
	c := &cobra.Command{
		Use:     "baseline",
		Short:   "Keep runs that later ones are compared with",
		Example: "  punchlab baseline add out/nat-matrix\n  punchlab baseline list reports/baselines/nat-matrix.jsonl",
	}
	c.AddCommand(baselineAddCommand(), baselineListCommand())
	return c
}

func baselineAddCommand() *cobra.Command {
	var file, note string
	c := &cobra.Command{
		Use:   "add RUN",
		Short: "Append a run to a file of baselines",
		Long: `Append what a gate needs of a run to a file of baselines, a line each. Lines are never changed: the file is the history
of its scenario, which 'punchlab gate' compares with and 'punchlab trend' plots.`,
		Example: "  punchlab baseline add out/nat-matrix\n  punchlab baseline add out/nat-matrix --file ci/nat-matrix.jsonl --note 'new runner'",
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			s, err := readSample(args[0])
			if err != nil {
				return err
			}
			if file == "" {
				name := s.Manifest.Scenario.Name
				if filepath.Base(name) != name || !filepath.IsLocal(name) {
					return usagef("baseline add: scenario %q is no name of a file: give one by --file", name)
				}
				file = filepath.Join(baselines, name+".jsonl")
				if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
					return usage(err)
				}
			}
			if err := notYet(file, s.Manifest); err != nil {
				return err
			}
			if err := gate.AppendBaseline(file, s, note); err != nil {
				return usage(err)
			}
			fmt.Println(file)
			return nil
		},
	}
	c.Flags().StringVar(&file, "file", "", "the `file` (default "+baselines+"/SCENARIO.jsonl)")
	c.Flags().StringVar(&note, "note", "", "why this run is kept")
	return c
}

// notYet refuses a run that a file of baselines has already: a trend would count it twice.
func notYet(file string, m record.Manifest) error {
	if info, err := os.Stat(file); err != nil || info.Size() == 0 {
		return nil // of an unreadable file the writer says more
	}
	entries, err := gate.ReadBaselines(file)
	if err != nil {
		return usage(err)
	}
	for _, e := range entries {
		if e.Manifest.Start.Equal(m.Start) && e.Manifest.Seed == m.Seed && e.Manifest.Scenario.Digest == m.Scenario.Digest {
			return usagef("baseline add: the run is there already, as %s", e.Source)
		}
	}
	return nil
}

func baselineListCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "list FILE",
		Short:   "List the entries of a file of baselines",
		Example: "  punchlab baseline list reports/baselines/nat-matrix.jsonl",
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			entries, err := gate.ReadBaselines(args[0])
			if err != nil {
				return usage(err)
			}
			rows := [][]string{{"STARTED", "COMMIT", "ENGINE", "CELLS", "TRIALS", "KERNEL", "CPU", "NOTE"}}
			for _, e := range entries {
				m := e.Manifest
				n := 0
				for i := range e.Cells {
					n += e.Cells[i].Trials()
				}
				rows = append(rows, []string{m.Start.UTC().Format("2006-01-02 15:04"), short(m.Versions.Commit), m.Engine,
					fmt.Sprint(len(e.Cells)), fmt.Sprint(n), m.Kernel, fmt.Sprintf("%d × %s", m.CPU.Cores, m.CPU.Model), e.Note})
			}
			table(os.Stdout, rows)
			return nil
		},
	}
}

// short is how people name a commit.
func short(commit string) string { return commit[:min(len(commit), 9)] }

// trendFormats are those of reports.RenderTrend.
var trendFormats = []string{"text", "md", "json", "svg", "png", "html"}

func trendCommand() *cobra.Command {
	var format, out string
	var asJSON bool
	c := &cobra.Command{
		Use:   "trend RUN…",
		Short: "Find when the figures changed, over the runs of one scenario",
		Long: `Order runs by their start and find the points at which a figure changed for good (E-divisive, permutation test). RUN is a
run's folder, or a file of baselines, each entry of which is a run. It takes a dozen runs or so before anything can be
found. The exit code is 0 whatever is found: it is 'punchlab gate' that passes or fails a run.`,
		Example: "  punchlab trend reports/baselines/nat-matrix.jsonl\n  punchlab trend out/night-* --format html --out trend.html",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			defer interruptible(cmd.Context())()
			if asJSON {
				format = "json"
			}
			if !slices.Contains(trendFormats, format) {
				return usagef("--format %s: there are %s", format, strings.Join(trendFormats, ", "))
			}
			samples, err := history(args)
			if err != nil {
				return err
			}
			t, err := gate.Trend(samples)
			if err != nil {
				return usage(err)
			}
			if err := toFile(out, func(w io.Writer) error { return reports.RenderTrend(w, t, format) }); err != nil {
				return err
			}
			for i := range samples {
				if samples[i].Trials() > 0 {
					return nil
				}
			}
			return &exitError{exitUndecided, errNothing}
		},
	}
	c.Flags().StringVar(&format, "format", "text", "what to print: "+strings.Join(trendFormats, ", "))
	c.Flags().StringVar(&out, "out", "", "write to this `file` instead of standard output")
	c.Flags().BoolVar(&asJSON, "json", false, "the same as --format json")
	return c
}

// history reads runs and files of baselines, the oldest run first.
func history(paths []string) (all []gate.Sample, err error) {
	for _, path := range paths {
		info, err := os.Stat(path)
		if err == nil && !info.IsDir() {
			entries, err := gate.ReadBaselines(path)
			if err != nil {
				return nil, usage(err)
			}
			for _, e := range entries {
				all = append(all, e.Sample)
			}
			continue
		}
		s, err := readSample(path)
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	slices.SortStableFunc(all, func(a, b gate.Sample) int {
		return cmp.Compare(a.Manifest.Start.UnixNano(), b.Manifest.Start.UnixNano())
	})
	return all, nil
}

func compareCommand() *cobra.Command {
	var out string
	c := &cobra.Command{
		Use:   "compare A B",
		Short: "Put two runs side by side on one page",
		Long: `Put two runs side by side on one offline page: the gate's verdict where they are alike, what differs between their
environments, the matrix of differences with intervals, and the distributions over one another. The exit code is 0 whatever
the page shows: it is 'punchlab gate' that passes or fails a run.`,
		Example: "  punchlab compare out/netfilter out/table --out out/compare",
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			defer interruptible(cmd.Context())()
			trials := 0
			for _, dir := range args {
				_, err := record.Scan(dir, func(t record.Trial) error {
					if t.Outcome.HasVerdict() {
						trials++
					}
					return nil
				})
				if err != nil {
					return usage(err)
				}
			}
			files, err := reports.Compare(args[0], args[1], out)
			if err != nil {
				return unwritten(err)
			}
			for _, f := range files {
				fmt.Println(f)
			}
			if trials == 0 {
				return &exitError{exitUndecided, errNothing}
			}
			return nil
		},
	}
	c.Flags().StringVar(&out, "out", "compare", "folder for the page and its plots")
	return c
}

func mergeCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "merge OUT SHARD…",
		Short: "Make one run of the shards of one",
		Long: `Make one run of the folders that 'punchlab run --shard i/n' has left, and write its report. Shards of different
scenarios, seeds, engines or builds are refused; trials that no shard has are named, and the run is then marked incomplete
(exit code 2). The whole is held to the run's thresholds: exit code 1 where one is missed, 2 where one is undecided.`,
		Example: "  punchlab run nat-matrix --shard 1/2 --out s1; punchlab run nat-matrix --shard 2/2 --out s2; punchlab merge out/whole s1 s2",
		Args:    cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			defer interruptible(cmd.Context())()
			return merge(args[0], args[1:])
		},
	}
}

func merge(out string, shards []string) error {
	m, err := record.Merge(out, shards)
	if err != nil {
		return usage(err)
	}
	s, err := summarize(out)
	if err != nil {
		return labError(err)
	}
	files, err := reports.Write(out, []string{"html", "svg", "png"})
	if err != nil {
		return labError(err)
	}
	if err := say(s, out, files, false); err != nil {
		return labError(err)
	}
	h, err := recorded(out)
	if err != nil {
		return err
	}
	held, lack := h.hold(out, false), missing(m)
	var e *exitError
	if lack == nil || errors.As(held, &e) && e.code == exitFail {
		if lack != nil {
			fmt.Fprintf(os.Stderr, "punchlab: %v\n", lack)
		}
		return held
	}
	return lack
}
