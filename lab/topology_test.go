package lab_test

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/punchlab/punchlab/lab"
	"github.com/punchlab/punchlab/lab/link"
	"github.com/punchlab/punchlab/lab/nat"
)

// carrierAndHome is a camera behind two routers, a viewer behind one, and a public rendezvous.
func carrierAndHome() *lab.Topology {
	return &lab.Topology{
		Name: "x",
		Sites: []lab.Site{
			{Name: "home", NAT: "full-cone", Behind: "carrier", Hosts: []lab.Host{{Name: "camera"}, {Name: "nas"}}},
			{Name: "carrier", NAT: "symmetric", Link: "lte", Hosts: []lab.Host{{Name: "phone"}}},
			{Name: "viewer", NAT: "port-restricted-cone", Link: "broadband", Hosts: []lab.Host{{Name: "viewer"}}},
		},
		Public: []lab.PublicHost{{Name: "rendezvous", Link: "lan"}},
	}
}

func resolved(t testing.TB) *lab.Topology {
	t.Helper()
	topo := carrierAndHome()
	if err := topo.Resolve(); err != nil {
		t.Fatal(err)
	}
	return topo
}

func addr(t testing.TB, topo *lab.Topology, host string) string {
	t.Helper()
	a := topo.HostAddr(host)
	if len(a) == 0 {
		t.Fatalf("%s has no address", host)
	}
	return a[0].String()
}

