package virtual

import (
	"encoding/binary"
	"math/rand/v2"
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
	// Reverse says that an answer to what came in by a mapping leaves by it, as with connection tracking: where there is none
	// towards that remote yet, even though the mapping depends on the remote.
	Reverse bool
	// Block is how many ports mappings are drawn from at random; 0: each takes the seventh after the one before.
	Block int
}

// nat translates; nothing expires. Streams' endpoints are told from datagrams' by their zone (core.Over).
type nat struct {
	NATConfig
	addr    netip.Addr
	next    uint16
	forward map[mapping]uint16
	inside  map[uint16]netip.AddrPort
	allowed map[permission]bool
	static  map[uint16]netip.AddrPort // forwarded by hand
	answers map[permission]uint16     // to what came in by a static port: by internal endpoint and remote
	rng     *rand.Rand
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
	return &nat{
		NATConfig: c, addr: addr, next: lowestPort, forward: map[mapping]uint16{}, inside: map[uint16]netip.AddrPort{},
		allowed: map[permission]bool{}, static: map[uint16]netip.AddrPort{}, answers: map[permission]uint16{},
		rng: rand.New(rand.NewPCG(binary.BigEndian.Uint64(append([]byte{1, 2, 3, 4}, addr.AsSlice()...)), 0)),
	}
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
	if port, ok := n.answers[permission{internal: from, remote: to}]; ok {
		return core.Over(protoOf(from), netip.AddrPortFrom(n.addr, port))
	}
	m := mapping{from, n.Mapping.key(to)}
	port, ok := n.forward[m]
	if !ok {
		port = n.port()
		n.forward[m] = port
		n.inside[port] = from
	}
	n.allowed[n.permission(from, port, to)] = true
	return core.Over(protoOf(from), netip.AddrPortFrom(n.addr, port))
}

// lowestPort is where mappings' ports begin.
const lowestPort = 20000

// port is that of a new mapping.
func (n *nat) port() uint16 {
	if n.Block == 0 {
		n.next += 7
		return n.next - 7
	}
	for {
		port := lowestPort + uint16(n.rng.IntN(n.Block))
		if _, taken := n.inside[port]; !taken {
			return port
		}
	}
}

// hops is how many routers it is.
func (n *nat) hops() int {
	if n == nil {
		return 0
	}
	return 1
}

func (n *nat) in(from, to netip.AddrPort) (netip.AddrPort, bool) {
	if internal, ok := n.static[to.Port()]; ok {
		n.answers[permission{internal: internal, remote: from}] = to.Port()
		return internal, true
	}
	internal, ok := n.inside[to.Port()]
	if !ok || protoOf(internal) != protoOf(to) || !n.allowed[n.permission(internal, to.Port(), from)] {
		return internal, false
	}
	if m := (mapping{internal, n.Mapping.key(from)}); n.Reverse {
		if _, known := n.forward[m]; !known {
			n.forward[m] = to.Port()
		}
	}
	return internal, true
}

func (n *nat) permission(internal netip.AddrPort, port uint16, remote netip.AddrPort) permission {
	if n.PerEndpoint {
		port = 0
	}
	return permission{internal, port, n.Filtering.key(remote)}
}

// Rebind forgets all mappings of the site's NAT, as a reboot does; later ones get other ports. The NAT then is what SiteConfig says.
func (s *Site) Rebind() {
	if s.nat != nil {
		next := s.nat.next + 1000
		static := s.nat.static
		s.nat = newNAT(*s.NAT, s.Addr)
		s.nat.static = static
		s.nat.next = next
	}
}

// Forward forwards a UDP port of the site's NAT to a host's address, as its owner would by hand, and returns the
// external endpoint. It outlives Rebind.
func (s *Site) Forward(port uint16, to netip.AddrPort) netip.AddrPort {
	s.nat.static[port] = to
	return netip.AddrPortFrom(s.Addr, port)
}
