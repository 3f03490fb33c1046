package scenarios

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/punchlab/punchlab/lab"
	"github.com/punchlab/punchlab/lab/stack"
	"github.com/punchlab/punchlab/topologies/document"
)

// MaxTimeout bounds an attempt.
const MaxTimeout = time.Hour

// roles are the hosts that a trial needs.
var roles = []string{"camera", "viewer", "rendezvous"}

// check finds what is wrong with the meaning. Types and ranges are the schema's.
func (s *Scenario) check(d *document.Document) {
	report := func(path, msg string) { d.Report(path, &lab.Problem{Msg: msg}) }
	if s.base != nil {
		s.checkRoles(d)
	}
	if s.Trial.Idle < 0 || s.Trial.Idle > MaxTimeout {
		report("trial.idle", fmt.Sprintf("%v is impossible: give 0s to %v", s.Trial.Idle, MaxTimeout))
	}
	if s.Trial.Media < 0 || s.Trial.Media > MaxTimeout {
		report("trial.media", fmt.Sprintf("%v is impossible: give 0s to %v", s.Trial.Media, MaxTimeout))
	}
	switch {
	case s.Trial.Timeout <= 0 || s.Trial.Timeout > MaxTimeout:
		report("trial.timeout", fmt.Sprintf("%v is impossible: give more than 0s, %v at most", s.Trial.Timeout, MaxTimeout))
	case s.Trial.Timeout <= s.Trial.Media:
		report("trial.timeout", fmt.Sprintf("%v is no longer than the media (%v): a trial needs time to connect as well", s.Trial.Timeout, s.Trial.Media))
	}
	s.checkEvents(d)
	s.checkPopulations(d)
	if n := s.count(); n > MaxCells {
		report("axes", fmt.Sprintf("more than %d cells: leave out values", MaxCells))
	}
	for _, a := range s.Axes {
		path := document.Member("axes", a.Key)
		for _, p := range s.checkAxis(a.Key, a.Values) {
			where := path
			if p.value >= 0 {
				where = document.Index(path, p.value)
			}
			d.Report("", &lab.Problem{Path: where, Msg: p.problem.Msg, Suggestion: p.problem.Suggestion, Key: p.value < 0})
		}
	}
}

// checkPopulations has every weight belong to a value that its axis has: a population of which a part was not measured has no
// rate.
func (s *Scenario) checkPopulations(d *document.Document) {
	for i, p := range s.Populations {
		path := document.Index("populations", i)
		s.checkWeights(d, document.Member(path, "weights"), "camera.nat", p.Weights)
		if p.Peer != nil {
			s.checkWeights(d, document.Member(path, "peer"), "viewer.nat", p.Peer)
		} else {
			s.checkWeights(d, document.Member(path, "weights"), "viewer.nat", p.Weights)
		}
	}
}

func (s *Scenario) checkWeights(d *document.Document, path, axis string, weights map[string]float64) {
	at := slices.IndexFunc(s.Axes, func(a Axis) bool { return a.Key == axis })
	if at < 0 {
		d.Report("", &lab.Problem{Path: path, Msg: fmt.Sprintf("the scenario has no axis %s: a population needs it", axis)})
		return
	}
	for _, v := range slices.Sorted(maps.Keys(weights)) {
		if !slices.Contains(s.Axes[at].Values, v) {
			p := lab.Unknown("", "value of axis "+axis, v, s.Axes[at].Values)
			d.Report("", &lab.Problem{Path: document.Member(path, v), Msg: p.Msg, Suggestion: p.Suggestion, Key: true})
		}
	}
}

// checkEvents holds each event to the topology, and then to what each value of each axis makes of it.
func (s *Scenario) checkEvents(d *document.Document) {
	for i, e := range s.Events {
		path := document.Index("events", i)
		if s.Trial.Timeout > 0 && e.At >= s.Trial.Timeout {
			d.Report("", &lab.Problem{Path: document.Member(path, "at"), Msg: fmt.Sprintf("%v is after the trial's timeout (%v): it never happens",
				e.At, s.Trial.Timeout)})
		}
		if s.base == nil {
			continue
		}
		if ps := problems(e.Validate(s.base)); len(ps) > 0 {
			for _, p := range ps {
				d.Report("", &lab.Problem{Path: document.Member(path, p.Path), Msg: p.Msg, Suggestion: p.Suggestion})
			}
			continue
		}
		s.checkEventInCells(d, path, e)
	}
}

