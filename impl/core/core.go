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
	// HandlePacket hands over a datagram received at time now from a remote address by the local socket to. The
	// core may overwrite b, and keeps no reference to it.
	HandlePacket(now time.Time, from, to netip.AddrPort, b []byte)
	// HandleTimeout does what is due at now. Calling it early or twice does no harm.
	HandleTimeout(now time.Time)
	// Deadline is when HandleTimeout wants to be called; zero: never.
	Deadline() time.Time
	// Ready returns what the core has to say. It is valid until the next call of any method.
	Ready() Output
}

// Output is what a core wants done, in order.
type Output struct {
	Packets []Packet
	Events  []any // the core's package says which types
}

// Packet is a datagram to send.
type Packet struct {
	From netip.AddrPort // local socket; zero: the driver's only or first one
	To   netip.AddrPort
	B    []byte
}

// Prologues of the handshakes: they name the responder's role, so that what was meant for one is never valid for another.
const (
	PrologueRendezvous = "punchlab rendezvous 1"
	PrologueCamera     = "punchlab camera 1"
)
