package viewer

import (
	"context"
	"io"

	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/media"
)

// Frame is a frame of a camera.
type Frame struct {
	media.Frame
	Path string // by which it came: "direct", "relay" or "lan"
	// Stream counts the camera's streams: where it differs from the frame before, the video begins anew, at a key frame.
	Stream uint64
}

// WatchOptions say how a camera is watched.
type WatchOptions struct {
	Queue int // frames that may wait for Next; 0: 100. Who is slower skips to the next key frame
	// Once ends the feed with why there is no connection. Without, it is made again and again, unless refused.
	Once bool
}

// Feed is one consumer of a camera's video. It begins at a key frame: with those frames, where somebody watches already,
// that have come since the last one.
type Feed struct {
	v   *Viewer
	uid identity.UID
	opt WatchOptions
}

// Next waits for the next frame. Its Data must not be changed: others have it too. The error is why the camera cannot be watched,
// io.EOF after Close, or the context's.
func (f *Feed) Next(ctx context.Context) (Frame, error) { return Frame{}, io.EOF }

// Camera is the camera's UID.
func (f *Feed) Camera() identity.UID { return f.uid }

// RequestKeyFrame asks the camera for a key frame soon: this consumer has lost something.
func (f *Feed) RequestKeyFrame() {}

// Skipped is how many frames were left out because this consumer was too slow.
func (f *Feed) Skipped() int64 { return 0 }

// Close ends the feed; the camera's last one ends its connection.
func (f *Feed) Close() {}
