package viewer

import (
	"context"
	"crypto/sha256"
	"encoding/gob"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/wire"
)

// call is what another process wants: one for each connection, and replies until it is over.
type call struct {
	Op         string
	Name, To   string
	Label      string
	Add        AddOptions
	Watch      WatchOptions
	Invitation Invitation
	Member     identity.PublicKey
	Role       wire.Role
	Within     time.Duration // for an answer
}

// reply is what it gets.
type reply struct {
	Error   string    // "": none
	Gone    bool      // with it: this process ends, ask the next one
	Code    wire.Code // with it: the error is a Refusal
	Cameras []Camera
	Servers []Server
	Members []wire.Member
	Label   string
	Frame   *Frame
	Skipped int64
}

// keyFrame is what the watching side sends for RequestKeyFrame.
const keyFrame = 'k'

// address is the socket of a book: an abstract one (unix(7)), so that nothing is left behind.
func address(book string) (string, error) {
	path, err := filepath.Abs(book)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256([]byte(path))
	return fmt.Sprintf("@punchlab-viewer-%d-%s", os.Getuid(), hex.EncodeToString(sum[:16])), nil
}

// listen opens the socket for calls of other processes, which is a lock as well.
func (v *Viewer) listen() error {
	if v.opt.Book == "" {
		return nil
	}
	at, err := address(v.opt.Book)
	if err != nil {
		return fmt.Errorf("open book of cameras: %w", err)
	}
	v.listener, err = net.Listen("unix", at)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return ErrInUse
	case err != nil:
		return fmt.Errorf("open book of cameras: %w", err)
	}
	return nil
}

// serve takes calls until Close.
func (v *Viewer) serve() {
	if v.listener == nil {
		return
	}
	v.callers.Go(func() {
		for {
			c, err := v.listener.Accept()
			if err != nil {
				return
			}
			v.callers.Go(func() { v.caller(c.(*net.UnixConn)) })
		}
	})
}

// caller answers one call.
func (v *Viewer) caller(c *net.UnixConn) {
	defer c.Close()
	stop := context.AfterFunc(v.ctx, func() { _ = c.Close() })
	defer stop()
	if !own(c) {
		return
	}
	var x call
	if err := gob.NewDecoder(c).Decode(&x); err != nil {
		return
	}
	out := gob.NewEncoder(c)
	switch x.Op {
	case "follow":
		v.callFollow(c, out)
	case "watch":
		v.callWatch(c, out, x)
	default:
		_ = out.Encode(v.call(x)) // who has gone needs no answer
	}
}

// own says whether the process at the other end is this user's.
func own(c *net.UnixConn) bool {
	raw, err := c.SyscallConn()
	if err != nil {
		return false
	}
	var peer *syscall.Ucred
	if e := raw.Control(func(fd uintptr) {
		peer, err = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	}); e != nil || err != nil {
		return false
	}
	return int(peer.Uid) == os.Getuid()
}

// call does what has one answer.
func (v *Viewer) call(x call) (r reply) {
	ctx, cancel := context.WithTimeout(v.ctx, x.Within)
	defer cancel()
	var label identity.Label
	var err error
	if x.Label != "" {
		if label, err = identity.ParseLabel(x.Label); err != nil {
			return v.failure(err)
		}
	}
	var c Camera
	switch x.Op {
	case "state":
		r.Cameras, r.Servers = v.Cameras(), v.Servers()
	case "camera":
		c, err = v.Camera(x.Name)
	case "add":
		c, err = v.Add(ctx, label, x.Add)
	case "enter":
		c, err = v.Enter(label, x.Name)
	case "rename":
		err = v.Rename(x.Name, x.To)
	case "remove":
		err = v.Remove(x.Name)
	case "members":
		r.Members, err = v.Members(ctx, x.Name)
	case "invite":
		if label, err = v.Invite(ctx, x.Name, x.Invitation); err == nil {
			r.Label = label.String()
		}
	case "cancel":
		err = v.Cancel(ctx, x.Name, label)
	case "revoke":
		err = v.Revoke(ctx, x.Name, x.Member)
	case "role":
		err = v.SetRole(ctx, x.Name, x.Member, x.Role)
	case "release":
		err = v.Release(ctx, x.Name)
	default:
		err = fmt.Errorf("the other viewer does not know %q: it is of another version", x.Op)
	}
	if err != nil {
		return v.failure(err)
	}
	if !c.UID.IsZero() {
		r.Cameras = []Camera{c}
	}
	return r
}

// failure is an error on its way to another process.
func (v *Viewer) failure(err error) reply {
	v.mu.Lock()
	r := reply{Error: err.Error(), Gone: v.closed}
	v.mu.Unlock()
	var refusal *Refusal
	if errors.As(err, &refusal) {
		r.Code = refusal.Code
	}
	return r
}

// callFollow tells the state whenever it has changed, until the other side has gone.
func (v *Viewer) callFollow(c net.Conn, out *gob.Encoder) {
	changed, cancel := v.Changed()
	defer cancel()
	ctx, gone := untilGone(v.ctx, c, func(byte) {})
	defer gone()
	for {
		if out.Encode(reply{Cameras: v.Cameras(), Servers: v.Servers()}) != nil {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
	}
}

// callWatch hands over a camera's video, until the other side has gone.
func (v *Viewer) callWatch(c net.Conn, out *gob.Encoder, x call) {
	f, err := v.Feed(x.Name, x.Watch)
	if err != nil {
		_ = out.Encode(v.failure(err))
		return
	}
	defer f.Close()
	ctx, gone := untilGone(v.ctx, c, func(b byte) {
		if b == keyFrame {
			f.RequestKeyFrame()
		}
	})
	defer gone()
	for {
		frame, err := f.Next(ctx)
		if err != nil {
			_ = out.Encode(v.failure(err))
			return
		}
		if out.Encode(reply{Frame: &frame, Skipped: f.Skipped()}) != nil {
			return
		}
	}
}

// untilGone is a context that ends when the other side closes the connection; what it sends is handed to said.
func untilGone(parent context.Context, c net.Conn, said func(byte)) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(parent)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer cancel()
		var b [1]byte
		for {
			if _, err := c.Read(b[:]); err != nil {
				return
			}
			said(b[0])
		}
	}()
	return ctx, func() {
		cancel()
		_ = c.Close()
		<-done
	}
}
