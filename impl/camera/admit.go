package camera

import (
	"errors"
	"slices"
	"time"

	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/pairing"
	"github.com/punchlab/punchlab/impl/session"
	"github.com/punchlab/punchlab/impl/wire"
)

// admission is what an authentic initiation asks for and is granted.
type admission struct {
	hello *wire.Hello
	grant pairing.Grant // Role is 0 where Config has no Book
}

// admit says whether a viewer may watch. A code other than 0 says why not. Nothing is written in the book before the viewer was
// heard (confirm): its initiation may be a copy of an old one.
func (c *Camera) admit(now time.Time, req *session.Request) (admission, wire.Code, error) {
	refused := func(code wire.Code, err error) (admission, wire.Code, error) { return admission{}, code, err }
	parsed, err := wire.Unmarshal(req.Payload())
	hello, ok := parsed.(*wire.Hello)
	switch {
	case err != nil:
		return refused(wire.CodeMalformed, err)
	case !ok:
		return refused(wire.CodeMalformed, errUnasked)
	case hello.Version != wire.ProtocolVersion:
		return refused(wire.CodeVersion, wire.CodeVersion)
	}
	grant, code := c.grant(now, req.Peer(), hello.Proof)
	switch {
	case code != 0:
		return refused(code, code)
	case hello.Profile != wire.ProfileAES128GCM:
		return refused(wire.CodeProfile, wire.CodeProfile)
	case req.Timestamp() <= c.stamps[req.Peer()]:
		return refused(wire.CodeMalformed, errOld)
	case len(c.viewers)-c.unheard(req.Peer()) >= c.places(grant):
		return refused(wire.CodeBusy, wire.CodeBusy)
	}
	c.remember(req.Peer(), req.Timestamp())
	return admission{hello, grant}, 0, nil
}

// unheard is how many connections of a viewer wait to be heard. A newer one takes their place (accept): nobody holds more than two.
func (c *Camera) unheard(k identity.PublicKey) (n int) {
	for _, v := range c.viewers {
		if v.key == k && !v.confirmed {
			n++
		}
	}
	return n
}

// grant says what a viewer may do that shows a proof.
func (c *Camera) grant(now time.Time, viewer identity.PublicKey, proof identity.Proof) (pairing.Grant, wire.Code) {
	if c.cfg.Book != nil {
		g, err := c.cfg.Book.Check(now, viewer, proof)
		return g, codeOf(err)
	}
	g := pairing.Grant{Viewer: viewer, Paired: slices.Contains(c.cfg.Paired, viewer)}
	right := identity.PairingProof(c.cfg.Secret, viewer, c.cfg.Static.Public())
	if !g.Paired && (c.cfg.Secret == identity.Secret{} || !right.Equal(proof)) {
		return g, wire.CodeNotPaired
	}
	return g, 0
}

// places is how many viewers there may be before one is refused. There is one for an owner, who may want to send others away.
func (c *Camera) places(g pairing.Grant) int {
	if g.Paired && g.Role == pairing.Owner {
		return c.cfg.MaxViewers + 1
	}
	return c.cfg.MaxViewers
}

// confirm writes down what a viewer was granted, since it was heard. Somebody else may have been faster: then it has to go.
func (v *viewer) confirm(now time.Time) error {
	c := v.cam
	if c.cfg.Book == nil {
		return nil
	}
	var m pairing.Member
	var changed bool
	err := c.amend(func(book *pairing.Book) (err error) {
		m, changed, err = book.Take(now, v.grant, v.name)
		return err
	})
	if err != nil {
		v.sendAway(now, codeOf(err))
		return err
	}
	if changed {
		c.box.Emit(PairingsChanged{At: now, By: v.key.UID(), Viewer: v.key.UID(), Change: Paired})
	}
	v.listed(now, m)
	return nil
}

// amend changes the book and stores it, or leaves it as it is.
func (c *Camera) amend(change func(*pairing.Book) error) error {
	book := c.cfg.Book
	before := book.Copy()
	err := change(book)
	if err != nil || c.cfg.Keep == nil || book.Equal(before) {
		return err
	}
	if err := c.cfg.Keep(book.Marshal()); err != nil {
		*book = *before
		return errors.Join(errUnstored, err)
	}
	return nil
}

var errUnstored = errors.New("the book of pairings cannot be stored")

// listed notes what the book says of a viewer.
func (v *viewer) listed(now time.Time, m pairing.Member) {
	v.grant.Role, v.ends = m.Role, time.Time{}
	if m.Until != 0 {
		v.ends = now.Add(time.Duration(v.cam.cfg.Book.Left(now, m.Until)) * time.Second)
	}
}

// sendAway ends a viewer and tells it why.
func (v *viewer) sendAway(now time.Time, code wire.Code) {
	v.sendControl(&wire.Bye{Code: code})
	v.cam.drop(now, v, code)
}

// recheck sends away who is no longer in the book, except one, and notes the others' roles.
func (c *Camera) recheck(now time.Time, except *viewer) {
	for _, v := range slices.Clone(c.viewers) {
		if m, ok := c.cfg.Book.Member(now, v.key); ok {
			v.listed(now, m)
		} else if v != except && v.confirmed && !v.grant.Unlisted() {
			v.sendAway(now, wire.CodeRevoked)
		}
	}
}

// codeOf is the code by which a viewer hears of the book's refusal.
func codeOf(err error) wire.Code {
	switch {
	case err == nil:
		return 0
	case errors.Is(err, pairing.ErrClaimed):
		return wire.CodeClaimed
	case errors.Is(err, pairing.ErrLastOwner):
		return wire.CodeLastOwner
	case errors.Is(err, pairing.ErrFull):
		return wire.CodeFull
	case errors.Is(err, errUnstored):
		return wire.CodeNotStored
	case errors.Is(err, pairing.ErrNotPaired), errors.Is(err, pairing.ErrUnknown), errors.Is(err, pairing.ErrInvitation):
		return wire.CodeNotPaired
	}
	return wire.CodeMalformed
}
