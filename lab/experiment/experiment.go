// Package experiment is where a scenario meets an engine: it makes what a runner runs of it, and what a manifest says of it; and of a
// manifest, the same again.
//
//	scenario, narrowed ──┐                       ┌─▶ runner.Plan      what to run
//	engine, trials, seed ┴─▶ Build ─▶ Experiment ┤
//	                                             └─▶ Describe         scenario, topology, axes, seed … of run.json
//	run.json ──▶ Again ─▶ scenario, narrowed as then
//
// The manifest carries the texts of scenario and topology, so that a run can be had again on another machine, without the files; their
// digests say whether this build still understands the same by them.
package experiment

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/punchlab/punchlab/lab"
	"github.com/punchlab/punchlab/lab/record"
	"github.com/punchlab/punchlab/lab/runner"
	"github.com/punchlab/punchlab/lab/stack"
	"github.com/punchlab/punchlab/scenarios"
	"github.com/punchlab/punchlab/topologies"
)

// ErrUnsupported means that the scenario is sound, and the engine or a system under test can't have it.
var ErrUnsupported = errors.New("unsupported")

// unsupported marks an error as ErrUnsupported without changing its text.
type unsupported struct{ error }

func (u unsupported) Is(target error) bool { return target == ErrUnsupported }
func (u unsupported) Unwrap() error        { return u.error }

func refuse(format string, args ...any) error { return unsupported{fmt.Errorf(format, args...)} }

// Experiment is a scenario on an engine.
type Experiment struct {
	Scenario *scenarios.Scenario
	Engine   string // of the routers that name none
	Set      map[string][]string
	Plan     runner.Plan

	topology record.Document
}

// Build resolves the scenario's topology once for each combination of its axes, and checks that engine and systems can have every
// trial. set is how the scenario was narrowed.
func Build(s *scenarios.Scenario, engine string, set map[string][]string) (*Experiment, error) {
	base := s.Base()
	if err := base.Resolve(); err != nil {
		return nil, err
	}
	_, topology := s.Texts()
	e := &Experiment{
		Scenario: s, Engine: engine, Set: set,
		Plan: runner.Plan{
			Trials: s.Trials, Seed: s.Seed,
			Idle: s.Trial.Idle, Media: s.Trial.Media, Timeout: s.Trial.Timeout, Stranger: s.Trial.Stranger, Events: s.Events,
		},
		topology: record.Document{Name: base.Name, Digest: base.Digest(), Text: topology},
	}
	shared := map[string]*lab.Topology{} // cells that differ in strategy alone share one
	for i, params := range s.Cells() {
		c, err := e.cell(i, params, shared)
		if err != nil {
			return nil, err
		}
		e.Plan.Cells = append(e.Plan.Cells, c)
	}
	for _, check := range []func() error{e.Plan.CheckEvents, e.Plan.CheckOptions, e.checkSim} {
		if err := check(); err != nil {
			return nil, refuse("scenario %s: %w", s.Name, err)
		}
	}
	return e, nil
}

func (e *Experiment) cell(i int, params map[string]string, shared map[string]*lab.Topology) (c runner.Cell, err error) {
	s := e.Scenario
	t, err := s.Build(params)
	if err != nil {
		return c, fmt.Errorf("scenario %s, cell %d: %w", s.Name, i, err)
	}
	if err := t.CheckEngines(e.Engine); err != nil {
		return c, refuse("scenario %s, cell %d: %w", s.Name, i, err)
	}
	for k, ev := range s.Events {
		if err := ev.CheckEngine(t, e.Engine); err != nil {
			return c, refuse("scenario %s, cell %d, event %d: %w", s.Name, i, k+1, err)
		}
	}
	t.UseEngine(e.Engine)
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
		return c, fmt.Errorf("scenario %s, cell %d: %w", s.Name, i, err)
	}
	return runner.Cell{
		Index: i, Params: params, System: system, Strategy: strategy, Options: scenarios.Options(params), Topology: shared[d],
	}, nil
}

// checkSim says which cell engine sim can't have.
func (e *Experiment) checkSim() error {
	if e.Engine != lab.EngineSim {
		return nil
	}
	p := &e.Plan
	for _, c := range p.Cells {
		tr := stack.Trial{Strategy: c.Strategy, Idle: p.Idle, Media: p.Media, Timeout: p.Timeout, Stranger: p.Stranger, Options: c.Options}
		if err := stack.CheckSim(c.System, c.Topology, tr, p.Events); err != nil {
			return fmt.Errorf("cell %d: %w", c.Index, err)
		}
	}
	return nil
}

