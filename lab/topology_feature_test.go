package lab_test

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/punchlab/punchlab/lab"
	"github.com/punchlab/punchlab/lab/link"
	"github.com/punchlab/punchlab/lab/nat"
)

// meet is two homes with the given routers, and a public host.
func meet(t *testing.T, a, b lab.Site) *lab.Topology {
	t.Helper()
	a.Name, a.Link, a.Hosts = "a", "lan", []lab.Host{{Name: "camera"}}
	b.Name, b.Link, b.Hosts = "b", "lan", []lab.Host{{Name: "viewer"}}
	topo := &lab.Topology{Name: "x", Sites: []lab.Site{a, b}, Public: []lab.PublicHost{{Name: "p", Link: "lan"}}}
	if err := topo.Resolve(); err != nil {
		t.Fatal(err)
	}
	return topo
}

// The oracle takes the family that leads further, and only one that both hosts have.
func TestTopologyOracleOfFamilies(t *testing.T) {
	v4 := func(preset string) lab.Site { return lab.Site{NAT: preset} }
	dual := func(preset, mode string) lab.Site { return lab.Site{NAT: preset, IPv6: mode} }
	v6 := func(mode string) lab.Site { return lab.Site{NAT: "symmetric", NoIPv4: true, IPv6: mode} }
	for _, c := range []struct {
		a, b   lab.Site
		want   nat.Prospect
		fa, fb []int
	}{
		{v4("symmetric"), v4("symmetric"), nat.RelayOnly, []int{4}, []int{4}},
		{dual("symmetric", "firewall"), dual("symmetric", "firewall"), nat.Direct, []int{4, 6}, []int{4, 6}},
		{dual("symmetric", "firewall"), v4("symmetric"), nat.RelayOnly, []int{4, 6}, []int{4}},
		{dual("udp-blocked", "open"), dual("symmetric", "open"), nat.Direct, []int{4, 6}, []int{4, 6}}, // TCP by IPv6
		{v6("firewall"), v6("nptv6"), nat.Direct, []int{6}, []int{6}},
		{v6("firewall"), v4("full-cone"), nat.RelayOnly, []int{6}, []int{4}},
		{v6("firewall"), v6("nat64"), nat.RelayOnly, []int{6}, []int{4}},
		{v6("nat64"), v4("full-cone"), nat.Direct, []int{4}, []int{4}},
		{v6("nat64"), v6("nat64"), nat.RelayOnly, []int{4}, []int{4}}, // both symmetric
	} {
		topo := meet(t, c.a, c.b)
		if got := topo.Oracle("camera", "viewer"); got != c.want {
			t.Errorf("%+v and %+v: %v, want %v", c.a, c.b, got, c.want)
		}
		if fa, fb := topo.Families("camera"), topo.Families("viewer"); !slices.Equal(fa, c.fa) || !slices.Equal(fb, c.fb) {
			t.Errorf("families %v and %v, want %v and %v", fa, fb, c.fa, c.fb)
		}
	}
}

// Routers as each family meets them, innermost first.
func TestTopologyNATsOfFamilies(t *testing.T) {
	topo := carrierAndHome()
	topo.Sites[0].IPv6, topo.Sites[1].IPv6 = "nptv6", "firewall-adf"
	if err := topo.Resolve(); err != nil {
		t.Fatal(err)
	}
	want := []nat.Behavior{
		{
			Mapping: nat.EndpointIndependent, Filtering: nat.AddressAndPortDependent, PortAssignment: nat.PortPreservation,
			Hairpinning: nat.HairpinExternalSource,
		},
		{Kind: nat.NoNAT, Filtering: nat.AddressDependent},
	}
	if diff := cmp.Diff(want, topo.NATs6("camera")); diff != "" {
		t.Error(diff)
	}
	for _, b := range topo.NATs6("camera") {
		if err := b.Validate(); err != nil {
			t.Error(err)
		}
	}
	if got := topo.NATs6("viewer"); got != nil {
		t.Errorf("a host without IPv6 meets %v", got)
	}
	// Behind a carrier's NAT64 a home without IPv4 is met as IPv6 does, then as IPv4 does.
	topo = carrierAndHome()
	topo.Sites[0] = lab.Site{Name: "home", Behind: "carrier", NoIPv4: true, IPv6: "firewall", Hosts: []lab.Host{{Name: "camera"}}}
	topo.Sites[1].NoIPv4, topo.Sites[1].IPv6 = true, "nat64"
	if err := topo.Resolve(); err != nil {
		t.Fatal(err)
	}
	got := topo.NATs("camera")
	if len(got) != 2 || got[0].Kind != nat.NoNAT || got[0].Filtering != nat.AddressAndPortDependent || got[1].Mapping != nat.AddressAndPortDependent {
		t.Errorf("the way to IPv4 is %v", got)
	}
	if addrs := topo.AddrsFrom("camera", "rendezvous"); !slices.Equal(addrs, []netip.Addr{
		netip.MustParseAddr("64:ff9b::198.51.100.1"), netip.MustParseAddr("64:ff9b::198.51.100.2"),
	}) {
		t.Errorf("the camera calls the rendezvous %v", addrs)
	}
	if addrs := topo.AddrsFrom("viewer", "rendezvous"); !slices.Equal(addrs, topo.HostAddr("rendezvous")[:2]) {
		t.Errorf("the viewer calls the rendezvous %v", addrs)
	}
}

