package core

import "net/netip"

// Proto is what carries datagrams to an address.
type Proto uint8

// The protocols. Over TCP and TLS each datagram is framed by its length (RFC 4571).
const (
	UDP Proto = iota
	TCP
	TLS
)

// zones mark stream endpoints: netip has room for a zone beside an IPv6 address, and no zone of a host's is named so.
var zones = [...]string{UDP: "", TCP: "tcp", TLS: "tls"}

// String names the protocol.
func (p Proto) String() string {
	if int(p) >= len(zones) {
		return "invalid"
	}
	if p == UDP {
		return "udp"
	}
	return zones[p]
}

// Over is the endpoint a, reached over p. A stream's endpoint is an AddrPort like any other, comparable and different from
// the UDP endpoint of the same address and port: it has a zone, and its IPv4 address is mapped to IPv6. Beware of Unmap,
// which takes the zone of such an address away: ask ProtoOf. A zone of a's own (link-local addresses) is lost.
func Over(p Proto, a netip.AddrPort) netip.AddrPort {
	addr := a.Addr()
	if !addr.IsValid() {
		return a
	}
	if p == UDP || int(p) >= len(zones) {
		return netip.AddrPortFrom(addr.WithZone("").Unmap(), a.Port())
	}
	return netip.AddrPortFrom(netip.AddrFrom16(addr.As16()).WithZone(zones[p]), a.Port())
}

// ProtoOf is how an endpoint is reached, and its bare address: the opposite of Over.
func ProtoOf(a netip.AddrPort) (Proto, netip.AddrPort) {
	if !a.Addr().Is6() {
		return UDP, a
	}
	switch a.Addr().Zone() {
	case zones[TCP]:
		return TCP, Over(UDP, a)
	case zones[TLS]:
		return TLS, Over(UDP, a)
	}
	return UDP, a
}
