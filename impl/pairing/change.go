package pairing

import (
	"slices"
	"time"

	"github.com/punchlab/punchlab/impl/identity"
)

// Invite offers a role to whoever proves the secret first. The same secret again replaces the offer. Errors: ErrSecret, ErrRole,
// ErrName, ErrFull.
func (b *Book) Invite(now time.Time, in Invitation) error {
	switch {
	case in.Secret == identity.Secret{} || in.Secret == b.cfg.Secret:
		return ErrSecret
	case !in.Role.valid():
		return ErrRole
	case in.Name != "" && !validName(in.Name):
		return ErrName
	}
	b.tick(now)
	if at := b.invitation(now, in.Secret); at >= 0 {
		b.invitations[at] = in
		return nil
	}
	if len(b.invitations) >= MaxInvitations {
		return ErrFull
	}
	b.invitations = append(b.invitations, in)
	return nil
}

// Until is the end of what is given now for so many seconds; 0 s: without end.
func (b *Book) Until(now time.Time, seconds uint32) int64 {
	if seconds == 0 {
		return 0
	}
	return b.time(now) + int64(seconds)
}

// Cancel takes an invitation back that nobody has used. Error: ErrInvitation.
func (b *Book) Cancel(now time.Time, secret identity.Secret) error {
	at := b.invitation(now, secret)
	if at < 0 {
		return ErrInvitation
	}
	b.tick(now)
	b.invitations = slices.DeleteFunc(b.invitations, func(in Invitation) bool { return in.Secret == secret })
	return nil
}

// Invitations lists what is on offer at now.
func (b *Book) Invitations(now time.Time) []Invitation {
	var open []Invitation
	for _, in := range b.invitations {
		if !b.over(now, in.Until) {
			open = append(open, in)
		}
	}
	return open
}

// Revoke takes a viewer out of the book. Errors: ErrUnknown, ErrLastOwner.
func (b *Book) Revoke(now time.Time, key identity.PublicKey) error {
	at := b.member(now, key)
	switch {
	case at < 0:
		return ErrUnknown
	case b.lastOwner(now, key):
		return ErrLastOwner
	}
	b.tick(now)
	b.members = slices.DeleteFunc(b.members, func(m Member) bool { return m.Key == key })
	return nil
}

// SetRole makes a member owner or guest. An owner's time has no end. Errors: ErrUnknown, ErrRole, ErrLastOwner.
func (b *Book) SetRole(now time.Time, key identity.PublicKey, role Role) error {
	at := b.member(now, key)
	switch {
	case at < 0:
		return ErrUnknown
	case !role.valid():
		return ErrRole
	case role != Owner && b.lastOwner(now, key):
		return ErrLastOwner
	}
	b.tick(now)
	at = b.index(key)
	if b.members[at].Role = role; role == Owner {
		b.members[at].Until = 0
	}
	return nil
}

// Release forgets everybody and every invitation: the label makes an owner again.
func (b *Book) Release(now time.Time) {
	b.tick(now)
	b.members, b.invitations = nil, nil
}

// lastOwner says whether there is no owner without end beside key, who is one.
func (b *Book) lastOwner(now time.Time, key identity.PublicKey) bool {
	others := func(m Member) bool { return m.Key != key && m.Role == Owner && m.Until == 0 }
	at := b.member(now, key)
	return at >= 0 && b.members[at].Role == Owner && !slices.ContainsFunc(b.members, others)
}
