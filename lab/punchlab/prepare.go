package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/punchlab/punchlab/lab"
	"github.com/punchlab/punchlab/lab/record"
	"github.com/punchlab/punchlab/lab/runner"
	"github.com/punchlab/punchlab/lab/stack"
	"github.com/punchlab/punchlab/scenarios"
)

func (f *runFlags) validate() error {
	if err := checkEngine(f.engine); err != nil {
		return err
	}
	if _, ok := captures[f.pcap]; !ok {
		return usagef("--pcap %s: give none, failed or all", f.pcap)
	}
	switch {
	case f.late <= 0:
		return usagef("--late %v: give a positive time, as 2ms", f.late)
	case f.jobs < 0:
		return usagef("--jobs %d: give at least 1", f.jobs)
	case f.resume && f.out == "":
		return usagef("--resume needs --out: the folder of the run to go on with")
	}
	if _, _, err := parseShard(f.shard); err != nil {
		return err
	}
	return checkFormats(f.formats)
}

// checkEngine refuses what is not an engine of this build.
func checkEngine(engine string) error {
	switch {
	case slices.Contains(lab.RouterEngines(), engine):
		return nil
	case engine == lab.EngineSim:
		return unsupported("engine sim is not in this build: use --engine table, which has the same tables in real time")
	}
	return usagef("unknown engine %q: there are %s", engine, strings.Join(lab.RouterEngines(), " and "))
}

// prepare loads and checks everything a scenario needs; nothing runs yet.
func (f *runFlags) prepare(name string, several bool) (*job, error) {
	s, err := scenarios.Load(name)
	if err != nil {
		return nil, usage(err)
	}
	for _, set := range f.set {
		key, values, ok := strings.Cut(set, "=")
		if !ok || values == "" {
			return nil, usagef("--set %s: write axis=value, or axis=value1,value2", set)
		}
		if err := s.Narrow(key, strings.Split(values, ",")); err != nil {
			return nil, usagef("--set %s: %w", set, err)
		}
	}
	if f.trials > 0 {
		s.Trials = f.trials
	}
	if f.seed > 0 {
		s.Seed = f.seed
	}
	cells, topology, err := buildCells(s, f.engine)
	if err != nil {
		return nil, usageUnless(err)
	}
	j := &job{scenario: s, dir: f.dir(s.Name, several), plan: runner.Plan{
		Cells: cells, Trials: s.Trials, Seed: s.Seed,
		Idle: s.Trial.Idle, Media: s.Trial.Media, Timeout: s.Trial.Timeout, Stranger: s.Trial.Stranger, Events: s.Events,
	}}
	if err := j.plan.CheckEvents(); err != nil {
		return nil, unsupported("scenario %s: %w", s.Name, err)
	}
	if err := j.plan.CheckOptions(); err != nil {
		return nil, unsupported("scenario %s: %w", s.Name, err)
	}
	if i, n, _ := parseShard(f.shard); n > 1 {
		j.plan.Mine = func(cell, trial int) bool { return (cell*s.Trials+trial)%n == i-1 }
	}
	j.manifest = f.manifest(s, topology, len(cells))
	return j, nil
}

// buildCells resolves the scenario's topology once for each combination of its axes, for an engine.
func buildCells(s *scenarios.Scenario, engine string) (cells []runner.Cell, doc record.Document, err error) {
	base := s.Base()
	if err := base.Resolve(); err != nil {
		return nil, doc, err
	}
	shared := map[string]*lab.Topology{} // cells that differ in strategy alone share one
	for i, params := range s.Cells() {
		t, err := s.Build(params)
		if err != nil {
			return nil, doc, fmt.Errorf("scenario %s, cell %d: %w", s.Name, i, err)
		}
		if err := t.CheckEngines(engine); err != nil {
			return nil, doc, unsupported("scenario %s, cell %d: %w", s.Name, i, err)
		}
		for k, e := range s.Events {
			if err := e.CheckEngine(t, engine); err != nil {
				return nil, doc, unsupported("scenario %s, cell %d, event %d: %w", s.Name, i, k+1, err)
			}
		}
		t.UseEngine(engine)
		d := t.Digest()
		if shared[d] == nil {
			shared[d] = t
		}
		strategy := params[scenarios.StrategyKey]
		if strategy == "" {
			strategy = "adaptive"
		}
		system, err := stack.ForStrategy(strategy)
		if err != nil {
			return nil, doc, fmt.Errorf("scenario %s, cell %d: %w", s.Name, i, err)
		}
		cells = append(cells, runner.Cell{Index: i, Params: params, System: system, Strategy: strategy, Options: scenarios.Options(params),
			Topology: shared[d]})
	}
	return cells, record.Document{Name: base.Name, Digest: base.Digest()}, nil
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

// parseShard reads "i/n"; an empty text is the whole.
func parseShard(s string) (i, n int, err error) {
	if s == "" {
		return 1, 1, nil
	}
	a, b, ok := strings.Cut(s, "/")
	i, errI := strconv.Atoi(a)
	n, errN := strconv.Atoi(b)
	if !ok || errI != nil || errN != nil || n < 1 || i < 1 || i > n {
		return 0, 0, usagef("--shard %s: write i/n with 1 ≤ i ≤ n, as 2/4", s)
	}
	return i, n, nil
}