// Describe sets what a manifest says of the experiment. Command, machine and time are the caller's.
func (e *Experiment) Describe(m *record.Manifest) {
	s := e.Scenario
	text, _ := s.Texts()
	m.Scenario = record.Document{Name: s.Name, Digest: s.Digest, Text: text}
	m.Topology = e.topology
	m.Seed, m.Engine, m.TrialsPerCell, m.Cells = s.Seed, e.Engine, s.Trials, len(e.Plan.Cells)
	m.Set, m.Populations, m.Axes, m.Strategies = maps.Clone(e.Set), s.Populations, nil, nil
	for _, a := range s.Axes {
		m.Axes = append(m.Axes, record.Axis{Key: a.Key, Values: slices.Clone(a.Values)})
		if a.Key == scenarios.StrategyKey {
			m.Strategies = strategies(a.Values)
		}
	}
}

// strategies says what the strategies of a run are.
func strategies(names []string) (all []record.Strategy) {
	for _, name := range names {
		s, err := stack.ForStrategy(name)
		if err != nil {
			continue // the scenario was checked
		}
		one := record.Strategy{Name: name, System: s.Name()}
		if t, ok := s.(stack.Summarizer); ok {
			one.Summary = t.Summary(name)
		}
		if t, ok := s.(stack.Preparer); ok {
			one.Setup = t.Setup(name)
		}
		all = append(all, one)
	}
	return all
}

// Again builds the experiment of a run that was, from its manifest alone. It refuses one of which this build makes something else.
func Again(m record.Manifest) (*Experiment, error) {
	if m.Scenario.Text == "" || m.Topology.Text == "" {
		return nil, fmt.Errorf("run of %s: its manifest has no text of scenario and topology: an older punchlab made it; name the scenario instead", m.Scenario.Name)
	}
	s, err := parse(m)
	if err != nil {
		return nil, err
	}
	if s.Digest != m.Scenario.Digest {
		return nil, fmt.Errorf("scenario %s: this build (digest %s) understands something else by its text than the one that ran it (%s): use that build, commit %s",
			m.Scenario.Name, s.Digest, m.Scenario.Digest, m.Versions.Commit)
	}
	if err := narrow(s, m); err != nil {
		return nil, err
	}
	s.Trials, s.Seed = m.TrialsPerCell, m.Seed
	e, err := Build(s, m.Engine, m.Set)
	switch {
	case err != nil:
		return nil, err
	case e.topology.Digest != m.Topology.Digest:
		return nil, fmt.Errorf("topology %s: this build (digest %s) understands something else by its text than the one that ran it (%s): use that build, commit %s",
			m.Topology.Name, e.topology.Digest, m.Topology.Digest, m.Versions.Commit)
	case m.Cells != 0 && len(e.Plan.Cells) != m.Cells:
		return nil, fmt.Errorf("scenario %s has %d cells with this build, and had %d: use that build, commit %s", m.Scenario.Name, len(e.Plan.Cells), m.Cells, m.Versions.Commit)
	}
	return e, nil
}

// Whole reports whether a run was its scenario as the author wrote it: not narrowed, no shard, and no fewer trials.
func Whole(m record.Manifest) bool {
	s, err := parse(m)
	return err == nil && len(m.Set) == 0 && m.Shard == "" && m.TrialsPerCell >= s.Trials
}

// parse reads the manifest's texts.
func parse(m record.Manifest) (*scenarios.Scenario, error) {
	load := func(string) (*lab.Topology, []byte, error) {
		text := []byte(m.Topology.Text)
		t, err := topologies.Parse("run.json: topology "+m.Topology.Name, text)
		return t, text, err
	}
	return scenarios.Parse("run.json: scenario "+m.Scenario.Name, []byte(m.Scenario.Text), load)
}

// narrow gives the axes the values that ran, in their order.
func narrow(s *scenarios.Scenario, m record.Manifest) error {
	for _, a := range m.Axes {
		i := slices.IndexFunc(s.Axes, func(b scenarios.Axis) bool { return b.Key == a.Key })
		if i >= 0 && slices.Equal(s.Axes[i].Values, a.Values) {
			continue
		}
		if err := s.Narrow(a.Key, a.Values); err != nil {
			return fmt.Errorf("axis %s of the run: %w", a.Key, err)
		}
	}
	return nil
}
