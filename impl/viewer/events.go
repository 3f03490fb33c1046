package viewer

import (
	"net/netip"
	"time"

	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/media"
	"github.com/punchlab/punchlab/impl/punch"
	"github.com/punchlab/punchlab/impl/wire"
)

// LoggedIn says that the rendezvous knows the viewer.
type LoggedIn struct {
	At        time.Time
	Reflexive netip.AddrPort
	RTT       time.Duration
}

// LoggedOut says that the rendezvous fell silent, or said goodbye; the viewer logs in again. Connections go on, and what Presence
// has told is no longer known.
type LoggedOut struct{ At time.Time }

// Denied says that the rendezvous does not let this viewer in, and why. Where waiting helps, the viewer asks again.
type Denied struct {
	At    time.Time
	Code  wire.Code
	Retry time.Duration // after which it does; 0: as the rendezvous' addresses have their turn
}

// Presence says how a camera is that Watch named. Told of all of them in the beginning, then when it changes.
type Presence struct {
	Camera identity.UID
	At     time.Time
	State  wire.State
	Since  time.Time // of State; zero: nobody knows
}

// Managed is the camera's answer to Manage.
type Managed struct {
	Camera   identity.UID
	At       time.Time
	Sequence uint32 // that Manage returned
	Op       wire.Op
	Code     wire.Code     // why it was refused; 0: it was done
	Members  []wire.Member // of wire.OpList
	Next     uint32        // where the list goes on; 0: these are all
}

// Classified says what has been found out about the NATs before the viewer. A zero class says that nothing was.
type Classified struct {
	At    time.Time
	Class wire.Class
}

// Ready says that the viewer is logged in and, with Config.Classify, classified.
type Ready struct{ At time.Time }

// Connected says that the camera has answered: both sides hold the session's keys.
type Connected struct {
	Camera identity.UID
	At     time.Time
	Path   punch.Path
	Role   wire.Role // of this viewer at the camera; 0: the camera keeps no list
}

// FirstPacket says that the first authentic media packet has arrived.
type FirstPacket struct {
	Camera identity.UID
	At     time.Time
	Path   punch.Path
}

// FrameReceived hands over a whole frame.
type FrameReceived struct {
	Camera identity.UID
	Frame  media.Frame
	Path   punch.Path // by which the packet that completed it came
}

// PathConfirmed says that a path works both ways: the camera has answered on it. A path that is heard only is left for
// the relay after a while, if there is one. Judge by this event whether a connection is direct.
type PathConfirmed struct {
	Camera identity.UID
	At     time.Time
	Path   punch.Path
}

// PathChanged says that the media has moved.
type PathChanged struct {
	Camera   identity.UID
	At       time.Time
	From, To punch.Path
}

// DirectFailed says that no direct path was found in time; the relay goes on.
type DirectFailed struct {
	Camera identity.UID
	At     time.Time
	Cause  string
}

// Failed says that there is no connection with a camera, and why. It may be asked for again.
type Failed struct {
	Camera identity.UID
	At     time.Time
	Code   wire.Code
	Cause  string // one sentence
}

// Reconnecting says that the host has slept for so long that the camera has forgotten the connection, and that the
// viewer asks for it again. The video starts anew: what FrameReceived hands over from then on is another stream's.
type Reconnecting struct {
	Camera identity.UID
	At     time.Time
}

// Closed says that the connection has ended as one side wished.
type Closed struct {
	Camera identity.UID
	At     time.Time
	Code   wire.Code
}
