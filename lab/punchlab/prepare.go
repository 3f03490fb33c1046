package main

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/punchlab/punchlab/lab"
	"github.com/punchlab/punchlab/lab/experiment"
	"github.com/punchlab/punchlab/lab/gate"
	"github.com/punchlab/punchlab/lab/record"
	"github.com/punchlab/punchlab/scenarios"
)

func (f *runFlags) validate() error {
	if err := checkEngine(f.engine, lab.Engines()); err != nil {
		return err
	}
	if _, ok := captures[f.pcap]; !ok {
		return usagef("--pcap %s: give none, failed or all", f.pcap)
	}
	switch {
	case f.pcap != "none" && f.engine == lab.EngineSim:
		return unsupported("--pcap: engine sim has no captures: use --engine table, where the same tables meet real sockets")
	case f.late <= 0:
		return usagef("--late %v: give a positive time, as 2ms", f.late)
	case f.jobs < 0:
		return usagef("--jobs %d: give at least 1", f.jobs)
	case f.resume && f.out == "":
		return usagef("--resume needs --out: the folder of the run to go on with")
	case f.spread.listen != "" && f.spread.url != embedded:
		return usagef("--nats-listen is where an embedded server listens: give it with --nats %s", embedded)
	case f.spread.on() && f.shard != "":
		return usagef("--nats goes without --shard: its workers share the trials out among themselves")
	case f.spread.on() && f.pcap != "none":
		return usagef("--nats goes without --pcap: captures stay on the workers' machines")
	}
	if f.spread.on() && f.spread.url != embedded {
		if err := checkURL(f.spread.url); err != nil {
			return err
		}
	}
	if _, err := f.part(); err != nil {
		return err
	}
	return checkFormats(f.formats)
}

// checkEngine refuses what is none of some engines.
func checkEngine(engine string, engines []string) error {
	if slices.Contains(engines, engine) {
		return nil
	}
	return usagef("unknown engine %q: there are %s", engine, strings.Join(engines, ", "))
}

// indexVariable is what Kubernetes tells a pod of an Indexed Job: its number, from 0.
const indexVariable = "JOB_COMPLETION_INDEX"

// part is the shard that is to run.
func (f *runFlags) part() (record.Shard, error) {
	text := f.shard
	if n, ok := strings.CutPrefix(text, "auto/"); ok {
		i, err := strconv.Atoi(os.Getenv(indexVariable))
		if err != nil {
			return record.Shard{}, usagef("--shard %s: %s is %q: set it to the number of this part, from 0", text, indexVariable, os.Getenv(indexVariable))
		}
		text = fmt.Sprintf("%d/%s", i+1, n)
	}
	s, err := record.ParseShard(text)
	if err != nil {
		return s, usagef("--shard: %w", err)
	}
	return s, nil
}

// narrowed reads --set.
func (f *runFlags) narrowed() (map[string][]string, error) {
	set := map[string][]string{}
	for _, one := range f.set {
		key, values, ok := strings.Cut(one, "=")
		if !ok || values == "" {
			return nil, usagef("--set %s: write axis=value, or axis=value1,value2", one)
		}
		set[key] = strings.Split(values, ",")
	}
	return set, nil
}

// prepare loads and checks everything a scenario needs; nothing runs yet.
func (f *runFlags) prepare(name string, several bool) (*job, error) {
	s, err := scenarios.Load(name)
	if err != nil {
		return nil, usage(err)
	}
	set, err := f.narrowed()
	if err != nil {
		return nil, err
	}
	for _, one := range f.set {
		key, _, _ := strings.Cut(one, "=")
		if err := s.Narrow(key, set[key]); err != nil {
			return nil, usagef("--set %s: %w", one, err)
		}
	}
	whole := len(set) == 0 && f.shard == "" && (f.trials == 0 || f.trials >= s.Trials)
	if f.trials > 0 {
		s.Trials = f.trials
	}
	if f.seeded {
		s.Seed = f.seed
	}
	e, err := experiment.Build(s, f.engine, set)
	if err != nil {
		return nil, refused(err)
	}
	return f.job(e, f.dir(s.Name, several), whole, s.Thresholds)
}

// refused gives the error of an experiment its exit code.
func refused(err error) error {
	if errors.Is(err, experiment.ErrUnsupported) {
		return unsupported("%w", err)
	}
	return usage(err)
}

