// Package scenarios reads scenarios from YAML and carries the named ones.
//
//	name: nat-matrix
//	summary: who reaches whom
//	topology: two-homes           # a name, or a file beside this one
//	axes:                         # each combination is a cell; the last axis turns fastest
//	  camera.nat: [open, symmetric]
//	  viewer.nat: [open, symmetric]     ┌ cell 0: open, open, direct
//	  strategy: [direct, adaptive]      ┤ cell 1: open, open, adaptive
//	trials: 20                          └ cell 2: open, symmetric, direct …
//	seed: 1
//	trial: {idle: 16s, media: 1s, timeout: 8s}
//	populations:                  # for the report: the cells weighted as a paper's NATs, beside its own figure
//	  - {name: ford-2005, source: …, size: 380, weights: {open: 0.8, symmetric: 0.2}, published: {what: …, rate: 0.82}}
//	events:                       # in every trial; lab.Event has all that can happen
//	  - {on: connected, at: 2s, do: reboot, site: camera}
//	thresholds:                   # what the run has to show; gate.Threshold has their grammar
//	  - direct_rate >= 0.98 where oracle == direct
//	  - {expect: connected_rate >= 0.5, abort: true}   # missed beyond doubt: the run ends
//
// An axis is "strategy", a key of the topology (lab.Topology.Keys), or what a trial may have besides (stack.Option): trial.fleet. A strategy brings the system under test with it: all but
// the bundled one's belong to its peers. The loader tries every value of every axis on the
// topology, so that a scenario that loads also runs. scenario.schema.json is the JSON Schema of these documents.
package scenarios

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/punchlab/punchlab/lab"
	"github.com/punchlab/punchlab/lab/gate"
	"github.com/punchlab/punchlab/lab/record"
	"github.com/punchlab/punchlab/topologies"
	"github.com/punchlab/punchlab/topologies/document"
)

// Error is one fault of a scenario's document: where it is, what it is and how it is spelt right.
type Error = document.Error

// Errors is every fault of a document at once. Load and Parse fail with it.
type Errors = document.Errors

// StrategyKey is the axis that no topology has. Every scenario sets it.
const StrategyKey = "strategy"

// trialPrefix begins the axes that belong to the trial: trial.fleet.
const trialPrefix = "trial."

// ofTopology says whether an axis is the topology's.
func ofTopology(key string) bool { return key != StrategyKey && !strings.HasPrefix(key, trialPrefix) }

// Options are a cell's values of the axes that belong to the trial, by the option's name.
func Options(cell map[string]string) map[string]string {
	options := map[string]string{}
	for key, value := range cell {
		if name, ok := strings.CutPrefix(key, trialPrefix); ok {
			options[name] = value
		}
	}
	return options
}

// Limits of a scenario.
const (
	MaxCells  = 100_000
	MaxTrials = 1_000_000 // in a cell
)

// Scenario is an experiment: a topology, what varies, and how often. It is not safe for concurrent use.
type Scenario struct {
	Name     string
	Summary  string
	Topology string // name, or file; Base has it loaded
	Axes     []Axis // in the order of the file; the last turns fastest
	Trials   int    // a cell
	Seed     uint64
	Trial    Trial
	Events   []lab.Event `json:",omitzero"` // of each trial, in the order of the file

	Populations []record.Population `json:",omitempty"` // of which the report gives the cells' rates as a whole

	Thresholds []gate.Threshold `json:",omitempty"` // that a run is held to

	Digest string // of the document as it was loaded, whatever Narrow did since

	base               *lab.Topology
	text, topologyText string
}

// Axis is something that varies.
type Axis struct {
	Key    string
	Values []string
}

// Trial says what one attempt is.
type Trial struct {
	Idle    time.Duration // in each cell's first trial: how long the camera is left alone before the viewer asks
	Media   time.Duration // video after the connection; 0: none, the trial ends with the connection
	Timeout time.Duration // of the whole attempt

	Stranger bool // at its end, somebody from elsewhere on the internet tries to reach the camera
}

//go:embed *.yaml
var files embed.FS

//go:embed scenario.schema.json
var schemaText []byte

var schema = document.MustCompile(schemaText)

// Schema returns the JSON Schema of scenarios.
func Schema() []byte { return slices.Clone(schemaText) }

// Names lists the named scenarios, sorted.
func Names() []string { return document.Names(files) }

// Load reads the scenario of a name or from a file, and its topology. What contains a slash or ends in .yaml or .yml is a file.
func Load(nameOrFile string) (*Scenario, error) {
	file, data, err := document.Read(files, "scenarios", "scenario", nameOrFile)
	if err != nil {
		return nil, err
	}
	return Parse(file, data, topologies.Load)
}

// A Loader finds a scenario's topology; topologies.Load is one.
type Loader func(nameOrFile string) (*lab.Topology, []byte, error)

// Parse reads a scenario. The file's name is for the errors, and a topology's file is looked for beside it.
func Parse(file string, data []byte, load Loader) (*Scenario, error) {
	d, err := document.Parse(file, data)
	if err != nil {
		return nil, err
	}
	d.Check(schema)
	s := decode(d)
	s.text = string(data)
	others := s.loadTopology(d, filepath.Dir(file), load)
	s.check(d)
	err = d.Err()
	if others != nil && err == nil {
		return nil, others
	}
	if err != nil {
		return nil, slices.Concat(asErrors(err), others)
	}
	s.Digest = s.digest()
	return s, nil
}

func asErrors(err error) Errors {
	var es Errors
	errors.As(err, &es)
	return es
}

