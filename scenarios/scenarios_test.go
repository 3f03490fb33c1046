package scenarios_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/google/go-cmp/cmp"

	"github.com/punchlab/punchlab/lab"
	"github.com/punchlab/punchlab/lab/nat"
	"github.com/punchlab/punchlab/scenarios"
	"github.com/punchlab/punchlab/topologies"
)

// TestDocuments parses documents and narrows shipped scenarios, and compares the cells or the errors. Rewrite what is expected
// with -rewrite.
func TestDocuments(t *testing.T) {
	for _, file := range []string{"testdata/documents", "testdata/narrow"} {
		datadriven.RunTest(t, file, func(t *testing.T, d *datadriven.TestData) string {
			if d.Cmd == "parse" {
				s, err := scenarios.Parse("testdata/topologies/x.yaml", []byte(d.Input), topologies.Load)
				return outcome(s, err)
			}
			s, err := scenarios.Load(d.CmdArgs[0].Key)
			if err != nil {
				return outcome(nil, err)
			}
			for _, arg := range d.CmdArgs[1:] {
				before := s.Clone()
				if err := s.Narrow(arg.Key, slices.DeleteFunc(strings.Split(strings.Join(arg.Vals, ","), ","), func(v string) bool { return v == "" })); err != nil {
					if !reflect.DeepEqual(s, before) {
						t.Errorf("a refused change of %s changed the scenario", arg.Key)
					}
					return outcome(nil, err)
				}
			}
			return outcome(s, nil)
		})
	}
}

func outcome(s *scenarios.Scenario, err error) string {
	if err != nil {
		return presets.ReplaceAllString(err.Error(), "${1}") + "\n"
	}
	var b strings.Builder
	for _, e := range s.Events {
		fmt.Fprintf(&b, "%+v\n", e)
	}
	for _, t := range s.Thresholds {
		fmt.Fprintln(&b, t)
	}
	for i, cell := range s.Cells() {
		fmt.Fprintf(&b, "%d:", i)
		for _, a := range s.Axes {
			fmt.Fprintf(&b, " %s=%s", a.Key, cell[a.Key])
		}
		b.WriteString("\n")
	}
	return b.String()
}

// presets are lists of them, which other packages lengthen.
var presets = regexp.MustCompile(`(unknown preset "[^"]*"): it is none of .*`)

func load(t testing.TB, name string) *scenarios.Scenario {
	t.Helper()
	s, err := scenarios.Load(name)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Every cell of every shipped scenario is a topology that resolves, with the NATs and links that the cell names.
func TestShipped(t *testing.T) {
	for _, name := range scenarios.Names() {
		s := load(t, name)
		if s.Name != name || s.Summary == "" {
			t.Errorf("scenario %s calls itself %q, summary %q", name, s.Name, s.Summary)
		}
		if s.Trials < 20 {
			t.Errorf("%s has %d trials a cell: too few to say anything", name, s.Trials)
		}
		digests := map[string]bool{}
		for _, cell := range s.Cells() {
			topo, err := s.Build(cell)
			if err != nil {
				t.Fatalf("%s %v: %v", name, cell, err)
			}
			checkCell(t, topo, cell)
			for _, engine := range []string{lab.EngineNetfilter, lab.EngineTable} { // what engine sim cannot have is stack.CheckSim's
				if err := topo.CheckEngines(engine); err != nil {
					t.Errorf("%s %v on %s: %v", name, cell, engine, err)
				}
			}
			digests[topo.Digest()] = true
		}
		alike := 1 // cells on one topology
		for _, a := range s.Axes {
			if a.Key == scenarios.StrategyKey || strings.HasPrefix(a.Key, "trial.") {
				alike *= len(a.Values)
			}
		}
		if want := len(s.Cells()) / alike; len(digests) != want {
			t.Errorf("%s: %d different topologies, want %d", name, len(digests), want)
		}
	}
}

func checkCell(t *testing.T, topo *lab.Topology, cell map[string]string) {
	t.Helper()
	for key, value := range cell {
		name, field, _ := strings.Cut(key, ".")
		switch field {
		case "engine", "portmap":
			s := topo.Site(name)
			if got := map[string]string{"engine": s.Engine, "portmap": s.PortMap}[field]; got != value {
				t.Errorf("%s=%s gives %s", key, value, got)
			}
		}
		if field != "nat" {
			continue
		}
		// What a topology says of a router beside its preset (a timeout, a quota, IPv6) stays.
		want, _ := nat.Lookup(value)
		got := topo.Site(name).Behavior
		got.UDPTimeout, got.Quota, got.IPv6, got.Filtering6 = want.UDPTimeout, want.Quota, want.IPv6, want.Filtering6
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s=%s has another behavior:\n%s", key, value, diff)
		}
	}
	if value, ok := cell["link"]; ok {
		for _, s := range topo.Sites {
			if s.Behind == "" && s.Profile.Name != value {
				t.Errorf("link=%s: site %s has %s", value, s.Name, s.Profile.Name)
			}
		}
	}
}

