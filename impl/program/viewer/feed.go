package viewer

import (
	"context"
	"io"
	"slices"

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

// defaultQueue is how many frames wait at most for a consumer that says nothing else.
const defaultQueue = 100

// Feed is one consumer of a camera's video. It begins at a key frame: with those frames, where somebody watches already,
// that have come since the last one. Viewer.mu guards it.
type Feed struct {
	v   *Viewer
	uid identity.UID
	opt WatchOptions

	queue   []Frame
	news    chan struct{} // something is to be had; or, once err is set, closed
	err     error
	needKey bool
	skipped int64
}

// Next waits for the next frame. Its Data must not be changed: others have it too. The error is why the camera cannot be watched (a
// *Refusal), io.EOF after Close, or the context's.
func (f *Feed) Next(ctx context.Context) (Frame, error) {
	for {
		f.v.mu.Lock()
		if len(f.queue) > 0 {
			x := f.queue[0]
			f.queue[0] = Frame{}
			f.queue = f.queue[1:]
			f.v.mu.Unlock()
			return x, nil
		}
		err := f.err
		f.v.mu.Unlock()
		if err != nil {
			return Frame{}, err
		}
		select {
		case <-ctx.Done():
			return Frame{}, ctx.Err()
		case <-f.news:
		}
	}
}

// Camera is the camera's UID.
func (f *Feed) Camera() identity.UID { return f.uid }

// RequestKeyFrame asks the camera for a key frame soon: this consumer has lost something.
func (f *Feed) RequestKeyFrame() {
	f.v.mu.Lock()
	defer f.v.mu.Unlock()
	if c := f.v.find(f.uid); c != nil {
		c.home.keys = append(c.home.keys, f.uid)
		c.home.wake()
	}
}

// Skipped is how many frames were left out because this consumer was too slow.
func (f *Feed) Skipped() int64 {
	f.v.mu.Lock()
	defer f.v.mu.Unlock()
	return f.skipped
}

// Close ends the feed; the camera's last one ends its connection.
func (f *Feed) Close() {
	f.v.mu.Lock()
	defer f.v.mu.Unlock()
	f.end(io.EOF)
}

// end ends it, with an error for Next once the queue is empty.
func (f *Feed) end(err error) {
	if f.err != nil {
		return
	}
	f.err = err
	close(f.news)
	if c := f.v.find(f.uid); c != nil {
		c.feeds = slices.DeleteFunc(c.feeds, func(x *Feed) bool { return x == f })
		c.home.wake()
	}
	f.v.changed()
}

// begin gives the feed what has come since the last key frame.
func (f *Feed) begin(gop []Frame) {
	f.queue, f.needKey = slices.Clone(gop), len(gop) == 0
	f.opt.Queue += len(gop)
}

// push hands over a frame.
func (f *Feed) push(x Frame) {
	if f.needKey && !x.Key {
		f.skipped++
		return
	}
	f.needKey = false
	if len(f.queue) >= f.opt.Queue {
		f.skipped += int64(len(f.queue))
		f.queue = nil
		if f.needKey = !x.Key; f.needKey {
			f.skipped++
			return
		}
	}
	f.queue = append(f.queue, x)
	select {
	case f.news <- struct{}{}:
	default:
	}
}
