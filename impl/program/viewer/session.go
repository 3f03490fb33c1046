package viewer

import (
	"context"
	"errors"

	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/wire"
)

// Session is a viewer that is open: in this process, or in another one of the same user's that has the same book.
type Session interface {
	Cameras() []Camera
	Camera(name string) (Camera, error)
	Servers() []Server
	Changed() (changed <-chan struct{}, cancel func())
	Watch(name string, o WatchOptions) (Stream, error)

	Add(ctx context.Context, label identity.Label, o AddOptions) (Camera, error)
	Enter(label identity.Label, name string) (Camera, error)
	Rename(name, to string) error
	Remove(name string) error

	Members(ctx context.Context, name string) ([]wire.Member, error)
	Invite(ctx context.Context, name string, i Invitation) (identity.Label, error)
	Cancel(ctx context.Context, name string, invitation identity.Label) error
	Revoke(ctx context.Context, name string, member identity.PublicKey) error
	SetRole(ctx context.Context, name string, member identity.PublicKey, role wire.Role) error
	Release(ctx context.Context, name string) error

	Close() error
}

// Stream is a camera's video: a Feed, or one of another process.
type Stream interface {
	// Next waits for the next frame. Its Data must not be changed: others have it too. The error is why the camera cannot be
	// watched (a *Refusal), io.EOF after Close, or the context's.
	Next(ctx context.Context) (Frame, error)
	Camera() identity.UID
	RequestKeyFrame()
	Skipped() int64
	Close()
}

// Use opens a viewer as Open does, unless another process has the book open: that one is asked then. Two sessions with one
// key would put each other out: a rendezvous and a camera serve the newer one.
//
//	punchlab viewer watch door ── Viewer ── rendezvous, cameras
//	punchlab viewer list ─────────── ▲ by a socket of the same user's
//
// Where that one ends, this one opens the book itself, and streams go on.
func Use(o Options) (Session, error) {
	v, err := Open(o)
	switch {
	case err == nil:
		return v, nil
	case !errors.Is(err, ErrInUse):
		return nil, err
	}
	r, err := dial(o)
	if err != nil {
		return nil, err
	}
	return r, nil
}

// ErrInUse says that another process has the book open.
var ErrInUse = errors.New("another viewer has this book of cameras open")
