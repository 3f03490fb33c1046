package virtual

import (
	"net/netip"

	"github.com/punchlab/punchlab/impl/core"
)

// Dependency is what a mapping or a filter depends on (RFC 4787 §4.1, §5). The zero value is invalid.
type Dependency int

// The dependencies.
const (
	EndpointIndependent Dependency = iota + 1
	AddressDependent
	AddressAndPortDependent
)

// Dependencies lists them.
var Dependencies = []Dependency{EndpointIndependent, AddressDependent, AddressAndPortDependent}

// String is the abbreviation RFC 4787 would use: EI, AD or APD.
func (d Dependency) String() string {
	return [...]string{"invalid", "EI", "AD", "APD"}[d]
}

// NATConfig is one of the nine pairs.
type NATConfig struct {
	Mapping, Filtering Dependency
	// PerEndpoint says that the filter belongs to the internal endpoint, as RFC 4787 §5 words it. Otherwise each mapping
	// has its own, as connection tracking does.
	PerEndpoint bool
}

// nat translates; nothing expires. Streams' endpoints are told from datagrams' by their zone (core.Over).
type nat struct {
	NATConfig
	addr    netip.Addr
	next    uint16
	forward map[mapping]uint16
	inside  map[uint16]netip.AddrPort
	allowed map[permission]bool
}

type mapping struct {
	internal netip.AddrPort
	remote   netip.AddrPort // as far as the mapping depends on it
}

type permission struct {
	internal netip.AddrPort
	port     uint16         // of the mapping; 0 with PerEndpoint
	remote   netip.AddrPort // as far as the filter depends on it
}

func newNAT(c NATConfig, addr netip.Addr) *nat {
	return &nat{NATConfig: c, addr: addr, next: 20000, forward: map[mapping]uint16{}, inside: map[uint16]netip.AddrPort{}, allowed: map[permission]bool{}}
}

// key zeroes what the dependency ignores.
func (d Dependency) key(a netip.AddrPort) netip.AddrPort {
	switch d {
	case EndpointIndependent:
		return netip.AddrPort{}
	case AddressDependent:
		return netip.AddrPortFrom(bare(a.Addr()), 0)
	case AddressAndPortDependent:
		return a
	}
	panic("virtual: a NAT needs a mapping and a filtering")
}

func (n *nat) out(from, to netip.AddrPort) netip.AddrPort {
	m := mapping{from, n.Mapping.key(to)}
	port, ok := n.forward[m]
	if !ok {
		port = n.next
		n.next += 7
		n.forward[m] = port
		n.inside[port] = from
	}
	n.allowed[n.permission(from, port, to)] = true
	return core.Over(protoOf(from), netip.AddrPortFrom(n.addr, port))
}

// hops is how many routers it is.
func (n *nat) hops() int {
	if n == nil {
		return 0
	}
	return 1
}

func (n *nat) in(from, to netip.AddrPort) (netip.AddrPort, bool) {
	internal, ok := n.inside[to.Port()]
	return internal, ok && protoOf(internal) == protoOf(to) && n.allowed[n.permission(internal, to.Port(), from)]
}

func (n *nat) permission(internal netip.AddrPort, port uint16, remote netip.AddrPort) permission {
	if n.PerEndpoint {
		port = 0
	}
	return permission{internal, port, n.Filtering.key(remote)}
}

// Rebind forgets all mappings of the site's NAT, as a reboot does; later ones get other ports.
func (s *Site) Rebind() {
	if s.nat != nil {
		next := s.nat.next + 1000
		s.nat = newNAT(s.nat.NATConfig, s.Addr)
		s.nat.next = next
	}
}