func TestNatMatrixIsTheIssues(t *testing.T) {
	s := load(t, "nat-matrix")
	nats := []string{"full-cone", "restricted-cone", "port-restricted-cone", "symmetric", "firewall", "open"}
	want := []scenarios.Axis{
		{Key: "camera.nat", Values: nats}, {Key: "viewer.nat", Values: nats},
		{Key: "strategy", Values: []string{"direct", "adaptive"}}, {Key: "link", Values: []string{"broadband"}},
	}
	if diff := cmp.Diff(want, s.Axes); diff != "" {
		t.Error(diff)
	}
	if s.Trials != 20 || s.Trial.Media != time.Second || s.Trial.Timeout != 8*time.Second || s.Seed != 1 {
		t.Errorf("trials %d, seed %d, trial %v", s.Trials, s.Seed, s.Trial)
	}
	cells := s.Cells()
	if len(cells) != 72 {
		t.Fatalf("%d cells, want 72", len(cells))
	}
	last := map[string]string{"camera.nat": "open", "viewer.nat": "open", "strategy": "adaptive", "link": "broadband"}
	if !maps.Equal(cells[71], last) || cells[1]["strategy"] != "adaptive" || cells[2]["viewer.nat"] != "restricted-cone" {
		t.Errorf("the last axis does not turn fastest: %v, %v … %v", cells[1], cells[2], cells[71])
	}
}

func TestNatPairsHasAllNineOnBothSides(t *testing.T) {
	s := load(t, "nat-pairs")
	for _, a := range s.Axes[:2] {
		seen := map[[2]nat.Dependency]bool{}
		for _, v := range a.Values {
			b, _ := nat.Lookup(v)
			seen[[2]nat.Dependency{b.Mapping, b.Filtering}] = true
		}
		if len(seen) != 9 || len(a.Values) != 9 {
			t.Errorf("%s has %d of 9 pairs in %d values", a.Key, len(seen), len(a.Values))
		}
	}
}

func TestDigestPinsTheExperiment(t *testing.T) {
	text := "name: a\nsummary: b\ntopology: two-homes\naxes: {strategy: [direct], link: [lan]}\ntrials: 1\ntrial: {media: 1s, timeout: 2s}\n"
	digest := func(from, to string) string {
		s, err := scenarios.Parse("x.yaml", []byte(strings.ReplaceAll(text, from, to)), topologies.Load)
		if err != nil {
			t.Fatal(err)
		}
		return s.Digest
	}
	first := digest("", "")
	if !strings.HasPrefix(first, "sha256:") || len(first) != 71 {
		t.Errorf("digest %q", first)
	}
	if digest("1s", "1000ms") != first {
		t.Error("the digest depends on how the document is written")
	}
	for from, to := range map[string]string{"trials: 1": "trials: 2", "1s": "500ms", "[lan]": "[lte]", "two-homes": "same-lan", "name: a": "seed: 2\nname: a"} {
		if digest(from, to) == first {
			t.Errorf("the digest does not see %q → %q", from, to)
		}
	}
	s, err := scenarios.Parse("x.yaml", []byte(text), func(name string) (*lab.Topology, []byte, error) {
		topo, data, err := topologies.Load(name)
		return topo, data, errors.Join(err, topo.Set("rendezvous.link", "perfect"))
	})
	if err != nil {
		t.Fatal(err)
	}
	if s.Digest == first {
		t.Error("the digest does not see that the topology behind the name has changed")
	}
	s = load(t, "links")
	before := s.Digest
	if err := s.Narrow("link", []string{"lan"}); err != nil {
		t.Fatal(err)
	}
	if s.Digest != before {
		t.Error("Narrow changed the digest, which is the document's")
	}
}

func TestNarrowBoundsTheCells(t *testing.T) {
	s := load(t, "nat-matrix")
	var nats []string
	for _, p := range nat.Presets() {
		nats = append(nats, p.Name)
	}
	links := []string{"perfect", "lan", "broadband", "lte", "satellite"}
	var err error
	for _, a := range []scenarios.Axis{
		{Key: "camera.nat", Values: nats}, {Key: "viewer.nat", Values: nats}, {Key: "strategy", Values: []string{"direct", "relay", "adaptive"}},
		{Key: "camera.link", Values: links}, {Key: "viewer.link", Values: links}, {Key: "rendezvous.link", Values: links},
	} {
		err = errors.Join(err, s.Narrow(a.Key, a.Values))
	}
	if err == nil || err.Error() != "rendezvous.link: more than 100000 cells: give fewer values" {
		t.Errorf("error %v", err)
	}
	if got, want := len(s.Cells()), len(nats)*len(nats)*3*5*5; got != want {
		t.Errorf("%d cells, want %d", got, want)
	}
}

