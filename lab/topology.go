package lab

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/netip"
	"slices"
	"time"

	"github.com/punchlab/punchlab/lab/link"
	"github.com/punchlab/punchlab/lab/nat"
)

// Limits of a topology. They are far beyond what a machine runs and keep a hostile document harmless.
const (
	MaxSites  = 64 // sites, of which 16 may hang on the fabric without an address of their own
	MaxHosts  = 64 // hosts in one site
	MaxPublic = 64 // public hosts
	MaxAddrs  = 16 // addresses of one router or public host
)

// Topology is sites and public hosts around one internet. It is plain data: it validates, prints and hashes without root and
// without touching the kernel. It is not safe for concurrent use; Clone it.
//
//	                        the fabric (user-space internet)
//	     ┌─────────────────────────────┼───────────────────────────────┐
//	     │ Site.Link                   │ Site.Link                     │ PublicHost.Link
//	┌────┴──── carrier ────┐   ┌───────┴─ viewer ─────┐   ┌────────────┴─────────┐
//	│ Behavior, WAN        │   │ Behavior, WAN        │   │ rendezvous: Addrs    │
//	├──────── LAN ─────────┤   ├──────── LAN ─────────┤   └──────────────────────┘
//	│   ┌── camera ──┐     │   │ host viewer          │
//	│   │ Behind:    │     │   └──────────────────────┘
//	│   │  "carrier" │     │
//	│   ├─── LAN ────┤     │    A site is a router and what hangs on its LAN. Its WAN side hangs on the fabric, or, with
//	│   │ host camera│     │    Behind, on another site's LAN. The link belongs to the outermost site: within one, packets
//	└───┴────────────┴─────┘    take no time.
//
// Addresses that a topology leaves out are filled in by Resolve, the same ones each time (topology_address.go has the plan).
type Topology struct {
	Name    string
	Summary string // one line
	Sites   []Site
	Public  []PublicHost

	resolved bool
}

// Site is a router and the hosts on its LAN.
//
// A site whose Behavior is nat.NoNAT has a public LAN: its hosts have addresses of their own on the internet, and the fabric
// delivers them to the site's uplink. When such a site is Behind another, its LAN is a part of that site's LAN (Subnets).
type Site struct {
	Name     string
	NAT      string       // preset; empty: Behavior counts
	Behavior nat.Behavior // of the router; Resolve sets it from NAT
	Behind   string       // site on whose LAN the router's WAN side hangs; empty: the fabric
	Link     string       // preset; empty: Profile counts. Only a site on the fabric has a link.
	Profile  link.Profile // access link; Resolve sets it from Link
	WAN      []netip.Addr // addresses of the WAN side; empty: Resolve gives one
	LAN      netip.Prefix // the router has its first address, Gateway; zero: Resolve gives one
	Hosts    []Host

	autoWAN netip.Addr // what Resolve gave, and may replace
	autoLAN netip.Prefix
}

// Host is a host on a site's LAN.
type Host struct {
	Name string
	Addr netip.Addr // zero: Resolve gives one

	auto netip.Addr // what Resolve gave, and may replace
}

// PublicHost hangs on the fabric by a link of its own, behind nothing.
type PublicHost struct {
	Name    string
	Addrs   []netip.Addr // empty: Resolve gives two, which an RFC 5780 server needs
	Link    string       // preset; empty: Profile counts
	Profile link.Profile

	auto []netip.Addr // what Resolve gave, and may replace; never written to
}

// Path is what lies between two hosts, base values without any queue or chance.
type Path struct {
	Delay time.Duration // one way, without jitter
	Rate  int64         // bit/s of the slowest link; 0: unlimited
	MTU   int           // bytes
}

// Subnet is a public LAN within another site's LAN: the outer router needs a route to Prefix by way of Via, and Via answers
// ARP for it.
type Subnet struct {
	Prefix netip.Prefix
	Via    netip.Addr
}

const defaultMTU = 1500

// Gateway is the router's address on its LAN: the first one. It is zero before Resolve.
func (s *Site) Gateway() netip.Addr {
	if !s.LAN.IsValid() {
		return netip.Addr{}
	}
	return s.LAN.Masked().Addr().Next()
}

// Public says whether the site's hosts are visible from outside under their own addresses.
func (s *Site) Public() bool { return s.Behavior.Kind == nat.NoNAT }

// Site returns the site of that name, or nil.
func (t *Topology) Site(name string) *Site {
	for i := range t.Sites {
		if t.Sites[i].Name == name {
			return &t.Sites[i]
		}
	}
	return nil
}

// SiteOf returns the site on whose LAN the host is, or nil for a public host and for an unknown one.
func (t *Topology) SiteOf(host string) *Site {
	for i := range t.Sites {
		for j := range t.Sites[i].Hosts {
			if t.Sites[i].Hosts[j].Name == host {
				return &t.Sites[i]
			}
		}
	}
	return nil
}

// Outermost returns the site that connects s to the fabric: s itself, unless it is Behind another.
func (t *Topology) Outermost(s *Site) *Site {
	route := t.route(s)
	return route[len(route)-1]
}