func TestTopologyOverrides(t *testing.T) {
	values := map[string]string{"port-min": "1000", "port-max": "2000", "tcp-ports": "443, 80", "quota": "7", "alg": "true", "udp-timeout": "35s",
		"hairpinning": "internal-source", "unsolicited": "rst-after-6s"}
	topo := meet(t, lab.Site{NAT: "full-cone", Override: values, Engine: "table"}, lab.Site{NAT: "open"})
	want, _ := nat.Lookup("full-cone")
	want.PortMin, want.PortMax, want.TCPPorts, want.Quota, want.ALG = 1000, 2000, []uint16{443, 80}, 7, true
	want.UDPTimeout, want.Hairpinning, want.Unsolicited = 35*time.Second, nat.HairpinInternalSource, nat.RSTAfter6s
	if diff := cmp.Diff(want, topo.Site("a").Behavior); diff != "" {
		t.Error(diff)
	}
	before := topo.Digest()
	if err := topo.Set("a.nat", "restricted-cone"); err != nil {
		t.Fatal(err)
	}
	if b := topo.Site("a").Behavior; b.Filtering != nat.AddressDependent || b.Quota != 7 {
		t.Errorf("another preset with the overrides gives %+v", b)
	}
	if topo.Digest() == before {
		t.Error("the digest does not see another preset")
	}
	for _, key := range lab.OverrideKeys() {
		words, what := lab.OverrideWords(key)
		if (len(words) == 0) == (what == "") {
			t.Errorf("%s takes the words %v or %q", key, words, what)
		}
		c := topo.Clone()
		c.Site("a").Override = map[string]string{key: "rubbish"}
		if err := c.Resolve(); err == nil || !strings.HasPrefix(err.Error(), "sites[0].behavior."+key+": ") {
			t.Errorf("%s: rubbish gives %v", key, err)
		}
	}
	c := topo.Clone()
	c.Site("a").Override["quota"] = "8"
	if topo.Site("a").Override["quota"] != "7" {
		t.Error("a change of the clone changed the original")
	}
}

func TestTopologyCheckEngines(t *testing.T) {
	topo := meet(t, lab.Site{NAT: "full-cone", Override: map[string]string{"quota": "7"}}, lab.Site{NAT: "linux", Engine: "netfilter"})
	for run, want := range map[string]string{
		"":          `sites[0].engine: site "a": netfilter can't do it exactly: a quota of mappings per host; engine table can`,
		"netfilter": `sites[0].engine: site "a": netfilter can't do it exactly: a quota of mappings per host; engine table can`,
		"table":     "",
		"kernel":    `engine: unknown engine "kernel": it is none of netfilter, table, sim`,
		"sim":       `sites[1].engine: site "b": engine sim has no kernel: leave out the site's engine netfilter, or run on engine netfilter`,
	} {
		if got := fmt.Sprint(errors.Join(topo.CheckEngines(run))); got != want && (want != "" || got != "<nil>") {
			t.Errorf("engine %q: %s, want %s", run, got, want)
		}
	}
}