// decode reads what the schema describes, with the defaults of what is left out.
func decode(d *document.Document) *Scenario {
	root := d.Root()
	s := &Scenario{
		Name: root.Get("name").String(), Summary: root.Get("summary").String(), Topology: root.Get("topology").String(),
		Trials: root.Get("trials").Int(), Seed: 1,
		Trial: Trial{
			Idle:  root.Get("trial").Get("idle").Duration(),
			Media: root.Get("trial").Get("media").Duration(), Timeout: root.Get("trial").Get("timeout").Duration(),
			Stranger: root.Get("trial").Get("stranger").Bool(false),
		},
	}
	if n := root.Get("seed"); n.Exists() {
		s.Seed = n.Uint()
	}
	for _, n := range root.Get("events").Items() {
		s.Events = append(s.Events, event(n))
	}
	for _, n := range root.Get("populations").Items() {
		s.Populations = append(s.Populations, population(n))
	}
	axes := root.Get("axes")
	for _, key := range axes.Keys() {
		a := Axis{Key: key}
		for _, v := range axes.Get(key).Items() {
			a.Values = append(a.Values, v.Text())
		}
		s.Axes = append(s.Axes, a)
	}
	s.decodeThresholds(root.Get("thresholds"))
	return s
}

func population(n document.Node) record.Population {
	published := n.Get("published")
	return record.Population{
		Name: n.Get("name").String(), Source: n.Get("source").String(), Note: n.Get("note").String(),
		Size: n.Get("size").Float(), Weights: weights(n.Get("weights")), Peer: weights(n.Get("peer")),
		Published: record.Published{
			What: published.Get("what").String(), Rate: published.Get("rate").Float(), Low: published.Get("low").Float(),
			High: published.Get("high").Float(),
		},
	}
}

// weights reads a mapping of numbers; nil where there is none.
func weights(n document.Node) map[string]float64 {
	if !n.Exists() {
		return nil
	}
	w := map[string]float64{}
	for _, k := range n.Keys() {
		w[k] = n.Get(k).Float()
	}
	return w
}

func event(n document.Node) lab.Event {
	e := lab.Event{
		At: n.Get("at").Duration(), On: n.Get("on").String(), Do: n.Get("do").String(), Site: n.Get("site").String(),
		Host: n.Get("host").String(), To: n.Get("to").String(), NAT: n.Get("nat").String(), Link: n.Get("link").String(),
		MTU: n.Get("mtu").Int(), For: n.Get("for").Duration(),
	}
	for i, name := range n.Get("between").Items() {
		if i < len(e.Between) {
			e.Between[i] = name.String()
		}
	}
	return e
}

// loadTopology sets the base. The faults of another file come back as they are, those of this one go to the document.
func (s *Scenario) loadTopology(d *document.Document, folder string, load Loader) Errors {
	if s.Topology == "" {
		return nil
	}
	name := s.Topology
	isFile := document.IsFile(name)
	if isFile && !filepath.IsAbs(name) {
		name = filepath.Join(folder, name)
		if !document.IsFile(name) {
			name = "./" + name
		}
	}
	base, text, err := load(name)
	if err == nil {
		s.base, s.topologyText = base, string(text)
		return nil
	}
	es := asErrors(err)
	if len(es) > 0 && es[0].Line > 0 {
		return es
	}
	for _, e := range es {
		msg := e.Msg
		if isFile {
			msg = e.File + ": " + msg
		}
		d.Report("topology", &lab.Problem{Msg: msg, Suggestion: e.Suggestion})
	}
	if len(es) == 0 {
		d.Report("topology", err)
	}
	return nil
}

// Base returns the topology without any axis set. It is the caller's own.
func (s *Scenario) Base() *lab.Topology { return s.base.Clone() }

// Texts returns the documents that the scenario and its topology were read from.
func (s *Scenario) Texts() (scenario, topology string) { return s.text, s.topologyText }

// Build returns the resolved topology of a cell: Base with the cell's values. Keys that are not the topology's are left out.
func (s *Scenario) Build(cell map[string]string) (*lab.Topology, error) {
	t := s.Base()
	params := map[string]string{}
	for key, value := range cell {
		if ofTopology(key) {
			params[key] = value
		}
	}
	if err := t.Configure(params); err != nil {
		return nil, fmt.Errorf("build topology %s of scenario %s: %w", s.Topology, s.Name, err)
	}
	return t, nil
}

// Cells lists every combination of the axes' values, the last axis turning fastest. A cell's number is its index.
func (s *Scenario) Cells() []map[string]string {
	n := s.count()
	cells := make([]map[string]string, n)
	for i := range cells {
		cell := make(map[string]string, len(s.Axes))
		rest := i
		for a := len(s.Axes) - 1; a >= 0; a-- {
			values := s.Axes[a].Values
			cell[s.Axes[a].Key] = values[rest%len(values)]
			rest /= len(values)
		}
		cells[i] = cell
	}
	return cells
}

// count is the number of cells, at most one more than MaxCells.
func (s *Scenario) count() int {
	n := 1
	for _, a := range s.Axes {
		n = min(n*len(a.Values), MaxCells+1)
	}
	return n
}

// Clone returns a copy that can be narrowed by itself.
func (s *Scenario) Clone() *Scenario {
	c := *s
	c.Axes = slices.Clone(s.Axes)
	for i := range c.Axes {
		c.Axes[i].Values = slices.Clone(c.Axes[i].Values)
	}
	c.Events, c.Thresholds = slices.Clone(s.Events), slices.Clone(s.Thresholds)
	return &c
}

// digest hashes everything that makes the scenario's cells and trials, and the topology.
func (s *Scenario) digest() string {
	b, err := json.Marshal(struct {
		*Scenario
		Base string
	}{s, s.base.Digest()})
	if err != nil {
		panic("scenarios: a scenario is plain data and always encodes: " + err.Error())
	}
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:])
}
