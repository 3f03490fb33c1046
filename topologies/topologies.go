// Package topologies reads topologies from YAML and carries the named ones.
//
//	name: two-homes
//	summary: camera and viewer at home, each behind a router
//	sites:                          # a router and the hosts on its LAN
//	  - name: camera
//	    nat: port-restricted-cone   # punchlab list nats
//	    link: broadband             # punchlab list links
//	    behind: carrier             # instead of link: hangs on that site's LAN
//	    wan: [203.0.113.1]          # these three may be left out: the lab has addresses of its own
//	    lan: 192.168.1.0/24
//	    hosts: [{name: camera, addr: 192.168.1.2}]
//	public:                         # hosts that hang on the internet directly
//	  - name: rendezvous
//	    link: lan
//	    addrs: [198.51.100.1, 198.51.100.2]
//
// topology.schema.json is the JSON Schema of these documents. The loader compares them with it, then has lab.Topology resolve
// itself, and reports everything that either finds as Errors with line and column.
package topologies

import (
	"embed"
	"net/netip"
	"slices"

	"github.com/punchlab/punchlab/lab"
	"github.com/punchlab/punchlab/topologies/document"
)

// Error is one fault of a topology's document: where it is, what it is and how it is spelt right.
type Error = document.Error

// Errors is every fault of a document at once. Load and Parse fail with it.
type Errors = document.Errors

//go:embed *.yaml
var files embed.FS

//go:embed topology.schema.json
var schemaText []byte

var schema = document.MustCompile(schemaText)

// Schema returns the JSON Schema of topologies.
func Schema() []byte { return slices.Clone(schemaText) }

// Names lists the named topologies, sorted.
func Names() []string { return document.Names(files) }

// Load reads the topology of a name or from a file and resolves it. The bytes are the document. What contains a slash or ends
// in .yaml or .yml is a file.
func Load(nameOrFile string) (*lab.Topology, []byte, error) {
	file, data, err := document.Read(files, "topologies", "topology", nameOrFile)
	if err != nil {
		return nil, nil, err
	}
	t, err := Parse(file, data)
	return t, data, err
}

// Parse reads and resolves a topology. The file's name is for the errors only.
func Parse(file string, data []byte) (*lab.Topology, error) {
	d, err := document.Parse(file, data)
	if err != nil {
		return nil, err
	}
	d.Check(schema)
	t := decode(d)
	d.Report("", t.Resolve())
	if err := d.Err(); err != nil {
		return nil, err
	}
	return t, nil
}

// decode reads what the schema describes into the lab's types.
func decode(d *document.Document) *lab.Topology {
	root := d.Root()
	t := &lab.Topology{Name: root.Get("name").String(), Summary: root.Get("summary").String()}
	for _, n := range root.Get("sites").Items() {
		s := lab.Site{
			Name: n.Get("name").String(), NAT: n.Get("nat").String(), Behind: n.Get("behind").String(), Link: n.Get("link").String(),
			WAN: addrs(n.Get("wan")), LAN: n.Get("lan").Prefix(),
		}
		for _, h := range n.Get("hosts").Items() {
			s.Hosts = append(s.Hosts, lab.Host{Name: h.Get("name").String(), Addr: h.Get("addr").Addr()})
		}
		t.Sites = append(t.Sites, s)
	}
	for _, n := range root.Get("public").Items() {
		t.Public = append(t.Public, lab.PublicHost{
			Name: n.Get("name").String(), Link: n.Get("link").String(), Addrs: addrs(n.Get("addrs")),
		})
	}
	return t
}

func addrs(n document.Node) []netip.Addr {
	var out []netip.Addr
	for _, item := range n.Items() {
		out = append(out, item.Addr())
	}
	return out
}
