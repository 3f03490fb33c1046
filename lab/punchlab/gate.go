package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/punchlab/punchlab/lab/gate"
	"github.com/punchlab/punchlab/lab/record"
	"github.com/punchlab/punchlab/reports"
	"github.com/spf13/cobra"
)

type gateFlags struct {
	baseline string
	format   string
	out      string
	paired   bool
	allow    []string
	alpha    float64
	margins  []string
	json     bool

	calibrate bool
	gates     int
	trials    int
	seed      uint64
}

func gateCommand() *cobra.Command {
	var f gateFlags
	c := &cobra.Command{
		Use:   "gate --baseline A B",
		Short: "Decide whether run B is worse than baseline A: pass, fail or undecided",
		Long: `Compare a run with a baseline, cell by cell and over all, and decide: pass (exit code 0), fail (1) or undecided (2).
It fails only on a difference that chance explains less than once in a thousand gates, over all metrics and cells
together, and that is large enough to matter; it passes only where a regression as large as the tolerance is
excluded. A baseline is a run's folder, or a file of baselines (punchlab baseline add), whose newest entry of a like
environment is taken. Runs of unlike environments are refused.

With --calibrate it finds out how often it errs itself: gates between disjoint random parts of one large run, as they are
and with regressions injected. The result goes to the run's folder, and into its report.`,
		Example: `  punchlab gate --baseline out/main out/branch
  punchlab gate --baseline reports/baselines/nat-matrix.jsonl out/branch --format junit --out gate.xml
  punchlab gate --baseline out/a out/b --allow kernel --margin direct_rate=0.05
  punchlab gate --calibrate out/large --gates 1000`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.calibrate {
				return f.calibrateRun(cmd.Context(), args[0])
			}
			return f.run(args[0])
		},
	}
	fl := c.Flags()
	fl.StringVar(&f.baseline, "baseline", "", "the `run` or file of baselines to compare with")
	fl.StringVar(&f.format, "format", "text", "what to print: "+strings.Join(reports.GateFormats, ", "))
	fl.StringVar(&f.out, "out", "", "write to this `file` instead of standard output")
	fl.BoolVar(&f.paired, "paired", false, "compare trial by trial: the runs were interleaved on common seeds (run --ab)")
	fl.StringSliceVar(&f.allow, "allow", nil, "environment `field` that may differ, as kernel; repeat for more")
	fl.Float64Var(&f.alpha, "alpha", gate.DefaultAlpha, "chance of a false fail, over all metrics and cells together")
	fl.StringArrayVar(&f.margins, "margin", nil, "smallest effect that fails a gate, as `METRIC=X`: direct_rate=0.05, first_frame_ratio.p95=0.1")
	fl.BoolVar(&f.json, "json", false, "the same as --format json")
	fl.BoolVar(&f.calibrate, "calibrate", false, "find out how often the gate errs, on parts of the one run given")
	fl.IntVar(&f.gates, "gates", 1000, "with --calibrate: gates without any regression; a fifth as many for each size of each kind of one")
	fl.IntVar(&f.trials, "trials", 0, "with --calibrate: trials a cell of each side (default: half of the smallest cell)")
	fl.Uint64Var(&f.seed, "seed", 1, "with --calibrate: seed of the draws")
	_ = c.RegisterFlagCompletionFunc("format", cobra.FixedCompletions(reports.GateFormats, cobra.ShellCompDirectiveNoFileComp))
	return c
}

// options holds the flags to what the gate takes.
func (f *gateFlags) options() (gate.Options, error) {
	o := gate.Options{Alpha: f.alpha, Paired: f.paired, Allow: f.allow}
	if !(f.alpha > 0 && f.alpha < 1) {
		return o, usagef("--alpha %v: give a number between 0 and 1, as 0.001", f.alpha)
	}
	for _, text := range f.margins {
		name, value, ok := strings.Cut(text, "=")
		x, err := strconv.ParseFloat(value, 64)
		if !ok || err != nil || !(x >= 0 && x < 1e9) {
			return o, usagef("--margin %s: write METRIC=X with a number, as direct_rate=0.05", text)
		}
		m, err := gate.ParseMetric(name)
		if err != nil {
			return o, usagef("--margin %s: %w", text, err)
		}
		if o.Margins == nil {
			o.Margins = map[string]float64{}
		}
		o.Margins[m.String()] = x
	}
	return o, nil
}