func TestTopologyAddresses(t *testing.T) {
	topo := resolved(t)
	var got []string
	for _, s := range topo.Sites {
		got = append(got, fmt.Sprintf("%s wan %v lan %v gateway %v", s.Name, s.WAN, s.LAN, s.Gateway()))
	}
	for _, h := range topo.Hosts() {
		got = append(got, fmt.Sprintf("%s %v", h, topo.HostAddr(h)))
	}
	want := []string{
		"home wan [100.65.0.3] lan 192.168.1.0/24 gateway 192.168.1.1",
		"carrier wan [203.0.113.1] lan 100.65.0.0/16 gateway 100.65.0.1",
		"viewer wan [203.0.113.33] lan 192.168.3.0/24 gateway 192.168.3.1",
		"camera [192.168.1.2]", "nas [192.168.1.3]", "phone [100.65.0.2]", "viewer [192.168.3.2]",
		"rendezvous [198.51.100.1 198.51.100.2]",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestTopologyPath(t *testing.T) {
	topo := resolved(t)
	lte, _ := link.Lookup("lte")
	broadband, _ := link.Lookup("broadband")
	lan, _ := link.Lookup("lan")
	for _, c := range []struct {
		from, to string
		want     lab.Path
	}{
		{"camera", "viewer", lab.Path{Delay: lte.Up.Delay + broadband.Down.Delay, Rate: min(lte.Up.Rate, broadband.Down.Rate), MTU: 1500}},
		{"viewer", "camera", lab.Path{Delay: broadband.Up.Delay + lte.Down.Delay, Rate: min(broadband.Up.Rate, lte.Down.Rate), MTU: 1500}},
		{"viewer", "rendezvous", lab.Path{Delay: broadband.Up.Delay + lan.Down.Delay, Rate: broadband.Up.Rate, MTU: 1500}},
		{"camera", "nas", lab.Path{MTU: 1500}},
		{"phone", "camera", lab.Path{MTU: 1500}}, // within the carrier's network
		{"camera", "nobody", lab.Path{}},
	} {
		if got := topo.Path(c.from, c.to); got != c.want {
			t.Errorf("%s to %s: %+v, want %+v", c.from, c.to, got, c.want)
		}
	}
	// Zero means unlimited, and never counts as the slowest; the smaller MTU counts.
	topo.Sites[1].Profile = link.Profile{Name: "mine", Up: link.Impairment{Delay: 5 * time.Millisecond, MTU: 1280}}
	want := lab.Path{Delay: 5*time.Millisecond + broadband.Down.Delay, Rate: broadband.Down.Rate, MTU: 1280}
	if got := topo.Path("camera", "viewer"); got != want {
		t.Errorf("over an unlimited link: %+v, want %+v", got, want)
	}
	topo.Sites[2].Profile.Down.MTU = 576
	if got := topo.Path("camera", "viewer").MTU; got != 576 {
		t.Errorf("MTU %d, want the receiver's 576", got)
	}
}

func TestTopologyNATsAreInnermostFirst(t *testing.T) {
	topo := resolved(t)
	full, _ := nat.Lookup("full-cone")
	symmetric, _ := nat.Lookup("symmetric")
	for host, want := range map[string][]nat.Behavior{
		"camera": {full, symmetric}, "phone": {symmetric}, "rendezvous": nil, "nobody": nil,
	} {
		if diff := cmp.Diff(want, topo.NATs(host)); diff != "" {
			t.Errorf("%s:\n%s", host, diff)
		}
	}
}

func TestTopologySet(t *testing.T) {
	topo := resolved(t)
	want := []string{
		"home.nat", "home.engine", "home.ipv6", "home.portmap",
		"carrier.nat", "carrier.link", "carrier.engine", "carrier.ipv6", "carrier.portmap",
		"viewer.nat", "viewer.link", "viewer.engine", "viewer.ipv6", "viewer.portmap",
		"rendezvous.link", "link",
	}
	if diff := cmp.Diff(want, topo.Keys()); diff != "" {
		t.Fatal(diff)
	}
	digests := map[string]string{topo.Digest(): "nothing"}
	for _, key := range topo.Keys() {
		_, field, _ := strings.Cut("."+key, ".")
		field = field[strings.LastIndexByte(field, '.')+1:]
		value := map[string]string{"nat": "linux", "link": "perfect", "engine": "table", "ipv6": "firewall", "portmap": "upnp"}[field]
		c := topo.Clone()
		if key == "home.ipv6" { // its carrier has none
			if err := c.Set(key, value); err == nil || !strings.Contains(err.Error(), `sites[0].ipv6: the LAN of "carrier" has no IPv6`) {
				t.Errorf("set %s: %v", key, err)
			}
			continue
		}
		if err := c.Set(key, value); err != nil {
			t.Errorf("set %s: %v", key, err)
		}
		if other, ok := digests[c.Digest()]; ok {
			t.Errorf("setting %s gives the digest of %s", key, other)
		}
		digests[c.Digest()] = key
	}
	before := topo.Digest()
	var links []string
	for _, p := range link.Presets() {
		links = append(links, p.Name)
	}
	for key, msg := range map[string]string{
		"viewer.ipv6=firewal":  `viewer.ipv6: unknown IPv6 mode "firewal" (did you mean "firewall"?)`,
		"viewer.engine=kernel": `viewer.engine: unknown engine "kernel": it is none of netfilter, table`,
		"viewer.portmap=upn":   `viewer.portmap: unknown preset "upn" (did you mean "upnp"?)`,
		"phone.ipv6=open":      `unknown key "phone.ipv6" (did you mean "carrier.ipv6"?)`, // the site of that host
		"viewer.nat=ful-cone":  `viewer.nat: unknown preset "ful-cone" (did you mean "full-cone"?)`,
		"viewer.link=sattelit": `viewer.link: unknown preset "sattelit" (did you mean "satellite"?)`,
		"link=zzzzz":           `link: unknown preset "zzzzz": it is none of ` + strings.Join(links, ", "),
		"home.link=lan":        `home.link: site "home" is behind another and has no link of its own (did you mean "carrier.link"?)`,
		"hme.nat=open":         `unknown key "hme.nat" (did you mean "home.nat"?)`,
		"camera.nat=open":      `unknown key "camera.nat" (did you mean "home.nat"?)`, // the site of that host
		"nas.link=lan":         `unknown key "nas.link" (did you mean "carrier.link"?)`,
		"=":                    `unknown key "": it is none of ` + strings.Join(want, ", "),
	} {
		k, v, _ := strings.Cut(key, "=")
		err := topo.Set(k, v)
		if err == nil || err.Error() != msg {
			t.Errorf("set %s: %v, want %s", key, err, msg)
		}
		var p *lab.Problem
		if !errors.As(err, &p) {
			t.Errorf("set %s: %T, want *lab.Problem", key, err)
		}
	}
	if topo.Digest() != before {
		t.Error("a refused change changed the topology")
	}
}

// A site that stops translating gets public addresses, and its old ones back when it starts again; others keep theirs.
func TestTopologySetMovesAddresses(t *testing.T) {
	topo := resolved(t)
	before, viewer := topo.Digest(), addr(t, topo, "viewer")
	for _, step := range []struct{ key, value, host, want string }{
		{"viewer.nat", "open", "viewer", "203.0.113.50"},
		{"home.nat", "firewall", "camera", "100.65.1.2"},
		{"carrier.nat", "open", "camera", "198.18.1.130"},
		{"carrier.nat", "symmetric", "camera", "100.65.1.2"},
		{"home.nat", "full-cone", "camera", "192.168.1.2"},
		{"viewer.nat", "port-restricted-cone", "viewer", viewer},
	} {
		if err := topo.Set(step.key, step.value); err != nil {
			t.Fatal(err)
		}
		if got := addr(t, topo, step.host); got != step.want {
			t.Errorf("after %s=%s %s has %s, want %s", step.key, step.value, step.host, got, step.want)
		}
		if subnets := topo.Subnets("carrier"); topo.Site("home").Public() != (len(subnets) == 1) {
			t.Errorf("after %s=%s the carrier's subnets are %v", step.key, step.value, subnets)
		}
	}
	if topo.Digest() != before {
		t.Error("there and back again is another topology")
	}
}

// An address that the document gives stays, and automatic ones keep clear of it.
func TestTopologyGivenAddresses(t *testing.T) {
	topo := carrierAndHome()
	topo.Sites[0].Hosts[1].Addr = netip.MustParseAddr("192.168.1.2")
	topo.Sites[2].WAN = []netip.Addr{netip.MustParseAddr("203.0.113.1"), netip.MustParseAddr("198.51.100.1")}
	if err := topo.Resolve(); err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string]string{"camera": "192.168.1.3", "nas": "192.168.1.2", "rendezvous": "198.51.100.2"} {
		if got := addr(t, topo, host); got != want {
			t.Errorf("%s has %s, want %s", host, got, want)
		}
	}
	if got := topo.Site("carrier").WAN[0].String(); got != "203.0.113.2" {
		t.Errorf("carrier has %s, want 203.0.113.2", got)
	}
	topo.Sites[1].LAN = netip.MustParsePrefix("192.168.0.0/23") // the automatic LAN behind it was 192.168.1.0/24
	topo.Sites[0].Hosts[1].Addr = netip.Addr{}
	if err := topo.Resolve(); err != nil {
		t.Fatal(err)
	}
	if got := topo.Site("home").LAN.String(); got != "192.168.2.0/24" {
		t.Errorf("home has LAN %s, want the next free one, 192.168.2.0/24", got)
	}
	// A LAN that the document gives can't serve a site without a NAT: that is said, not repaired.
	topo.Sites[2].LAN = netip.MustParsePrefix("192.168.9.0/24")
	topo.Sites[2].Hosts[0].Addr = netip.Addr{}
	err := topo.Set("viewer.nat", "open")
	var ps lab.Problems
	if !errors.As(err, &ps) || len(ps) != 1 || ps[0].Path != "sites[2].lan" {
		t.Errorf("a private LAN without a NAT: %v", err)
	}
}

func TestTopologyHasRoomForSixteenSites(t *testing.T) {
	topo := &lab.Topology{Name: "x"}
	for i := range 16 {
		topo.Sites = append(topo.Sites, lab.Site{Name: fmt.Sprintf("s%d", i), NAT: []string{"open", "full-cone"}[i%2], Link: "lan",
			Hosts: []lab.Host{{Name: fmt.Sprintf("h%d", i)}}})
	}
	if err := topo.Resolve(); err != nil {
		t.Fatal(err)
	}
	if got := topo.Sites[8].WAN[0].String(); got != "192.0.2.1" {
		t.Errorf("the ninth site has %s, want the first address of the second network", got)
	}
	topo.Sites = append(topo.Sites, lab.Site{Name: "s16", NAT: "full-cone", Link: "lan"})
	if err := topo.Resolve(); err == nil || !strings.HasPrefix(err.Error(), "sites[16].wan: no address is left") {
		t.Errorf("a seventeenth site: %v", err)
	}
	topo.Sites[16].WAN = []netip.Addr{netip.MustParseAddr("192.0.2.255")}
	if err := topo.Resolve(); err != nil {
		t.Errorf("a seventeenth site with an address of its own: %v", err)
	}
}

func TestTopologyCloneSharesNothing(t *testing.T) {
	topo := resolved(t)
	topo.Sites[0].Behavior.TCPPorts = []uint16{443}
	topo.Sites[1].Profile.Up.Burst = &link.GilbertElliott{LossBad: 1}
	before := topo.Digest()
	c := topo.Clone()
	if diff := cmp.Diff(topo, c, cmpopts.IgnoreUnexported(lab.Topology{}, lab.Site{}, lab.Host{}, lab.PublicHost{}),
		cmp.Comparer(func(a, b netip.Addr) bool { return a == b }), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
		t.Error(diff)
	}
	c.Sites[0].Hosts[0].Name = "other"
	c.Sites[0].WAN[0] = netip.MustParseAddr("1.1.1.1")
	c.Sites[0].Behavior.TCPPorts[0] = 80
	c.Sites[1].Profile.Up.Burst.LossBad = 0
	c.Public[0].Addrs[0] = netip.MustParseAddr("1.1.1.1")
	if topo.Digest() != before {
		t.Error("a change of the clone changed the original")
	}
}

func TestTopologyProgrammersMistakes(t *testing.T) {
	for want, change := range map[string]func(*lab.Topology){
		"sites: missing: a topology has at least one site": func(t *lab.Topology) { t.Sites = nil },
		"sites: 65 are too many: 64 at most":               func(t *lab.Topology) { t.Sites = make([]lab.Site, 65) },
		"sites[2].nat: missing: name a preset":             func(t *lab.Topology) { t.Sites[2].NAT = "" },
		"sites[2].link: missing: name a preset":            func(t *lab.Topology) { t.Sites[2].Link = "" },
		"sites[2].link: check link \"mine\", up: loss 2": func(t *lab.Topology) {
			t.Sites[2].Link, t.Sites[2].Profile = "", link.Profile{Name: "mine", Up: link.Impairment{Loss: 2}}
		},
		"sites[2].wan[0]: invalid IP is not an IPv4 address": func(t *lab.Topology) { t.Sites[2].WAN = make([]netip.Addr, 1) },
	} {
		topo := carrierAndHome()
		change(topo)
		before := topo.Clone()
		err := topo.Validate()
		if err == nil || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%v, want %s", err, want)
		}
		if topo.Digest() != before.Digest() {
			t.Error("Validate changed the topology")
		}
	}
	topo := carrierAndHome()
	topo.Sites[2].NAT, topo.Sites[2].Behavior = "", nat.Behavior{Kind: nat.NoNAT}
	topo.Sites[2].Link, topo.Sites[2].Profile = "", link.Profile{Name: "mine"}
	if err := topo.Resolve(); err != nil {
		t.Errorf("a behavior and a profile without presets: %v", err)
	}
}