// A cell that sets all links and one of them gets the one, whatever order the map has.
func TestBuildSpecificKeysWin(t *testing.T) {
	s := load(t, "nat-matrix")
	for range 20 {
		topo, err := s.Build(map[string]string{"link": "lan", "camera.link": "lte", "strategy": "direct"})
		if err != nil {
			t.Fatal(err)
		}
		if c, v := topo.Site("camera").Profile.Name, topo.Site("viewer").Profile.Name; c != "lte" || v != "lan" {
			t.Fatalf("camera has %s and viewer %s, want lte and lan", c, v)
		}
	}
	if _, err := s.Build(map[string]string{"camera.nat": "nothing"}); err == nil {
		t.Error("a cell with an unknown preset is built")
	}
	if s.Base().Site("camera").Profile.Name != "broadband" {
		t.Error("Build changed the scenario's own topology")
	}
}

// The published schema and the Go types say the same.
func TestSchemaAgrees(t *testing.T) {
	type object struct {
		Properties map[string]json.RawMessage `json:"properties"`
		Required   []string                   `json:"required"`
		Enum       []string                   `json:"enum"`
		Maximum    int                        `json:"maximum"`
	}
	parse := func(text []byte) (o object) {
		t.Helper()
		if err := json.Unmarshal(text, &o); err != nil {
			t.Fatal(err)
		}
		return o
	}
	var defs struct {
		Defs map[string]json.RawMessage `json:"$defs"`
	}
	if err := json.Unmarshal(scenarios.Schema(), &defs); err != nil {
		t.Fatal(err)
	}
	event := parse(defs.Defs["event"])
	for key, want := range map[string][]string{"on": lab.Moments(), "do": lab.Actions()} {
		if diff := cmp.Diff(want, parse(event.Properties[key]).Enum); diff != "" {
			t.Errorf("events' %s differ (-Go +schema):\n%s", key, diff)
		}
	}
	root := parse(scenarios.Schema())
	trial := parse(root.Properties["trial"])
	for _, c := range []struct {
		schema  object
		of      any
		derived []string
	}{{root, scenarios.Scenario{}, []string{"digest"}}, {trial, scenarios.Trial{}, nil}, {parse(defs.Defs["event"]), lab.Event{}, nil}} {
		var fields []string
		for _, f := range reflect.VisibleFields(reflect.TypeOf(c.of)) {
			if name := strings.ToLower(f.Name); f.IsExported() && !slices.Contains(c.derived, name) {
				fields = append(fields, name)
			}
		}
		slices.Sort(fields)
		if diff := cmp.Diff(fields, slices.Sorted(maps.Keys(c.schema.Properties))); diff != "" {
			t.Errorf("%T and the schema's keys differ (-Go +schema):\n%s", c.of, diff)
		}
	}
	if got := parse(root.Properties["trials"]).Maximum; got != scenarios.MaxTrials {
		t.Errorf("the schema allows %d trials, the loader %d", got, scenarios.MaxTrials)
	}
}

// cpu is the time that the machine has given this process: what else runs on it takes nothing of that.
func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// FuzzParse: any bytes give a scenario whose cells can be built, or errors, soon.
func FuzzParse(f *testing.F) {
	for _, name := range scenarios.Names() {
		s := load(f, name)
		f.Add([]byte(fmt.Sprintf("name: %s\ntopology: %s\naxes: {strategy: [%s]}\ntrials: %d\ntrial: {media: %v, timeout: %v}\n",
			s.Name, s.Topology, s.Axes[len(s.Axes)-1].Values[0], s.Trials, s.Trial.Media, s.Trial.Timeout)))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		start := cpu()
		s, err := scenarios.Parse("x.yaml", data, onlyNamed)
		if took := cpu() - start; took > 5*time.Second {
			t.Errorf("took %v", took)
		}
		if err != nil {
			var es scenarios.Errors
			if !errors.As(err, &es) || len(es) == 0 {
				t.Fatalf("error %T %v, want scenarios.Errors", err, err)
			}
			return
		}
		cells := s.Cells()
		if len(cells) == 0 || len(cells) > scenarios.MaxCells || s.Trials < 1 || s.Trial.Timeout <= s.Trial.Media {
			t.Fatalf("%d cells, %d trials of %v", len(cells), s.Trials, s.Trial)
		}
		for _, cell := range []map[string]string{cells[0], cells[len(cells)-1]} {
			if _, err := s.Build(cell); err != nil {
				t.Errorf("cell %v: %v", cell, err)
			}
		}
	})
}

// onlyNamed keeps the fuzzer from reading files.
func onlyNamed(name string) (*lab.Topology, []byte, error) {
	if !slices.Contains(topologies.Names(), name) {
		return nil, nil, errors.New("unknown topology")
	}
	return topologies.Load(name)
}
