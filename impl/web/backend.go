package web

import (
	"context"
	"time"

	"github.com/punchlab/punchlab/impl/media"
	"github.com/punchlab/punchlab/impl/program/viewer"
)

// Backend is who has the cameras. Its methods are called from many goroutines.
type Backend interface {
	// Cameras are all there are, in the order in which they are shown.
	Cameras() []Camera
	// Changed receives when Cameras has changed, until cancel.
	Changed() (changed <-chan struct{}, cancel func())
	// Watch begins to watch a camera by its name.
	Watch(camera string) (Feed, error)
}

// Feed is a camera's video for one session. It begins at a key frame.
type Feed interface {
	Next(ctx context.Context) (Frame, error)
	RequestKeyFrame()
	Close()
}

// Frame is a whole access unit. Where Stream is another than the frame's before, its PTS begins anew.
type Frame struct {
	media.Frame
	Stream uint64
}

// Camera is a camera's state, as /api/cameras gives it. What is not known is absent.
type Camera struct {
	Name     string     `json:"name"`
	UID      string     `json:"uid"`
	Role     string     `json:"role,omitempty"` // "owner" or "guest"
	Presence string     `json:"presence"`       // "online", "offline" or "unknown"
	Since    *time.Time `json:"since,omitempty"`
	Why      string     `json:"why,omitempty"` // it is offline
	LastSeen *time.Time `json:"last_seen,omitempty"`
	LastPath string     `json:"last_path,omitempty"` // "direct", "relay" or "lan"

	Phase    string   `json:"phase"` // "idle", "connecting", "watching", "waiting" or "refused"
	Failure  string   `json:"failure,omitempty"`
	Path     string   `json:"path,omitempty"`      // of the connection
	RTT      *float64 `json:"rtt_s,omitempty"`     // s
	Latency  *float64 `json:"latency_s,omitempty"` // s, from capture to here, as exact as both clocks
	Loss     *float64 `json:"loss,omitempty"`      // of packets in the last seconds, 0 to 1
	Bitrate  *float64 `json:"bitrate_bps,omitempty"`
	Rate     *float64 `json:"frames_per_s,omitempty"`
	Frames   int64    `json:"frames,omitempty"`
	Watching int      `json:"watching,omitempty"` // sessions
}

// Of is the backend that a viewer is.
func Of(v viewer.Session) Backend { return program{v} }

type program struct{ viewer.Session }

func (p program) Cameras() (list []Camera) {
	for _, c := range p.Session.Cameras() {
		list = append(list, state(c))
	}
	return list
}

func state(c viewer.Camera) Camera {
	s := Camera{
		Name: c.Name, UID: c.UID.String(), Role: c.Role.String(), Presence: string(c.Presence), Since: at(c.Since), Why: c.Why,
		LastSeen: at(c.LastSeen), LastPath: c.LastPath, Phase: string(c.Phase), Failure: c.Failure, Path: c.Path, Frames: c.Frames,
		Watching: c.Feeds,
	}
	if c.Role == 0 {
		s.Role = ""
	}
	if c.RTT > 0 {
		rtt := c.RTT.Seconds()
		s.RTT = &rtt
	}
	if c.Phase == viewer.Watching && c.Frames > 0 {
		latency := c.Latency.Seconds()
		s.Latency, s.Loss, s.Bitrate, s.Rate = &latency, &c.Loss, &c.Bitrate, &c.Rate
	}
	return s
}

func at(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func (p program) Watch(camera string) (Feed, error) {
	f, err := p.Session.Watch(camera, viewer.WatchOptions{})
	if err != nil {
		return nil, err
	}
	return feed{f}, nil
}

type feed struct{ viewer.Stream }

func (f feed) Next(ctx context.Context) (Frame, error) {
	got, err := f.Stream.Next(ctx)
	return Frame{Frame: got.Frame, Stream: got.Stream}, err
}
