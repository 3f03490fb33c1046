package main

import (
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
and with regressions injected. The result goes to the run's folder, and into its report. Exit code 1: it was red without
a regression more often than --alpha, beyond chance.`,
		Example: `  punchlab gate --baseline out/main out/branch
  punchlab gate --baseline reports/baselines/nat-matrix.jsonl out/branch --format junit --out gate.xml
  punchlab gate --baseline out/a out/b --allow kernel --margin direct_rate=0.05
  punchlab gate --baseline out/main out/branch --format benchfmt | benchstat -col /side /dev/stdin
  punchlab gate --calibrate out/large --gates 1000`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.json {
				f.format = "json"
			}
			if f.calibrate {
				const why = "goes without --calibrate: both sides of its gates are parts of the one run"
				if err := without(cmd.Flags(), why, "baseline", "paired", "allow"); err != nil {
					return err
				}
				return f.calibrateRun(cmd.Context(), args[0])
			}
			if err := without(cmd.Flags(), "goes with --calibrate", "gates", "trials", "seed"); err != nil {
				return err
			}
			defer interruptible(cmd.Context())()
			return f.run(args[0])
		},
	}
	fl := c.Flags()
	fl.StringVar(&f.baseline, "baseline", "", "the `run` or file of baselines to compare with")
	fl.StringVar(&f.format, "format", "text", "what to print: "+strings.Join(reports.GateFormats, ", ")+"; with --calibrate "+strings.Join(reports.CalibrationFormats, ", "))
	fl.StringVar(&f.out, "out", "", "write to this `file` instead of standard output")
	fl.BoolVar(&f.paired, "paired", false, "compare trial by trial: the runs were interleaved on common seeds (run --ab)")
	fl.StringSliceVar(&f.allow, "allow", nil, "environment `field` that may differ, as kernel; repeat for more")
	fl.Float64Var(&f.alpha, "alpha", gate.DefaultAlpha, "chance of a false fail, over all metrics and cells together")
	fl.StringArrayVar(&f.margins, "margin", nil, "smallest effect that fails a gate, as `METRIC=X`: direct_rate=0.05 is 5 points, first_frame_ratio.p95=0.1 is 10 %; repeat for more")
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
		switch {
		case m.IsRate() && x > 1:
			return o, usagef("--margin %s: no rate falls by %v points: 0.05 is 5 points", text, 100*x)
		case x > 1:
			fmt.Fprintf(os.Stderr, "--margin %s: whatever changes it by less than %v %% does not fail; 0.1 is 10 %%\n", text, 100*x)
		}
		if o.Margins == nil {
			o.Margins = map[string]float64{}
		}
		o.Margins[m.String()] = x
	}
	return o, nil
}

func (f *gateFlags) checkFormat(formats []string) error {
	if !slices.Contains(formats, f.format) {
		return usagef("--format %s: there are %s", f.format, strings.Join(formats, ", "))
	}
	return nil
}

func (f *gateFlags) run(candidate string) error {
	if err := f.checkFormat(reports.GateFormats); err != nil {
		return err
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

// colorful reports whether standard output is a terminal that wants color.
func colorful() bool { return os.Getenv("NO_COLOR") == "" && isTerminal(os.Stdout) }

// calibrateRun writes a run's operating curve into its folder, and its report anew.
func (f *gateFlags) calibrateRun(ctx context.Context, dir string) error {
	if err := f.checkFormat(reports.CalibrationFormats); err != nil {
		return err
	}
	o, err := f.options()
	switch {
	case err != nil:
		return err
	case f.gates < 1:
		return usagef("--gates %d: give at least 1; 1000 and more say something", f.gates)
	case f.trials < 0 || f.trials == 1:
		return usagef("--trials %d: give at least 2, or leave it out", f.trials)
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
	k.Seed = f.seed // of the draws' seeds: what --seed takes
	b, err := json.MarshalIndent(k, "", "  ")
	if err != nil {
		return labError(err)
	}
	if err := writeWhole(filepath.Join(dir, reports.CalibrationFile), append(b, '\n')); err != nil {
		return err
	}
	files, err := reports.Write(dir, []string{"html"})
	if err != nil {
		return labError(err)
	}
	if err := toFile(f.out, func(w io.Writer) error { return reports.RenderCalibration(w, k, f.format) }); err != nil {
		return err
	}
	to := os.Stderr
	if f.out == "" && f.format == "text" {
		to = os.Stdout
	}
	fmt.Fprintf(to, "\nreport: %s\n", strings.Join(files, ", "))
	return honest(k)
}

// honest is the exit code of a calibration: the gate must not be red without a regression more often than it promises.
func honest(k *gate.Calibration) error {
	for _, p := range k.Points {
		if p.Effect == gate.NoEffect && p.Red.Low > k.Alpha {
			return &exitError{exitFail, fmt.Errorf("%d of %d gates without a regression were red: more than chance explains at --alpha %v",
				p.Failed, p.Gates, k.Alpha)}
		}
	}
	return nil
}
