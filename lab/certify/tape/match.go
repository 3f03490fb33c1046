package tape

import (
	"bytes"
	"net/netip"
	"slices"
	"time"

	"github.com/punchlab/punchlab/lab/packet"
)

// Match tells whether a packet is meant. Several given at once must all be true.
type Match func(*Packet) bool

// MediaSize is how many bytes of payload a packet of media has at least.
const MediaSize = 500

// Media matches what a criterion calls a media packet: UDP or TCP with a payload of MediaSize bytes or more.
func Media(p *Packet) bool {
	return (p.Protocol == packet.ProtocolUDP || p.Protocol == packet.ProtocolTCP) && len(p.Payload) >= MediaSize
}

// Out matches what its host sent.
func Out(p *Packet) bool { return p.Out }

// In matches what came to its host.
func In(p *Packet) bool { return !p.Out }

// UDP matches datagrams, and their fragments.
func UDP(p *Packet) bool { return p.Protocol == packet.ProtocolUDP }

// TCP matches segments.
func TCP(p *Packet) bool { return p.Protocol == packet.ProtocolTCP }

// ICMP matches messages of ICMP and ICMPv6.
func ICMP(p *Packet) bool {
	return p.Protocol == packet.ProtocolICMP || p.Protocol == packet.ProtocolICMPv6
}

// IPv6 matches packets of that family.
func IPv6(p *Packet) bool { return p.Src.Addr().Is6() }

// Full matches UDP and TCP packets with a payload: no bare acknowledgments.
func Full(p *Packet) bool { return (UDP(p) || TCP(p)) && len(p.Payload) > 0 }

// At matches what was seen at one of the hosts.
func At(hosts ...string) Match {
	return func(p *Packet) bool { return slices.Contains(hosts, p.Host) }
}

// From matches what one of the hosts sent, as it left there.
func From(hosts ...string) Match {
	return func(p *Packet) bool { return p.Out && slices.Contains(hosts, p.Host) }
}

// CameTo matches what came to one of the hosts.
func CameTo(hosts ...string) Match {
	return func(p *Packet) bool { return !p.Out && slices.Contains(hosts, p.Host) }
}

// To matches packets to one of the addresses.
func To(addrs ...netip.Addr) Match {
	return func(p *Packet) bool { return slices.Contains(addrs, p.Dst.Addr()) }
}

// By matches packets with one of the addresses as their source.
func By(addrs ...netip.Addr) Match {
	return func(p *Packet) bool { return slices.Contains(addrs, p.Src.Addr()) }
}

// With matches what the host exchanges with one of the addresses.
func With(addrs ...netip.Addr) Match {
	return func(p *Packet) bool { return slices.Contains(addrs, p.Remote().Addr()) }
}

// WithEndpoint matches what the host exchanges with one of the endpoints.
func WithEndpoint(ends ...netip.AddrPort) Match {
	return func(p *Packet) bool { return slices.Contains(ends, p.Remote()) }
}

// Port matches UDP and TCP packets from or to the port.
func Port(n uint16) Match {
	return func(p *Packet) bool { return (UDP(p) || TCP(p)) && (p.Src.Port() == n || p.Dst.Port() == n) }
}

// LocalPort matches UDP and TCP packets from or to the port of their host.
func LocalPort(n uint16) Match {
	return func(p *Packet) bool { return (UDP(p) || TCP(p)) && p.Local().Port() == n }
}

// AtLeast matches packets of so many bytes or more, IP header counted.
func AtLeast(bytes int) Match { return func(p *Packet) bool { return p.Size >= bytes } }

// Flags matches TCP segments of whose control bits those of set are set and those of clear are not.
func Flags(set, clear uint8) Match {
	return func(p *Packet) bool { return TCP(p) && !p.Fragment && p.Flags&set == set && p.Flags&clear == 0 }
}

// Between matches packets from t0 on and before t1. A zero time is no limit.
func Between(t0, t1 time.Time) Match {
	return func(p *Packet) bool { return !p.At.Before(t0) && (t1.IsZero() || p.At.Before(t1)) }
}

// Carries matches packets whose payload has the bytes in it.
func Carries(b []byte) Match { return func(p *Packet) bool { return bytes.Contains(p.Payload, b) } }

// Not matches what the other does not.
func Not(m Match) Match { return func(p *Packet) bool { return !m(p) } }

// Any matches what one of the others does.
func Any(ms ...Match) Match {
	return func(p *Packet) bool { return slices.ContainsFunc(ms, func(m Match) bool { return m(p) }) }
}

// All matches what all of the others do.
func All(ms ...Match) Match { return func(p *Packet) bool { return all(p, ms) } }

func all(p *Packet, ms []Match) bool {
	for _, m := range ms {
		if !m(p) {
			return false
		}
	}
	return true
}

// Select returns the packets that match all, in their order.
func Select(ps []Packet, match ...Match) []Packet {
	var found []Packet
	for i := range ps {
		if all(&ps[i], match) {
			found = append(found, ps[i])
		}
	}
	return found
}

// Count is how many packets match all.
func Count(ps []Packet, match ...Match) (n int) {
	for i := range ps {
		if all(&ps[i], match) {
			n++
		}
	}
	return n
}
