package topologies_test

import (
	"cmp"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	gocmp "github.com/google/go-cmp/cmp"

	"github.com/punchlab/punchlab/lab"
	"github.com/punchlab/punchlab/lab/link"
	"github.com/punchlab/punchlab/lab/nat"
	"github.com/punchlab/punchlab/topologies"
)

// TestDocuments parses documents, or loads shipped ones and sets keys, and compares the drawing or the errors.
// Rewrite what is expected with -rewrite.
func TestDocuments(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		if strings.Contains(path, "fuzz") || strings.Contains(path, "own-links") {
			return
		}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			switch d.Cmd {
			case "parse":
				topo, err := topologies.Parse("x.yaml", []byte(d.Input))
				return outcome(topo, err)
			case "load":
				topo, _, err := topologies.Load(d.CmdArgs[0].Key)
				if err != nil {
					return outcome(nil, err)
				}
				params := map[string]string{}
				for _, arg := range d.CmdArgs[1:] {
					params[arg.Key] = arg.Vals[0]
				}
				return outcome(topo, topo.Configure(params))
			}
			t.Fatalf("unknown command %q", d.Cmd)
			return ""
		})
	})
}

func outcome(t *lab.Topology, err error) string {
	if err != nil {
		return presets.ReplaceAllString(err.Error(), "${1}") + "\n"
	}
	drawing := figures.ReplaceAllString(t.Draw(), ": …")
	return strings.ReplaceAll(drawing, "\n\n", "\n") // datadriven ends an answer at an empty line
}

// presets are lists of them, which other packages lengthen.
var presets = regexp.MustCompile(`(unknown preset "[^"]*"): it is none of .*`)

// figures are those of the link presets, which are lab/link's to choose.
var figures = regexp.MustCompile(`: up .*, down .*`)

func TestShippedFilesAreNamedAfterThemselves(t *testing.T) {
	if want := []string{
		"attackers", "cgn", "cloud", "corporate", "double-nat", "dual-stack", "fleet", "handover", "hotel", "ipv6-only", "lossy", "many-cameras", "mobile", "same-cgn",
		"same-lan", "same-lan-no-hairpin", "three-rendezvous", "two-homes",
	}; !slices.Equal(topologies.Names(), want) {
		t.Errorf("topologies %v, want %v", topologies.Names(), want)
	}
	for _, name := range topologies.Names() {
		topo, text, err := topologies.Load(name)
		if err != nil {
			t.Fatal(err)
		}
		if topo.Name != name || topo.Summary == "" || len(text) == 0 {
			t.Errorf("topology %s calls itself %q, summary %q", name, topo.Name, topo.Summary)
		}
	}
}