// What the schema of scenarios lets through is checked here too.
func TestEventValidate(t *testing.T) {
	topo := carrierAndHome()
	topo.Sites[2].Hosts = append(topo.Sites[2].Hosts, lab.Host{Name: "camera", Standby: true})
	if err := topo.Resolve(); err != nil {
		t.Fatal(err)
	}
	for want, e := range map[string]lab.Event{
		"":                            {Do: "move", Host: "camera", To: "viewer", On: "connected", At: time.Hour},
		"at: -1s is impossible":       {Do: "kill", Host: "camera", At: -time.Second},
		"for: 2h0m0s is":              {Do: "kill", Host: "camera", For: 2 * time.Hour},
		"between[0]: missing":         {Do: "blackhole", Between: [2]string{"", "viewer"}},
		"between[1]: the same":        {Do: "blackhole", Between: [2]string{"viewer", "viewer"}},
		"between[1]: site \"home\"":   {Do: "blackhole", Between: [2]string{"viewer", "home"}},
		"between: missing":            {Do: "blackhole"},
		"mtu: 67 is impossible":       {Do: "mtu-blackhole", Site: "viewer", MTU: 67},
		"mtu: 1500 is":                {Do: "mtu-blackhole", Host: "rendezvous", MTU: 1500},
		"site: site \"home\" is":      {Do: "uplink-down", Site: "home"},
		"to: host \"phone\" is on":    {Do: "move", Host: "phone", To: "viewer"},
		"to: missing":                 {Do: "move", Host: "camera"},
		"do: missing":                 {Site: "home"},
		"on: unknown moment \"soon\"": {Do: "reboot", Site: "home", On: "soon"},
		"mtu: reboot has no mtu":      {Do: "reboot", Site: "home", MTU: 1},
		"nat: from \"full-cone\"":     {Do: "nat", Site: "home", NAT: "firewall"},
	} {
		err := e.Validate(topo)
		if (err == nil) != (want == "") || err != nil && !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v: %v, want %q", e, err, want)
		}
	}
	if err := (lab.Event{Do: "move", Host: "camera", To: "home"}).Validate(topo); err != nil {
		t.Errorf("a move back: %v", err)
	}
}

// A router can't become what its engine can't do.
func TestEventCheckEngine(t *testing.T) {
	topo := meet(t, lab.Site{NAT: "full-cone"}, lab.Site{NAT: "full-cone", Engine: "netfilter"})
	const refused = `nat: site "b" can't become "alg": netfilter can't do it exactly: `
	if err := (lab.Event{Do: "nat", Site: "b", NAT: "alg"}).Validate(topo); err == nil || !strings.HasPrefix(err.Error(), refused) {
		t.Errorf("%v, want %s", err, refused)
	}
	e := lab.Event{Do: "nat", Site: "a", NAT: "alg"}
	if err := e.Validate(topo); err != nil {
		t.Errorf("of a site without an engine: %v", err)
	}
	if e.CheckEngine(topo, "") == nil || e.CheckEngine(topo, "netfilter") == nil || e.CheckEngine(topo, "table") != nil {
		t.Errorf("on netfilter: %v, on table: %v", e.CheckEngine(topo, ""), e.CheckEngine(topo, "table"))
	}
	if err := (lab.Event{Do: "reboot", Site: "a"}).CheckEngine(topo, ""); err != nil {
		t.Errorf("of a reboot: %v", err)
	}
}

// A router's other addresses are free, of the plan, and always the same.
func TestTopologyFreeWAN(t *testing.T) {
	topo := resolved(t)
	for site, want := range map[string]string{
		"viewer": "[203.0.113.34 203.0.113.35]", "home": "[100.65.255.254 100.65.255.253]", "nowhere": "[]",
	} {
		if got := fmt.Sprint(topo.FreeWAN(site, 2)); got != want {
			t.Errorf("%s: %s, want %s", site, got, want)
		}
	}
	if n := len(topo.FreeWAN("viewer", 100)); n != 14 {
		t.Errorf("%d addresses are left of 15, one of which is in use", n)
	}
	b, err := topo.SwitchNAT("home", "symmetric")
	if want, _ := nat.Lookup("symmetric"); err != nil || !cmp.Equal(b, want) {
		t.Errorf("a switch to symmetric gives %v, %v", b, err)
	}
	if _, err := topo.SwitchNAT("home", "symetric"); err == nil {
		t.Error("a switch to an unknown preset succeeds")
	}
}

