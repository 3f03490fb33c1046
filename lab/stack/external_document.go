package stack

import (
	_ "embed"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/punchlab/punchlab/lab"
	"github.com/punchlab/punchlab/topologies/document"
)

//go:embed external/external.schema.json
var externalSchemaText []byte

var externalSchema = document.MustCompile(externalSchemaText)

// ExternalSchema returns the JSON Schema of external systems.
func ExternalSchema() []byte { return slices.Clone(externalSchemaText) }

// What holds for a document that says nothing else.
const (
	externalStart = 20 * time.Second
	externalHold  = time.Second
	externalEvery = 100 * time.Millisecond
	externalLimit = time.Hour // of every time in a document
)

// The hosts of which a trial knows what they do.
const hostRendezvous, hostCamera, hostViewer = "rendezvous", "camera", "viewer"

var externalHosts = []string{hostRendezvous, hostCamera, hostViewer}

// ParseExternal reads an external system. The file's name is for the errors, document.Errors.
func ParseExternal(file string, data []byte) (*External, error) {
	d, err := document.Parse(file, data)
	if err != nil {
		return nil, err
	}
	d.Check(externalSchema)
	r := externalReader{d: d}
	e := &External{spec: r.spec(d.Root())}
	r.check(&e.spec)
	if err := d.Err(); err != nil {
		return nil, err
	}
	return e, nil
}

// externalReader decodes a document and reports what its schema can't see.
type externalReader struct{ d *document.Document }

func (r externalReader) fault(path, format string, args ...any) {
	r.d.Report(path, fmt.Errorf(format, args...))
}

func (r externalReader) spec(n document.Node) externalSpec {
	s := externalSpec{
		Name: n.Get("name").String(), Summary: n.Get("summary").String(), Setup: texts(n.Get("setup")),
		Files: variables(n.Get("files")), Marks: map[Moment]externalMark{},
		Request: externalRequest{Command: n.Get("request").Get("command").String(), Line: n.Get("request").Get("line").String()},
		Start:   r.time(n.Get("start"), externalStart), Hold: r.time(n.Get("hold"), externalHold),
	}
	for _, p := range n.Get("programs").Items() {
		s.Programs = append(s.Programs, externalProgram{p.Get("name").String(), p.Get("package").String(), p.Get("make").String()})
	}
	for _, p := range n.Get("devices").Items() {
		s.Devices = append(s.Devices, p.String())
	}
	for _, c := range n.Get("prepare").Items() {
		s.Prepare = append(s.Prepare, texts(c))
	}
	for _, c := range n.Get("commands").Items() {
		s.Commands = append(s.Commands, r.command(c))
	}
	for _, m := range externalMarks {
		if at := n.Get("marks").Get(string(m)); at.Exists() {
			s.Marks[m] = r.mark(at)
		}
	}
	for _, c := range n.Get("counts").Items() {
		s.Counts = append(s.Counts, r.mark(c))
	}
	return s
}

func (r externalReader) command(n document.Node) externalCommand {
	c := externalCommand{
		Name: n.Get("name").String(), Host: n.Get("host").String(), Run: texts(n.Get("run")), Env: variables(n.Get("env")),
	}
	if at := n.Get("ready"); at.Exists() {
		c.Ready = r.mark(at)
		if c.Ready.Log != nil && c.Ready.From == "" {
			c.Ready.From = c.Name
		}
		if len(c.Ready.Probe) > 0 && c.Ready.Host == "" {
			c.Ready.Host = c.Host
		}
	}
	return c
}

func (r externalReader) mark(n document.Node) externalMark {
	m := externalMark{
		From: n.Get("from").String(), Probe: texts(n.Get("probe")), Host: n.Get("host").String(),
		Every: r.time(n.Get("every"), externalEvery), Exit: n.Get("exit").String(), Packets: n.Get("packets").Int(),
	}
	if s := n.Get("log").String(); s != "" {
		var err error
		if m.Log, err = regexp.Compile(s); err != nil {
			r.fault(n.Get("log").Path(), "not a pattern: %s", strings.TrimPrefix(err.Error(), "error parsing regexp: "))
		}
	}
	kinds := 0
	for _, k := range []string{"log", "probe", "exit", "packets"} {
		if n.Get(k).Exists() {
			kinds++
		}
	}
	if kinds != 1 {
		r.fault(n.Path(), "give one of log, probe, exit and packets, not %d", kinds)
	}
	return m
}

// time reads a time, or has what is missing.
func (r externalReader) time(n document.Node, missing time.Duration) time.Duration {
	if !n.Exists() {
		return missing
	}
	d := n.Duration()
	if d < 0 || d > externalLimit {
		r.fault(n.Path(), "%v is impossible: give 0s to %v", d, externalLimit)
	}
	return d
}

func texts(n document.Node) (list []string) {
	for _, item := range n.Items() {
		list = append(list, item.String())
	}
	return list
}

