package lab

import (
	"net/netip"
	"slices"

	"github.com/punchlab/punchlab/lab/nat"
)

// Families lists the versions of IP by which a host reaches the internet: 4, also by way of NAT64, and 6.
func (t *Topology) Families(host string) (families []int) {
	if _, ok := t.path4(host); ok {
		families = append(families, 4)
	}
	if _, ok := t.path6(host); ok {
		families = append(families, 6)
	}
	return families
}

// NATs returns the routers between a host and the fabric as IPv4 meets them, innermost first; none for a public host and for an
// unknown one. A host with IPv6 alone meets the one that is its NAT64, and those before it as IPv6 does.
func (t *Topology) NATs(host string) []nat.Behavior {
	path, _ := t.path4(host)
	return path
}

// NATs6 returns the routers between a host and the fabric as IPv6 meets them, innermost first: nat.NoNAT with a filter or
// without, and for NPTv6 a translation of addresses that keeps all ports.
func (t *Topology) NATs6(host string) []nat.Behavior {
	path, _ := t.path6(host)
	return path
}

func (t *Topology) path4(host string) (path []nat.Behavior, ok bool) {
	s := t.SiteOf(host)
	if s == nil {
		return nil, slices.ContainsFunc(t.HostAddr(host), netip.Addr.Is4)
	}
	for _, r := range t.route(s) {
		ok = ok || !r.NoIPv4 || r.Behavior.IPv6 == nat.NAT64
		if ok {
			path = append(path, r.Behavior)
		} else {
			path = append(path, as6(r.Behavior))
		}
	}
	if !ok {
		return nil, false
	}
	return path, true
}

func (t *Topology) path6(host string) (path []nat.Behavior, ok bool) {
	s := t.SiteOf(host)
	if s == nil {
		return nil, slices.ContainsFunc(t.HostAddr(host), netip.Addr.Is6)
	}
	for _, r := range t.route(s) {
		if !r.native6() {
			return nil, false
		}
		path = append(path, as6(r.Behavior))
	}
	return path, true
}

// as6 is a router as IPv6 sees it.
func as6(b nat.Behavior) nat.Behavior {
	v := nat.Behavior{Kind: nat.NoNAT, UDPBlocked: b.UDPBlocked, TCPPorts: b.TCPPorts, UDPTimeout: b.UDPTimeout}
	if b.IPv6 == nat.IPv6Open {
		return v
	}
	v.Filtering = b.WithDefaults().Filtering6
	if b.IPv6 == nat.NPTv6 { // RFC 6296 §4: a one-to-one translation, which hairpins
		v.Kind, v.Mapping, v.PortAssignment = nat.Translate, nat.EndpointIndependent, nat.PortPreservation
		v.Hairpinning = nat.HairpinExternalSource
	}
	return v
}

// nat64Prefix is the well-known one (RFC 6052 §2.1).
var nat64Prefix = netip.MustParsePrefix("64:ff9b::/96")

// AddrsFrom returns a host's addresses as another one has to write them: those of families that it has, and IPv4 addresses as
// NAT64 takes them (64:ff9b::198.51.100.1) where it has IPv6 alone.
func (t *Topology) AddrsFrom(from, to string) (addrs []netip.Addr) {
	own := t.HostAddr(from)
	has4, has6 := slices.ContainsFunc(own, netip.Addr.Is4), slices.ContainsFunc(own, netip.Addr.Is6)
	_, reaches4 := t.path4(from)
	_, reaches6 := t.path6(from)
	near := t.SiteOf(from) != nil && t.SiteOf(from) == t.SiteOf(to)
	for _, a := range t.HostAddr(to) {
		switch {
		case a.Is4() && has4, a.Is6() && has6 && (reaches6 || near):
			addrs = append(addrs, a)
		case a.Is4() && reaches4:
			b, v4 := nat64Prefix.Addr().As16(), a.As4()
			copy(b[12:], v4[:])
			addrs = append(addrs, netip.AddrFrom16(b))
		}
	}
	return addrs
}
