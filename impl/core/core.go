// Package core is what the protocol's cores and their drivers agree on.
//
//	                 now, packets in                      packets out, events
//	socket, clock ──────────────────► Core.HandlePacket ─────────────────────► socket, observer
//	 (impl/node,      now                                  Core.Ready
//	 impl/virtual)  ──────────────────► Core.HandleTimeout
//	                ◄──────────────────
//	                   Core.Deadline
//
// A core has no socket, clock, goroutine or randomness of its own: the same calls with the same arguments give the
// same outputs, byte for byte. It is not safe for concurrent use; its driver owns it. A driver calls Ready after
// each call (or batch of calls) that hands the core something, sends what it returns, and re-arms its timer.
package core

import (
	"net/netip"
	"time"
)

// Core is a role of the protocol: a rendezvous, a camera or a viewer.
type Core interface {
	// HandlePacket hands over a datagram received at time now from a remote address by the local socket to: as Opener was
	// told it, or one of the driver's own. From a stream, from is Over(protocol, remote) and to Over(protocol, local).
	// b is the core's until the driver has sent what its next Ready returns: what the core queues may lie in it.
	HandlePacket(now time.Time, from, to netip.AddrPort, b []byte)
	// HandleTimeout does what is due at now. Calling it early or twice does no harm.
	HandleTimeout(now time.Time)
	// Deadline is when HandleTimeout wants to be called; zero: never.
	Deadline() time.Time
	// Ready returns what the core has to say. It is valid until the next call of any method.
	Ready() Output
}

// Opener is a Core that asks for sockets.
type Opener interface {
	// HandleOpened answers an Output's Open, soon or later: with the sockets' local addresses, as HandlePacket will say them
	// and a Packet's From may. They are fewer than were asked for, or none, where err says why.
	HandleOpened(now time.Time, socks []netip.AddrPort, err error)
}

// Output is what a core wants done, in order.
type Output struct {
	Packets []Packet
	Events  []any            // the core's package says which types
	Open    int              // UDP sockets wanted beside those there are; the driver answers by HandleOpened
	Close   []netip.AddrPort // sockets that HandleOpened named, or streams' remote endpoints, after Packets were sent
}

// Packet is a datagram to send.
type Packet struct {
	From netip.AddrPort // local socket; zero: the driver's first that can reach To. Without meaning for a stream
	To   netip.AddrPort // UDP address, or a stream's: Over(TCP or TLS, address)
	TTL  uint8          // IPv4 TTL or IPv6 hop limit; zero: the host's. Without meaning for a stream
	B    []byte
}

// Prologues of the handshakes: they name the responder's role, so that what was meant for one is never valid for another.
const (
	PrologueRendezvous = "punchlab rendezvous 1"
	PrologueCamera     = "punchlab camera 1"
)
