package stack

import (
	"context"
	"embed"
	"io/fs"
	"regexp"
	"time"

	"github.com/punchlab/punchlab/lab"
	"github.com/punchlab/punchlab/topologies/document"
)

// External is a system of executables, which a document describes (ExternalSchema is its JSON Schema):
//
//	name: overlay                       # and its only strategy
//	summary: what it is
//	programs:                           # what has to be there, and where it comes from
//	  - {name: overlayd, package: overlay}          # a Debian package
//	  - {name: mine, make: peers}                   # or a target of this project's Makefile
//	files:                              # templates, written to the trial's scratch folder
//	  camera.yml: "server: {{rendezvous \"camera\"}}:4242\n"
//	prepare:                            # run to their ends one after another, on no host
//	  - [overlay-keys, camera]
//	commands:                           # started one after another, each when the one before is ready
//	  - {name: server, host: rendezvous, run: [overlayd, -serve], ready: {log: listening}}
//	  - {name: camera, host: camera, run: [overlayd, -c, camera.yml], ready: {log: registered}}
//	  - {name: viewer, host: viewer, run: [overlayd], ready: {probe: [overlayd, -status], every: 50ms}}
//	  - {name: ask, host: viewer, run: [ping, -c, "100", 10.99.0.2]}
//	request: {command: ask}             # its start is the viewer's request; with line: "connect" that line on its stdin is
//	marks:                              # what tells that something has come to pass
//	  connected: {log: 'tunnel is up', from: viewer}
//	  success: {log: 'bytes from', from: ask}       # or {probe: …}, {exit: ask}, {packets: 1}: so many each way
//	  over: {exit: ask}                             # nothing more is to be learnt; left out: hold is over
//	counts:                             # the last line that matches counts: groups named frames_received and the like
//	  - {log: 'got (?P<frames_received>\d+)', from: viewer}
//	start: 10s                          # most that prepare and all commands may take to be ready
//	hold: 1s                            # how long after success the paths are watched, at least
//
// A pattern is one of package regexp and is looked for in each line of stdout and stderr. A group named "at" says when it was
// (Unix time in seconds with a fraction, or RFC 3339); otherwise it was when the line was read. {{.Dir}}, {{.Clip}},
// {{.Seed}}, {{.Media}}, {{.Timeout}} and the functions addr and rendezvous stand for what the trial knows; see externalValues.
//
//	commands ─ processes in the hosts' namespaces, a process group each ─┐
//	   │ lines                                                           │ packets
//	   ▼                                                                 ▼
//	 marks: requested, connected, success …          taps on the hosts' devices: which path was used, and when
//	   └──────────────────────────► Observation ◄────────────────────────┘
//
// Whether it went directly is judged by the hosts' packets alone (externalFlows), never by what the programs say.
type External struct {
	spec externalSpec
}

// externalSpec is a document, decoded.
type externalSpec struct {
	Name, Summary string
	Programs      []externalProgram
	Files         []externalFile
	Prepare       [][]string
	Commands      []externalCommand
	Request       externalRequest
	Marks         map[Moment]externalMark // and markSuccess, markOver
	Counts        []externalMark
	Start, Hold   time.Duration
}

// externalProgram is an executable, and where it comes from.
type externalProgram struct {
	Name, Package, Make string
}

type externalFile struct{ Name, Text string }

type externalCommand struct {
	Name, Host string
	Run        []string
	Env        map[string]string
	Ready      externalMark
}

type externalRequest struct{ Command, Line string }

// externalMark says by what something is known to have come to pass; one of its kinds is set.
type externalMark struct {
	Log     *regexp.Regexp
	From    string   // command whose lines Log is for; of a command's own ready it is that one
	Probe   []string // command on Host that exits with 0
	Host    string
	Every   time.Duration
	Exit    string // command that ends with 0
	Packets int    // that arrived each way, directly
}

//go:embed external/*.yaml
var externalFiles embed.FS

func externalDocuments() fs.FS {
	sub, err := fs.Sub(externalFiles, "external")
	if err != nil {
		panic("stack: embedded externals: " + err.Error())
	}
	return sub
}

// ExternalNames lists the external systems that the program carries, sorted.
func ExternalNames() []string { return document.Names(externalDocuments()) }

// Externals are the external systems that the program carries, by their names' order. Whether their programs are there
// is another matter: Missing.
func Externals() []System {
	var all []System
	for _, name := range ExternalNames() {
		e, err := LoadExternal(name)
		if err != nil {
			panic("stack: an embedded external is faulty: " + err.Error())
		}
		all = append(all, e)
	}
	return all
}

// LoadExternal reads the external system of a name, or from a file (what contains a slash or ends in .yaml). It fails with
// document.Errors: every fault with line and column.
func LoadExternal(nameOrFile string) (*External, error) {
	file, data, err := document.Read(externalDocuments(), "lab/stack/external", "external system", nameOrFile)
	if err != nil {
		return nil, err
	}
	return ParseExternal(file, data)
}

// Name returns the document's name.
func (e *External) Name() string { return e.spec.Name }

// Summary is the document's line about it.
func (e *External) Summary() string { return e.spec.Summary }

// Strategies has one, called as the system is.
func (e *External) Strategies() []string { return []string{e.spec.Name} }

// Programs names the hosts on which it runs commands.
func (e *External) Programs() []string { return nil }

// Missing is a sentence about programs that are not installed, and where they come from; empty: nothing is missing.
func (e *External) Missing() string { return "" }

// Try runs the commands on the lab's hosts.
func (e *External) Try(ctx context.Context, l *lab.Lab, t Trial) (Observation, error) {
	return Observation{}, nil
}