func (f *gateFlags) run(candidate string) error {
	if f.json {
		f.format = "json"
	}
	if !slices.Contains(reports.GateFormats, f.format) {
		return usagef("--format %s: there are %s", f.format, strings.Join(reports.GateFormats, ", "))
	}
	o, err := f.options()
	if err != nil {
		return err
	}
	if f.baseline == "" {
		return usagef("--baseline: name the run, or the file of baselines, to compare with")
	}
	b, err := readSample(candidate)
	if err != nil {
		return err
	}
	a, err := readBaseline(f.baseline, b, o.Allow)
	if err != nil {
		return err
	}
	v, err := gate.Compare(a, b, o)
	if err != nil {
		return usage(err)
	}
	if err := toFile(f.out, func(w io.Writer) error { return f.render(w, v, a, b) }); err != nil {
		return err
	}
	return decided(v.Decision)
}

// decided is the exit code of a decision that has been printed.
func decided(d gate.Decision) error {
	switch d {
	case gate.Pass:
		return nil
	case gate.Fail:
		return &exitError{exitFail, nil}
	}
	return &exitError{exitUndecided, nil}
}

// readSample reads a run's folder.
func readSample(dir string) (gate.Sample, error) {
	s, err := gate.Read(dir)
	if err != nil {
		return s, usage(err)
	}
	if s.Truncated > 0 {
		fmt.Fprintf(os.Stderr, "the last line of %s is torn (%d bytes) and was left out\n", filepath.Join(dir, record.TrialsFile), s.Truncated)
	}
	return s, nil
}

// readBaseline reads a run's folder, or the entry of a file of baselines that is like the candidate.
func readBaseline(path string, candidate gate.Sample, allow []string) (gate.Sample, error) {
	if info, err := os.Stat(path); err != nil || info.IsDir() {
		return readSample(path)
	}
	entries, err := gate.ReadBaselines(path)
	if err != nil {
		return gate.Sample{}, usage(err)
	}
	s, err := gate.PickBaseline(entries, candidate, allow)
	return s, usageOrNil(err)
}

// render prints a verdict; for benchstat, which has tests of its own, the trials.
func (f *gateFlags) render(w io.Writer, v *gate.Verdict, a, b gate.Sample) error {
	if f.format == "benchfmt" {
		return reports.GateBenchfmt(w, a, b)
	}
	return reports.RenderGate(w, v, f.format, f.out == "" && colorful())
}

// toFile writes to a file, whole or not at all, or to standard output.
func toFile(path string, write func(io.Writer) error) error {
	if path == "" {
		if err := write(os.Stdout); err != nil {
			return labError(err)
		}
		return nil
	}
	var b bytes.Buffer
	if err := write(&b); err != nil {
		return labError(err)
	}
	if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
		return usagef("--out: %w", err)
	}
	return nil
}

// colorful reports whether standard output is a terminal that wants color.
func colorful() bool { return os.Getenv("NO_COLOR") == "" && isTerminal(os.Stdout) }

// calibrateRun writes a run's operating curve into its folder, and its report anew.
func (f *gateFlags) calibrateRun(ctx context.Context, dir string) error {
	o, err := f.options()
	switch {
	case err != nil:
		return err
	case f.baseline != "":
		return usagef("--calibrate takes one run and no --baseline: both sides of its gates are parts of that run")
	case f.gates < 1 || f.trials < 0:
		return usagef("--gates %d, --trials %d: give at least 1", f.gates, f.trials)
	}
	s, err := readSample(dir)
	if err != nil {
		return err
	}
	p := newMeter(os.Stderr, "calibrate", "gates")
	k, err := gate.Calibrate(ctx, s, o, gate.Plan{Gates: f.gates, Each: max(1, f.gates/5), Trials: f.trials}, rand.New(rand.NewPCG(f.seed, 0)), p.show)
	p.end()
	if ctx.Err() != nil {
		return &exitError{exitUndecided, errors.New("interrupted: nothing was written")}
	}
	if err != nil {
		return usage(err)
	}
	b, err := json.MarshalIndent(k, "", "  ")
	if err != nil {
		return labError(err)
	}
	if err := os.WriteFile(filepath.Join(dir, reports.CalibrationFile), append(b, '\n'), 0o644); err != nil {
		return usage(err)
	}
	files, err := reports.Write(dir, []string{"html"})
	if err != nil {
		return labError(err)
	}
	if f.json {
		_, err := os.Stdout.Write(append(b, '\n'))
		return err
	}
	if err := reports.RenderCalibration(os.Stdout, k, "text"); err != nil {
		return labError(err)
	}
	fmt.Printf("\nreport: %s\n", strings.Join(files, ", "))
	return nil
}
