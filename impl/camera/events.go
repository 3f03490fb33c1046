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

// Denied says that the rendezvous does not serve this camera, and why. The camera asks again after Retry.
type Denied struct {
	At    time.Time
	Code  wire.Code
	Retry time.Duration
}

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
	Policy string    // by which it is answered
	Role   wire.Role // by Config.Book; 0: there is none
	LAN    bool      // it came without a rendezvous
}

// PairingsChanged says that Config.Book is another now: save what its Marshal returns, where Config.Keep has not.
type PairingsChanged struct {
	At     time.Time
	By     identity.UID // the viewer that was paired, or the owner that changed the book
	Viewer identity.UID // whom it is about; zero: several, or an invitation that is still open
	Change Change
}

// Change is what became of a pairing.
type Change uint8

// The changes.
const (
	Paired   Change = iota + 1 // a viewer was added
	Invited                    // an invitation was opened, or replaced
	Canceled                   // an invitation was taken back
	Promoted                   // a viewer has another role
	Revoked                    // a viewer was taken out
	Released                   // everybody was
)

// String names the change.
func (c Change) String() string {
	if c < Paired || c > Released {
		return "unknown"
	}
	return [...]string{"paired", "invited", "canceled", "promoted", "revoked", "released"}[c-1]
}

// QualityChanged says that a viewer gets more or less of the video than before, because of what its path carries.
type QualityChanged struct {
	At      time.Time
	Viewer  identity.UID
	Quality Quality
	Target  int // what the path is taken to carry, bits per second
}

// Quality is how much of the source's video a viewer gets.
type Quality uint8

// The qualities, the best first. In each of them an adaptive source (media.Adaptive) has been asked for what the path carries.
const (
	Full      Quality = iota // every picture
	Thinned                  // the last pictures before each key frame are left out
	KeyFrames                // key frames alone
)

// String names the quality.
func (q Quality) String() string {
	if q > KeyFrames {
		return "unknown"
	}
	return [...]string{"full", "thinned", "key-frames"}[q]
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
