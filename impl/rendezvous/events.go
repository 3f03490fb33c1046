package rendezvous

import (
	"net/netip"
	"time"

	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/wire"
)

// Cause says why a camera went offline.
type Cause string

// The causes.
const (
	CauseGoodbye   Cause = "it said goodbye"
	CauseSilent    Cause = "it fell silent"
	CauseEnded     Cause = "its session has ended and was not renewed"
	CauseUntrusted Cause = "its certificate is not valid any more"
	CauseDraining  Cause = "this server is shutting down"
	CauseElsewhere Cause = "it has registered at another node"
)

// Online says that a camera can be reached now.
type Online struct {
	UID      identity.UID
	Key      identity.PublicKey
	Endpoint netip.AddrPort
	At       time.Time
}

// Offline says that a camera cannot be reached any more.
type Offline struct {
	UID   identity.UID
	Key   identity.PublicKey
	Cause Cause
	Since time.Time // it came online
	At    time.Time
}

// Moved says that a device's endpoint has changed.
type Moved struct {
	UID      identity.UID
	From, To netip.AddrPort
	At       time.Time
}

// Introduced says that a camera has acknowledged a viewer's request.
type Introduced struct {
	Camera, Viewer identity.UID
	Relay          bool
	At             time.Time
}

// Denied says that a device was not admitted. Such events are at most a few a second.
type Denied struct {
	UID  identity.UID
	From netip.AddrPort
	Code wire.Code
	At   time.Time
}

// Duplicated says that two devices hold one key: while one answered at Holder, another one registered from Newcomer and was
// denied. One of them is a copy.
type Duplicated struct {
	UID              identity.UID
	Holder, Newcomer netip.AddrPort
	At               time.Time
}

// Tied says that a camera has taken an introduction: a connection is remembered from now on. Without Config.Others it is not
// emitted.
type Tied struct {
	Tie Tie
	At  time.Time
}

// Untied says that a connection is not remembered any more. Without Config.Others it is not emitted.
type Untied struct{ Tie Tie }
