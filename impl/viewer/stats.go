package viewer

import (
	"net/netip"
	"time"

	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/media"
	"github.com/punchlab/punchlab/impl/punch"
	"github.com/punchlab/punchlab/impl/wire"
)

// Stats counts since New, over all connections; Connection is the one that was asked for last.
type Stats struct {
	Traffic   core.Traffic
	Probes    core.Count            // punches and samples sent
	ProbesBy  map[string]core.Count // of them, by the strategy that sent them
	Opened    int                   // sockets opened beside the first
	Class     wire.Class            // of the NATs before the viewer, as far as known
	Dropped   core.Drops            // packets, by reason
	LoggedIn  bool
	RTT       time.Duration // to the rendezvous
	Reflexive netip.AddrPort
	Cameras   int // connections now

	Connection
}

// Connection is what is known of one camera's connection, from Connect to its end and through Reconnecting. Zero times:
// it did not happen.
type Connection struct {
	Camera   identity.UID
	Strategy string
	Role     wire.Role // of this viewer at the camera; 0: not connected yet, or the camera keeps no list

	Asked       time.Time // Connect was called
	ConnectSent time.Time
	PeerKnown   time.Time
	Connected   time.Time
	FirstPacket time.Time
	FirstFrame  time.Time
	DirectAt    time.Time // a direct path was confirmed

	Path      punch.Path // in use, with its local socket; after the end, the last one
	Confirmed bool       // Path works both ways (see PathConfirmed)
	// ByAllocation: Path leads over a TURN server's allocation, the viewer's or the camera's. Its Route is Direct, since the
	// rendezvous does not relay, but somebody else does; DirectAt is not set.
	ByAllocation bool
	NotDirect    string        // why there is no direct path, one sentence; empty: there is one, or it is still looked for
	RTT          time.Duration // to the camera, by Path, as consent and its answers show; 0: not measured yet
	Near         []netip.AddrPort
	// Near are the addresses by which the camera may be met without a rendezvous next time (Request.Near): those of its own
	// that are private, and that of the path where it is.

	Media        core.Count // SRTP received, duplicates too
	MediaDirect  core.Count // of them, by the direct path
	MediaRelay   core.Count // of them, through the relay
	Probed       core.Count // punches and samples sent for this connection
	Before       core.Count // of them, sent before the direct path stood; all of them where there is none
	PathChanges  int64
	Uses         int64 // Use messages sent
	Frames       int64 // delivered
	Quality      media.Quality
	CameraSilent time.Duration // the longest silence while watching
}

// Stats returns the counts so far.
func (v *Viewer) Stats() Stats {
	s := Stats{
		Traffic: v.box.Traffic(), Probes: v.probes.Total, ProbesBy: v.probes.By(), Opened: v.dev.Opened(), Class: v.dev.Class(),
		Dropped: core.Drops{}, LoggedIn: v.link.Up(), Reflexive: v.link.Reflexive(), Cameras: len(v.watches), Connection: *v.last,
	}
	s.RTT = v.link.RTT()
	for k, n := range v.dropped {
		s.Dropped[k] = n
	}
	for _, a := range v.watches {
		if a.c == v.last {
			s.Connection = a.connection()
		}
	}
	if s.DirectAt.IsZero() {
		s.Before = s.Probed
	}
	return s
}

// Connection returns what is known of a camera's connection; ok is false where there is none.
func (v *Viewer) Connection(camera identity.UID) (c Connection, ok bool) {
	a := v.watching(camera)
	if a == nil {
		return Connection{}, false
	}
	return a.connection(), true
}

// connection brings the record up to date.
func (a *attempt) connection() Connection {
	c := a.c
	c.Path, c.Confirmed, c.ByAllocation = a.path, a.twoWay, a.byAllocation()
	if at := a.nearby(); len(at) > 0 {
		c.Near = at
	}
	if a.receiver != nil {
		c.Quality = a.receiver.Quality()
	}
	out := *c
	if out.DirectAt.IsZero() {
		out.Before = out.Probed
	}
	return out
}