// The digest does not hash a trace's numbers one by one, but sees each.
func TestTopologyDigestOfTraces(t *testing.T) {
	topo := resolved(t)
	digest := func(times ...uint32) string {
		topo.Sites[1].Profile.Up.Trace = &link.Trace{Name: "mine", Times: times}
		return topo.Digest()
	}
	if a, b := digest(1, 2, 3), digest(1, 2, 4); a == b {
		t.Error("another trace, but the same digest")
	} else if digest(1, 2, 3) != a {
		t.Error("the same trace, but another digest")
	}
	topo.Sites[1].Profile.Up.Rate = 0
	if got, want := topo.Path("camera", "viewer").Rate, topo.Sites[1].Profile.Up.Trace.Rate(); got != want {
		t.Errorf("the slowest rate is %d, want the trace's mean of %d", got, want)
	}
}

func TestTopologyRows(t *testing.T) {
	want := []lab.Row{
		{Host: "camera", Site: "home", Routers: []string{"home", "carrier"}, NATs: []string{"full-cone", "symmetric"}, Link: "lte"},
		{Host: "nas", Site: "home", Routers: []string{"home", "carrier"}, NATs: []string{"full-cone", "symmetric"}, Link: "lte"},
		{Host: "phone", Site: "carrier", Routers: []string{"carrier"}, NATs: []string{"symmetric"}, Link: "lte"},
		{Host: "viewer", Site: "viewer", Routers: []string{"viewer"}, NATs: []string{"port-restricted-cone"}, Link: "broadband"},
		{Host: "rendezvous", Link: "lan"},
	}
	topo := resolved(t)
	got := topo.Rows()
	for i := range got {
		if !slices.Equal(got[i].Addrs, topo.HostAddr(got[i].Host)) {
			t.Errorf("%s has %v", got[i].Host, got[i].Addrs)
		}
		got[i].Addrs = nil
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// The picture is well-formed, shows every name and address, and no box lies on another or sticks out.
func TestTopologyDrawSVG(t *testing.T) {
	topo := carrierAndHome()
	topo.Summary = `<"&>`
	topo.Sites[0].IPv6, topo.Sites[1].IPv6, topo.Sites[0].PortMap = "nptv6", "firewall", "upnp"
	topo.Sites[2].Hosts = append(topo.Sites[2].Hosts, lab.Host{Name: "phone", Standby: true})
	if err := topo.Resolve(); err != nil {
		t.Fatal(err)
	}
	picture := topo.DrawSVG()
	if picture != topo.Clone().DrawSVG() {
		t.Error("the same topology is drawn in another way")
	}
	var texts []string
	var boxes [][4]int
	var canvas [4]int
	for d := xml.NewDecoder(strings.NewReader(picture)); ; {
		token, err := d.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		switch token := token.(type) {
		case xml.CharData:
			texts = append(texts, strings.TrimSpace(string(token)))
		case xml.StartElement:
			if token.Name.Local == "svg" {
				canvas = box(token)
			} else if token.Name.Local == "rect" && box(token)[2] > 0 {
				boxes = append(boxes, box(token))
			}
		}
	}
	for _, want := range []string{`<"&>`, "home", "camera", "100.65.0.3", "2001:db8:101::3", "192.168.1.2", "fd00:db8::2", "on standby", "port mapping: upnp"} {
		if !slices.Contains(texts, want) {
			t.Errorf("%q is missing among %q", want, texts)
		}
	}
	if want := 1 + 3 + 3 + 1 + 5; len(boxes) != want { // internet, links, routers, public host, hosts
		t.Errorf("%d boxes, want %d", len(boxes), want)
	}
	for i, a := range boxes {
		if a[0] < 0 || a[1] < 0 || a[0]+a[2] > canvas[2] || a[1]+a[3] > canvas[3] {
			t.Errorf("box %v sticks out of %v", a, canvas)
		}
		for _, b := range boxes[:i] {
			if a[0] < b[0]+b[2] && b[0] < a[0]+a[2] && a[1] < b[1]+b[3] && b[1] < a[1]+a[3] {
				t.Errorf("boxes %v and %v lie on each other", a, b)
			}
		}
	}
}

// box is x, y, width and height of an element.
func box(e xml.StartElement) (b [4]int) {
	for _, a := range e.Attr {
		if i := slices.Index([]string{"x", "y", "width", "height"}, a.Name.Local); i >= 0 {
			b[i], _ = strconv.Atoi(a.Value)
		}
	}
	return b
}
