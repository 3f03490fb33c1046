// Package topologies reads topologies from YAML and carries the named ones.
//
//	name: two-homes
//	summary: camera and viewer at home, each behind a router
//	sites:                          # a router and the hosts on its LAN
//	  - name: camera
//	    nat: port-restricted-cone   # punchlab list nats
//	    link: broadband             # punchlab list links
//	    behind: carrier             # instead of link: hangs on that site's LAN
//	    behavior: {quota: 100}      # what differs from the preset
//	    engine: table               # what realises the router; left out: what --engine says
//	    ipv6: firewall              # none, open, firewall, firewall-eif, firewall-adf, nptv6, nat64
//	    ipv4: false                 # no IPv4 on the LAN
//	    portmap: upnp               # port mapping servers in the router
//	    wan: [203.0.113.1]          # addresses may be left out: the lab has its own. wan6, lan6, addr6 likewise
//	    lan: 192.168.1.0/24
//	    hosts:
//	      - {name: camera, addr: 192.168.1.2}
//	      - {name: phone, standby: true}    # a host of another site that can move here
//	public:                         # hosts that hang on the internet directly
//	  - name: rendezvous
//	    link: lan
//	    addrs: [198.51.100.1, 198.51.100.2]
//	links:                          # of one's own, beside the presets: wherever a link is named
//	  my-lte:
//	    source: "measured 2026-11 on …"  # required: a figure without a source is not one
//	    base: lte                   # preset that has the figures that are left out; without one both directions are needed
//	    up: {rate: 9.5mbit, loss: 0.1%, burst: {good-to-bad: 0.01, bad-to-good: 0.3, loss-bad: 50%}}
//	    down: {trace: drive.down, queue: 500kB, aqm: codel}
//
// A trace is a file in mahimahi's format beside the document, or a shipped one by its name (lte-drive-down). It starts with the
// first packet, unless anywhere: true has each trial enter it at a place drawn from the seed. It replaces the base's rate, and a
// rate replaces the base's trace; the base's queue stays, unless the document gives another. The figures are those of
// link.Impairment: delay, jitter, keep-order, rate (500kbit, 13.6mbit, 1gbit, unlimited), trace, anywhere, queue (64kB), aqm, target,
// interval, loss (0.5% or 0.005), burst, reorder, reorder-by, duplicate, corrupt, mtu, mtu-blackhole. A topology's digest covers them
// and every line of a trace. testdata/own-links has an example.
//
// topology.schema.json is the JSON Schema of these documents. The loader compares them with it, then has lab.Topology resolve
// itself, and reports everything that either finds as Errors with line and column.
package topologies

import (
	"embed"
	"net/netip"
	"path/filepath"
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
	folder := "" // what the program carries has no files beside it
	if document.IsFile(nameOrFile) {
		folder = filepath.Dir(file)
	}
	t, err := parse(file, folder, data)
	return t, data, err
}

// Parse reads and resolves a topology. The file's name is for the errors, and the files of traces are looked for beside it.
func Parse(file string, data []byte) (*lab.Topology, error) {
	return parse(file, filepath.Dir(file), data)
}

func parse(file, folder string, data []byte) (*lab.Topology, error) {
	d, err := document.Parse(file, data)
	if err != nil {
		return nil, err
	}
	d.Check(schema)
	t := decode(d, newLinkReader(folder))
	d.Report("", t.Resolve())
	if err := d.Err(); err != nil {
		return nil, err
	}
	return t, nil
}

// decode reads what the schema describes into the lab's types.
func decode(d *document.Document, r *linkReader) *lab.Topology {
	root := d.Root()
	t := &lab.Topology{Name: root.Get("name").String(), Summary: root.Get("summary").String()}
	for _, n := range root.Get("sites").Items() {
		t.Sites = append(t.Sites, site(n))
	}
	for _, n := range root.Get("public").Items() {
		t.Public = append(t.Public, lab.PublicHost{
			Name: n.Get("name").String(), Link: n.Get("link").String(), Addrs: addrs(n.Get("addrs")),
		})
	}
	t.Links = r.links(root.Get("links"))
	return t
}

func site(n document.Node) lab.Site {
	s := lab.Site{
		Name: n.Get("name").String(), NAT: n.Get("nat").String(), Behind: n.Get("behind").String(), Link: n.Get("link").String(),
		Engine: n.Get("engine").String(), IPv6: n.Get("ipv6").String(), NoIPv4: !n.Get("ipv4").Bool(true), PortMap: n.Get("portmap").String(),
		WAN: addrs(n.Get("wan")), LAN: n.Get("lan").Prefix(), WAN6: addrs(n.Get("wan6")), LAN6: n.Get("lan6").Prefix(),
	}
	behavior := n.Get("behavior")
	for _, key := range behavior.Keys() {
		if s.Override == nil {
			s.Override = map[string]string{}
		}
		s.Override[key] = behavior.Get(key).Text()
	}
	for _, h := range n.Get("hosts").Items() {
		s.Hosts = append(s.Hosts, lab.Host{
			Name: h.Get("name").String(), Addr: h.Get("addr").Addr(), Addr6: h.Get("addr6").Addr(), Standby: h.Get("standby").Bool(false),
		})
	}
	return s
}

func addrs(n document.Node) []netip.Addr {
	var out []netip.Addr
	for _, item := range n.Items() {
		out = append(out, item.Addr())
	}
	return out
}
