package gate

import (
	"fmt"
	"slices"
	"strings"

	"github.com/punchlab/punchlab/lab/record"
)

// Difference is a field of the environment in which two runs are not alike.
type Difference struct {
	Field     string `json:"field"` // as Options.Allow takes it: "kernel", "cpu.model"
	Baseline  string `json:"baseline"`
	Candidate string `json:"candidate"`
	Do        string `json:"do"` // what to do about it
}

func (d Difference) String() string {
	return fmt.Sprintf("%s: baseline %s, candidate %s: %s", d.Field, orNone(d.Baseline), orNone(d.Candidate), d.Do)
}

func orNone(s string) string {
	if s == "" {
		return "(none)"
	}
	return s
}

// Unlike says that two runs cannot be compared.
type Unlike struct {
	Baseline, Candidate string // sources
	Differences         []Difference
}

func (u *Unlike) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "compare %s with baseline %s: their environments differ, and a gate would blame the candidate for it", u.Candidate, u.Baseline)
	for _, d := range u.Differences {
		b.WriteString("\n  " + d.String())
	}
	return b.String()
}

const stopField = "stop"

// engineSim is the engine in virtual time, whose records do not depend on the machine.
const engineSim = "sim"

// What to do about a difference.
const (
	doScenario = "run the baseline again with this scenario"
	doAxes     = "narrow both runs by the same --set, or allow it to compare the cells that both have"
	doEngine   = "run both on one engine"
	doSeed     = "pairs need common seeds: run both with the same --seed"
	doMachine  = "run the baseline again on this machine, or allow it if you know that it does not matter"
	doLate     = "run both with the same limit of lateness"
	doGo       = "build both with one version of Go, or allow it to measure Go itself"
	doStop     = "run both without a rule for stopping early (--sequential): how many trials a cell has must not depend on how they end"
)

// fields are what runs must have in common. Those of the machine say nothing of a run in virtual time.
var fields = []struct {
	name    string
	machine bool
	paired  bool
	do      string
	of      func(record.Manifest) string
}{
	{"scenario", false, false, doScenario, func(m record.Manifest) string { return m.Scenario.Name }},
	{"scenario.digest", false, false, doScenario, func(m record.Manifest) string { return m.Scenario.Digest }},
	{"topology.digest", false, false, doScenario, func(m record.Manifest) string { return m.Topology.Digest }},
	{"axes", false, false, doAxes, func(m record.Manifest) string { return axes(m.Axes) }},
	{"engine", false, false, doEngine, func(m record.Manifest) string { return m.Engine }},
	{stopField, false, false, doStop, func(m record.Manifest) string { return m.Stop }},
	{"seed", false, true, doSeed, func(m record.Manifest) string { return fmt.Sprint(m.Seed) }},
	{"kernel", true, false, doMachine, func(m record.Manifest) string { return m.Kernel }},
	{"cpu.model", true, false, doMachine, func(m record.Manifest) string { return m.CPU.Model }},
	{"cpu.cores", true, false, doMachine, func(m record.Manifest) string { return fmt.Sprint(m.CPU.Cores) }},
	{"late_limit_s", true, false, doLate, func(m record.Manifest) string { return fmt.Sprint(m.LateLimitS) }},
	{"go", true, false, doGo, func(m record.Manifest) string { return m.Versions.Go }},
}

// axes writes axes with their values. Those of the same values in another order are the same.
func axes(as []record.Axis) string {
	var s []string
	for _, a := range as {
		s = append(s, a.Key+"="+strings.Join(slices.Sorted(slices.Values(a.Values)), ","))
	}
	slices.Sort(s)
	return strings.Join(s, " ")
}

// Fields lists the fields of the environment, as Options.Allow takes them.
func Fields() []string {
	var names []string
	for _, f := range fields {
		names = append(names, f.name)
	}
	return names
}

// Differences lists in what two runs' environments are not alike.
func Differences(a, b record.Manifest, paired bool) []Difference {
	var ds []Difference
	for _, f := range fields {
		if f.machine && a.Engine == engineSim && b.Engine == engineSim || f.paired && !paired {
			continue
		}
		if x, y := f.of(a), f.of(b); x != y {
			ds = append(ds, Difference{Field: f.name, Baseline: x, Candidate: y, Do: f.do})
		}
	}
	return ds
}

// checkLike returns *Unlike about the differences that are not allowed, and those that are. Two runs that ended their cells early are
// unlike by whatever ended them.
func checkLike(a, b Sample, o Options) ([]Difference, error) {
	for _, name := range o.Allow {
		if !slices.Contains(Fields(), name) {
			return nil, fmt.Errorf("allow %q: no such field of the environment: use one of %s", name, strings.Join(Fields(), ", "))
		}
	}
	var allowed, refused []Difference
	ds := Differences(a.Manifest, b.Manifest, o.Paired)
	if stop := a.Manifest.Stop; stop != "" && stop == b.Manifest.Stop {
		// The tests take the numbers of trials as given. Where outcomes decide them, false reds are some times as frequent as alpha.
		ds = append(ds, Difference{Field: stopField, Baseline: stop, Candidate: stop, Do: doStop})
	}
	for _, d := range ds {
		if o.allows(d.Field) {
			allowed = append(allowed, d)
		} else {
			refused = append(refused, d)
		}
	}
	if len(refused) > 0 {
		return nil, &Unlike{Baseline: a.Source, Candidate: b.Source, Differences: refused}
	}
	return allowed, nil
}
