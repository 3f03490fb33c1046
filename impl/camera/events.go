package camera

import (
	"net/netip"
	"time"

	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/punch"
	"github.com/punchlab/punchlab/impl/wire"
)

// Registered says that the rendezvous knows the camera.
type Registered struct {
	At        time.Time
	Reflexive netip.AddrPort
}

// Unregistered says that the rendezvous fell silent; the camera registers again.
type Unregistered struct{ At time.Time }

// Classified says what has been found out about the NATs before the camera. A zero class says that nothing was.
type Classified struct {
	At    time.Time
	Class wire.Class
}

// Ready says that the camera is registered and, with Config.Classify, classified: what a viewer should wait for.
type Ready struct{ At time.Time }

// ViewerAccepted says that an authentic viewer is being answered.
type ViewerAccepted struct {
	At     time.Time
	Viewer identity.UID
	Policy string // by which it is answered
}

// ViewerRefused says that an introduced viewer is not answered.
type ViewerRefused struct {
	At     time.Time
	Viewer identity.UID // zero: it could not be authenticated
	Code   wire.Code
}

// StreamStarted says that the first flight has left.
type StreamStarted struct {
	At     time.Time
	Viewer identity.UID
}

// StreamStopped says that a viewer gets no more media, and why.
type StreamStopped struct {
	At     time.Time
	Viewer identity.UID
	Code   wire.Code
	Frames int64 // sent in the stream
}

// PathChanged says that a viewer's media moves.
type PathChanged struct {
	At       time.Time
	Viewer   identity.UID
	From, To punch.Path
}