// A file on disk is read like a shipped one, and its name is in the errors.
func TestLoadFile(t *testing.T) {
	_, text, err := topologies.Load("two-homes")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "mine.yaml")
	if err := os.WriteFile(file, []byte(strings.Replace(string(text), "camera\n    nat: port-restricted-cone", "camera\n    nat: open", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	topo, _, err := topologies.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	if got := topo.Site("camera").NAT; got != "open" {
		t.Errorf("camera.nat is %q, want that of the file", got)
	}
	if err := os.WriteFile(file, []byte("name: mine\nsites: []\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, _, err = topologies.Load(file)
	var es topologies.Errors
	if !errors.As(err, &es) {
		t.Fatalf("error %v, want topologies.Errors", err)
	}
	want := topologies.Errors{{File: file, Line: 2, Column: 8, Path: "sites", Msg: "0 entries are too few: 1 at least"}}
	if diff := gocmp.Diff(want, es); diff != "" {
		t.Error(diff)
	}
}

// Hosts of the shipped topologies are those that the bundled stack runs in.
func TestShippedRoles(t *testing.T) {
	for _, name := range topologies.Names() {
		topo, _, err := topologies.Load(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, role := range []string{"camera", "rendezvous", "viewer"} {
			if !slices.Contains(topo.Hosts(), role) {
				t.Errorf("%s has hosts %v, want a %s", name, topo.Hosts(), role)
			}
		}
		if n := len(topo.HostAddr("rendezvous")); n != 2 && n != 4 {
			t.Errorf("%s: rendezvous has %d addresses, want the 2 that RFC 5780 needs", name, n)
		}
	}
}

// Every shipped topology runs on either engine.
func TestShippedEngines(t *testing.T) {
	for _, name := range topologies.Names() {
		topo, _, err := topologies.Load(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, engine := range lab.Engines() {
			if err := topo.CheckEngines(engine); err != nil {
				t.Errorf("%s on %s: %v", name, engine, err)
			}
		}
	}
}

// spelt are fields that documents spell another way.
var spelt = map[string]string{
	"noipv4": "ipv4", "override": "behavior", "keeporder": "keep-order", "reorderby": "reorder-by", "queuebytes": "queue",
	"mtublackhole": "mtu-blackhole", "goodtobad": "good-to-bad", "badtogood": "bad-to-good", "lossgood": "loss-good", "lossbad": "loss-bad",
}

// The published schema, the presets and the Go types say the same.
func TestSchemaAgrees(t *testing.T) {
	type object struct {
		Properties map[string]json.RawMessage `json:"properties"`
		Required   []string                   `json:"required"`
		Enum       []string                   `json:"enum"`
		Examples   []string                   `json:"examples"`
		MaxItems   int                        `json:"maxItems"`
	}
	var s struct {
		object
		Defs map[string]object `json:"$defs"`
	}
	if err := json.Unmarshal(topologies.Schema(), &s); err != nil {
		t.Fatal(err)
	}
	burst := object{}
	if err := json.Unmarshal(s.Defs["direction"].Properties["burst"], &burst); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		schema  object
		of      any
		derived []string // set by Resolve, not by a document
		more    []string // keys of documents that are no fields
	}{
		{s.object, lab.Topology{}, nil, nil},
		{s.Defs["site"], lab.Site{}, []string{"behavior", "profile", "net6", "inside6"}, nil},
		{s.Defs["host"], lab.Host{}, nil, nil},
		{s.Defs["public"], lab.PublicHost{}, []string{"profile"}, nil},
		{s.Defs["ownlink"], link.Profile{}, []string{"name"}, []string{"base"}},
		{s.Defs["direction"], link.Impairment{}, []string{"down"}, []string{"anywhere"}},
		{burst, link.GilbertElliott{}, nil, nil},
	} {
		fields, keys := c.more, []string(nil)
		for _, f := range reflect.VisibleFields(reflect.TypeOf(c.of)) {
			if name := strings.ToLower(f.Name); f.IsExported() && !slices.Contains(c.derived, name) {
				fields = append(fields, cmp.Or(spelt[name], name))
			}
		}
		for key := range c.schema.Properties {
			keys = append(keys, key)
		}
		slices.Sort(fields)
		slices.Sort(keys)
		if diff := gocmp.Diff(fields, keys); diff != "" {
			t.Errorf("%T and the schema's keys differ (-Go +schema):\n%s", c.of, diff)
		}
	}
	for _, name := range s.Defs["nat"].Enum {
		if _, ok := nat.Lookup(name); !ok {
			t.Errorf("the schema lists NAT preset %q, which does not exist", name)
		}
	}
	for _, p := range nat.Presets() {
		if !slices.Contains(s.Defs["nat"].Enum, p.Name) {
			t.Errorf("NAT preset %q is missing in topology.schema.json: add it to $defs.nat.enum", p.Name)
		}
	}
	var links []string
	for _, p := range link.Presets() {
		links = append(links, p.Name)
	}
	for def, want := range map[string][]string{"engine": lab.RouterEngines(), "ipv6mode": lab.IPv6Modes(), "portmap": lab.PortMaps()} {
		if diff := gocmp.Diff(want, s.Defs[def].Enum); diff != "" {
			t.Errorf("the lab's and $defs.%s.enum of topology.schema.json differ (-Go +schema):\n%s", def, diff)
		}
	}
	if diff := gocmp.Diff(links, s.Defs["link"].Examples); diff != "" {
		t.Errorf("the presets and $defs.link.examples of topology.schema.json differ (-Go +schema):\n%s", diff)
	}
	var limits struct {
		Links struct{ MaxProperties int }    `json:"links"`
		MTU   struct{ Minimum, Maximum int } `json:"mtu"`
		AQM   struct{ Enum []string }        `json:"aqm"`
	}
	for _, properties := range []any{s.Properties, s.Defs["direction"].Properties} {
		if b, err := json.Marshal(properties); err != nil || json.Unmarshal(b, &limits) != nil {
			t.Fatal(err)
		}
	}
	if limits.Links.MaxProperties != lab.MaxLinks || limits.MTU.Minimum != link.MinMTU || limits.MTU.Maximum != link.MaxMTU ||
		!slices.Equal(limits.AQM.Enum, []string{link.DropTail.String(), link.CoDel.String()}) {
		t.Errorf("the schema's limits of links are %+v", limits)
	}
	for _, key := range lab.OverrideKeys() {
		var in struct{ Enum []string }
		if err := json.Unmarshal(s.Defs["behavior"].Properties[key], &in); err != nil {
			t.Errorf("behavior %s is missing in topology.schema.json", key)
		}
		if words, _ := lab.OverrideWords(key); !slices.Equal(words, in.Enum) {
			t.Errorf("behavior %s takes %v, topology.schema.json says %v", key, words, in.Enum)
		}
	}
	if got, want := len(s.Defs["behavior"].Properties), len(lab.OverrideKeys()); got != want {
		t.Errorf("the schema has %d behaviors, the lab %d", got, want)
	}
	if got := s.Defs["addrs"].MaxItems; got != lab.MaxAddrs {
		t.Errorf("the schema allows %d addresses, the lab %d", got, lab.MaxAddrs)
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

// FuzzParse: any bytes give a sound topology or errors with places, soon.
func FuzzParse(f *testing.F) {
	for _, name := range topologies.Names() {
		_, text, err := topologies.Load(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	text, err := os.ReadFile("testdata/own-links/own-links.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(strings.ReplaceAll(string(text), "drive.down", "lte-drive-down")))
	f.Fuzz(func(t *testing.T, data []byte) {
		start := cpu()
		topo, err := topologies.Parse("nowhere/x.yaml", data) // no file is beside it
		if took := cpu() - start; took > 5*time.Second {
			t.Errorf("took %v", took)
		}
		if err != nil {
			checkErrors(t, data, err)
			return
		}
		digest := topo.Digest()
		if err := topo.Resolve(); err != nil || topo.Digest() != digest {
			t.Errorf("a resolved topology does not resolve to itself: %v", err)
		}
		for _, host := range topo.Hosts() {
			if len(topo.HostAddr(host)) == 0 {
				t.Errorf("host %s has no address", host)
			}
		}
		if topo.Draw() == "" || !strings.HasSuffix(topo.DrawSVG(), "</svg>\n") || len(topo.Rows()) != len(topo.Hosts()) {
			t.Error("nothing is drawn")
		}
	})
}

func checkErrors(t *testing.T, data []byte, err error) {
	t.Helper()
	var es topologies.Errors
	if !errors.As(err, &es) || len(es) == 0 {
		t.Fatalf("error %T %v, want topologies.Errors", err, err)
	}
	lines := strings.Count(string(data), "\n") + strings.Count(string(data), "\r") + 1
	for _, e := range es {
		if e.Msg == "" || e.Line < 0 || e.Line > lines || (e.Line > 0 && e.Column < 1) {
			t.Errorf("fault without a place in %d lines: %#v", lines, e)
		}
		if strings.ContainsAny(e.Error(), "\n\x00\x1b") {
			t.Errorf("fault is not one line of plain text: %q", e.Error())
		}
	}
}
