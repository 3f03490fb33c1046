package lab

import (
	"slices"

	"github.com/punchlab/punchlab/lab/nat"
	"github.com/punchlab/punchlab/lab/portmap"
)

// The words of Site.IPv6: what a router does to IPv6.
const (
	IPv6None        = "none"         // nothing passes, and the LAN has none
	IPv6Open        = "open"         // everything passes
	IPv6Firewall    = "firewall"     // stateful: endpoints that a host has contacted may answer (APDF)
	IPv6FirewallEIF = "firewall-eif" // stateful: anyone may answer a port that has been used
	IPv6FirewallADF = "firewall-adf" // stateful: addresses that a host has contacted may answer
	IPv6NPTv6       = "nptv6"        // RFC 6296: one prefix is exchanged for another, behind a stateful firewall (APDF)
	IPv6NAT64       = "nat64"        // RFC 6146: hosts with IPv6 alone reach IPv4 by 64:ff9b::/96, through the NAT that Behavior is
)

var ipv6Modes = []struct {
	word   string
	mode   nat.IPv6Mode
	filter nat.Dependency
}{
	{IPv6None, nat.IPv6None, 0},
	{IPv6Open, nat.IPv6Open, 0},
	{IPv6Firewall, nat.IPv6Firewall, nat.AddressAndPortDependent},
	{IPv6FirewallEIF, nat.IPv6Firewall, nat.EndpointIndependent},
	{IPv6FirewallADF, nat.IPv6Firewall, nat.AddressDependent},
	{IPv6NPTv6, nat.NPTv6, nat.AddressAndPortDependent},
	{IPv6NAT64, nat.NAT64, 0},
}

// IPv6Modes lists the values of Site.IPv6.
func IPv6Modes() []string {
	words := make([]string, len(ipv6Modes))
	for i, m := range ipv6Modes {
		words[i] = m.word
	}
	return words
}

// PortMaps lists the values of Site.PortMap: the presets of lab/portmap.
func PortMaps() []string {
	var names []string
	for _, p := range portmap.Presets() {
		names = append(names, p.Name)
	}
	return names
}

// HasIPv6 says whether the site's LAN has IPv6.
func (s *Site) HasIPv6() bool { return s.Behavior.IPv6 != nat.IPv6None }

// nat64 says whether the site's hosts reach IPv4 by NAT64 alone.
func (s *Site) nat64() bool { return s.NoIPv4 && s.Behavior.IPv6 == nat.NAT64 }

// hasWAN4 says whether the router has IPv4 on its WAN side.
func (s *Site) hasWAN4() bool { return !s.NoIPv4 || s.nat64() }

// resolveNAT sets the behaviour: the preset's, if there is one, what differs from it, and what becomes of IPv6.
func (t *Topology) resolveNAT(i int, s *Site, ps *Problems) {
	before := len(*ps)
	switch {
	case s.NAT != "":
		s.Behavior = lookupNAT(sitePath(i, "nat"), s.NAT, ps)
	case s.NoIPv4 && s.IPv6 != IPv6NAT64 && s.Behavior.Mapping == 0:
		s.Behavior = nat.Behavior{Kind: nat.NoNAT, IPv6: s.Behavior.IPv6, Filtering6: s.Behavior.Filtering6}
	default:
		if err := s.Behavior.Validate(); err != nil {
			ps.add(sitePath(i, "nat"), "missing: name a preset, such as full-cone ("+err.Error()+")")
		}
	}
	if len(*ps) > before {
		return
	}
	override(&s.Behavior, s.Override, sitePath(i, "behavior"), ps)
	if s.IPv6 != "" {
		k := slices.Index(IPv6Modes(), s.IPv6)
		if k < 0 {
			*ps = append(*ps, Unknown(sitePath(i, "ipv6"), "IPv6 mode", s.IPv6, IPv6Modes()))
			return
		}
		s.Behavior.IPv6, s.Behavior.Filtering6 = ipv6Modes[k].mode, ipv6Modes[k].filter
	}
	if len(*ps) > before {
		return
	}
	if s.NoIPv4 && !s.nat64() {
		s.Behavior = only6(s.Behavior)
	}
	if s.nat64() && s.Behavior.Kind == nat.NoNAT {
		ps.add(sitePath(i, "nat"), "nat64 translates: name a preset that does, such as full-cone")
	} else if err := s.Behavior.Validate(); err != nil {
		path := sitePath(i, "behavior")
		if len(s.Override) == 0 {
			path = sitePath(i, "ipv6")
		}
		ps.add(path, err.Error())
	}
}

// only6 leaves of a behavior what matters where there is no IPv4.
func only6(b nat.Behavior) nat.Behavior {
	return nat.Behavior{
		Kind: nat.NoNAT, IPv6: b.IPv6, Filtering6: b.Filtering6, UDPBlocked: b.UDPBlocked, TCPPorts: b.TCPPorts,
		UDPTimeout: b.UDPTimeout, NoOutboundRefresh: b.NoOutboundRefresh, InboundRefresh: b.InboundRefresh,
		TCPEstablished: b.TCPEstablished, TCPTransitory: b.TCPTransitory, TCPSynTimeout: b.TCPSynTimeout, ICMPTimeout: b.ICMPTimeout,
		Unsolicited: b.Unsolicited,
	}
}

// checkFamilies finds sites that no family of addresses connects, and port mapping servers that nobody wrote.
func (t *Topology) checkFamilies(ps *Problems) {
	for i := range t.Sites {
		s := &t.Sites[i]
		if s.PortMap != "" && !slices.Contains(PortMaps(), s.PortMap) {
			*ps = append(*ps, Unknown(sitePath(i, "portmap"), "preset", s.PortMap, PortMaps()))
		}
		if s.NoIPv4 && !s.HasIPv6() {
			ps.add(sitePath(i, "ipv4"), "the LAN has neither IPv4 nor IPv6: name an ipv6 mode, such as firewall")
		}
		outer := t.Site(s.Behind)
		if outer == nil || t.stranded(s) {
			continue
		}
		if s.HasIPv6() && s.Behavior.IPv6 != nat.NAT64 && !outer.HasIPv6() {
			ps.add(sitePath(i, "ipv6"), "the LAN of "+quote(outer.Name)+" has no IPv6: give that one an ipv6 mode, or leave it out here")
		}
		if s.hasWAN4() && outer.NoIPv4 {
			ps.add(sitePath(i, "behind"), "the LAN of "+quote(outer.Name)+" has no IPv4: set ipv4: false here too, and no nat64")
		}
	}
}
