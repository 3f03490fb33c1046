package viewer

import (
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/wire"
)

// remote is a viewer in another process; when that one ends, in this one.
type remote struct {
	opt    Options
	at     string
	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu   sync.Mutex
	here *Viewer // nil: it is in the other process
}

const (
	// longest is how long another process is waited for where the context sets no end.
	longest = time.Minute
	// handover is how long a process that ends may take to give the book away, and again how often that is looked after.
	handover, again = 5 * time.Second, 20 * time.Millisecond
)

// errGone says that the process that had the book open has ended.
var errGone = errors.New("the other viewer that had this book of cameras open has ended; try again")

var errForeign = errors.New("the socket of this book of cameras is another user's: end that user's program, or take another book")

func gone(err error) error { return fmt.Errorf("%w: %w", errGone, err) }

// dial finds the process that has a book open.
func dial(o Options) (*remote, error) {
	at, err := address(o.Book)
	if err != nil {
		return nil, err
	}
	r := &remote{opt: o, at: at}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	if _, err := r.call(r.ctx, call{Op: "state"}); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

// viewer is this process' own, once it has one.
func (r *remote) viewer() *Viewer {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.here
}

// takeOver opens the book here, unless yet another process was faster.
func (r *remote) takeOver(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.here != nil || r.ctx.Err() != nil {
		return r.ctx.Err()
	}
	v, err := Open(r.opt)
	if err == nil {
		r.here = v
		return nil
	}
	if !errors.Is(err, ErrInUse) {
		return err
	}
	select { // it may be about to end
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(again):
		return nil
	}
}

// ask begins a call of the other process.
func (r *remote) ask(ctx context.Context, x call) (net.Conn, *gob.Decoder, error) {
	c, err := (&net.Dialer{}).DialContext(ctx, "unix", r.at)
	if err != nil {
		return nil, nil, gone(err)
	}
	if !own(c.(*net.UnixConn)) { // it would be told secrets
		return nil, nil, errors.Join(errForeign, c.Close())
	}
	if err := gob.NewEncoder(c).Encode(x); err != nil {
		return nil, nil, gone(errors.Join(err, c.Close()))
	}
	return c, gob.NewDecoder(c), nil
}

// call asks what has one answer.
func (r *remote) call(ctx context.Context, x call) (reply, error) {
	x.Within = longest
	if end, ok := ctx.Deadline(); ok {
		x.Within = time.Until(end)
	}
	for late := time.Now().Add(handover); ; {
		if v := r.viewer(); v != nil {
			y := v.call(x)
			return y, y.err()
		}
		y, asked, err := r.try(ctx, x)
		if !errors.Is(err, errGone) || asked && !harmless[x.Op] || time.Now().After(late) {
			return y, err
		}
		if err := r.takeOver(ctx); err != nil {
			return y, err
		}
	}
}

// harmless are calls that may be made twice.
var harmless = map[string]bool{"state": true, "camera": true, "members": true, "rename": true}

// try calls the other process once. asked says that it may have done what it was asked for.
func (r *remote) try(ctx context.Context, x call) (y reply, asked bool, err error) {
	c, in, err := r.ask(ctx, x)
	if err != nil {
		return y, false, err
	}
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { _ = c.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	if err := in.Decode(&y); err != nil {
		if ctx.Err() != nil {
			return y, true, ctx.Err()
		}
		return y, true, gone(err)
	}
	return y, true, y.err()
}

func (y reply) err() error {
	switch {
	case y.Error == "":
		return nil
	case y.Gone:
		return errGone
	case y.Code != 0:
		return &Refusal{y.Code, y.Error}
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
		for ctx.Err() == nil {
			if v := r.viewer(); v != nil {
				forward(ctx, v, changed)
			} else if r.follow(ctx, changed); r.takeOver(ctx) != nil {
				return
			}
		}
	})
	return changed, cancel
}

// tell says that something has changed.
func tell(changed chan<- struct{}) {
	select {
	case changed <- struct{}{}:
	default:
	}
}

// forward tells what this process' viewer tells.
func forward(ctx context.Context, v *Viewer, changed chan<- struct{}) {
	news, cancel := v.Changed()
	defer cancel()
	for {
		tell(changed)
		select {
		case <-ctx.Done():
			return
		case <-news:
		}
	}
}

// follow tells what the other process tells, until its end.
func (r *remote) follow(ctx context.Context, changed chan<- struct{}) {
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
		tell(changed)
	}
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
	if v := r.viewer(); v != nil {
		return v.Close()
	}
	return nil
}