func variables(n document.Node) (list []externalFile) {
	for _, key := range n.Keys() {
		list = append(list, externalFile{key, n.Get(key).String()})
	}
	return list
}

// check reports what the parts say of each other.
func (r externalReader) check(s *externalSpec) {
	var names []string
	for i, c := range s.Commands {
		at := document.Index("commands", i)
		if slices.Contains(names, c.Name) {
			r.fault(document.Member(at, "name"), "a second command of this name")
		}
		names = append(names, c.Name)
		r.known(document.Member(at, "host"), "host", c.Host, externalHosts)
		if s.Request.starts(c.Name) && !c.Ready.empty() {
			r.fault(document.Member(at, "ready"), "the request starts this command: nothing waits for it to be ready")
		}
		for _, v := range c.Env {
			if v.Name == "" || strings.ContainsAny(v.Name, "=\x00") {
				r.fault(document.Member(at, "env"), "%q is no variable's name", v.Name)
			}
		}
	}
	for i, c := range s.Commands {
		if c.Ready.Packets > 0 {
			path := document.Member(document.Index("commands", i), "ready.packets")
			r.fault(path, "packets are counted from the request on: give log, probe or exit")
		}
		if !c.Ready.empty() {
			r.checkMark(document.Member(document.Index("commands", i), "ready"), c.Ready, names)
		}
	}
	r.known("request.command", "command", s.Request.Command, names)
	for m, mark := range s.Marks {
		r.checkMark(document.Member("marks", string(m)), mark, names)
	}
	for i, c := range s.Counts {
		r.known(document.Member(document.Index("counts", i), "from"), "command", c.From, names)
		r.checkCount(document.Member(document.Index("counts", i), "log"), c.Log)
	}
	for _, f := range s.Files {
		if !filepath.IsLocal(f.Name) || f.Name == "." {
			r.fault(document.Member("files", f.Name), "%q is no name of a file in the scratch folder", f.Name)
		}
	}
	r.checkTemplates(s)
}

func (m externalMark) empty() bool {
	return m.Log == nil && len(m.Probe) == 0 && m.Exit == "" && m.Packets == 0
}

func (r externalReader) checkMark(path string, m externalMark, commands []string) {
	switch {
	case m.Log != nil:
		r.named(path, "from", "command", m.From, commands)
	case len(m.Probe) > 0:
		r.named(path, "host", "host", m.Host, externalHosts)
	case m.Exit != "":
		r.known(document.Member(path, "exit"), "command", m.Exit, commands)
	}
}

// named is known, of something that may be missing.
func (r externalReader) named(path, key, what, name string, known []string) {
	if name == "" {
		r.fault(path, "%s is missing: name one of %s", key, strings.Join(known, ", "))
		return
	}
	r.known(document.Member(path, key), what, name, known)
}

func (r externalReader) known(path, what, name string, known []string) {
	if name != "" && !slices.Contains(known, name) {
		r.d.Report(path, asProblem(lab.Unknown("", what, name, known)))
	}
}

// asProblem keeps a problem's place out of it: the caller has the place.
func asProblem(p *lab.Problem) error { return p }

func (r externalReader) checkCount(path string, re *regexp.Regexp) {
	if re == nil {
		return
	}
	known := slices.Concat(externalCounts, []string{groupAt})
	found := false
	for _, g := range re.SubexpNames() {
		if g != "" && !slices.Contains(known, g) {
			r.d.Report(path, asProblem(lab.Unknown("", "group", g, known)))
		}
		found = found || slices.Contains(externalCounts, g)
	}
	if !found {
		r.fault(path, "no group counts anything: name one of %s, as in (?P<frames_received>\\d+)", strings.Join(externalCounts, ", "))
	}
}

// checkTemplates tries every template on made-up values.
func (r externalReader) checkTemplates(s *externalSpec) {
	v := exampleValues()
	try := func(path, text string) {
		if _, err := v.render(text); err != nil {
			r.d.Report(path, err)
		}
	}
	all := func(path string, argv []string) {
		for i, a := range argv {
			try(document.Index(path, i), a)
		}
	}
	for _, f := range s.Files {
		try(document.Member("files", f.Name), f.Text)
	}
	for i, c := range s.Prepare {
		all(document.Index("prepare", i), c)
	}
	for i, c := range s.Commands {
		path := document.Index("commands", i)
		all(document.Member(path, "run"), c.Run)
		all(document.Member(document.Member(path, "ready"), "probe"), c.Ready.Probe)
		for _, e := range c.Env {
			try(document.Member(document.Member(path, "env"), e.Name), e.Text)
		}
	}
	for m, mark := range s.Marks {
		all(document.Member(document.Member("marks", string(m)), "probe"), mark.Probe)
	}
	try("request.line", s.Request.Line)
}
