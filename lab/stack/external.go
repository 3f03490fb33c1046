package stack

import (
	"embed"
	"io/fs"
	"regexp"
	"slices"
	"time"

	"github.com/punchlab/punchlab/topologies/document"
)

// External is a system of executables, which a document describes (ExternalSchema is its JSON Schema):
//
//	name: overlay                       # and its only strategy
//	summary: what it is
//	setup: [run a server with a public address] # what an owner has to do once, a step each
//	programs:                           # what has to be there, and where it comes from
//	  - {name: overlayd, package: overlay}          # a Debian package
//	  - {name: mine, make: peers}                   # or a target of this project's Makefile
//	devices: [/dev/net/tun]             # which they open
//	files:                              # templates, written to the trial's scratch folder
//	  camera.yml: 'server: {{join (rendezvous "camera") 4242}}'
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
//	  success: {log: 'bytes from', from: ask}       # or {probe: …, host: …}, {exit: ask}, {packets: 1}: so many each way
//	  over: {exit: ask}                             # nothing more is to be learnt; left out: hold is over
//	counts:                             # of each line that matches the groups named frames_received and the like count
//	  - {log: 'got (?P<frames_received>\d+)', from: viewer}
//	start: 10s                          # most that prepare and all commands may take to be ready
//	hold: 1s                            # how long after success the paths are watched
//
// A pattern is one of package regexp and is looked for in each line of stdout and stderr. A group named "at" says when it was
// (Unix time in seconds with a fraction, or RFC 3339); otherwise it was when the line was read. Arguments, variables and
// files are templates (externalValues has what they can say). Programs are found by PUNCHLAB_NAME, on PATH and beside this
// program. They find PUNCHLAB_HOST, PUNCHLAB_ADDR and PUNCHLAB_RENDEZVOUS in their environment, as punchlab exec gives them,
// and PUNCHLAB_SEED, PUNCHLAB_MEDIA and PUNCHLAB_TIMEOUT (the latter in seconds); their folder, HOME and TMPDIR are the trial's
// scratch folder.
//
//	commands ─ processes in the hosts' namespaces, a process group each ─┐
//	   │ lines, exits, probes                                            │ packets
//	   ▼                                                                 ▼
//	 marks: requested, connected, success …         taps on the hosts' devices: which path was used, and when
//	   └──────────────────────────► Observation ◄────────────────────────┘
//
// Whether it went directly is judged by the hosts' packets alone (externalFlows), never by what the programs say. After
// the trial no process is left on a host, nor any device that was made there; other changes to a host's kernel (rules,
// sysctls) are the programs' to undo on SIGTERM.
type External struct {
	spec externalSpec
}

// The marks beside the moments.
const (
	markSuccess Moment = "success"
	markOver    Moment = "over"
)

// externalMarks are those that a document may have.
var externalMarks = []Moment{Requested, Connected, FirstPacket, FirstFrame, markSuccess, markOver}

// externalSpec is a document, decoded.
type externalSpec struct {
	Name, Summary string
	Setup         []string
	Programs      []externalProgram
	Devices       []string
	Files         []externalFile
	Prepare       [][]string
	Commands      []externalCommand
	Request       externalRequest
	Marks         map[Moment]externalMark
	Counts        []externalMark // their Log and From
	Start, Hold   time.Duration
}

// externalProgram is an executable, and where it comes from.
type externalProgram struct{ Name, Package, Make string }

type externalFile struct{ Name, Text string }

type externalCommand struct {
	Name, Host string
	Run        []string
	Env        []externalFile // variables
	Ready      externalMark
}

// externalRequest is the command that is started, or, with a line, written to.
type externalRequest struct{ Command, Line string }

// starts reports whether the command is not started before the request.
func (r externalRequest) starts(command string) bool { return r.Command == command && r.Line == "" }

// externalMark says by what something is known to have come to pass; one of its kinds is set, or none.
type externalMark struct {
	Log     *regexp.Regexp
	From    string // command whose lines Log is for
	Probe   []string
	Host    string // where Probe runs
	Every   time.Duration
	Exit    string // command that ends with 0
	Packets int    // that came each way, directly
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

// Externals are the external systems that the program carries, in the order of their names. Whether their programs are there
// is another matter: Missing.
func Externals() []System {
	var all []System
	for _, name := range ExternalNames() {
		e, err := LoadExternal(name)
		if err != nil {
			panic("stack: an embedded external system is faulty: " + err.Error())
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
func (e *External) Summary(string) string { return e.spec.Summary }

// Setup is what the document says that an owner has to do.
func (e *External) Setup(string) []string { return slices.Clone(e.spec.Setup) }

// Strategies has one, called as the system is.
func (e *External) Strategies() []string { return []string{e.spec.Name} }

// Programs names the hosts on which it runs commands: an event may kill them, and have them started again.
func (e *External) Programs() (hosts []string) {
	for _, c := range e.spec.Commands {
		if !slices.Contains(hosts, c.Host) {
			hosts = append(hosts, c.Host)
		}
	}
	return hosts
}
