package viewer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/punchlab/punchlab/impl/identity"
	core "github.com/punchlab/punchlab/impl/viewer"
	"github.com/punchlab/punchlab/impl/wire"
)

// question is something that a camera is asked. Its answer comes once.
type question struct {
	m    wire.Manage
	done chan answer // room for one
}

type answer struct {
	managed core.Managed
	err     error
}

// waiter waits for a connection on which the camera has heard this viewer: until then it may still turn it away.
type waiter struct {
	once bool // for the first attempt's result
	done chan error
}

// ask hands the core what is to be asked of a camera that is connected.
func (h *home) ask(now time.Time, c *camera) {
	if c.phase != Watching {
		return
	}
	for _, q := range c.asked {
		sequence, err := h.core.Manage(now, c.uid, q.m)
		if err != nil {
			q.done <- answer{err: err}
			continue
		}
		c.pending[sequence] = q
	}
	c.asked = nil
}

// answered gives an answer to who asked.
func (c *camera) answered(e core.Managed) {
	if q := c.pending[e.Sequence]; q != nil {
		delete(c.pending, e.Sequence)
		q.done <- answer{managed: e}
	}
}

// requeue has what was not answered asked again by the next connection.
func (c *camera) requeue() {
	for _, sequence := range slices.Sorted(maps.Keys(c.pending)) {
		c.asked = append(c.asked, c.pending[sequence])
	}
	clear(c.pending)
}

// greet tells who waits for a connection that there is one, and that it counts.
func (c *camera) greet() {
	for _, w := range c.waiters {
		w.done <- nil
	}
	c.waiters = nil
}

// lost tells who was asking when the connection ended. A camera that was to be released may have ended it for that.
func (c *camera) lost(r *Refusal) {
	for _, q := range c.pending {
		a := answer{err: fmt.Errorf("the connection ended before the camera answered: %w; ask again", r)}
		if q.m.Op == wire.OpRelease && r.Code == wire.CodeRevoked {
			a = answer{}
		}
		q.done <- a
	}
	clear(c.pending)
}

// refuse tells who waits that there is no connection.
func (c *camera) refuse(r *Refusal) {
	for _, q := range c.asked {
		q.done <- answer{err: r}
	}
	c.asked = nil
	var left []*waiter
	for _, w := range c.waiters {
		if w.once || final(r.Code) {
			w.done <- r
		} else {
			left = append(left, w)
		}
	}
	c.waiters = left
}

// use holds a session with a camera until release.
func (v *Viewer) use(c *camera) (release func()) {
	c.users++
	c.home.wake()
	return func() {
		v.mu.Lock()
		defer v.mu.Unlock()
		c.users--
		c.home.wake()
	}
}

// manage asks a camera, to which it connects if need be.
func (v *Viewer) manage(ctx context.Context, name string, m wire.Manage) (core.Managed, error) {
	v.mu.Lock()
	c, err := v.named(name)
	if err == nil && v.closed {
		err = io.EOF
	}
	if err != nil {
		v.mu.Unlock()
		return core.Managed{}, err
	}
	q := &question{m: m, done: make(chan answer, 1)}
	c.asked = append(c.asked, q)
	if c.phase == Refused || c.phase == Waiting {
		c.become(Idle)
	}
	release := v.use(c)
	v.mu.Unlock()
	defer release()
	select {
	case <-ctx.Done():
		return core.Managed{}, fmt.Errorf("%s %s: no answer: %w", m.Op, c.Name, ctx.Err())
	case a := <-q.done:
		if a.err == nil && a.managed.Code != 0 {
			a.err = &Refusal{a.managed.Code, a.managed.Code.Sentence()}
		}
		if a.err != nil {
			return core.Managed{}, fmt.Errorf("%s %s: %w", m.Op, c.Name, a.err)
		}
		return a.managed, nil
	}
}

// Members lists who may watch a camera. Its owner may ask.
func (v *Viewer) Members(ctx context.Context, name string) (all []wire.Member, err error) {
	for from := uint32(0); ; {
		x, err := v.manage(ctx, name, wire.Manage{Op: wire.OpList, From: from})
		if err != nil {
			return nil, err
		}
		all = append(all, x.Members...)
		if x.Next <= from {
			return all, nil
		}
		from = x.Next
	}
}

// Invitation says what somebody is invited for.
type Invitation struct {
	Role wire.Role     // 0: guest
	For  time.Duration // how long what it gives holds, to the second; 0: without end
	Name string        // for whom it is; "": whoever has it
}

// Invite makes an invitation, which works once: the label is for who is invited to Add.
func (v *Viewer) Invite(ctx context.Context, name string, i Invitation) (identity.Label, error) {
	if i.Role == 0 {
		i.Role = wire.RoleGuest
	}
	seconds := i.For / time.Second
	switch {
	case i.Name != "" && !wire.ValidName(i.Name):
		return identity.Label{}, fmt.Errorf("invite: the name %q is longer than %d bytes, or has control characters", i.Name, wire.MaxName)
	case i.For != 0 && seconds < 1, int64(seconds) > int64(^uint32(0)):
		return identity.Label{}, fmt.Errorf("invite: for %v: give a second or more, and less than 136 years", i.For)
	}
	var secret identity.Secret
	if _, err := io.ReadFull(v.opt.Rand, secret[:]); err != nil {
		return identity.Label{}, fmt.Errorf("invite: draw secret: %w", err)
	}
	_, err := v.manage(ctx, name, wire.Manage{Op: wire.OpInvite, Role: i.Role, Seconds: uint32(seconds), Secret: secret, Name: []byte(i.Name)})
	if err != nil {
		return identity.Label{}, err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	c, err := v.named(name)
	if err != nil {
		return identity.Label{}, err
	}
	label := c.label
	label.Secret, label.Invited = secret, true
	return label, nil
}

// Cancel takes an invitation back that nobody has used.
func (v *Viewer) Cancel(ctx context.Context, name string, invitation identity.Label) error {
	if !invitation.Invited {
		return errors.New("cancel: this is no invitation's label; give what Invite returned")
	}
	_, err := v.manage(ctx, name, wire.Manage{Op: wire.OpCancel, Secret: invitation.Secret})
	return err
}

// Revoke ends what a member may do, and its stream at once.
func (v *Viewer) Revoke(ctx context.Context, name string, member identity.PublicKey) error {
	_, err := v.manage(ctx, name, wire.Manage{Op: wire.OpRevoke, Key: member})
	return err
}

// SetRole changes what a member may do.
func (v *Viewer) SetRole(ctx context.Context, name string, member identity.PublicKey, role wire.Role) error {
	_, err := v.manage(ctx, name, wire.Manage{Op: wire.OpSetRole, Key: member, Role: role})
	return err
}

// Release has the camera forget all its members and invitations: who scans its label next is its owner. It is taken out of
// the book.
func (v *Viewer) Release(ctx context.Context, name string) error {
	if _, err := v.manage(ctx, name, wire.Manage{Op: wire.OpRelease}); err != nil {
		return err
	}
	return v.Remove(name)
}
