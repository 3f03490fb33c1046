package viewer

import (
	"context"
	"encoding/gob"
	"errors"
	"io"
	"net"
	"sync"

	"github.com/punchlab/punchlab/impl/identity"
)

// remoteFeed is the video of a camera that another process receives, and this one from when that has ended.
type remoteFeed struct {
	r      *remote
	name   string
	opt    WatchOptions
	camera identity.UID
	frames chan Frame
	stop   context.CancelFunc
	done   chan struct{} // closed once err is set

	mu      sync.Mutex
	err     error
	skipped int64
	key     func() // asks for a key frame where the frames come from
	stream  uint64 // number of the last frame's, counted here
	theirs  uint64 // its number where it came from
	moved   bool   // another process, or this one, is where frames come from
}

func (r *remote) Watch(name string, o WatchOptions) (Stream, error) {
	c, err := r.Camera(name)
	if err != nil {
		return nil, err
	}
	f := &remoteFeed{r: r, name: c.UID.String(), opt: o, camera: c.UID, frames: make(chan Frame), done: make(chan struct{})}
	var ctx context.Context
	ctx, f.stop = context.WithCancel(r.ctx)
	r.wg.Go(func() { f.run(ctx) })
	return f, nil
}

// run hands over frames until the end.
func (f *remoteFeed) run(ctx context.Context) {
	defer close(f.done)
	err := errGone
	for errors.Is(err, errGone) {
		if v := f.r.viewer(); v != nil {
			err = f.local(ctx, v)
		} else if err = f.remote(ctx); errors.Is(err, errGone) {
			if e := f.r.takeOver(ctx); e != nil {
				err = e
			}
		}
	}
	if ctx.Err() != nil {
		err = io.EOF
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
}

// local takes frames from this process' viewer.
func (f *remoteFeed) local(ctx context.Context, v *Viewer) error {
	feed, err := v.Feed(f.name, f.opt)
	if err != nil {
		return err
	}
	defer feed.Close()
	f.from(feed.RequestKeyFrame)
	for {
		x, err := feed.Next(ctx)
		if err != nil {
			return err
		}
		f.give(ctx, x, feed.Skipped())
	}
}

// remote takes frames from the other process.
func (f *remoteFeed) remote(ctx context.Context) error {
	c, in, err := f.r.ask(ctx, call{Op: "watch", Name: f.name, Watch: f.opt})
	if err != nil {
		return err
	}
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	defer stop()
	f.from(func() { wantKey(c) })
	return f.receive(ctx, in)
}

func wantKey(c net.Conn) { _, _ = c.Write([]byte{keyFrame}) } // an end shows in Next

func (f *remoteFeed) receive(ctx context.Context, in *gob.Decoder) error {
	for {
		var y reply
		err := in.Decode(&y)
		switch {
		case err != nil:
			return gone(err)
		case y.Error != "":
			return y.err()
		case y.Frame != nil:
			f.give(ctx, *y.Frame, y.Skipped)
		}
	}
}

// from notes where frames come from now.
func (f *remoteFeed) from(key func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.key, f.moved = key, true
}

// give hands a frame to Next, with the stream's number as it is counted here.
func (f *remoteFeed) give(ctx context.Context, x Frame, skipped int64) {
	f.mu.Lock()
	if f.skipped = skipped; f.moved || x.Stream != f.theirs {
		f.stream++
	}
	f.theirs, f.moved = x.Stream, false
	x.Stream = f.stream
	f.mu.Unlock()
	select {
	case f.frames <- x:
	case <-ctx.Done():
	}
}

func (f *remoteFeed) Next(ctx context.Context) (Frame, error) {
	select {
	case x := <-f.frames:
		return x, nil
	case <-ctx.Done():
		return Frame{}, ctx.Err()
	case <-f.done:
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return Frame{}, f.err
}

func (f *remoteFeed) Camera() identity.UID { return f.camera }

func (f *remoteFeed) RequestKeyFrame() {
	f.mu.Lock()
	key := f.key
	f.mu.Unlock()
	if key != nil {
		key()
	}
}

func (f *remoteFeed) Skipped() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.skipped
}

func (f *remoteFeed) Close() { f.stop() }
