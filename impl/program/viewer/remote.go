package viewer

import (
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/wire"
)

// remote is a viewer in another process.
type remote struct {
	at     string
	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// longest is how long another process is waited for where the context sets no end.
const longest = time.Minute

// dial finds the process that has a book open.
func dial(book string) (*remote, error) {
	at, err := address(book)
	if err != nil {
		return nil, err
	}
	r := &remote{at: at}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	if _, err := r.call(r.ctx, call{Op: "state"}); err != nil {
		r.cancel()
		return nil, err
	}
	return r, nil
}

// ask begins a call.
func (r *remote) ask(ctx context.Context, x call) (net.Conn, *gob.Decoder, error) {
	x.Within = longest
	if end, ok := ctx.Deadline(); ok {
		x.Within = time.Until(end)
	}
	c, err := (&net.Dialer{}).DialContext(ctx, "unix", r.at)
	if err != nil {
		return nil, nil, gone(err)
	}
	if !own(c.(*net.UnixConn)) { // it would be told secrets
		return nil, nil, errors.Join(errors.New("the socket of this book of cameras is another user's: end that user's program, or give another --book"), c.Close())
	}
	if err := gob.NewEncoder(c).Encode(x); err != nil {
		return nil, nil, gone(errors.Join(err, c.Close()))
	}
	return c, gob.NewDecoder(c), nil
}

func gone(err error) error {
	return fmt.Errorf("the other viewer that has this book of cameras open does not answer: %w; try again", err)
}

// call asks what has one answer.
func (r *remote) call(ctx context.Context, x call) (y reply, err error) {
	c, in, err := r.ask(ctx, x)
	if err != nil {
		return y, err
	}
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { _ = c.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	if err := in.Decode(&y); err != nil {
		if ctx.Err() != nil {
			return y, ctx.Err()
		}
		return y, gone(err)
	}
	return y, y.err()
}

func (y reply) err() error {
	switch {
	case y.Error == "":
		return nil
	case y.Code != 0:
		return &Refusal{y.Code, y.Error}
	case y.Error == io.EOF.Error():
		return io.EOF
	}
	return errors.New(y.Error)
}

// one asks what is answered by a camera.
func (r *remote) one(ctx context.Context, x call) (Camera, error) {
	y, err := r.call(ctx, x)
	switch {
	case err != nil:
		return Camera{}, err
	case len(y.Cameras) != 1:
		return Camera{}, gone(errors.New("its answer has no camera"))
	}
	return y.Cameras[0], nil
}

func (r *remote) Cameras() []Camera {
	y, _ := r.call(r.ctx, call{Op: "state"}) // where it has gone there are none
	return y.Cameras
}

func (r *remote) Servers() []Server {
	y, _ := r.call(r.ctx, call{Op: "state"})
	return y.Servers
}

func (r *remote) Camera(name string) (Camera, error) {
	return r.one(r.ctx, call{Op: "camera", Name: name})
}

func (r *remote) Changed() (<-chan struct{}, func()) {
	changed := make(chan struct{}, 1)
	ctx, cancel := context.WithCancel(r.ctx)
	r.wg.Go(func() {
		c, in, err := r.ask(ctx, call{Op: "follow"})
		if err != nil {
			return
		}
		defer c.Close()
		stop := context.AfterFunc(ctx, func() { _ = c.Close() })
		defer stop()
		for {
			var y reply
			if in.Decode(&y) != nil {
				return
			}
			select {
			case changed <- struct{}{}:
			default:
			}
		}
	})
	return changed, cancel
}

func (r *remote) Add(ctx context.Context, label identity.Label, o AddOptions) (Camera, error) {
	return r.one(ctx, call{Op: "add", Label: label.String(), Add: o})
}

func (r *remote) Enter(label identity.Label, name string) (Camera, error) {
	return r.one(r.ctx, call{Op: "enter", Label: label.String(), Name: name})
}

func (r *remote) do(ctx context.Context, x call) error {
	_, err := r.call(ctx, x)
	return err
}

func (r *remote) Rename(name, to string) error {
	return r.do(r.ctx, call{Op: "rename", Name: name, To: to})
}

func (r *remote) Remove(name string) error { return r.do(r.ctx, call{Op: "remove", Name: name}) }

func (r *remote) Members(ctx context.Context, name string) ([]wire.Member, error) {
	y, err := r.call(ctx, call{Op: "members", Name: name})
	return y.Members, err
}

func (r *remote) Invite(ctx context.Context, name string, i Invitation) (identity.Label, error) {
	y, err := r.call(ctx, call{Op: "invite", Name: name, Invitation: i})
	if err != nil {
		return identity.Label{}, err
	}
	return identity.ParseLabel(y.Label)
}

func (r *remote) Cancel(ctx context.Context, name string, invitation identity.Label) error {
	return r.do(ctx, call{Op: "cancel", Name: name, Label: invitation.String()})
}

func (r *remote) Revoke(ctx context.Context, name string, member identity.PublicKey) error {
	return r.do(ctx, call{Op: "revoke", Name: name, Member: member})
}

func (r *remote) SetRole(ctx context.Context, name string, member identity.PublicKey, role wire.Role) error {
	return r.do(ctx, call{Op: "role", Name: name, Member: member, Role: role})
}

func (r *remote) Release(ctx context.Context, name string) error {
	return r.do(ctx, call{Op: "release", Name: name})
}

func (r *remote) Close() error {
	r.cancel()
	r.wg.Wait()
	return nil
}

// remoteFeed is the video of a camera that another process watches too.
type remoteFeed struct {
	conn   net.Conn
	camera identity.UID
	frames chan Frame
	stop   context.CancelFunc
	done   chan struct{} // closed once err is set

	mu      sync.Mutex
	err     error
	skipped int64
}

func (r *remote) Watch(name string, o WatchOptions) (Stream, error) {
	c, in, err := r.ask(r.ctx, call{Op: "watch", Name: name, Watch: o})
	if err != nil {
		return nil, err
	}
	var y reply
	err = in.Decode(&y)
	switch {
	case err != nil:
		err = gone(err)
	case y.Error != "":
		err = y.err()
	case len(y.Cameras) != 1:
		err = gone(errors.New("its answer has no camera"))
	}
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	f := &remoteFeed{conn: c, camera: y.Cameras[0].UID, frames: make(chan Frame), done: make(chan struct{})}
	var ctx context.Context
	ctx, f.stop = context.WithCancel(r.ctx)
	r.wg.Go(func() { f.receive(ctx, in) })
	return f, nil
}

// receive takes frames until the end.
func (f *remoteFeed) receive(ctx context.Context, in *gob.Decoder) {
	defer close(f.done)
	defer f.conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = f.conn.Close() })
	defer stop()
	end := func(err error) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.err = err
	}
	for {
		var y reply
		err := in.Decode(&y)
		switch {
		case ctx.Err() != nil:
			end(io.EOF)
			return
		case err != nil:
			end(gone(err))
			return
		case y.Error != "":
			end(y.err())
			return
		case y.Frame == nil:
			continue
		}
		f.mu.Lock()
		f.skipped = y.Skipped
		f.mu.Unlock()
		select {
		case f.frames <- *y.Frame:
		case <-ctx.Done():
		}
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
	_, _ = f.conn.Write([]byte{keyFrame}) // an end shows in Next
}

func (f *remoteFeed) Skipped() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.skipped
}

func (f *remoteFeed) Close() { f.stop() }
