package stack

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/punchlab/punchlab/topologies/document"
)

func TestShippedExternals(t *testing.T) {
	if d := cmp.Diff([]string{"dcutr", "nebula"}, ExternalNames()); d != "" {
		t.Errorf("names (-want +got):\n%s", d)
	}
	for _, s := range Externals() {
		e := s.(*External)
		if d := cmp.Diff([]string{e.Name()}, e.Strategies()); d != "" || e.Summary("") == "" || len(e.Setup("")) == 0 {
			t.Errorf("%s: strategies (-want +got):\n%s\nsummary %q, set-up %q", e.Name(), d, e.Summary(""), e.Setup(""))
		}
		if d := cmp.Diff([]string{"rendezvous", "camera", "viewer"}, e.Programs()); d != "" {
			t.Errorf("%s runs on (-want +got):\n%s", e.Name(), d)
		}
		for _, p := range e.programs() {
			if p.Package == "" && p.Make == "" {
				t.Errorf("%s does not say where %s comes from", e.Name(), p.Name)
			}
		}
	}
}

const sound = `name: x
commands:
  - {name: server, host: rendezvous, run: [a]}
  - {name: ask, host: viewer, run: [b]}
request: {command: ask}
marks:
  success: {exit: ask}
`

// Each fault is told with its place.
func TestExternalFaults(t *testing.T) {
	if _, err := ParseExternal("x.yaml", []byte(sound)); err != nil {
		t.Fatalf("the sound document: %v", err)
	}
	for _, tt := range []struct{ old, new, want string }{
		{"host: viewer", "host: veiwer", `x.yaml:4:23: commands[1].host: unknown host "veiwer" (did you mean "viewer"?)`},
		{"name: ask", "name: server", "x.yaml:4:12: commands[1].name: a second command of this name"},
		{"name: ask", "nam: ask", `x.yaml:4:6: commands[1].nam: unknown key "nam" (did you mean "name"?)`},
		{"{command: ask}", "{command: aks}", `x.yaml:5:20: request.command: unknown command "aks" (did you mean "ask"?)`},
		{"{exit: ask}", "{exit: nobody}", `x.yaml:7:19: marks.success.exit: unknown command "nobody"`},
		{"{exit: ask}", "{exit: ask, packets: 1}", "x.yaml:7:13: marks.success: give one of log, probe, exit and packets, not 2"},
		{"{exit: ask}", "{log: '(', from: ask}", "x.yaml:7:18: marks.success.log: not a pattern: missing closing ): `(`"},
		{"{exit: ask}", "{log: a}", "x.yaml:7:13: marks.success: from is missing: name one of server, ask"},
		{"{exit: ask}", "{probe: [a]}", "x.yaml:7:13: marks.success: host is missing: name one of rendezvous, camera, viewer"},
		{"success:", "succes:", `x.yaml:7:3: marks.succes: unknown key "succes" (did you mean "success"?)`},
		{"run: [a]", `run: ["{{.Nothing}}"]`, "x.yaml:3:44: commands[0].run[0]: not a template: 1:2: <.Nothing>: can't evaluate field Nothing"},
		{"run: [a]", `run: ['{{addr "nobody"}}']`, `no host "nobody": name one of rendezvous, camera, viewer`},
		{"run: [a]", "run: []", "x.yaml:3:43: commands[0].run: 0 entries are too few: 1 at least"},
		{"run: [a]", "run: [a, 1]", "x.yaml:3:47: commands[0].run[1]: want an argument (quote numbers), got a number"},
		{"run: [b]", "run: [b], ready: {log: a}", "the request starts this command: nothing waits for it to be ready"},
		{"run: [a]", "run: [a], ready: {packets: 1}", "x.yaml:3:65: commands[0].ready.packets: packets are counted from the request on"},
		{"marks:", "counts: [{log: 'a', from: ask}]\nmarks:", "counts[0].log: no group counts anything"},
		{"marks:", "counts: [{log: '(?P<frames_recieved>a)', from: ask}]\nmarks:", `unknown group "frames_recieved" (did you mean "frames_received"?)`},
		{"marks:", "files: {../x: a}\nmarks:", `"../x" is no name of a file in the scratch folder`},
		{"marks:", "hold: 2h\nmarks:", "x.yaml:6:7: hold: 2h0m0s is impossible: give 0s to 1h0m0s"},
		{"marks:", "start: soon\nmarks:", `x.yaml:6:8: start: "soon" is not a time`},
	} {
		_, err := ParseExternal("x.yaml", []byte(strings.Replace(sound, tt.old, tt.new, 1)))
		var faults document.Errors
		if !errors.As(err, &faults) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s instead of %s: %v\nwant %s", tt.new, tt.old, err, tt.want)
		}
	}
}

func TestLoadExternal(t *testing.T) {
	for name, want := range map[string]string{
		"nebulla":         `unknown external system "nebulla"`,
		"./no-such.yaml":  "./no-such.yaml: read external system: no such file or directory",
		"testdata/x.yaml": "testdata/x.yaml: read external system: no such file or directory",
	} {
		if _, err := LoadExternal(name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("load %s: %v, want %s", name, err, want)
		}
	}
}

// The schema names every mark and every kind of one that the decoder reads.
func TestExternalSchemaNamesTheMarks(t *testing.T) {
	var s struct {
		Properties struct {
			Marks struct{ Properties map[Moment]any } `json:"marks"`
		}
	}
	if err := json.Unmarshal(ExternalSchema(), &s); err != nil {
		t.Fatal(err)
	}
	if len(s.Properties.Marks.Properties) != len(externalMarks) {
		t.Errorf("the schema has %d marks, the decoder %d", len(s.Properties.Marks.Properties), len(externalMarks))
	}
	for m := range s.Properties.Marks.Properties {
		if !slices.Contains(externalMarks, m) {
			t.Errorf("the decoder reads no mark %q", m)
		}
	}
}

func FuzzParseExternal(f *testing.F) {
	f.Add(sound)
	for _, name := range ExternalNames() {
		_, data, err := document.Read(externalDocuments(), "", "", name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(data))
	}
	f.Fuzz(func(t *testing.T, text string) {
		e, err := ParseExternal("x.yaml", []byte(text))
		var faults document.Errors
		if err != nil && (!errors.As(err, &faults) || len(faults) == 0) {
			t.Fatalf("an error without faults: %v", err)
		}
		if err == nil && (len(e.spec.Commands) == 0 || e.spec.Marks[markSuccess].empty()) {
			t.Fatalf("a document without commands or success is read: %q", text)
		}
	})
}