func (s *Scenario) checkEventInCells(d *document.Document, path string, e lab.Event) {
	for _, a := range s.Axes {
		for _, v := range a.Values {
			t := s.base.Clone()
			if !ofTopology(a.Key) || t.Set(a.Key, v) != nil {
				continue
			}
			for _, p := range problems(e.Validate(t)) {
				d.Report("", &lab.Problem{Path: document.Member(path, p.Path), Msg: fmt.Sprintf("where %s is %s: %s", a.Key, v, p.Msg),
					Suggestion: p.Suggestion})
			}
		}
	}
}

func (s *Scenario) checkRoles(d *document.Document) {
	hosts := s.base.Hosts()
	for _, role := range roles {
		if !slices.Contains(hosts, role) {
			d.Report("topology", &lab.Problem{Msg: fmt.Sprintf("%q has no host %q, which a trial needs", s.Topology, role)})
		}
	}
}

// axisProblem belongs to one value of an axis; value −1 is the axis itself.
type axisProblem struct {
	value   int
	problem *lab.Problem
}

// keys lists the axes that the scenario can have.
func (s *Scenario) keys() []string { return append(s.base.Keys(), StrategyKey) }

// checkAxis tries each value on the topology. Without one, whose fault is reported elsewhere, it knows strategies only.
func (s *Scenario) checkAxis(key string, values []string) []axisProblem {
	var out []axisProblem
	if key == StrategyKey {
		for i, v := range values {
			if _, err := stack.ForStrategy(v); err != nil {
				out = append(out, axisProblem{i, problems(err)[0]})
			}
		}
		return out
	}
	if name, ok := strings.CutPrefix(key, trialPrefix); ok {
		return checkOption(name, values)
	}
	if s.base == nil {
		return nil
	}
	if p := s.unknownAxis(key); p != nil {
		return []axisProblem{{-1, p}}
	}
	for i, v := range values {
		for _, p := range problems(s.base.Clone().Set(key, v)) {
			p = &lab.Problem{Msg: p.Msg, Suggestion: p.Suggestion}
			out = append(out, axisProblem{i, p})
		}
	}
	return out
}

// checkOption holds the values of an axis of the trial to what a system under test takes.
func checkOption(name string, values []string) (out []axisProblem) {
	o, err := stack.FindOption(name)
	if err != nil {
		return []axisProblem{{-1, problems(err)[0]}}
	}
	for i, v := range values {
		if ps := problems(o.Check(v)); len(ps) > 0 {
			out = append(out, axisProblem{i, ps[0]})
		}
	}
	return out
}

// unknownAxis is nil for an axis that the topology has.
func (s *Scenario) unknownAxis(key string) *lab.Problem {
	known := s.keys()
	if slices.Contains(known, key) {
		return nil
	}
	for _, p := range problems(s.base.Clone().Set(key, "")) {
		if p.Path == key { // the topology knows why
			return &lab.Problem{Msg: "unknown axis: " + p.Msg, Suggestion: p.Suggestion}
		}
		if slices.Contains(known, p.Suggestion) && lab.Nearest(key, []string{StrategyKey}) == "" {
			return &lab.Problem{Msg: fmt.Sprintf("unknown axis %q", key), Suggestion: p.Suggestion}
		}
	}
	return lab.Unknown("", "axis", key, known)
}

func problems(err error) lab.Problems {
	var many lab.Problems
	var one *lab.Problem
	switch {
	case errors.As(err, &many):
		return many
	case errors.As(err, &one):
		return lab.Problems{one}
	}
	return nil
}

// Narrow gives an axis other values: --set camera.nat=open,symmetric. An axis that the scenario has not, but its topology
// has, is added behind the others. On an error, lab.Problems with the axis as their path, the scenario is as it was.
func (s *Scenario) Narrow(key string, values []string) error {
	var ps lab.Problems
	for _, p := range s.checkAxis(key, values) {
		p.problem.Path = key
		if p.value < 0 {
			p.problem.Path = ""
		}
		ps = append(ps, p.problem)
	}
	if len(values) == 0 {
		ps = append(ps, &lab.Problem{Path: key, Msg: "no value: give at least one, separated by commas"})
	}
	for i, v := range values {
		if slices.Contains(values[:i], v) {
			ps = append(ps, &lab.Problem{Path: key, Msg: fmt.Sprintf("value %q is given twice", v)})
		}
	}
	if err := ps.Err(); err != nil {
		return err
	}
	c := s.Clone()
	i := slices.IndexFunc(c.Axes, func(a Axis) bool { return a.Key == key })
	if i < 0 {
		c.Axes = append(c.Axes, Axis{Key: key})
		i = len(c.Axes) - 1
	}
	c.Axes[i].Values = slices.Clone(values)
	if c.count() > MaxCells {
		return lab.Problems{{Path: key, Msg: fmt.Sprintf("more than %d cells: give fewer values", MaxCells)}}
	}
	s.Axes = c.Axes
	return nil
}
