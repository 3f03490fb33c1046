package record

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
)

// Validate says what a reader of the trial would stumble over: an unknown outcome, a number that is no measurement
// (NaN, infinite, negative), a harness error without its cause.
func (t Trial) Validate() error {
	switch {
	case t.Schema != TrialSchema:
		return fmt.Errorf("schema is %q, want %q", t.Schema, TrialSchema)
	case t.Cell < 0 || t.Trial < 0 || t.Attempt < 0:
		return fmt.Errorf("cell %d, trial %d, attempt %d: numbers start at 0", t.Cell, t.Trial, t.Attempt)
	case t.Params == nil:
		return errors.New("params is missing: write {} for a scenario without axes")
	case !t.Outcome.Known():
		return fmt.Errorf("outcome %q is not one of %v", t.Outcome, Outcomes)
	case t.Outcome == HarnessError && t.Error == "" && t.Cause == "":
		return errors.New("harness-error without error or cause: say what went wrong in the lab")
	case t.PathChanges < 0:
		return fmt.Errorf("path_changes is %d", t.PathChanges)
	}
	for _, f := range []struct {
		name  string
		value *float64
	}{
		{"triangle_s", t.TriangleS}, {"bound_s", t.BoundS}, {"connect_s", t.ConnectS},
		{"first_packet_s", t.FirstPacketS}, {"first_frame_s", t.FirstFrameS}, {"idle_s", t.IdleS},
	} {
		if f.value != nil {
			if err := checkNumber(f.name, *f.value); err != nil {
				return err
			}
		}
	}
	return errors.Join(t.Media.validate(), t.Lateness.validate(), t.validateMaps())
}

func (t Trial) validateMaps() error {
	for _, k := range slices.Sorted(maps.Keys(t.Bytes)) {
		if t.Bytes[k] < 0 {
			return fmt.Errorf("bytes.%s is %d", k, t.Bytes[k])
		}
	}
	for _, k := range slices.Sorted(maps.Keys(t.Probes)) {
		if v := t.Probes[k]; math.IsNaN(v) || math.IsInf(v, 0) {
			return fmt.Errorf("probes.%s is %v: leave out what was not measured", k, v)
		}
	}
	return nil
}

func (m *Media) validate() error {
	if m == nil {
		return nil
	}
	if m.FramesSent < 0 || m.FramesReceived < 0 || m.FramesIntact < 0 || m.FramesIntact > m.FramesReceived {
		return fmt.Errorf("media: %d frames sent, %d received, %d intact", m.FramesSent, m.FramesReceived, m.FramesIntact)
	}
	for _, v := range m.LatencyS {
		if err := checkNumber("media.latency_s", v); err != nil {
			return err
		}
	}
	if m.GoodputBps != nil {
		if err := checkNumber("media.goodput_bps", *m.GoodputBps); err != nil {
			return err
		}
	}
	if m.GapS != nil {
		if err := checkNumber("media.gap_s", *m.GapS); err != nil {
			return err
		}
	}
	if m.Loss != nil && !(*m.Loss >= 0 && *m.Loss <= 1) {
		return fmt.Errorf("media.loss is %v, outside 0–1", *m.Loss)
	}
	return nil
}

func (l *Lateness) validate() error {
	if l == nil {
		return nil
	}
	return errors.Join(checkNumber("lateness_s.p50", l.P50), checkNumber("lateness_s.p99", l.P99), checkNumber("lateness_s.max", l.Max))
}

func checkNumber(name string, v float64) error {
	if math.IsNaN(v) || math.IsInf(v, 0) || v < 0 {
		return fmt.Errorf("%s is %v: leave out what was not measured", name, v)
	}
	return nil
}

// Validate says what is missing from the manifest.
func (m Manifest) Validate() error {
	switch {
	case m.Schema != ManifestSchema:
		return fmt.Errorf("schema is %q, want %q", m.Schema, ManifestSchema)
	case m.Scenario.Name == "":
		return errors.New("scenario.name is missing")
	case m.Engine == "":
		return errors.New("engine is missing")
	case m.TrialsPerCell < 0 || m.Cells < 0:
		return fmt.Errorf("trials_per_cell is %d and cells is %d", m.TrialsPerCell, m.Cells)
	}
	return checkNumber("late_limit_s", m.LateLimitS)
}

// CheckResume says why a run begun with m cannot go on as n: the records of one run must be of one experiment.
func (m Manifest) CheckResume(n Manifest) error {
	name, was, this := m.differs(n)
	switch {
	case name != "":
	case m.Kernel != n.Kernel:
		name, was, this = "kernel", m.Kernel, n.Kernel
	case m.Shard != n.Shard:
		name, was, this = "shard", orWhole(m.Shard), orWhole(n.Shard)
	}
	if name == "" {
		return nil
	}
	return fmt.Errorf("resume run: its %s is %v, this one's %v: start a new run in another folder", name, was, this)
}

// differs names what makes m and n two experiments, with the value of each; "" where they are one. Machines, times and the number
// of jobs do not.
func (m Manifest) differs(n Manifest) (name string, was, this any) {
	for _, f := range []struct {
		name      string
		was, this any
	}{
		{"scenario", m.Scenario.String(), n.Scenario.String()}, {"topology", m.Topology.String(), n.Topology.String()},
		{"seed", m.Seed, n.Seed}, {"engine", m.Engine, n.Engine}, {"trials per cell", m.TrialsPerCell, n.TrialsPerCell},
		{"cells", m.Cells, n.Cells}, {"stop rule", orNone(m.Stop), orNone(n.Stop)}, {"late limit", m.LateLimitS, n.LateLimitS},
		{"thresholds", fmt.Sprint(m.Thresholds), fmt.Sprint(n.Thresholds)},
		{"commit", m.Versions.build(), n.Versions.build()},
	} {
		if f.was != f.this {
			return f.name, f.was, f.this
		}
	}
	if !maps.EqualFunc(m.Set, n.Set, slices.Equal[[]string]) {
		return "axes set", m.Set, n.Set
	}
	return "", nil, nil
}

// build is the code's commit and compiler.
func (v Versions) build() string {
	s := v.Commit
	if v.Dirty {
		s += " and changes"
	}
	return s + " " + v.Go
}

func orWhole(shard string) string {
	if shard == "" {
		return "the whole"
	}
	return shard
}

func orNone(rule string) string {
	if rule == "" {
		return "none"
	}
	return rule
}
