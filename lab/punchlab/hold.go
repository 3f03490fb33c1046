package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/punchlab/punchlab/lab/experiment"
	"github.com/punchlab/punchlab/lab/gate"
	"github.com/punchlab/punchlab/lab/record"
)

// errNothing is of a run that decides nothing.
var errNothing = errors.New("no trial has a verdict: nothing was measured")

// holding is what a run is held to.
type holding struct {
	thresholds []gate.Threshold
	lenient    int // so many of the first may be undecided: the scenario's, where the run is smaller than that
	sequential *gate.Sequential
}

func (f *runFlags) holding(j *job) holding {
	return holding{thresholds: j.thresholds, lenient: j.lenient, sequential: j.sequential}
}

// recorded is what the run in a folder is held to, by its manifest.
func recorded(dir string) (h holding, err error) {
	m, err := record.ReadManifest(dir)
	if err != nil {
		return h, usage(err)
	}
	if h.thresholds, err = gate.ParseThresholds(m.Thresholds); err != nil {
		return h, usagef("%s: %w", dir, err)
	}
	if e, err := experiment.Again(m); err == nil && !experiment.Whole(m) {
		h.lenient = min(len(e.Scenario.Thresholds), len(h.thresholds))
	}
	if m.Stop == "" || len(h.thresholds) == 0 {
		return h, nil
	}
	h.sequential, err = gate.NewSequential(m, h.thresholds, gate.SequentialOptions{})
	return h, usageOrNil(err)
}

// hold judges a run by its thresholds, says so and returns the exit code. asJSON says that standard output is for something else.
func (h holding) hold(dir string, asJSON bool) error {
	if len(h.thresholds) == 0 {
		return nil
	}
	s, err := gate.Read(dir)
	if err != nil {
		return labError(err)
	}
	out, color := io.Writer(os.Stdout), colorful()
	if asJSON {
		out, color = os.Stderr, false
	}
	decision, firm := h.judge(s, out, color)
	switch {
	case decision == gate.Fail:
		return &exitError{exitFail, errors.New("a threshold is missed")}
	case decision == gate.Undecided && firm:
		return &exitError{exitUndecided, errors.New("a threshold is undecided: run more trials")}
	case decision == gate.Undecided:
		fmt.Fprintln(os.Stderr, "the scenario's own thresholds may be undecided here: this run is smaller than the scenario (--set, --trials or --shard)")
	}
	return nil
}

// judge prints each threshold with its figure. firm says that one is undecided which must not be.
func (h holding) judge(s gate.Sample, out io.Writer, color bool) (d gate.Decision, firm bool) {
	fmt.Fprintln(out)
	if h.sequential != nil {
		r := h.sequential.Report(s)
		tellCells(out, r, color)
		return r.Decision, r.Decision == gate.Undecided && h.lenient < len(h.thresholds)
	}
	js := gate.Judge(s, h.thresholds)
	for _, one := range js {
		fmt.Fprintf(out, "%s %s\n", mark(one.Decision, color), one.Text)
	}
	rest := h.thresholds[h.lenient:]
	return gate.Judged(js), len(rest) > 0 && gate.Judged(gate.Judge(s, rest)) == gate.Undecided
}

// tellCells says what Wald's test decided: cells that did not pass by themselves, and how many trials were saved.
func tellCells(out io.Writer, r gate.SequentialReport, color bool) {
	passed := 0
	for _, c := range r.Cells {
		if c.Decision == gate.Pass {
			passed++
			continue
		}
		fmt.Fprintf(out, "%s %s\n", mark(c.Decision, color), c.Text)
	}
	for _, one := range r.Others {
		fmt.Fprintf(out, "%s %s\n", mark(one.Decision, color), one.Text)
	}
	fmt.Fprintf(out, "%s %d of %d decisions are a pass; %d of %d trials were enough\n", mark(r.Decision, color), passed, len(r.Cells), r.Used, r.Planned)
}

// mark is a decision's sign, in color where that is wanted.
func mark(d gate.Decision, color bool) string {
	if !color {
		return d.Mark()
	}
	return map[gate.Decision]string{gate.Pass: "\x1b[32m", gate.Fail: "\x1b[31m", gate.Undecided: "\x1b[33m"}[d] + d.Mark() + "\x1b[0m"
}

// shellWords writes a command as one types it.
func shellWords(args []string) string {
	list := make([]string, len(args))
	for i, a := range args {
		list[i] = a
		if a == "" || strings.ContainsAny(a, " \t\n'\"\\$`*?[]{}()<>|&;#~!") {
			list[i] = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
	}
	return strings.Join(list, " ")
}
