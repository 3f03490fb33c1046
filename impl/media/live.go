package media

import (
	"errors"
	"time"

	"github.com/pion/rtcp"
)

// ErrPending is what a live source's Next returns while it has nothing new. Whoever serves the source asks again when it is
// told that there is something (camera.Camera.HandleFrames).
var ErrPending = errors.New("no access unit yet")

// A Source may also be an io.Closer: whoever asked for it closes it once it is no longer read.

// KeyFramer is a Source that can be asked for a key frame, because a viewer cannot go on without one.
type KeyFramer interface {
	// RequestKeyFrame sees to it that a key frame comes soon, without waiting for it: the encoder's next picture, or the
	// last key frame once more and what came since. It is called twice a second at most.
	RequestKeyFrame()
}

// Adaptive is a Source whose bitrate follows the path's. What it cannot do is done by thinning: frames are left out.
type Adaptive interface {
	// SetTarget asks for a bitrate, bits per second, never below Floor. It is called when the estimate changes, from the
	// first packet on, and returns at once.
	SetTarget(bps int)
	// Floor is the least bitrate, bits per second, that the source can be asked for.
	Floor() int
}

// Estimator finds out what a path carries, from what was sent and what the viewer reports (transport-wide congestion
// control, draft-holmer-rmcat-transport-wide-cc-extensions-01). One belongs to one viewer's stream on one path: when the media
// moves, another one begins, and this one is taken up again if the media comes back soon. It is used by one goroutine at a time.
type Estimator interface {
	// Sent notes a packet that leaves, by its transport-wide sequence number: for the first time, or again without having been asked
	// for, after which its arrival counts from then on. size is its bytes of UDP payload.
	Sent(now time.Time, seq uint16, size int)
	// Feedback takes the viewer's report of arrivals. A packet that had to be sent again counts as lost in it. What p points to
	// is the estimator's to keep.
	Feedback(now time.Time, p *rtcp.TransportLayerCC)
	// Lost takes the fraction of packets, 0 to 1, that a receiver report says were lost since the one before, repairs aside.
	Lost(now time.Time, fraction float64)
	// Target is what the path is taken to carry now, bits per second; 0: not known yet.
	Target() int
	// Close ends the estimator's work.
	Close()
}