// route lists the sites from s to the fabric, innermost first. It ends at a loop or at an unknown name.
func (t *Topology) route(s *Site) []*Site {
	route := []*Site{s}
	for s.Behind != "" {
		s = t.Site(s.Behind)
		if s == nil || slices.Contains(route, s) {
			break
		}
		route = append(route, s)
	}
	return route
}

// Hosts lists the names of all hosts: those of the sites, then the public ones, in the document's order.
func (t *Topology) Hosts() []string {
	var names []string
	for i := range t.Sites {
		for _, h := range t.Sites[i].Hosts {
			names = append(names, h.Name)
		}
	}
	for _, p := range t.Public {
		names = append(names, p.Name)
	}
	return names
}

// HostAddr returns a host's addresses, or nil for an unknown host.
func (t *Topology) HostAddr(host string) []netip.Addr {
	for _, p := range t.Public {
		if p.Name == host {
			return slices.Clone(p.Addrs)
		}
	}
	if s := t.SiteOf(host); s != nil {
		for _, h := range s.Hosts {
			if h.Name == host {
				return []netip.Addr{h.Addr}
			}
		}
	}
	return nil
}

// NATs returns the routers between a host and the fabric, innermost first; none for a public host and for an unknown one.
func (t *Topology) NATs(host string) []nat.Behavior {
	s := t.SiteOf(host)
	if s == nil {
		return nil
	}
	var path []nat.Behavior
	for _, r := range t.route(s) {
		path = append(path, r.Behavior)
	}
	return path
}

// Path returns what a packet between two hosts meets. Hosts under the same outermost router meet nothing. The path of a
// host that the topology has not is zero.
func (t *Topology) Path(from, to string) Path {
	a, okA := t.access(from)
	b, okB := t.access(to)
	if !okA || !okB {
		return Path{}
	}
	if a.name == b.name {
		return Path{MTU: defaultMTU}
	}
	return Path{
		Delay: a.profile.Up.Delay + b.profile.Down.Delay,
		Rate:  slower(a.profile.Up.Rate, b.profile.Down.Rate),
		MTU:   min(mtu(a.profile.Up), mtu(b.profile.Down)),
	}
}

// access is a host's way onto the fabric.
type access struct {
	name    string // of the site or public host that owns the link; unique in a topology
	profile link.Profile
}

func (t *Topology) access(host string) (access, bool) {
	for _, p := range t.Public {
		if p.Name == host {
			return access{p.Name, p.Profile}, true
		}
	}
	s := t.SiteOf(host)
	if s == nil {
		return access{}, false
	}
	outer := t.Outermost(s)
	return access{outer.Name, outer.Profile}, true
}

// slower returns the lower of two rates, where 0 means unlimited.
func slower(a, b int64) int64 {
	if a == 0 || (b != 0 && b < a) {
		return b
	}
	return a
}

func mtu(i link.Impairment) int {
	if i.MTU == 0 {
		return defaultMTU
	}
	return i.MTU
}

// Subnets returns the public LANs of the sites directly behind this one: one for each that is nat.NoNAT.
func (t *Topology) Subnets(site string) []Subnet {
	var out []Subnet
	for i := range t.Sites {
		s := &t.Sites[i]
		if s.Behind != site || !s.Public() || len(s.WAN) == 0 || t.stranded(s) {
			continue
		}
		out = append(out, Subnet{Prefix: s.LAN, Via: s.WAN[0]})
	}
	return out
}

// stranded says whether following Behind from s never reaches the fabric: there is a loop, or a site that does not exist.
func (t *Topology) stranded(s *Site) bool {
	return t.Outermost(s).Behind != ""
}

// Clone returns a copy that shares nothing with the original.
func (t *Topology) Clone() *Topology {
	c := *t
	c.Sites = slices.Clone(t.Sites)
	for i := range c.Sites {
		s := &c.Sites[i]
		s.WAN, s.Hosts = slices.Clone(s.WAN), slices.Clone(s.Hosts)
		s.Behavior.TCPPorts = slices.Clone(s.Behavior.TCPPorts)
		s.Profile = cloneProfile(s.Profile)
	}
	c.Public = slices.Clone(t.Public)
	for i := range c.Public {
		p := &c.Public[i]
		p.Addrs, p.Profile = slices.Clone(p.Addrs), cloneProfile(p.Profile)
	}
	return &c
}

func cloneProfile(p link.Profile) link.Profile {
	for _, i := range []*link.Impairment{&p.Up, &p.Down} {
		if i.Burst != nil {
			burst := *i.Burst
			i.Burst = &burst
		}
	}
	return p
}

// Digest is "sha256:" and the hash of the topology with every address, behaviour and link figure in it: two topologies with
// one digest are the same experiment. Call Resolve first.
func (t *Topology) Digest() string {
	b, err := json.Marshal(t)
	if err != nil {
		panic("lab: a topology is plain data and always encodes: " + err.Error())
	}
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:])
}
