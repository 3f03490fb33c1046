package viewer

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"github.com/punchlab/punchlab/impl/media"
	"github.com/punchlab/punchlab/impl/punch"
	core "github.com/punchlab/punchlab/impl/viewer"
	"github.com/punchlab/punchlab/impl/wire"
)

// Times between attempts to connect, doubling, with up to a quarter more at random.
const (
	firstRetry = 500 * time.Millisecond
	lastRetry  = 30 * time.Second
)

// camera is one that the viewer knows. Viewer.mu guards it.
type camera struct {
	entry
	home  *home
	feeds []*Feed
	users int // that want a session, with video or without

	presence Presence
	since    time.Time
	why      string

	phase    Phase
	quiet    bool // the connection is without video
	dropped  int  // connections ended by this side whose Closed is still to come
	retryAt  time.Time
	retryGap time.Duration
	failure  *Refusal
	stream   uint64
	path     punch.Path
	gop      []Frame // since the last key frame, of this stream
	gopSize  int

	asked   []*question // for the next step
	pending map[uint32]*question
	waiters []*waiter

	temporary bool // not in the book
	noted     bool // the book is to be told of it

	measured meter
	rtt      time.Duration
	latency  time.Duration
}

// wanted says whether there should be a connection, and whether one with video.
func (c *camera) wanted() (any, video bool) { return len(c.feeds)+c.users > 0, len(c.feeds) > 0 }

// later sets when the camera is asked for again.
func (c *camera) later(now time.Time) {
	c.retryGap = min(max(2*c.retryGap, firstRetry), lastRetry)
	c.retryAt = now.Add(c.retryGap + rand.N(c.retryGap/4))
}

// Refusal is why there is no connection with a camera.
type Refusal struct {
	Code  wire.Code
	Cause string // one sentence
}

// Error is the sentence.
func (r *Refusal) Error() string { return r.Cause }

// final says whether asking again is of no use.
func final(c wire.Code) bool {
	switch c {
	case wire.CodeNotPaired, wire.CodeVersion, wire.CodeProfile, wire.CodeClaimed, wire.CodeRevoked, wire.CodeReplaced, wire.CodeNotAllowed,
		wire.CodeAccount, wire.CodeAccountExpired, wire.CodeWrongKey, wire.CodeStrategy:
		return true
	}
	return false
}

// pathName is a path to the camera in one word.
func (c *camera) pathName(p punch.Path) string {
	switch {
	case p.Route == punch.Relay:
		return "relay"
	case p.Route != punch.Direct:
		return ""
	case core.Nearby(p.Addr.Addr()) || slices.Contains(c.Near, p.Addr):
		return "lan"
	}
	return "direct"
}

// maxGOP bounds what is kept for who comes in the middle of a group of pictures.
const maxGOP, maxGOPSize = 512, 8 << 20

// keep notes a frame for who comes later.
func (c *camera) keep(f Frame) {
	if f.Key {
		c.gop, c.gopSize = nil, 0 // a new slice: feeds have copied from the old one
	} else if len(c.gop) == 0 {
		return
	}
	if c.gop, c.gopSize = append(c.gop, f), c.gopSize+len(f.Data); len(c.gop) > maxGOP || c.gopSize > maxGOPSize {
		c.gop = nil
	}
}

// meter measures what a connection delivers, over the last seconds.
type meter struct {
	at   time.Time
	last media.Quality

	loss, bits, rate float64
}

// read takes the counts so far.
func (m *meter) read(now time.Time, q media.Quality) {
	d := now.Sub(m.at).Seconds()
	if m.at.IsZero() || q.Expected < m.last.Expected {
		*m = meter{at: now, last: q}
		return
	}
	if d <= 0 {
		return
	}
	if expected := q.Expected - m.last.Expected; expected > 0 {
		m.loss = min(float64(q.Lost-min(q.Lost, m.last.Lost))/float64(expected), 1)
	}
	m.bits, m.rate = 8*float64(q.Bytes-m.last.Bytes)/d, float64(q.FramesReceived-m.last.FramesReceived)/d
	m.at, m.last = now, q
}

// snapshot is the camera's state.
func (c *camera) snapshot() Camera {
	s := Camera{
		Name: c.Name, UID: c.uid, Role: c.Role, Presence: c.presence, Since: c.since, Why: c.why, LastSeen: c.LastSeen, LastPath: c.LastPath,
		Phase: c.phase, Feeds: len(c.feeds), Stream: c.stream,
	}
	if c.failure != nil && c.phase != Watching && c.phase != Idle {
		s.Failure = c.failure.Cause
	}
	if c.phase != Watching {
		return s
	}
	s.Path, s.Peer = c.pathName(c.path), c.path.Addr
	if c.path.Route != punch.Direct {
		s.Peer = netip.AddrPort{}
	}
	s.RTT, s.Latency, s.Loss, s.Bitrate, s.Rate = c.rtt, c.latency, c.measured.loss, c.measured.bits, c.measured.rate
	s.Frames = int64(c.measured.last.FramesReceived)
	return s
}