// job adds to an experiment how it is to be run. whole says that it is the scenario as its author wrote it.
func (f *runFlags) job(e *experiment.Experiment, dir string, whole bool, thresholds []gate.Threshold) (*job, error) {
	j := &job{Experiment: e, dir: dir}
	if !whole {
		j.lenient = min(len(e.Scenario.Thresholds), len(thresholds)) // they come first
	}
	j.manifest = f.machine()
	e.Describe(&j.manifest)
	j.thresholds = slices.Clone(thresholds)
	for _, text := range f.thresholds {
		t, err := gate.ParseThresholdFor(text, j.manifest.Axes)
		if err != nil {
			return nil, usagef("--threshold %q: %w", text, err)
		}
		j.thresholds = append(j.thresholds, t)
	}
	for _, t := range j.thresholds {
		j.manifest.Thresholds = append(j.manifest.Thresholds, t.String())
	}
	if err := f.stopEarly(j); err != nil {
		return nil, err
	}
	shard, err := f.part()
	if err != nil {
		return nil, err
	}
	if !shard.Whole() {
		trials, stop := e.Plan.Trials, j.sequential != nil
		e.Plan.Mine = func(cell, trial int) bool { return shard.Has(cell, trial, trials, stop) }
		j.manifest.Shard = shard.String()
	}
	return j, nil
}

// stopEarly makes the rule by which cells end.
func (f *runFlags) stopEarly(j *job) (err error) {
	switch {
	case !f.sequential:
		return nil
	case len(j.thresholds) == 0:
		return usagef("--sequential: the scenario has no threshold, and nothing to decide: give --threshold")
	}
	if j.sequential, err = gate.NewSequential(j.manifest, j.thresholds, gate.SequentialOptions{}); err != nil {
		return usagef("--sequential: %w", err)
	}
	j.manifest.Stop = j.sequential.String()
	return nil
}

// prepareAgain takes everything from the manifest of a run.
func (f *runFlags) prepareAgain() (*job, error) {
	m, err := record.ReadManifest(f.again)
	if err != nil {
		return nil, usage(err)
	}
	if len(f.set) > 0 || f.trials > 0 || f.seeded || f.shard != "" || len(f.thresholds) > 0 || f.sequential {
		return nil, usagef("--again repeats a run as it was: leave out --set, --trials, --seed, --shard, --threshold and --sequential")
	}
	e, err := experiment.Again(m)
	if err != nil {
		return nil, refused(fmt.Errorf("--again %s: %w", f.again, err))
	}
	if err := f.like(m); err != nil {
		return nil, err
	}
	thresholds, err := gate.ParseThresholds(m.Thresholds)
	if err != nil {
		return nil, usagef("--again %s: %w", f.again, err)
	}
	j, err := f.job(e, f.dir(e.Scenario.Name, false), experiment.Whole(m), thresholds)
	if err == nil && j.manifest.Stop != m.Stop {
		return nil, usagef("--again %s: its rule for stopping early was %q, this build's is %q: use that build, commit %s",
			f.again, m.Stop, j.manifest.Stop, m.Versions.Commit)
	}
	return j, err
}

// like sets the flags as they were for a run. Those that were given must not be others.
func (f *runFlags) like(m record.Manifest) error {
	late := f.late
	if m.LateLimitS > 0 {
		late = time.Duration(math.Round(m.LateLimitS * float64(time.Second)))
	}
	switch {
	case f.chosen.engine && f.engine != m.Engine:
		return usagef("--again %s: it ran on engine %s, not %s: leave out --engine", f.again, m.Engine, f.engine)
	case f.chosen.late && f.late != late:
		return usagef("--again %s: its limit of lateness was %v, not %v: leave out --late", f.again, late, f.late)
	}
	f.engine, f.late, f.shard, f.sequential = m.Engine, late, m.Shard, m.Stop != ""
	return f.validate()
}

func (f *runFlags) dir(scenario string, several bool) string {
	switch {
	case f.out == "":
		return filepath.Join("runs", scenario+"-"+time.Now().UTC().Format("20060102T150405Z"))
	case several:
		return filepath.Join(f.out, scenario)
	}
	return f.out
}
