package tape

import (
	"net/netip"
	"time"
)

// Flow is what one host exchanged between two endpoints, as it saw them.
type Flow struct {
	Host          string
	Protocol      uint8
	Local, Remote netip.AddrPort
	First, Last   time.Time
	Out, In       Amount
}

// Flows are those of all hosts, by the times of their beginnings.
func Flows(ps []Packet) []Flow { return nil }

// Rebind is a change of the other end in a flow: what one local endpoint gets comes from another remote one than before.
type Rebind struct {
	At       time.Time
	Host     string // at which it was seen
	Local    netip.AddrPort
	Old, New netip.AddrPort
}

// Rebinds are the changes of remote endpoints that the packets show that came to hosts: a packet to a local endpoint from a remote one
// that it never had any from, after packets from others of the same protocol. Give it the packets of one peer, such as Media
// by the addresses of the camera's router: two peers of one socket are not told from one with two endpoints.
func Rebinds(ps []Packet) []Rebind { return nil }
