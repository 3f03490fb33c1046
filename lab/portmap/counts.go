package portmap

import (
	"fmt"
	"net/netip"
)

// Reason is how a request ended.
type Reason uint8

const (
	Mapped      Reason = iota // a mapping was made or renewed
	Unmapped                  // mappings were taken back, or were not there
	Told                      // a question was answered
	Denied                    // refused: the mode, another host's mapping, a wrong nonce
	Taken                     // the external port is not to be had
	Failed                    // the router could not: no external address, no port
	Unsupported               // a version, opcode, option, action or protocol that is not served
	Malformed                 // too short, too long, or not a request at all
	Foreign                   // from outside the LAN: dropped
	Ignored                   // not answered, because the mode is Silent or the message asks nothing
	Reasons
)

var reasons = [Reasons]string{
	"mapped", "unmapped", "told", "denied", "port taken", "failed", "unsupported", "malformed", "not from the LAN", "ignored",
}

func (r Reason) String() string {
	if r < Reasons {
		return reasons[r]
	}
	return fmt.Sprintf("Reason(%d)", r)
}

// Counts is the number of requests by how they ended.
type Counts [Reasons]uint64

// Where announcements go.
var (
	SSDPGroup     = netip.MustParseAddrPort("239.255.255.250:1900") // UPnP
	AnnounceGroup = netip.MustParseAddrPort("224.0.0.1:5350")       // NAT-PMP and PCP
)

// Outgoing is a datagram that nobody asked for, to be sent on every LAN device.
type Outgoing struct {
	To   netip.AddrPort // SSDPGroup, from port 1900, or AnnounceGroup, from port 5351
	Data []byte
}
