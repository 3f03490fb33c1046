package live

import (
	"errors"
	"net/netip"

	"github.com/punchlab/punchlab/lab/nat"
)

// deviceBody describes the descriptor that rides along.
type deviceBody struct {
	Kind     deviceKind
	Dst, Src [6]byte `json:",omitzero"` // of the Ethernet header, for a packet socket
}

// uplinkBody is what opAttach carries, behind both directions' impairments.
type uplinkBody struct {
	Name   string
	Routed []netip.Prefix
	Device deviceBody
}

// routerBody is what opAttachRouter carries, behind both directions' impairments.
type routerBody struct {
	Name              string
	NAT               nat.Config
	Gateway, Gateway6 netip.Addr
	LAN, WAN          []netip.Prefix
	Behind            uint32     // a router's number; zero: none
	Device            deviceBody // zero: none
}

// stationBody is what opAttachStation carries.
type stationBody struct {
	Router        uint32
	Name          string
	Addrs, Routed []netip.Prefix
	Self          bool
	Device        deviceBody
}

// externalBody is what opRouterExternal carries.
type externalBody struct {
	Addrs []netip.Addr
	WAN   []netip.Prefix // nil: as it was
}

// sentinels are the errors that survive the way: an answer's code is their number here plus 2; 1 is any other error.
var sentinels = []error{nat.ErrPortTaken, nat.ErrNoPort, nat.ErrNoAddress, nat.ErrNotMapped, nat.ErrPortMap}

// The codes of answers.
const (
	codeOK    = 0
	codeError = 1
	codeMore  = 0xff // a part of an answer; more follow
)

func codeOf(err error) uint8 {
	for i, s := range sentinels {
		if errors.Is(err, s) {
			return uint8(i + 2)
		}
	}
	return codeError
}

// remoteError is an error of the fabric process.
type remoteError struct {
	text string
	is   error // the sentinel it wraps; nil: none
}

func (e *remoteError) Error() string { return e.text }
func (e *remoteError) Unwrap() error { return e.is }

func errorOf(code uint8, text string) error {
	e := &remoteError{text: text}
	if i := int(code) - 2; i >= 0 && i < len(sentinels) {
		e.is = sentinels[i]
	}
	return e
}