func TestTopologyDraw(t *testing.T) {
	topo := &lab.Topology{
		Name: "x", Summary: "what it is",
		Sites: []lab.Site{
			{Name: "carrier", NAT: "symmetric", Hosts: []lab.Host{{Name: "phone"}}, Profile: link.Profile{
				Name: "mine",
				Up:   link.Impairment{Delay: 5 * time.Millisecond, Jitter: time.Millisecond, Rate: 1_500_000, Loss: 0.015, Reorder: 0.1, MTU: 1280},
				Down: link.Impairment{Rate: 1_000_000_000_000, Duplicate: 1, Corrupt: 0.0001, Burst: &link.GilbertElliott{}},
			}},
			{Name: "home", NAT: "full-cone", Behind: "carrier", Hosts: []lab.Host{{Name: "camera"}, {Name: "nas"}}},
			{Name: "bare", Behavior: nat.Behavior{Kind: nat.NoNAT}, Profile: link.Profile{Name: "mine", Up: link.Impairment{Rate: 999}}},
		},
		Public: []lab.PublicHost{{Name: "p", Profile: link.Profile{Name: "mine"}}},
	}
	if !strings.Contains(topo.Draw(), "no address yet") {
		t.Errorf("not resolved, it is drawn as\n%v", topo)
	}
	if err := topo.Resolve(); err != nil {
		t.Fatal(err)
	}
	want := `x: what it is

internet
├─ [carrier] 203.0.113.1 · symmetric (APDM/APDF random)
│  │  mine: up 5ms ±1ms 1.5 Mbit/s 1.5 % loss 10 % reordered MTU 1280, down 0s 1000 Gbit/s 100 % duplicated 0.01 % corrupted burst loss
│  └─ 100.64.0.0/16
│     ├─ phone 100.64.0.2
│     └─ [home] 100.64.0.3 · full-cone (EIM/EIF preservation)
│        └─ 192.168.2.0/24
│           ├─ camera 192.168.2.2
│           └─ nas 192.168.2.3
├─ [bare] 203.0.113.33 · no NAT, no filter
│  │  mine: up 0s 999 bit/s, down 0s
│  └─ 203.0.113.48/28
└─ p 198.51.100.1, 198.51.100.2
      mine: up 0s, down 0s
`
	if diff := cmp.Diff(want, topo.String()); diff != "" {
		t.Error(diff)
	}
}

func TestNearest(t *testing.T) {
	known := []string{"full-cone", "restricted-cone", "port-restricted-cone", "symmetric", "open", "lte", "lan"}
	for word, want := range map[string]string{
		"ful-cone": "full-cone", "FULL-CONE": "full-cone", "fullcone": "full-cone", "symetric": "symmetric", "symm": "symmetric",
		"port-restricted": "port-restricted-cone", "opne": "open", "tle": "lte", "lam": "lan", "": "", "zzz": "", "x": "",
		"restrictedcone": "restricted-cone", strings.Repeat("a", 65): "", "cone": "full-cone",
	} {
		if got := lab.Nearest(word, known); got != want {
			t.Errorf("nearest to %q is %q, want %q", word, got, want)
		}
	}
}
