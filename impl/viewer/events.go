package viewer

import (
	"net/netip"
	"time"

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

// Classified says what has been found out about the NATs before the viewer. A zero class says that nothing was.
type Classified struct {
	At    time.Time
	Class wire.Class
}

// Ready says that the viewer is logged in and, with Config.Classify, classified.
type Ready struct{ At time.Time }

// Connected says that the camera has answered: both sides hold the session's keys.
type Connected struct {
	At   time.Time
	Path punch.Path
}

// FirstPacket says that the first authentic media packet has arrived.
type FirstPacket struct {
	At   time.Time
	Path punch.Path
}

// FrameReceived hands over a whole frame.
type FrameReceived struct {
	Frame media.Frame
	Path  punch.Path // by which the packet that completed it came
}

// PathConfirmed says that a path works both ways: the camera has answered on it. A path that is heard only is left for
// the relay after a while, if there is one. Judge by this event whether a connection is direct.
type PathConfirmed struct {
	At   time.Time
	Path punch.Path
}

// PathChanged says that the media has moved.
type PathChanged struct {
	At       time.Time
	From, To punch.Path
}

// DirectFailed says that no direct path was found in time; the relay goes on.
type DirectFailed struct {
	At    time.Time
	Cause string
}

// Failed says that there is no connection, and why. The viewer is idle again.
type Failed struct {
	At    time.Time
	Code  wire.Code
	Cause string // one sentence
}

// Reconnecting says that the host has slept for so long that the camera has forgotten the connection, and that the
// viewer asks for it again. The video starts anew: what FrameReceived hands over from then on is another stream's.
type Reconnecting struct{ At time.Time }

// Closed says that the connection has ended as one side wished.
type Closed struct {
	At   time.Time
	Code wire.Code
}
