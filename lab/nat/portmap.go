package nat

import (
	"errors"
	"net/netip"
	"time"
)

// PortMap is a mapping that someone asked for, by UPnP IGD, NAT-PMP, PCP or by hand: anyone (or Remote) may then send
// to the external port. An internal endpoint has at most one per protocol.
type PortMap struct {
	Protocol uint8          // 6 or 17
	Internal netip.AddrPort // where packets go
	External uint16         // the port that is wanted; zero: any
	Lifetime time.Duration  // zero: until it is taken back
	Remote   netip.Addr     // only packets from there pass; zero: from anywhere
}

// Why Map and Unmap refuse.
var (
	ErrPortTaken = errors.New("another endpoint has that external port")
	ErrNoPort    = errors.New("no external port is free")
	ErrNoAddress = errors.New("the router has no external address")
	ErrNotMapped = errors.New("there is no such port mapping")
	ErrPortMap   = errors.New("port mapping is invalid")
)
