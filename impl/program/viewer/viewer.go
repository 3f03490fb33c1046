package viewer

import (
	"context"
	"errors"
	"time"

	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/wire"
)

// Viewer is open until Close.
type Viewer struct {
	opt Options
}

// Run opens a viewer, calls Ready, and closes it when the context ends.
func Run(ctx context.Context, o Options) error {
	v, err := Open(o)
	if err != nil {
		return err
	}
	if o.Ready != nil {
		o.Ready(v)
	}
	<-ctx.Done()
	return v.Close()
}

// Open reads the book and logs in at the cameras' rendezvous servers.
func Open(o Options) (*Viewer, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	return &Viewer{opt: o}, nil
}

// Close ends all feeds and connections, says goodbye, and saves the book.
func (v *Viewer) Close() error { return nil }

// Cameras lists the cameras in the book, by name.
func (v *Viewer) Cameras() []Camera { return nil }

// Camera finds one by its name, by its UID, or by a beginning of either that no other has.
func (v *Viewer) Camera(name string) (Camera, error) { return Camera{}, errInert }

// Servers lists the rendezvous servers that the book's labels name.
func (v *Viewer) Servers() []Server { return nil }

// Changed returns a channel that receives when the state of a camera or server has changed since it was last received from:
// at once where something happened, once a second while numbers alone change. cancel ends that.
func (v *Viewer) Changed() (changed <-chan struct{}, cancel func()) {
	return make(chan struct{}), func() {}
}

// Add pairs with the camera of a label or an invitation: it connects once, for which the camera has to be online, and
// writes it into the book.
func (v *Viewer) Add(ctx context.Context, label identity.Label, o AddOptions) (Camera, error) {
	return Camera{}, errInert
}

// Enter writes a camera into the book without connecting.
func (v *Viewer) Enter(label identity.Label, name string) (Camera, error) { return Camera{}, errInert }

// Rename gives a camera another name.
func (v *Viewer) Rename(name, to string) error { return errInert }

// Remove forgets a camera. It remembers this viewer: Release, or have its owner Revoke it.
func (v *Viewer) Remove(name string) error { return errInert }

// Watch begins to watch a camera.
func (v *Viewer) Watch(name string, o WatchOptions) (*Feed, error) { return nil, errInert }

// Members lists who may watch a camera. Its owner may ask.
func (v *Viewer) Members(ctx context.Context, name string) ([]wire.Member, error) {
	return nil, errInert
}

// Invitation says what somebody is invited for.
type Invitation struct {
	Role wire.Role     // 0: guest
	For  time.Duration // how long what it gives holds, to the second; 0: without end
	Name string        // for whom it is; "": whoever has it
}

// Invite makes an invitation, which works once: the label is for who is invited to Add.
func (v *Viewer) Invite(ctx context.Context, name string, i Invitation) (identity.Label, error) {
	return identity.Label{}, errInert
}

// Cancel takes an invitation back that nobody has used.
func (v *Viewer) Cancel(ctx context.Context, name string, invitation identity.Label) error {
	return errInert
}

// Revoke ends what a member may do, and its stream at once.
func (v *Viewer) Revoke(ctx context.Context, name string, member identity.PublicKey) error {
	return errInert
}

// SetRole changes what a member may do.
func (v *Viewer) SetRole(ctx context.Context, name string, member identity.PublicKey, role wire.Role) error {
	return errInert
}

// Release has the camera forget all its members and invitations: who scans its label next is its owner. It is taken out of
// the book.
func (v *Viewer) Release(ctx context.Context, name string) error { return errInert }

var errInert = errors.New("not possible yet")
