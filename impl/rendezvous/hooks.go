package rendezvous

import (
	"net/netip"
	"time"

	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/wire"
)

// Role is what a device is to the rendezvous.
type Role uint8

// The roles.
const (
	Camera Role = iota + 1
	Viewer
)

// String names the role.
func (r Role) String() string {
	switch r {
	case Camera:
		return "camera"
	case Viewer:
		return "viewer"
	}
	return "no role"
}

// Proxy is a device that another node serves, as this node knows it. The core treats it as one of its own whose endpoint is
// validated, that has no session and no timer here, and to whom messages go by that node.
type Proxy struct {
	Node     string
	Endpoint netip.AddrPort // validated by that node
	RTT      time.Duration  // to it, over that node
}

// Tie is a connection as two nodes agree on it: enough for any of them to go on with it.
type Tie struct {
	Viewer, Camera     identity.PublicKey
	ViewerID, CameraID uint64 // the ids that they know it by
}

// Others are the other nodes of a cluster, asked by the core of one. The calls are made on the core's goroutine and return at
// once; what comes of them is handed back by the methods in cluster.go.
//
//	about a camera or tie not known here   Ask ───────► the node that serves the camera, if any: Visit or Resume
//	to a device that visits from elsewhere Tell, Frame ─► the node that serves the device: Told, Carried
//	about a camera that is watched here    Watch ──────► whoever knows: Presence
type Others interface {
	// Ask takes a message of a device that is served here, about a camera or connection that is not known here: *wire.Connect,
	// *wire.Again, *wire.Sample, *wire.LocatedAck. from is where it came from. False: there is nobody to ask now.
	Ask(now time.Time, device identity.PublicKey, role Role, from netip.AddrPort, m wire.Message) bool
	// Tell takes what the core says to a proxy.
	Tell(p Proxy, device identity.PublicKey, role Role, m wire.Message)
	// Frame takes a relay frame for a proxy; b is the datagram without framing, and valid until the call returns.
	Frame(p Proxy, device identity.PublicKey, role Role, channel uint16, b []byte)
	// Watch says that somebody here watches a camera, wherever it is, or that nobody does any more. What is known of it at
	// other nodes, now and later, is handed back by Presence.
	Watch(now time.Time, camera identity.UID, on bool)
}
