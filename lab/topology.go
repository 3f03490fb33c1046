package lab

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
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
	Links   []link.Profile `json:",omitzero"` // of the topology's own, by name, besides the presets

	resolved bool
}

// Site is a router and the hosts on its LAN.
//
// A site whose Behavior is nat.NoNAT has a public LAN: its hosts have addresses of their own on the internet, and the fabric
// delivers them to the site's uplink. When such a site is Behind another, its LAN is a part of that site's LAN (Subnets).
//
// IPv6 is apart from that: what the router does to it says IPv6. Net6 is the network that is routed to the router from its WAN
// side, Inside6 the one behind it: the same network, unless IPv6 is nptv6, which exchanges one for the other. LAN6 is the first
// /64 of Inside6, and the routers behind this one have the others.
type Site struct {
	Name     string
	NAT      string            // preset; empty: Behavior counts. A site without IPv4 needs none, unless IPv6 is nat64.
	Override map[string]string `json:",omitzero"` // what differs from the preset: OverrideKeys; Resolve applies it to Behavior
	Behavior nat.Behavior      // of the router; Resolve sets it from NAT, Override and IPv6
	Engine   string            `json:",omitzero"` // Engines; empty: the run's
	IPv6     string            `json:",omitzero"` // IPv6Modes; empty: the Behavior's, which is none in most presets
	NoIPv4   bool              `json:",omitzero"` // no IPv4 on the LAN; the WAN side has it for nat64 only
	PortMap  string            `json:",omitzero"` // preset of the router's port mapping servers, PortMaps; empty: it has none
	Behind   string            // site on whose LAN the router's WAN side hangs; empty: the fabric
	Link     string            // one of Links or a preset; empty: Profile counts. Only a site on the fabric has a link.
	Profile  link.Profile      // access link; Resolve sets it from Link
	WAN      []netip.Addr      // IPv4 addresses of the WAN side; empty: Resolve gives one
	LAN      netip.Prefix      // the router has its first address, Gateway; zero: Resolve gives one
	WAN6     []netip.Addr      `json:",omitzero"` // IPv6 addresses of the WAN side; empty: Resolve gives one
	LAN6     netip.Prefix      `json:",omitzero"` // a /64, of which the router has the first address, Gateway6; zero: Resolve gives one
	Net6     netip.Prefix      `json:",omitzero"` // set by Resolve
	Inside6  netip.Prefix      `json:",omitzero"` // set by Resolve
	Hosts    []Host

	autoWAN  netip.Addr // what Resolve gave, and may replace
	autoLAN  netip.Prefix
	autoWAN6 netip.Addr
	autoLAN6 netip.Prefix
}

// Host is a host on a site's LAN.
type Host struct {
	Name    string
	Addr    netip.Addr // zero: Resolve gives one, if the LAN has IPv4
	Addr6   netip.Addr `json:",omitzero"` // zero: Resolve gives one, if the LAN has IPv6
	Standby bool       `json:",omitzero"` // the host of that name in another site has a second interface here, which is down until it moves

	auto, auto6 netip.Addr // what Resolve gave, and may replace
}

// PublicHost hangs on the fabric by a link of its own, behind nothing.
type PublicHost struct {
	Name    string
	Addrs   []netip.Addr // IPv4, then IPv6; empty: Resolve gives two of IPv4, which an RFC 5780 server needs, and of IPv6 if a site has it
	Link    string       // one of Links or a preset; empty: Profile counts
	Profile link.Profile

	auto []netip.Addr // what Resolve gave, and may replace; never written to
}

// Path is what lies between two hosts, base values without any queue or chance.
type Path struct {
	Delay time.Duration // one way, without jitter
	Rate  int64         // bit/s of the slowest link; 0: unlimited
	MTU   int           // bytes
}

// Subnet is a public LAN within another site's LAN, or the Net6 of a site behind another: the outer router needs a route to Prefix by way of Via, and Via answers
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

// Gateway6 is the router's IPv6 address on its LAN: the first one. It is zero before Resolve and without IPv6.
func (s *Site) Gateway6() netip.Addr {
	if !s.LAN6.IsValid() {
		return netip.Addr{}
	}
	return s.LAN6.Masked().Addr().Next()
}

// Public says whether the site's hosts are visible from outside under their own IPv4 addresses.
func (s *Site) Public() bool { return s.Behavior.Kind == nat.NoNAT && !s.NoIPv4 }

// Clone returns a copy that shares nothing with the original but link traces, which nobody changes.
func (t *Topology) Clone() *Topology {
	c := *t
	c.Sites = slices.Clone(t.Sites)
	for i := range c.Sites {
		s := &c.Sites[i]
		s.WAN, s.WAN6, s.Hosts = slices.Clone(s.WAN), slices.Clone(s.WAN6), slices.Clone(s.Hosts)
		s.Override = maps.Clone(s.Override)
		s.Behavior.TCPPorts, s.Behavior.LenientPorts = slices.Clone(s.Behavior.TCPPorts), slices.Clone(s.Behavior.LenientPorts)
		s.Profile = cloneProfile(s.Profile)
	}
	c.Public = slices.Clone(t.Public)
	for i := range c.Public {
		p := &c.Public[i]
		p.Addrs, p.Profile = slices.Clone(p.Addrs), cloneProfile(p.Profile)
	}
	c.Links = slices.Clone(t.Links)
	for i := range c.Links {
		c.Links[i] = cloneProfile(c.Links[i])
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

// profiles are those of all access links, and the topology's own.
func (t *Topology) profiles() (ps []*link.Profile) {
	for i := range t.Sites {
		ps = append(ps, &t.Sites[i].Profile)
	}
	for i := range t.Public {
		ps = append(ps, &t.Public[i].Profile)
	}
	for i := range t.Links {
		ps = append(ps, &t.Links[i])
	}
	return ps
}

// Digest is "sha256:" and the hash of the topology with every address, behaviour and link figure in it: two topologies with
// one digest are the same experiment. Call Resolve first.
func (t *Topology) Digest() string {
	c := t.Clone()
	hashed := map[*link.Trace]*link.Trace{} // a trace's hash stands for what may be a hundred thousand numbers
	for _, p := range c.profiles() {
		for _, i := range []*link.Impairment{&p.Up, &p.Down} {
			if i.Trace == nil {
				continue
			}
			if hashed[i.Trace] == nil {
				hashed[i.Trace] = &link.Trace{Name: i.Trace.Name + " " + i.Trace.Digest(), Anywhere: i.Trace.Anywhere}
			}
			i.Trace = hashed[i.Trace]
		}
	}
	b, err := json.Marshal(c)
	if err != nil {
		panic("lab: a topology is plain data and always encodes: " + err.Error())
	}
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:])
}
