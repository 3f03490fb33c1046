package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"github.com/punchlab/punchlab/lab/certify"
	"github.com/punchlab/punchlab/lab/certify/suite"
	"github.com/punchlab/punchlab/lab/live"
	"github.com/punchlab/punchlab/lab/netns"
	"github.com/punchlab/punchlab/reports"
)

// adapterName is the subcommand that is the bundled programs.
const adapterName = "adapter"

func (f *certifyFlags) run(ctx context.Context) error {
	c, err := f.prepare()
	if err != nil {
		return err
	}
	if f.dryRun {
		return f.tellPlan(c.Options)
	}
	isolate := netns.Isolate
	if f.attach != "" {
		isolate = netns.IsolateKeepingHome
	}
	if err := isolate(); err != nil {
		return labError(fmt.Errorf("%w\n'punchlab doctor' says more", err))
	}
	if err := preflight(); err != nil {
		return labError(err)
	}
	fabric, err := live.Start(live.Options{})
	if err != nil {
		return labError(fmt.Errorf("start fabric: %w", err))
	}
	defer fabric.Close()
	c.Fabric = fabric
	say := newTeller(f.json)
	c.Progress = say.event
	out, err := suite.Run(ctx, c.Options)
	say.end()
	return f.conclude(ctx, c, out, err)
}

// conclude says what came out, and turns it into the exit code.
func (f *certifyFlags) conclude(ctx context.Context, c *certification, out *suite.Outcome, err error) error {
	var bad *suite.BadOptions
	switch {
	case errors.As(err, &bad):
		return usage(err)
	case out == nil:
		return labError(fmt.Errorf("%w; %s", err, f.goOn(c)))
	}
	if e := f.tell(c, out); e != nil {
		return labError(e)
	}
	switch {
	case errors.Is(err, suite.ErrInterrupted):
		return &exitError{exitUndecided, fmt.Errorf("interrupted: the run is incomplete; %s", f.goOn(c))}
	case err != nil:
		return labError(fmt.Errorf("%w; %s", err, f.goOn(c)))
	case c.witness != nil:
		return f.countersign(ctx, c, out)
	}
	return verdictCode(out.Ran)
}

// verdictCode is the exit code of a verdict that has been said.
func verdictCode(v certify.Verdict) error {
	switch {
	case v.Passed():
		return nil
	case v == certify.Fail:
		return &exitError{exitFail, nil}
	}
	return &exitError{exitUndecided, nil}
}

// countersign adds the run to the certificate that it repeats.
func (f *certifyFlags) countersign(ctx context.Context, c *certification, out *suite.Outcome) error {
	if out.Certificate == nil {
		return &exitError{exitUndecided, fmt.Errorf("nothing was witnessed: %s", out.Unsealed)}
	}
	w, err := c.witness.Countersign(ctx, out.Folder, c.key)
	if err != nil {
		return labError(err)
	}
	to := os.Stdout
	if f.json {
		to = os.Stderr
	}
	if w.Agrees() {
		fmt.Fprintf(to, "%d of %d cases came to the same verdict: %s is signed by %s too\n", w.Cases, w.Of, f.witness, c.key.Public().ID())
		return nil
	}
	for _, d := range w.Differences {
		fmt.Fprintf(to, "%s: certified is %s, and here it was %s\n", d.Case, d.Issued, d.Witnessed)
	}
	return &exitError{exitFail, fmt.Errorf("%d of %d cases came to another verdict: %s has this run, and not its signature",
		len(w.Differences), w.Of, f.witness)}
}

// goOn says how a run that was cut short goes on.
func (f *certifyFlags) goOn(c *certification) string {
	args := []string{"punchlab"}
	skip := false
	for i, a := range os.Args[1:] {
		switch {
		case a == "--":
			return "go on with: " + shellWords(append(append(args, f.again(c)...), os.Args[1+i:]...))
		case skip:
			skip = false
		case a == "--out" || a == "--seed":
			skip = true
		case a != "--resume" && !hasPrefix(a, "--out=", "--seed="):
			args = append(args, a)
		}
	}
	return "go on with: " + shellWords(append(args, f.again(c)...))
}

// again are the flags by which the run in its folder is taken up: its seed is there.
func (f *certifyFlags) again(c *certification) []string { return []string{"--out", c.Out, "--resume"} }

func certifyVersions() []reports.Fact {
	v := versions()
	build := v.Commit
	if v.Dirty {
		build += ", with changes"
	}
	return []reports.Fact{{Name: "punchlab", Value: build}, {Name: "suite", Value: certify.SuiteVersion}, {Name: "Go", Value: v.Go}}
}

func certifyMachine() []reports.Fact {
	return []reports.Fact{{Name: "kernel", Value: kernel()}, {Name: "CPU", Value: fmt.Sprintf("%s, %d cores", cpuModel(), runtime.NumCPU())}}
}

// pageOf is the report's path.
func pageOf(out *suite.Outcome) string { return filepath.Join(out.Folder, suite.PageFile) }
